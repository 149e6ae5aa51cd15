// Passes every request on to DOWN and its answer back. HTTPS where CERT names a certificate, with its key in KEY;
// AUTHORITY is trusted.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	pem, err := os.ReadFile(os.Getenv("AUTHORITY"))
	if err != nil {
		panic(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		call, _ := http.NewRequest(r.Method, os.Getenv("DOWN")+r.URL.Path, bytes.NewReader(body))
		answer, err := client.Do(call)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		content, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.WriteHeader(answer.StatusCode)
		w.Write(content)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		panic(err)
	}
	// A table of its own keeps HTTP/2 away.
	server := &http.Server{Handler: handler, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	os.Stderr.WriteString("relay listens\n")
	if cert := os.Getenv("CERT"); cert != "" {
		panic(server.ServeTLS(listener, cert, os.Getenv("KEY")))
	}
	panic(server.Serve(listener))
}
