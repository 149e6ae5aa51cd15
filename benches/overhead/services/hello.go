// Answers every request with 1 KiB; with an argument, after so many microseconds of computing.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

func work(rounds int) [32]byte {
	sum := [32]byte{}
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

// How many rounds take so long: the fastest of many tries, so that what else the machine does is left out.
func rounds(wanted time.Duration) int {
	const tried = 1000
	fastest := time.Hour
	for range 200 {
		begun := time.Now()
		work(tried)
		fastest = min(fastest, time.Since(begun))
	}
	return int(int64(tried) * int64(wanted) / int64(fastest))
}

func main() {
	todo := 0
	if len(os.Args) > 1 {
		microseconds, err := strconv.Atoi(os.Args[1])
		if err != nil {
			panic(err)
		}
		todo = rounds(time.Duration(microseconds) * time.Microsecond)
	}
	body := bytes.Repeat([]byte("x"), 1024)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sum := work(todo); sum == [32]byte{1} {
			panic("no such sum")
		}
		w.Write(body)
	})))
}
