package memsess

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

type vectors struct {
	Names          []struct{ Key, Name string }
	NamesRefused   []struct{ Key string }   `json:"names_refused"`
	NamesLeftAlone struct{ Names []string } `json:"names_left_alone"`
	Values         struct {
		Both, ReadOnly []pair
		Large          []pair `json:"large_integers"`
	}
	ReadOnly struct{ Values []pair }
	Plain    struct {
		Both      []pair
		WriteOnly []pair `json:"write_only"`
		Refused   struct{ Values []string }
	}
	Tags struct {
		Known []struct {
			Text  string
			Means map[string]any
		}
		Nested []pair
		Kept   struct{ Texts []string }
	}
	Data []struct {
		Data string
		Dict map[string]any
	}
	Set struct {
		Both []struct{ Name, Text, Pair string }
	}
	Parts []struct {
		Variables map[string]string
		Dict      map[string]any
		Error     string
	}
	States  map[string]string
	Changes []change
	Nulls   struct {
		Changes []struct {
			change
			Kept change
		}
	}
}

type change struct {
	Data  string
	Now   map[string]any
	Set   map[string]string
	Unset []string
}

type pair struct {
	Value any
	Text  string
}

func read(t *testing.T) (v vectors) {
	text, err := os.ReadFile("../vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(strings.ReplaceAll(string(text), `"read_only"`, `"ReadOnly"`)))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A value of vectors.json as a session has it, but for tags, which are no matter of numbers.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		return untag(v)
	case []any:
		for n := range v {
			v[n] = numbers(v[n])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return value
}

func same(one, other any) bool {
	return reflect.DeepEqual(untagged(one), untagged(other))
}

func untagged(value any) any {
	text, err := marshal(value)
	if err != nil {
		return err
	}
	var generic any
	json.Unmarshal(text, &generic)
	return generic
}

// The same text, or JSON that means the same.
func sameText(one, other string) bool {
	if one == other {
		return true
	}
	a, errA := parse(one)
	b, errB := parse(other)
	return errA == nil && errB == nil && same(a, b)
}

// What a request with these headers, and an application that does so, answers.
func answer(o Options, headers map[string]string, application func(*Session)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	o.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { application(Get(r)) })).ServeHTTP(w, r)
	return w
}

func active(data string) map[string]string {
	return map[string]string{"MemSess-State": "active", "MemSess-Id": "id", "MemSess-Data": data}
}

func ours(w *httptest.ResponseRecorder) map[string][]string {
	all := map[string][]string{}
	for name, values := range w.Header() {
		if strings.HasPrefix(name, "Memsess-") {
			all[name] = values
		}
	}
	return all
}

func pairs(lines []string) map[string]string {
	all := map[string]string{}
	form, _ := url.ParseQuery(strings.Join(lines, "&"))
	for name := range form {
		all[name] = form.Get(name)
	}
	return all
}

func dict(s *Session) map[string]any {
	all := map[string]any{}
	for _, k := range s.Keys() {
		all[k] = s.Get(k)
	}
	return all
}

func TestNames(t *testing.T) {
	v := read(t)
	for _, c := range v.Names {
		if got, err := name(c.Key); err != nil || got != c.Name {
			t.Errorf("%q: %q %v", c.Key, got, err)
		}
		if got, ok := keyOf(c.Name); !ok || got != c.Key {
			t.Errorf("%q: %q", c.Name, got)
		}
	}
	for _, c := range v.NamesRefused {
		if _, err := name(c.Key); err == nil || !strings.Contains(err.Error(), c.Key[:20]) {
			t.Errorf("%q: %v", c.Key, err)
		}
	}
	for _, c := range v.NamesLeftAlone.Names {
		if got, ok := keyOf(c); ok {
			t.Errorf("%q: %q", c, got)
		}
	}
	if len(v.Names) < 15 || len(v.NamesLeftAlone.Names) < 5 {
		t.Error("the vectors are not read")
	}
}

func TestValues(t *testing.T) {
	v, o := read(t), Options{}
	if len(v.Values.Both) < 50 || len(v.Values.ReadOnly) < 10 || len(v.Values.Large) < 2 {
		t.Error("the vectors are not read")
	}
	for _, c := range v.Values.Both {
		if got, err := o.encode("a", numbers(c.Value)); err != nil || !sameText(got, c.Text) {
			t.Errorf("%v: %q, not %q, %v", c.Value, got, c.Text, err)
		}
	}
	for _, c := range append(v.Values.Both, v.Values.ReadOnly...) {
		if got := o.decode("a", c.Text); !same(got, c.Value) {
			t.Errorf("%q: %v, not %v", c.Text, got, c.Value)
		}
	}
	for _, c := range v.Values.Large {
		if got, err := o.encode("a", o.decode("a", c.Text)); got != c.Text {
			t.Errorf("%q: %q %v", c.Text, got, err)
		}
	}
	for _, value := range []any{math.NaN(), math.Inf(1), math.Inf(-1), func() {}, []any{math.NaN()}, make(chan int)} {
		w := answer(o, active(""), func(s *Session) {
			if err := s.Set("thekey", value); err == nil || !strings.Contains(err.Error(), "thekey") {
				t.Errorf("%T: %v", value, err)
			}
			s.Set("list", []any{nil})
			s.Get("list").([]any)[0] = value
		})
		if w.Code != 500 || len(ours(w)) > 0 || !strings.Contains(w.Body.String(), "list") {
			t.Errorf("%T: %d %s", value, w.Code, w.Body)
		}
	}
}

func TestPlain(t *testing.T) {
	v, o := read(t), Options{Plain: []string{"user"}}
	for _, c := range append(v.Plain.Both, v.Plain.WriteOnly...) {
		if got, err := o.encode("user", numbers(c.Value)); err != nil || got != c.Text {
			t.Errorf("%v: %q %v", c.Value, got, err)
		}
	}
	for _, c := range v.Plain.Both {
		if got := o.decode("user", c.Text); got != c.Value {
			t.Errorf("%q: %v", c.Text, got)
		}
	}
	for _, c := range v.Plain.Refused.Values {
		if _, err := o.encode("user", c); err == nil {
			t.Errorf("%q is taken", c)
		}
	}
}

func TestTags(t *testing.T) {
	v, o := read(t), Options{}
	for _, c := range v.Tags.Known {
		got, means := o.decode("a", c.Text), c.Means
		ok := false
		switch value := got.(type) {
		case []byte:
			ok = hex.EncodeToString(value) == means["hex"]
		case time.Time:
			ok = json.Number("784111777") == means["date"] && value.Unix() == 784111777
		case map[string]any:
			ok = same(value, means["dict"])
		case Tagged:
			ok = means["hex"] == nil && means["date"] == nil && means["dict"] == nil
		}
		if back, err := o.encode("a", got); !ok || !sameText(back, c.Text) {
			t.Errorf("%s: %T %v, back %s %v", c.Text, got, got, back, err)
		}
	}
	texts := v.Tags.Kept.Texts
	for _, c := range v.Tags.Nested {
		texts = append(texts, c.Text)
	}
	for _, text := range texts {
		if got, err := o.encode("a", []any{o.decode("a", text), 1}); !sameText(got, "["+text+",1]") {
			t.Errorf("%s: %s %v", text, got, err)
		}
	}
	type own struct {
		Name string
		Tags []string
	}
	answer(o, active(""), func(s *Session) {
		var back own
		s.Set("own", own{"x", []string{"a"}})
		if ok, err := s.Load("own", &back); !ok || err != nil || back.Name != "x" {
			t.Errorf("a struct: %v %v", back, err)
		}
	})
}

func TestRequests(t *testing.T) {
	v, o := read(t), Options{}
	for _, c := range v.Data {
		w := answer(o, active(c.Data), func(s *Session) {
			if got := dict(s); !same(got, c.Dict) {
				t.Errorf("%q: %v", c.Data, got)
			}
		})
		if w.Code != 200 || len(ours(w)) > 0 {
			t.Errorf("%q: %d %v", c.Data, w.Code, w.Header())
		}
	}
	for _, c := range v.Set.Both {
		w := answer(o, active(""), func(s *Session) { k, _ := keyOf(c.Name); s.Set(k, c.Text) })
		if got := pairs(w.Header().Values("MemSess-Set")); !reflect.DeepEqual(got, map[string]string{c.Name: c.Text}) {
			t.Errorf("%q: %v", c.Text, w.Header())
		}
	}
	for _, c := range v.Parts {
		s := &Session{values: map[string]any{}}
		err := s.read(func(name string) (string, bool) { v, ok := c.Variables["MEMSESS_"+name]; return v, ok })
		if (err != nil) != (c.Error != "") || err == nil && !same(s.values, c.Dict) {
			t.Errorf("%v: %v %v", c.Variables, s.values, err)
		}
	}
	for state, does := range v.States {
		headers := active("a=1")
		headers["MemSess-State"] = state
		seen := map[string]any(nil)
		w := answer(o, headers, func(s *Session) { seen = dict(s) })
		if does == "error" && (w.Code != 503 || seen != nil) || does == "new" && len(seen) != 0 ||
			does == "load" && len(seen) != 1 || does != "error" && w.Code != 200 {
			t.Errorf("%s: %d %v", state, w.Code, seen)
		}
	}
	for _, c := range v.Nulls.Changes {
		v.Changes = append(v.Changes, change{c.Data, c.Now, c.Kept.Set, c.Kept.Unset})
	}
	for _, c := range v.Changes {
		w := answer(o, active(c.Data), func(s *Session) {
			s.Clear()
			for k, value := range c.Now {
				s.Set(k, numbers(value))
			}
		})
		unset := strings.Split(strings.Join(w.Header().Values("MemSess-Unset"), "&"), "&")
		if got := pairs(w.Header().Values("MemSess-Set")); !reflect.DeepEqual(got, c.Set) ||
			strings.Join(unset, "&") != strings.Join(c.Unset, "&") {
			t.Errorf("%q: %v", c.Data, w.Header())
		}
	}
}

func TestErrors(t *testing.T) {
	nothing := func(*Session) {}
	big := func(s *Session) { s.Set("big", strings.Repeat("x", 9000)) }
	for what, w := range map[string]*httptest.ResponseRecorder{
		"MemSessExpose":     answer(Options{}, nil, nothing),
		"odd":               answer(Options{}, map[string]string{"MemSess-State": "odd"}, nothing),
		"responsefieldsize": answer(Options{}, active(""), big),
		" big ":             answer(Options{}, active(""), big),
	} {
		if w.Code != 500 || !strings.Contains(w.Body.String(), what) || len(ours(w)) > 0 {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	if w := answer(Options{FieldSize: 100000}, active(""), big); len(ours(w)) != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w := answer(Options{}, active(""), func(s *Session) {
		for _, k := range strings.Split("abcdefghij", "") {
			s.Set(k, strings.Repeat("x", 1000))
		}
	})
	lines := w.Header().Values("MemSess-Set")
	if len(lines) < 3 || len(pairs(lines)) != 10 || len(lines[0]) > 4000 {
		t.Errorf("%d lines", len(lines))
	}
}

// A change after the response began says so, and the connection is cut.
func TestLate(t *testing.T) {
	for _, change := range []func(*Session){
		func(s *Session) {
			if s.Set("a", 2) != ErrLate || s.Renew() != ErrLate || s.Destroy() != ErrLate {
				t.Error("a late change is taken")
			}
		},
		func(s *Session) { s.Get("cart").(map[string]any)["n"] = 5 },
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for name, value := range active("cart=%7B%22n%22%3A1%7D") {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("silence")
				}
			}()
			Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Write([]byte("begun"))
				change(Get(r))
			})).ServeHTTP(w, r)
		}()
		if len(ours(w)) > 0 {
			t.Error(w.Header())
		}
	}
}

func TestFlashes(t *testing.T) {
	w := answer(Options{}, active(""), func(s *Session) { s.AddFlash("one"); s.AddFlash("two") })
	text := pairs(w.Header().Values("MemSess-Set"))["_flash"]
	w = answer(Options{}, active("_flash="+url.QueryEscape(text)), func(s *Session) {
		flashes, err := s.Flashes()
		if !same(flashes, []string{"one", "two"}) || err != nil {
			t.Errorf("%v %v", flashes, err)
		}
	})
	if got := w.Header().Get("MemSess-Unset"); got != "_flash" {
		t.Errorf("%q", got)
	}
}

func TestLogIn(t *testing.T) {
	w := answer(Options{Plain: []string{"user"}}, active("user=ann"), func(s *Session) { s.Set("user", "eve") })
	if got := ours(w); !reflect.DeepEqual(got, map[string][]string{"Memsess-Set": {"user=eve"}, "Memsess-Renew": {"1"}}) {
		t.Errorf("%v", got)
	}
}

func TestEnd(t *testing.T) {
	w := answer(Options{Expire: time.Hour}, active("a=1&b=2"), func(s *Session) { s.Destroy(); s.Set("user", "ann") })
	if got := ours(w); !reflect.DeepEqual(got, map[string][]string{"Memsess-Destroy": {"1"}, "Memsess-Set": {"user=ann"},
		"Memsess-Expire": {"3600"}}) {
		t.Errorf("%v", got)
	}
}
