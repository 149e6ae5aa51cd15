// The shop in Go: a goroutine a request, pooled connections of an http.Transport.
//
// Environment: PORT, INVENTORY_URL, PRICING_URL, and what the new build does differently (see tests/matrix): SHOP_CHANGE,
// the name of a change in this file, or SHOP_EDIT, a change of what is said: {at, operation, part, from, to}.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	change    = os.Getenv("SHOP_CHANGE")
	inventory = os.Getenv("INVENTORY_URL")
	pricing   = os.Getenv("PRICING_URL")
	client    = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 100,
		DisableKeepAlives:   change == "connection-per-call",
	}}
	leftOpen struct {
		sync.Mutex
		all []net.Conn
	}
	settings struct {
		Currency string `json:"currency"`
		Discount int    `json:"discount"`
	}
)

type downstreamFailed struct{ status int }

func (f downstreamFailed) Error() string { return fmt.Sprintf("downstream answered %d", f.status) }

// The change of what is said; none when At is empty.
var edited struct{ At, Operation, Part, From, To string }

// The value as the new build says it: From replaced by To, all of it where From is empty.
func edit(at, operation, part, value string) string {
	if edited.At != at || edited.Part != part || !strings.HasPrefix(operation, edited.Operation) {
		return value
	}
	if !strings.Contains(value, edited.From) {
		fmt.Fprintln(os.Stderr, "there is nothing to edit in", value)
		os.Exit(4)
	}
	if edited.From == "" {
		return edited.To
	}
	return strings.ReplaceAll(value, edited.From, edited.To)
}

// Headers edited to nothing are left out; the part `header` is one more.
func editHeaders(at, operation string, headers http.Header) {
	for name, values := range headers {
		if headers[name] = []string{edit(at, operation, "header/"+strings.ToLower(name), values[0])}; headers[name][0] == "" {
			delete(headers, name)
		}
	}
	if name, value, found := strings.Cut(edit(at, operation, "header", ""), ": "); found {
		headers[name] = []string{value}
	}
}

// A member of a JSON object; objects keep the order they are written in.
type member struct {
	name  string
	value any
}

func render(object []member) []byte {
	if change == "key-order" {
		object = slices.Clone(object)
		slices.Reverse(object)
	}
	var out bytes.Buffer
	for i, m := range object {
		name, _ := json.Marshal(m.name)
		value, _ := json.Marshal(m.value)
		fmt.Fprintf(&out, "%s%s:%s", []string{"{", ","}[min(i, 1)], name, value)
	}
	out.WriteByte('}')
	if change == "whitespace" {
		var spaced bytes.Buffer
		json.Indent(&spaced, out.Bytes(), "", "  ")
		return spaced.Bytes()
	}
	return out.Bytes()
}

func call(base, method, path string, payload []member, order string, keys ...string) ([]byte, error) {
	operation := method + " " + path
	var body io.Reader
	if payload != nil {
		body = strings.NewReader(edit("call", operation, "body", string(render(payload))))
	}
	method, path = edit("call", operation, "method", method), edit("call", operation, "target", path)
	request, err := http.NewRequest(method, base+path, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "application/json")
	if payload != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if order != "" {
		name := "X-Order"
		if change == "header-case" {
			name = "x-order"
		}
		request.Header[name] = []string{order}
	}
	for _, key := range keys {
		request.Header.Set("Idempotency-Key", key)
	}
	editHeaders("call", operation, request.Header)
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != 200 {
		err = downstreamFailed{response.StatusCode}
	}
	return content, err
}

func callJSON(into any, base, method, path string, payload []member, order string) error {
	content, err := call(base, method, path, payload, order)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}

type held struct {
	Sku       string `json:"sku"`
	Available int    `json:"available"`
}

func stock(order string) (held held, err error) {
	path := "/stock/sku-" + order
	if change == "wrong-path" {
		path = "/stocks/sku-" + order
	}
	if change == "extra-call" {
		if err = callJSON(&held, inventory, "GET", path, nil, order); err != nil {
			return
		}
	}
	err = callJSON(&held, inventory, "GET", path, nil, order)
	return
}

func quote(order, sku string, quantity int) (int, error) {
	base, asked := pricing, quantity
	if change == "wrong-downstream" {
		base = inventory
	}
	if change == "changed-argument" {
		asked++
	}
	var priced struct {
		UnitCents int `json:"unit_cents"`
	}
	payload := []member{{"order", order}, {"sku", sku}, {"quantity", asked}}
	if err := callJSON(&priced, base, "POST", "/quote", payload, order); err != nil {
		return 0, err
	}
	hundredths := priced.UnitCents * quantity * (100 - settings.Discount)
	if change == "rounding" {
		hundredths += 50
	}
	return hundredths / 100, nil
}

type answer struct {
	status int
	kind   string
	body   []byte
	more   []string // Further headers, name after value after name.
}

func say(status int, kind string, body []byte, more ...string) answer {
	return answer{status, kind, body, more}
}

func getOrder(order string) (answer, error) {
	held, err := stock(order)
	if err != nil {
		return answer{}, err
	}
	total, err := quote(order, held.Sku, 3)
	if err != nil {
		return answer{}, err
	}
	object := []member{{"id", order}, {"sku", held.Sku}, {"available", held.Available}, {"total", total}}
	switch change {
	case "type":
		object[2].value = fmt.Sprint(held.Available)
	case "value":
		object = append(object, member{"currency", "USD"})
	}
	if change != "missing-field" && change != "value" {
		object = append(object, member{"currency", settings.Currency})
	}
	return say(200, "application/json", render(object)), nil
}

func postOrder(body []byte) (answer, error) {
	var asked struct {
		ID       string `json:"id"`
		Sku      string `json:"sku"`
		Quantity int    `json:"quantity"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return say(400, "text/plain", []byte("bad order\n")), nil
	}
	total, err := quote(asked.ID, asked.Sku, asked.Quantity)
	if err != nil {
		return answer{}, err
	}
	if change != "omitted-call" {
		payload := []member{{"id", asked.ID}, {"sku", asked.Sku}, {"quantity", asked.Quantity}}
		if _, err := call(inventory, "POST", "/reserve", payload, asked.ID); err != nil {
			return answer{}, err
		}
	}
	status := 201
	if change == "status" {
		status = 200
	}
	return say(status, "application/json", render([]member{{"id", asked.ID}, {"total", total}})), nil
}

var cache = map[string][]byte{}

func lines(order string) ([]byte, error) {
	if held, known := cache[order]; known {
		return held, nil
	}
	held, err := call(inventory, "GET", "/lines?order="+order+"&page=1&size=3", nil, order)
	if change == "stale-cache" {
		cache[order] = held
	}
	return held, err
}

// Opens some connections on which nothing is said, up to that many in all.
func leaveOpen(to string, once, most int) {
	leftOpen.Lock()
	defer leftOpen.Unlock()
	for range min(once, most-len(leftOpen.all)) {
		if connection, err := net.Dial("tcp", strings.TrimPrefix(to, "http://")); err == nil {
			leftOpen.all = append(leftOpen.all, connection)
		}
	}
}

func getReceipt(order string) (answer, error) {
	var held, rated []byte
	readLines := func() (err error) { held, err = lines(order); return }
	readRates := func() (err error) { rated, err = call(pricing, "GET", "/rates?on=2026-03-29", nil, order); return }
	reads := []func() error{readLines, readRates}
	switch change {
	case "reads-swapped":
		slices.Reverse(reads)
	case "read-dropped":
		rated, reads = []byte(`{"EUR":1,"USD":1.25}`), reads[:1]
	case "n-plus-one":
		reads = append(reads, func() error { return stockOfEach(held, order) })
	case "connects-elsewhere":
		if connection, err := net.Dial("tcp", "127.0.0.1:9"); err == nil {
			connection.Close()
		}
	case "leaked-connection":
		leaveOpen(pricing, 1, 1000)
	case "leaked-elsewhere":
		leaveOpen("127.0.0.1:9", 1, 1000)
	case "spare-connections":
		leaveOpen(pricing, 8, 8)
	case "growing-pool":
		leaveOpen(pricing, 1, 10)
	}
	for _, read := range reads {
		if err := read(); err != nil {
			return answer{}, err
		}
	}
	body := fmt.Sprintf(`{"id":"%s","receipt":%s,"rates":%s}`, order, held, rated)
	return say(200, "application/json", []byte(body), "Etag", `"r7"`, "Vary", "Accept"), nil
}

func stockOfEach(held []byte, order string) error {
	var receipt struct{ Lines []struct{ Sku string } }
	if err := json.Unmarshal(held, &receipt); err != nil {
		return err
	}
	for _, line := range receipt.Lines {
		if _, err := call(inventory, "GET", "/stock/"+line.Sku, nil, order); err != nil {
			return err
		}
	}
	return nil
}

func getPage(order string) (answer, error) {
	held, err := lines(order)
	var receipt struct{ Customer string }
	if err == nil {
		err = json.Unmarshal(held, &receipt)
	}
	page := fmt.Sprintf("<h1>Receipt %s</h1>\n<p>%s: salt &amp; &lt;pepper&gt;</p>\n", order, receipt.Customer)
	return say(200, "text/html; charset=utf-8", []byte(page)), err
}

func postPayment(body []byte) (answer, error) {
	var asked struct {
		Order    string `json:"order"`
		Amount   int    `json:"amount"`
		Currency string `json:"currency"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return say(400, "text/plain", []byte("bad payment\n")), nil
	}
	payload := []member{{"order", asked.Order}, {"amount", asked.Amount}, {"currency", asked.Currency}}
	authorize := func() (err error) {
		_, err = call(pricing, "POST", "/authorize", payload, asked.Order, "pay-"+asked.Order)
		return
	}
	markPaid := func() (err error) {
		_, err = call(inventory, "PUT", "/orders/"+asked.Order+"/state", []member{{"state", "paid"}}, asked.Order)
		return
	}
	release := func() (err error) {
		_, err = call(inventory, "DELETE", "/holds/"+asked.Order, nil, asked.Order)
		return
	}
	writes := []func() error{authorize, markPaid, release}
	switch change {
	case "writes-reordered":
		writes = []func() error{markPaid, authorize, release}
	case "double-submit":
		writes = []func() error{authorize, authorize, markPaid, release}
	case "write-dropped":
		writes = writes[:2]
	}
	for _, write := range writes {
		if err := write(); err != nil {
			return answer{}, err
		}
	}
	cookie := "paid=" + asked.Order + "; Path=/; Secure; HttpOnly; SameSite=Lax"
	return say(303, "text/plain", []byte("paid\n"), "Location", "/receipts/"+asked.Order, "Set-Cookie", cookie), nil
}

func report() (answer, error) {
	switch change {
	case "crash":
		os.Exit(1)
	case "hang":
		select {}
	}
	levels, err := call(inventory, "GET", "/levels", nil, "")
	return say(200, "text/plain", append([]byte("stock levels\n"), levels...)), err
}

func broken() (answer, error) {
	_, err := call(pricing, "POST", "/fail", []member{{"reason", "test"}}, "")
	switch change {
	case "retry-added":
		_, err = call(pricing, "POST", "/fail", []member{{"reason", "test"}}, "")
	case "swallowed-error":
		err = nil
	}
	return say(200, "application/json", render([]member{{"ok", true}})), err
}

func route(request *http.Request) (answer, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return answer{}, err
	}
	path := request.URL.Path
	switch {
	case request.Method == "GET" && path == "/health":
		return say(200, "text/plain", []byte("ok\n")), nil
	case request.Method == "GET" && strings.HasPrefix(path, "/orders/"):
		return getOrder(strings.TrimPrefix(path, "/orders/"))
	case request.Method == "GET" && strings.HasPrefix(path, "/receipts/"):
		return getReceipt(strings.TrimPrefix(path, "/receipts/"))
	case request.Method == "GET" && strings.HasPrefix(path, "/pages/"):
		return getPage(strings.TrimPrefix(path, "/pages/"))
	case request.Method == "POST" && path == "/payments":
		return postPayment(body)
	case request.Method == "POST" && path == "/orders":
		return postOrder(body)
	case request.Method == "GET" && path == "/report":
		return report()
	case request.Method == "GET" && path == "/broken":
		return broken()
	}
	return say(404, "text/plain", []byte("no such path\n")), nil
}

func serve(writer http.ResponseWriter, request *http.Request) {
	result, err := route(request)
	var failed downstreamFailed
	if errors.As(err, &failed) {
		result = say(502, "application/json", render([]member{{"error", failed.Error()}}))
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		result = say(500, "text/plain", []byte("failed\n"))
	}
	if change == "log-line" {
		fmt.Fprintln(os.Stderr, "a line that the old build did not write:", request.URL)
	}
	operation := request.Method + " " + request.URL.Path
	body := []byte(edit("answer", operation, "body", string(result.body)))
	kindName, cacheName := "Content-Type", "Cache-Control"
	if change == "header-case" {
		kindName, cacheName = "content-TYPE", "cache-control"
		writer.Header()["Content-Type"] = nil // No sniffed second one.
	}
	headers := http.Header{kindName: {result.kind}}
	if change != "header-dropped" {
		headers[cacheName] = []string{"no-store"}
	}
	for i := 0; i < len(result.more); i += 2 {
		headers[result.more[i]] = []string{result.more[i+1]}
	}
	editHeaders("answer", operation, headers)
	for name, values := range headers {
		writer.Header()[name] = values
	}
	if headers[kindName] == nil {
		writer.Header()["Content-Type"] = nil
	}
	switch change {
	case "latin-1":
		var short []byte
		for _, char := range string(body) {
			short = append(short, byte(char))
		}
		body = short
	case "gzip":
		var small bytes.Buffer
		packer := gzip.NewWriter(&small)
		packer.Write(body)
		packer.Close()
		body = small.Bytes()
		writer.Header().Set("Content-Encoding", "gzip")
	case "connection-closed":
		writer.Header().Set("Connection", "close")
	}
	if change != "chunked" {
		writer.Header().Set("Content-Length", fmt.Sprint(len(body)))
	}
	status, err := strconv.Atoi(edit("answer", operation, "status", fmt.Sprint(result.status)))
	if err != nil {
		panic(err)
	}
	writer.WriteHeader(status)
	half := len(body)
	if change == "two-writes" || change == "chunked" {
		half /= 2
	}
	writer.Write(body[:half])
	writer.(http.Flusher).Flush()
	writer.Write(body[half:])
}

func main() {
	if change == "exits-early" {
		os.Exit(3)
	}
	if text := os.Getenv("SHOP_EDIT"); text != "" {
		if err := json.Unmarshal([]byte(text), &edited); err != nil {
			panic(err)
		}
	}
	if err := callJSON(&settings, inventory, "GET", "/config", nil, ""); err != nil {
		fmt.Fprintln(os.Stderr, "no settings:", err)
		os.Exit(1)
	}
	for change == "never-listens" {
		time.Sleep(time.Hour)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, "shop listens")
	http.Serve(listener, http.HandlerFunc(serve))
}
