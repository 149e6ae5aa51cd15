// The shop in Go: a goroutine a request, pooled connections of an http.Transport.
//
// Environment: PORT, INVENTORY_URL, PRICING_URL, SHOP_CHANGE (what the new build does differently; see model.rs).
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
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
	settings struct {
		Currency string `json:"currency"`
		Discount int    `json:"discount"`
	}
)

type downstreamFailed struct{ status int }

func (f downstreamFailed) Error() string { return fmt.Sprintf("downstream answered %d", f.status) }

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

func call(base, method, path string, payload []member, order string) ([]byte, error) {
	var body io.Reader
	if payload != nil {
		body = bytes.NewReader(render(payload))
	}
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
	return answer{200, "application/json", render(object)}, nil
}

func postOrder(body []byte) (answer, error) {
	var asked struct {
		ID       string `json:"id"`
		Sku      string `json:"sku"`
		Quantity int    `json:"quantity"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return answer{400, "text/plain", []byte("bad order\n")}, nil
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
	return answer{status, "application/json", render([]member{{"id", asked.ID}, {"total", total}})}, nil
}

func report() (answer, error) {
	switch change {
	case "crash":
		os.Exit(1)
	case "hang":
		select {}
	}
	levels, err := call(inventory, "GET", "/levels", nil, "")
	return answer{200, "text/plain", append([]byte("stock levels\n"), levels...)}, err
}

func broken() (answer, error) {
	_, err := call(pricing, "POST", "/fail", []member{{"reason", "test"}}, "")
	if change == "swallowed-error" {
		err = nil
	}
	return answer{200, "application/json", render([]member{{"ok", true}})}, err
}

func route(request *http.Request) (answer, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return answer{}, err
	}
	path := request.URL.Path
	switch {
	case request.Method == "GET" && path == "/health":
		return answer{200, "text/plain", []byte("ok\n")}, nil
	case request.Method == "GET" && strings.HasPrefix(path, "/orders/"):
		return getOrder(strings.TrimPrefix(path, "/orders/"))
	case request.Method == "POST" && path == "/orders":
		return postOrder(body)
	case request.Method == "GET" && path == "/report":
		return report()
	case request.Method == "GET" && path == "/broken":
		return broken()
	}
	return answer{404, "text/plain", []byte("no such path\n")}, nil
}

func serve(writer http.ResponseWriter, request *http.Request) {
	result, err := route(request)
	var failed downstreamFailed
	if errors.As(err, &failed) {
		result = answer{502, "application/json", render([]member{{"error", failed.Error()}})}
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		result = answer{500, "text/plain", []byte("failed\n")}
	}
	if change == "log-line" {
		fmt.Fprintln(os.Stderr, "a line that the old build did not write:", request.URL)
	}
	kindName, cacheName := "Content-Type", "Cache-Control"
	if change == "header-case" {
		kindName, cacheName = "content-TYPE", "cache-control"
		writer.Header()["Content-Type"] = nil // No sniffed second one.
	}
	writer.Header()[kindName] = []string{result.kind}
	if change != "header-dropped" {
		writer.Header()[cacheName] = []string{"no-store"}
	}
	writer.Header().Set("Content-Length", fmt.Sprint(len(result.body)))
	writer.WriteHeader(result.status)
	writer.Write(result.body)
}

func main() {
	if change == "exits-early" {
		os.Exit(3)
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
