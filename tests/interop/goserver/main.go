// A server of Go's net/http that says on standard error what it sees: HTTP/1 and HTTP/2 on one port, with prior knowledge, or
// by ALPN inside TLS where it is started with the files of a certificate and its key.
//
// Each request is a line, also one that net/http refuses before any handler sees it.
package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

// told is written to by many connections at once; a Logger writes each line whole.
var told = log.New(os.Stderr, "", 0)

// target reads the body to its end and answers with the request's target.
func target(w http.ResponseWriter, r *http.Request) {
	length, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		told.Printf("broken body: %v", err)
		return
	}
	w.Header().Set("x-body-length", fmt.Sprint(length))
	fmt.Fprint(w, r.RequestURI)
}

// echo sends the body back while it comes, and the trailers behind it.
func echo(w http.ResponseWriter, r *http.Request) {
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		told.Printf("cannot read while writing: %v", err)
	}
	for name := range r.Trailer {
		w.Header().Add("trailer", name)
	}
	if _, err := io.Copy(w, r.Body); err != nil {
		told.Printf("broken body: %v", err)
		panic(http.ErrAbortHandler)
	}
	for name, values := range r.Trailer {
		w.Header()[name] = values
	}
}

// hints sends an interim answer before the answer.
func hints(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	fmt.Fprint(w, r.RequestURI)
}

// cookies sets several cookies, each in a field of its own.
func cookies(w http.ResponseWriter, r *http.Request) {
	for _, cookie := range []string{"a=1", "b=2", "c=3"} {
		w.Header().Add("set-cookie", cookie)
	}
	target(w, r)
}

// noted says what came, and in which protocol.
func noted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told.Printf("request %s %s %s", r.Method, r.RequestURI, r.Proto)
		w.Header().Set("x-protocol", r.Proto)
		w.Header().Set("x-host", r.Host)
		w.Header().Set("x-scheme", r.Header.Get("x-forwarded-proto"))
		if r.TLS != nil {
			w.Header().Set("x-server-name", r.TLS.ServerName)
		}
		next.ServeHTTP(w, r)
	})
}

// byPath is no ServeMux: that one would redirect where a path is not in its normal form.
func byPath(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		echo(w, r)
	case "/cookies":
		cookies(w, r)
	case "/hints":
		hints(w, r)
	default:
		target(w, r)
	}
}

// refusals accepts connections on which refusals are noticed: no handler answers with an error, only net/http does.
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
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := http.Server{
		Handler:                      noted(http.HandlerFunc(byPath)),
		Protocols:                    protocols,
		ErrorLog:                     told,
		DisableGeneralOptionsHandler: true,
	}
	if len(os.Args) == 3 {
		pair, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
		told.Printf("listening on %s", listener.Addr())
		log.Fatal(server.ServeTLS(refusals{listener}, "", ""))
	}
	told.Printf("listening on %s", listener.Addr())
	log.Fatal(server.Serve(refusals{listener}))
}
