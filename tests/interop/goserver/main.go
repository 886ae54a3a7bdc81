// A server of Go's net/http that says on standard error what it sees: the peer of the differential tests.
//
// Each request is a line, also one that net/http refuses before any handler sees it.
package main

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// told is written to by many connections at once; a Logger writes each line whole.
var told = log.New(os.Stderr, "", 0)

// answer reads the body to its end and answers with the target; its length and the protocol stand in headers.
func answer(w http.ResponseWriter, r *http.Request) {
	told.Printf("request %s %s %s", r.Method, r.RequestURI, r.Proto)
	length, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		told.Printf("broken body: %v", err)
		return
	}
	w.Header().Set("x-protocol", r.Proto)
	w.Header().Set("x-body-length", fmt.Sprint(length))
	fmt.Fprint(w, r.RequestURI)
}

// refusals accepts connections on which refusals are noticed: the handler never answers with an error, net/http does.
type refusals struct{ net.Listener }

func (l refusals) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	return connection{accepted}, err
}

type connection struct{ net.Conn }

func (c connection) Write(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("HTTP/1.1 4")) || bytes.HasPrefix(b, []byte("HTTP/1.1 5")) {
		line, _, _ := bytes.Cut(b, []byte("\r\n"))
		told.Printf("request refused: %s", line)
	}
	return c.Conn.Write(b)
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{
		Handler:                      http.HandlerFunc(answer),
		Protocols:                    protocols,
		ErrorLog:                     told,
		DisableGeneralOptionsHandler: true,
	}
	told.Printf("listening on %s", listener.Addr())
	log.Fatal(server.Serve(refusals{listener}))
}
