// The same shop in Go, on what net/http has of HTTP/2: requests by prior knowledge, messages framed by hand. Entries come by
// HTTP/1.1. Environment: PORT, STOCK, SHOP_CHANGE.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var change = os.Getenv("SHOP_CHANGE")

func connect() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

var shared = connect()

func ask(id uint64) []byte {
	if change == "changed-field" {
		id++
	}
	return append(binary.AppendUvarint([]byte{8}, id), "\x12\x04shop"...)
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

func receive(from io.Reader) (map[string]any, error) {
	var head [5]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	message := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(from, message); err != nil {
		return nil, err
	}
	item := map[string]any{}
	for len(message) > 0 {
		key, size := binary.Uvarint(message)
		value, more := binary.Uvarint(message[size:])
		message = message[size+more:]
		name := strconv.FormatUint(key>>3, 10)
		if key&7 == 0 {
			item[name] = value
		} else {
			item[name] = string(message[:value])
			message = message[value:]
		}
	}
	return item, nil
}

func call(method string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequest("POST", "http://"+os.Getenv("STOCK")+"/stock.Stock/"+method, body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/grpc")
	request.Header.Set("Te", "trailers")
	client := shared
	if change == "channel-per-call" {
		client = connect()
	}
	return client.Do(request)
}

// collect gives all messages of a response, and fails with what its trailers say.
func collect(response *http.Response, err error) ([]map[string]any, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	items := []map[string]any{}
	for {
		item, err := receive(response.Body)
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	for _, fields := range []http.Header{response.Header, response.Trailer} {
		if status := fields.Get("Grpc-Status"); status != "" && status != "0" {
			return nil, fmt.Errorf("%s: %s", status, fields.Get("Grpc-Message"))
		}
	}
	return items, nil
}

func first(items []map[string]any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return items[0], nil
}

// watch asks one after the other, each when the one before was answered.
func watch(ids []uint64) (any, error) {
	reader, writer := io.Pipe()
	asked := make(chan error, 1)
	go func() {
		_, err := writer.Write(framed(ask(ids[0])))
		asked <- err
	}()
	response, err := call("Watch", reader)
	if err != nil {
		return nil, err
	}
	<-asked
	items := []map[string]any{}
	for index := range ids {
		if index > 0 {
			writer.Write(framed(ask(ids[index])))
		}
		item, err := receive(response.Body)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	writer.Close()
	rest, err := collect(response, nil)
	return append(items, rest...), err
}

func answer(path string) (any, error) {
	name, list, _ := strings.Cut(strings.Trim(path, "/"), "/")
	var ids []uint64
	var all []byte
	var sum uint64
	for _, text := range strings.Split(list, ",") {
		if id, err := strconv.ParseUint(text, 10, 64); err == nil {
			ids, all, sum = append(ids, id), append(all, framed(ask(id))...), sum+id
		}
	}
	switch {
	case name == "health":
		return map[string]bool{"ok": true}, nil
	case name == "watch":
		return watch(ids)
	case name == "reserve" && change == "dropped-call":
		return map[string]uint64{"1": uint64(len(ids)), "2": sum}, nil
	case name == "reserve":
		return first(collect(call("Reserve", bytes.NewReader(all))))
	case len(ids) == 0:
		return collect(call("List", bytes.NewReader(framed(ask(0)))))
	case change == "other-method":
		return first(collect(call("Find", bytes.NewReader(all))))
	default:
		return first(collect(call("Get", bytes.NewReader(all))))
	}
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		said, err := answer(r.URL.Path)
		status := http.StatusOK
		if err != nil {
			status, said = http.StatusBadGateway, map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(said)
	})
	fmt.Fprintln(os.Stderr, "shop listens")
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
