// A service that tells prices as a stream of events, and its log as a value a line.
//
// Arguments: the port, and the name of what the new build does differently (see tests/matrix/streams.rs).
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

var change = os.Args[2]

func said(object string) string {
	if change == "json-spaces" {
		return strings.ReplaceAll(strings.ReplaceAll(object, ",", ", "), ":", ": ")
	}
	return object
}

func events() (events []string) {
	numbers := []int{1, 2, 3}
	switch change {
	case "events-swapped":
		numbers = []int{1, 3, 2}
	case "event-lost":
		numbers = []int{1, 3}
	case "event-added":
		numbers = []int{1, 2, 2, 3}
	}
	end, colon := "\n", ": "
	switch change {
	case "line-ends":
		end = "\r\n"
	case "no-space":
		colon = ":"
	}
	for _, number := range numbers {
		name, at, price := "price", number, number*10
		if number == 3 {
			switch change {
			case "event-value":
				price = 101
			case "event-name":
				name = "cost"
			case "event-id":
				at = 4
			}
		}
		data := said(fmt.Sprintf(`{"sku":"tea-%d","price":%d}`, number, price))
		lines := []string{"event" + colon + name, "id" + colon + strconv.Itoa(at), "data" + colon + data, ""}
		if change == "comments" {
			lines = append([]string{": ping"}, lines...)
		}
		if change == "retry" && number == 1 {
			lines = append([]string{"retry: 500"}, lines...)
		}
		events = append(events, strings.Join(lines, end)+end)
	}
	return
}

func records() (records []string) {
	numbers := []int{1, 2, 3}
	if change == "record-lost" {
		numbers = []int{1, 3}
	}
	for _, number := range numbers {
		level := number
		if change == "record-value" && number == 2 {
			level = 9
		}
		record := said(fmt.Sprintf(`{"line":%d,"level":%d}`, number, level)) + "\n"
		if change == "empty-lines" {
			record += "\n"
		}
		records = append(records, record)
	}
	return
}

// Events until the client leaves.
func endless(writer http.ResponseWriter, request *http.Request) {
	writer.Header().Set("Content-Type", "text/event-stream")
	for number := 1; request.Context().Err() == nil; number++ {
		tick := number
		if change == "tick-value" && number == 2 {
			tick = 9
		}
		fmt.Fprintf(writer, "data: %d\n\n", tick)
		writer.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
}

func serve(writer http.ResponseWriter, request *http.Request) {
	if request.URL.Path == "/endless" {
		endless(writer, request)
		return
	}
	kind, pieces, wait := "application/x-ndjson", records(), time.Duration(0)
	if request.URL.Path == "/prices" {
		kind, pieces, wait = "text/event-stream", events(), 200*time.Millisecond
	}
	writer.Header().Set("Content-Type", kind)
	// What is not flushed is sent in one piece at the end: small, with its length.
	flush := writer.(http.Flusher).Flush
	if change == "held-back" || change == "length-said" {
		flush = func() {}
	}
	if change == "length-said" {
		writer.Header().Set("Content-Length", strconv.Itoa(len(strings.Join(pieces, ""))))
	}
	for number, piece := range pieces {
		if number == 1 {
			time.Sleep(wait)
		}
		if change == "in-two-chunks" {
			fmt.Fprint(writer, piece[:7])
			flush()
			piece = piece[7:]
		}
		fmt.Fprint(writer, piece)
		flush()
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "ticker listens")
	http.Serve(listener, http.HandlerFunc(serve))
}
