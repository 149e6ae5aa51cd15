// Services that keep things in a store, by the clients that Go programs commonly use: keep (go-redis), accounts (pgx),
// orders (database/sql with go-sql-driver). The argument says which; each has the requests and the builds of its namesakes in Python.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

// What is asked for by name: GET.
type find func(name string) (int, any)

// What is told: POST.
type put func(name, body string) (int, any)

func main() {
	services := map[string]func(){"keep": keep, "accounts": accounts, "orders": orders}
	services[os.Args[1]]()
}

func serve(listens string, find find, put put) {
	http.HandleFunc("/", func(to http.ResponseWriter, asked *http.Request) {
		name := strings.TrimPrefix(asked.URL.Path, "/")
		var status int
		var said any
		if asked.Method == http.MethodPost {
			body, err := io.ReadAll(asked.Body)
			check(err)
			status, said = put(name, string(body))
		} else {
			status, said = find(name)
		}
		to.Header().Set("Content-Type", "application/json")
		to.WriteHeader(status)
		check(json.NewEncoder(to).Encode(said))
	})
	fmt.Fprintln(os.Stderr, listens)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

// For what does not go wrong in a build that works: net/http turns a panic into a connection that is closed.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Returns yes in this build, no in all others.
func in[T any](change, build string, yes, no T) T {
	if change == build {
		return yes
	}
	return no
}

type object = map[string]any
