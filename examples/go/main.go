// A page that counts, POST /app/login with user=NAME, and POST /app/logout: go run . PORT
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"memsess"
)

func page(w http.ResponseWriter, r *http.Request) {
	s := memsess.Get(r)
	visits, _ := s.Get("hits").(int64)
	user, ok := s.Get("user").(string)
	if !ok {
		user = "nobody"
	}
	if err := s.Set("hits", visits+1); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "earlier visits: %d\nuser: %s\n", visits, user)
}

func login(w http.ResponseWriter, r *http.Request) {
	s, user := memsess.Get(r), r.PostFormValue("user")
	if user == "" {
		http.Error(w, "no user", http.StatusUnprocessableEntity)
		return
	}
	s.Renew()
	if err := s.Set("user", user); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/app", http.StatusSeeOther)
}

func logout(w http.ResponseWriter, r *http.Request) {
	memsess.Get(r).Destroy()
	http.Redirect(w, r, "/app", http.StatusSeeOther)
}

func main() {
	http.HandleFunc("/app", page)
	http.HandleFunc("/app/login", login)
	http.HandleFunc("/app/logout", logout)
	sessions := memsess.Options{Plain: []string{"user"}}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], sessions.Handler(http.DefaultServeMux)))
}
