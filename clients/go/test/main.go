// The application of t/408-go.t: /NAME?ARGUMENT, the same in all languages. test PORT [fcgi]
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/url"
	"os"
	"path"
	"time"

	"memsess"
)

var bytes256 = func() []byte {
	b := make([]byte, 256)
	for n := range b {
		b[n] = byte(n)
	}
	return b
}()

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func all(s *memsess.Session) map[string]any {
	values := map[string]any{}
	for _, k := range s.Keys() {
		values[k] = s.Get(k)
	}
	return values
}

func put(s *memsess.Session, r *http.Request) error {
	values := map[string]any{}
	decoder := json.NewDecoder(r.Body)
	decoder.UseNumber()
	err := decoder.Decode(&values)
	for k, value := range values {
		if err == nil {
			err = s.Set(k, value)
		}
	}
	return err
}

func nested(s *memsess.Session) error {
	cart, ok := s.Get("cart").(map[string]any)
	if !ok {
		cart = map[string]any{"n": int64(0)}
		if err := s.Set("cart", cart); err != nil {
			return err
		}
	}
	cart["n"] = cart["n"].(int64) + 1
	return nil
}

func login(s *memsess.Session, user string) error {
	if err := s.Renew(); err != nil {
		return err
	}
	return s.Set("user", user)
}

func change(s *memsess.Session, what, argument string, r *http.Request) error {
	switch what {
	case "put":
		return put(s, r)
	case "delete":
		return s.Delete(argument)
	case "add":
		n, _ := s.Get(argument).(int64)
		return s.Set(argument, n+1)
	case "nested":
		return nested(s)
	case "bytes":
		return s.Set("bytes", bytes256)
	case "object":
		return s.Set("object", func() {})
	case "login":
		return login(s, argument)
	case "renew":
		return s.Renew()
	case "switch":
		if err := s.Destroy(); err != nil {
			return err
		}
		return s.Set("user", argument)
	case "logout":
		return s.Destroy()
	case "expire":
		var seconds int
		fmt.Sscan(argument, &seconds)
		if err := s.Set("kept", true); err != nil {
			return err
		}
		return s.Expire(time.Duration(seconds) * time.Second)
	case "flash":
		return s.AddFlash(argument)
	}
	return nil
}

func app(w http.ResponseWriter, r *http.Request) {
	s, what := memsess.Get(r), path.Base(r.URL.Path)
	argument, _ := url.QueryUnescape(r.URL.RawQuery)
	switch what {
	case "get":
		fmt.Fprint(w, asJSON(s.Get(argument)))
	case "dump":
		fmt.Fprint(w, asJSON(all(s)))
	case "id":
		fmt.Fprint(w, s.ID())
	case "is-bytes":
		b, _ := s.Get("bytes").([]byte)
		fmt.Fprint(w, map[bool]string{true: "same", false: "other"}[string(b) == string(bytes256)])
	case "flashes":
		flashes, _ := s.Flashes()
		fmt.Fprint(w, asJSON(flashes))
	case "late":
		late(w, s, argument)
	default:
		if err := change(s, what, argument, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "done")
	}
}

func late(w http.ResponseWriter, s *memsess.Session, how string) {
	cart, _ := s.Get("cart").(map[string]any)
	fmt.Fprintln(w, "begun")
	if how == "nested" {
		cart["n"] = 1000
	} else if err := s.Set("late", 1); err != nil {
		return
	}
	fmt.Fprintln(w, "done")
}

func main() {
	handler := memsess.Options{Plain: []string{"user"}, FieldSize: 400000}.Handler(http.HandlerFunc(app))
	address := "127.0.0.1:" + os.Args[1]
	if len(os.Args) == 2 {
		log.Fatal(http.ListenAndServe(address, handler))
	}
	listener, err := net.Listen("tcp", address)
	if err == nil {
		err = fcgi.Serve(listener, handler)
	}
	log.Fatal(err)
}
