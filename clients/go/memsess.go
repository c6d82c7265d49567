// Licensed under the Apache License, Version 2.0; see LICENSE.

// Package memsess gives handlers of net/http the session that mod_memsess keeps:
//
//	http.ListenAndServe("127.0.0.1:8080", memsess.Handler(mux))
//
// and in a handler
//
//	s := memsess.Get(r)
//	n, _ := s.Get("visits").(int64)
//	s.Set("visits", n+1)
//
// The session comes with the request and changes leave with the response, as docs/adapters.md says;
// README.md beside this file says what an application should know.
package memsess

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	line      = 4000 // bytes of pairs in one MemSess-Set
	fieldSize = 8192 // what httpd takes as a header line, from CGI and FastCGI always
	rest      = 32   // of that is for the header's name and the line's end
)

// ErrLate is what a change says that comes after the response began.
var ErrLate = errors.New("the session was changed after the response had begun: this change is lost. " +
	"Change the session before the first byte of the response is written")

// ErrUnavailable says that the store cannot answer: this is no empty session.
var ErrUnavailable = errors.New("the session cannot be read now: the session servers do not answer")

var errFront = errors.New("mod_memsess is not in front of this application, or this section of its configuration " +
	"lacks MemSess On, or MemSessExpose headers (by FastCGI or CGI: MemSessExpose env)")

// Options are what may be told of the sessions; none is needed.
type Options struct {
	Plain       []string      // names whose strings are stored as they are: a log-in, so that another value brings a new id
	Expire      time.Duration // without a request, for a session that begins here
	FieldSize   int           // what responsefieldsize= of ProxyPass says, if it does
	Unavailable http.Handler  // answers where the store cannot; by default 503
}

// Handler has next's requests carry their session.
func Handler(next http.Handler) http.Handler { return Options{}.Handler(next) }

// Handler has next's requests carry their session.
func (o Options) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := o.load(r)
		if err != nil {
			o.fail(w, r, err)
			return
		}
		out := &response{ResponseWriter: w, r: r, s: s}
		next.ServeHTTP(out, r.WithContext(context.WithValue(r.Context(), key{}, s)))
		out.commit(0)
		if s.late || out.err == nil && !reflect.DeepEqual(s.encoded, s.encodeOr(nil)) {
			log.Printf("memsess: %s %s: %v", r.Method, r.URL.Path, ErrLate)
			if !s.cgi { // whose servers end at a panic
				panic(http.ErrAbortHandler)
			}
		}
	})
}

func (o Options) fail(w http.ResponseWriter, r *http.Request, err error) {
	log.Printf("memsess: %s %s: %v", r.Method, r.URL.Path, err)
	switch {
	case err == ErrUnavailable && o.Unavailable != nil:
		o.Unavailable.ServeHTTP(w, r)
	case err == ErrUnavailable:
		w.Header().Set("Retry-After", "2")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

type key struct{}

// Get is the session of a request that went through Handler. Without one it panics.
func Get(r *http.Request) *Session {
	s, ok := r.Context().Value(key{}).(*Session)
	if !ok {
		panic("memsess.Get: this request did not come through memsess.Handler")
	}
	return s
}

// Session is one request's session: values by key. Its functions may be called by several
// goroutines; a value that is a map or slice is the session's own, and what a handler changes in it
// before the response begins is stored.
type Session struct {
	mu        sync.Mutex
	o         Options
	cgi       bool
	state, id string
	values    map[string]any
	before    map[string]string // stored texts by attribute name, as they came
	encoded   map[string]string // as they left
	closed    bool
	late      bool
	destroyed bool
	renewed   bool
	expire    *int
}

// ID is the public id, for logs; empty where there is no session yet.
func (s *Session) ID() string { return s.id }

// Get is a value, nil where there is none: bool, int64, float64, string, []byte, time.Time, []any,
// map[string]any, json.Number where a number is neither.
func (s *Session) Get(key string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

// Load has json.Unmarshal put a value into what into points to. It says false where there is none.
func (s *Session) Load(key string, into any) (bool, error) {
	value := s.Get(key)
	if value == nil {
		return false, nil
	}
	text, err := marshal(value)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	return true, err
}

// Keys are those that have a value, sorted.
func (s *Session) Keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sorted(s.values)
}

// Set gives a key a value: what Get returns, and whatever json.Marshal takes. nil is stored as null.
func (s *Session) Set(key string, value any) error {
	return s.change(func() error {
		if _, err := name(key); err != nil {
			return err
		}
		if _, err := s.o.encode(key, value); err != nil {
			return err
		}
		s.values[key] = value
		return nil
	})
}

// Delete takes a key out.
func (s *Session) Delete(key string) error {
	return s.change(func() error { delete(s.values, key); return nil })
}

// Clear takes all keys out; the session goes on.
func (s *Session) Clear() error {
	return s.change(func() error { s.values = map[string]any{}; return nil })
}

// Renew gives the session a new id: for a log-in and every change of privilege.
func (s *Session) Renew() error { return s.change(func() error { s.renewed = true; return nil }) }

// Destroy ends the session. What is set from here on begins a new one.
func (s *Session) Destroy() error {
	return s.change(func() error {
		s.values, s.before, s.destroyed = map[string]any{}, map[string]string{}, true
		return nil
	})
}

// Expire has the session, and its cookie, last for this long without a request; 0: as configured.
func (s *Session) Expire(d time.Duration) error {
	return s.change(func() error {
		seconds := int(d / time.Second)
		s.expire = &seconds
		return nil
	})
}

// AddFlash keeps a message for the next page that asks for Flashes.
func (s *Session) AddFlash(message any) error {
	flashes, _ := s.Get("_flash").([]any)
	return s.Set("_flash", append(flashes[:len(flashes):len(flashes)], message))
}

// Flashes are the messages that were kept, which are then gone.
func (s *Session) Flashes() ([]any, error) {
	flashes, _ := s.Get("_flash").([]any)
	if flashes == nil {
		return nil, nil
	}
	return flashes, s.Delete("_flash")
}

func (s *Session) change(what func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.late = true
		return ErrLate
	}
	return what()
}

// What mod_memsess says: in the headers of a proxy, or in the variables of CGI and FastCGI.
func (o Options) load(r *http.Request) (*Session, error) {
	s := &Session{o: o, values: map[string]any{}}
	from, cgi := front(r)
	s.cgi = cgi
	s.state, _ = from("STATE")
	s.id, _ = from("ID")
	switch s.state {
	case "none", "unknown", "expired", "invalid":
	case "":
		return nil, errFront
	case "unavailable":
		return nil, ErrUnavailable
	case "active":
		if err := s.read(from); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("mod_memsess says that the session is %q: this adapter is older than the module, and "+
			"does not know that", s.state)
	}
	var err error
	s.before, err = s.encode()
	return s, err
}

// variable is one of mod_memsess's, and whether it is there.
type variable func(name string) (string, bool)

func front(r *http.Request) (from variable, cgi bool) {
	if env := fcgi.ProcessEnv(r); env["MEMSESS_STATE"] != "" {
		return func(name string) (string, bool) { v, ok := env["MEMSESS_"+name]; return v, ok }, true
	}
	if os.Getenv("GATEWAY_INTERFACE") != "" && os.Getenv("MEMSESS_STATE") != "" {
		return func(name string) (string, bool) { return os.LookupEnv("MEMSESS_" + name) }, true
	}
	return func(name string) (string, bool) {
		values := r.Header.Values("MemSess-" + strings.ReplaceAll(name, "_", "-"))
		return strings.Join(values, ""), len(values) > 0
	}, false
}

func data(from variable) (string, error) {
	names := []string{"DATA"}
	if parts, ok := from("DATA_PARTS"); ok {
		count, err := strconv.Atoi(parts)
		if err != nil || count < 1 {
			return "", fmt.Errorf("MEMSESS_DATA_PARTS is no number: %q", parts)
		}
		names = nil
		for n := 1; n <= count; n++ {
			names = append(names, fmt.Sprint("DATA_", n))
		}
	}
	all := ""
	for _, name := range names {
		part, ok := from(name)
		if !ok {
			return "", fmt.Errorf("the session's data are lost on the way: MEMSESS_%s is missing. They are too long for "+
				"what is between httpd and here; see the table of limits, and MemSessExposeKeys", name)
		}
		all += part
	}
	// Form encoding has no commas: one is where repeated headers were joined.
	return strings.NewReplacer(", ", "", ",", "").Replace(all), nil
}

func (s *Session) read(from variable) error {
	form, err := data(from)
	if err != nil {
		return err
	}
	for _, pair := range strings.Split(form, "&") {
		name, text, _ := strings.Cut(pair, "=")
		name, err = url.QueryUnescape(name)
		if err == nil {
			text, err = url.QueryUnescape(text)
		}
		if err != nil {
			return fmt.Errorf("MemSess-Data is malformed: %w", err)
		}
		if k, ok := keyOf(name); ok {
			s.values[k] = s.o.decode(k, text)
		}
	}
	return nil
}

// The values as attribute names and stored texts.
func (s *Session) encode() (map[string]string, error) {
	encoded := map[string]string{}
	for k, value := range s.values {
		attribute, err := name(k)
		if err == nil {
			encoded[attribute], err = s.o.encode(k, value)
		}
		if err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

func (s *Session) encodeOr(other map[string]string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	encoded, err := s.encode()
	if err != nil {
		return other
	}
	return encoded
}

// The headers that say what has changed; from then on it is too late.
func (s *Session) headers(h http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	after, err := s.encode()
	if err != nil {
		return err
	}
	s.encoded = after
	var set, unset []string
	for _, name := range sorted(s.before) {
		if _, ok := after[name]; !ok {
			unset = append(unset, name)
		}
	}
	for _, name := range sorted(after) {
		if text, ok := s.before[name]; !ok || text != after[name] {
			set = append(set, name+"="+url.QueryEscape(after[name]))
			if k, _ := keyOf(name); s.o.isPlain(k) {
				s.renewed = true
			}
		}
	}
	expire := s.expire
	if begins := len(set) > 0 && (s.state != "active" || s.destroyed); begins && expire == nil && s.o.Expire > 0 {
		seconds := int(s.o.Expire / time.Second)
		expire = &seconds
	}
	if s.destroyed {
		h.Add("MemSess-Destroy", "1")
	}
	if err := s.add(h, "MemSess-Unset", unset); err != nil {
		return err
	}
	if err := s.add(h, "MemSess-Set", set); err != nil {
		return err
	}
	if s.renewed {
		h.Add("MemSess-Renew", "1")
	}
	if expire != nil {
		h.Add("MemSess-Expire", strconv.Itoa(*expire))
	}
	return nil
}

func (s *Session) add(h http.Header, header string, pairs []string) error {
	most := fieldSize - rest
	if s.o.FieldSize > 0 && !s.cgi {
		most = s.o.FieldSize - rest
	}
	batch := ""
	for _, pair := range pairs {
		if len(pair) > most {
			attribute, _, _ := strings.Cut(pair, "=")
			return fmt.Errorf("the session's attribute %s is too long for a header line: %d bytes in form encoding, and "+
				"%d are the most. Split it over several keys, or let httpd reach the application by mod_proxy_http with "+
				"responsefieldsize= on ProxyPass, and give memsess.Options the same number as FieldSize",
				attribute, len(pair), most)
		}
		if batch != "" && len(batch)+1+len(pair) > line {
			h.Add(header, batch)
			batch = ""
		}
		if batch != "" {
			batch += "&"
		}
		batch += pair
	}
	if batch != "" {
		h.Add(header, batch)
	}
	return nil
}

// response writes the session's headers before its own leave.
type response struct {
	http.ResponseWriter
	r         *http.Request
	s         *Session
	committed bool
	err       error
}

// With a status: one that the handler gives.
func (w *response) commit(status int) {
	if w.committed {
		return
	}
	w.committed = true
	if w.err = w.s.headers(w.Header()); w.err != nil {
		for name := range w.Header() {
			delete(w.Header(), name)
		}
		w.s.o.fail(w.ResponseWriter, w.r, w.err)
	} else if status != 0 {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *response) WriteHeader(status int) {
	switch {
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.ResponseWriter.WriteHeader(status)
	case w.committed && w.err == nil:
		w.ResponseWriter.WriteHeader(status) // which says that it is superfluous
	default:
		w.commit(status)
	}
}

func (w *response) Write(b []byte) (int, error) {
	w.commit(0)
	if w.err != nil {
		return 0, w.err
	}
	return w.ResponseWriter.Write(b)
}

func (w *response) ReadFrom(from io.Reader) (int64, error) {
	w.commit(0)
	if w.err != nil {
		return 0, w.err
	}
	return io.Copy(w.ResponseWriter, from)
}

func (w *response) Flush() {
	w.commit(0)
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok && w.err == nil {
		flusher.Flush()
	}
}

// Hijack gives the connection away, and with it the response: a change is then too late.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hijacker, ok := w.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("memsess: this connection cannot be hijacked")
	}
	changes := http.Header{}
	if err := w.s.headers(changes); err != nil {
		return nil, nil, err
	}
	if len(changes) > 0 {
		return nil, nil, ErrLate
	}
	w.committed = true
	return hijacker.Hijack()
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Tagged is a JSON object that is a tag of another language's: it is kept as it is.
type Tagged map[string]any

var (
	plainName = regexp.MustCompile(`\A[A-Za-z0-9_.-]{1,64}\z`)
	escaped   = regexp.MustCompile(`\.[0-9A-Fa-f]{2}`)
)

func name(key string) (string, error) {
	if plainName.MatchString(key) && !strings.HasPrefix(key, "..") {
		return key, nil
	}
	attribute := ".."
	for _, c := range []byte(key) {
		if strings.IndexByte("_-", c) >= 0 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			attribute += string(rune(c))
		} else {
			attribute += fmt.Sprintf(".%02X", c)
		}
	}
	if len(attribute) > 64 {
		return "", fmt.Errorf("the session's key %.80q cannot be stored: as the name of an attribute it has %d "+
			"characters, and 64 are the most. Use a shorter key", key, len(attribute))
	}
	return attribute, nil
}

// False where no key leads to the name.
func keyOf(attribute string) (string, bool) {
	if !strings.HasPrefix(attribute, "..") {
		return attribute, attribute != ""
	}
	key := escaped.ReplaceAllStringFunc(attribute[2:], func(code string) string {
		c, _ := strconv.ParseUint(code[1:], 16, 8)
		return string([]byte{byte(c)})
	})
	back, err := name(key)
	return key, err == nil && back == attribute && utf8.ValidString(key)
}

func (o Options) isPlain(key string) bool {
	for _, plain := range o.Plain {
		if key == plain {
			return true
		}
	}
	return false
}

func (o Options) encode(key string, value any) (string, error) {
	text, isString := value.(string)
	if isString && o.isPlain(key) && strings.Contains(text, "\x00") {
		return "", fmt.Errorf("the session cannot hold the value of %q: a plain value cannot have a NUL", key)
	}
	if isString && (o.isPlain(key) || isBare(text)) {
		return text, nil
	}
	tagged, err := tag(value)
	if err != nil {
		return "", fmt.Errorf("the session cannot hold the value of %q: %w", key, err)
	}
	json, err := marshal(tagged)
	return string(json), err
}

func (o Options) decode(key, text string) any {
	if value, err := parse(text); err == nil && !o.isPlain(key) {
		return untag(value)
	}
	return text
}

// Whether a string is read as itself.
func isBare(text string) bool {
	if !utf8.ValidString(text) || strings.HasPrefix(text, `"`) || strings.Contains(text, "\x00") {
		return false
	}
	_, err := parse(text)
	return err != nil
}

var errNoJSON = errors.New("no JSON")

func parse(text string) (value any, err error) {
	if strings.Trim(text, " \t\r\n") != text || !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return nil, errNoJSON
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

func marshal(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// What JSON lacks becomes an object whose one key begins with a space.
func tag(value any) (any, error) {
	switch v := value.(type) {
	case nil, bool, json.Number, int, int64:
		return v, nil
	case float64:
		return number(v)
	case string:
		if !utf8.ValidString(v) {
			return tag([]byte(v))
		}
		return v, nil
	case []byte:
		return map[string]any{" b": base64.StdEncoding.EncodeToString(v)}, nil
	case time.Time:
		return map[string]any{" d": v.UTC().Format(http.TimeFormat)}, nil
	case []any:
		list := make([]any, len(v))
		for n := range v {
			var err error
			if list[n], err = tag(v[n]); err != nil {
				return nil, err
			}
		}
		return list, nil
	case Tagged:
		return tagAll(v)
	case map[string]any:
		object, err := tagAll(v)
		for k := range object {
			if len(object) == 1 && strings.HasPrefix(k, " ") {
				return map[string]any{" di": map[string]any{k + "__": object[k]}}, err
			}
		}
		return object, err
	}
	// A type of the application's.
	text, err := marshal(value)
	if err != nil {
		return nil, err
	}
	generic, err := parse(string(text))
	if err != nil {
		return nil, err
	}
	return tag(generic)
}

func tagAll(object map[string]any) (map[string]any, error) {
	tagged := make(map[string]any, len(object))
	for k, v := range object {
		var err error
		if tagged[k], err = tag(v); err != nil {
			return nil, err
		}
	}
	return tagged, nil
}

// A float stays one, though it has no fraction.
func number(v float64) (any, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("%v is no number of JSON", v)
	}
	text, err := json.Marshal(v)
	if err == nil && !bytes.ContainsAny(text, ".e") {
		text = append(text, ".0"...)
	}
	return json.Number(text), err
}

func untag(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil && v != "-0" {
			return n
		}
		if n, err := v.Float64(); err == nil && strings.ContainsAny(string(v), ".eE") {
			return n
		}
	case []any:
		for n := range v {
			v[n] = untag(v[n])
		}
	case map[string]any:
		for k := range v {
			v[k] = untag(v[k])
		}
		for k := range v {
			if len(v) == 1 && strings.HasPrefix(k, " ") {
				return untagOne(v, k, v[k])
			}
		}
	}
	return value
}

func untagOne(object map[string]any, key string, inner any) any {
	switch text, isString := inner.(string); {
	case key == " b" && isString:
		if b, err := base64.StdEncoding.Strict().DecodeString(text); err == nil {
			return b
		}
	case key == " d" && isString:
		if t, err := http.ParseTime(text); err == nil {
			return t
		}
	case key == " di":
		if escaped, ok := asMap(inner); ok {
			plain := map[string]any{}
			for k, v := range escaped {
				plain[strings.TrimSuffix(k, "__")] = v
			}
			return plain
		}
	}
	return Tagged(object)
}

func asMap(value any) (map[string]any, bool) {
	if tagged, ok := value.(Tagged); ok {
		return tagged, true
	}
	object, ok := value.(map[string]any)
	return object, ok
}

func sorted[V any](of map[string]V) []string {
	keys := make([]string, 0, len(of))
	for k := range of {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
