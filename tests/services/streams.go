// A downstream over HTTP/2 inside TLS, and a service that asks it over one connection: GET /orders/N asks for /stock/N and
// /price/N, one after the other where N ends in 0, else side by side, and answers with its own path.
//
// Arguments: what it is, and its port. Environment: CERTIFICATE and KEY of the downstream, AUTHORITY and DOWNSTREAM (host:port) for the
// service.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[2])
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, os.Args[1], "listens")
	return listener
}

func downstream() error {
	var asked, connections atomic.Int64
	answer := func(w http.ResponseWriter, r *http.Request) {
		// In another order than they came.
		time.Sleep(time.Duration(asked.Add(1)%5) * time.Millisecond)
		fmt.Fprintf(w, "%s by %s over connection %d", r.URL.Path, r.Proto, connections.Load())
	}
	count := func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server := http.Server{Handler: http.HandlerFunc(answer), ConnState: count}
	return server.ServeTLS(listen(), os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
}

func service() error {
	authority, err := os.ReadFile(os.Getenv("AUTHORITY"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	client := http.Client{Transport: &transport}
	ask := func(path string) {
		response, err := client.Get("https://" + os.Getenv("DOWNSTREAM") + path)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != path+" by HTTP/2.0 over connection 1" {
			panic(string(body))
		}
	}
	http.HandleFunc("/orders/", func(w http.ResponseWriter, r *http.Request) {
		number := strings.TrimPrefix(r.URL.Path, "/orders/")
		if strings.HasSuffix(number, "0") {
			ask("/stock/" + number)
			ask("/price/" + number)
		} else {
			var both sync.WaitGroup
			for _, path := range []string{"/stock/", "/price/"} {
				both.Add(1)
				go func(path string) { defer both.Done(); ask(path + number) }(path)
			}
			both.Wait()
		}
		io.WriteString(w, r.URL.Path)
	})
	return http.Serve(listen(), nil)
}

func main() {
	run := service
	if os.Args[1] == "downstream" {
		run = downstream
	}
	panic(run())
}
