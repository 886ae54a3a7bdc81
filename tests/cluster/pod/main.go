// What runs in the pods of the test bed: without arguments the sandbox of each pod, else an HTTP server that says who it is, or an
// HTTP client.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = "usage: pod | pod serve ADDRESS | pod get URL"

func main() {
	switch arguments := os.Args[1:]; {
	case len(arguments) == 0:
		hold()
	case len(arguments) == 2 && arguments[0] == "serve":
		serve(arguments[1])
	case len(arguments) == 2 && arguments[0] == "get":
		get(arguments[1])
	default:
		fail(usage)
	}
}

// hold does nothing until it is told to stop: so it holds a pod's namespaces open. As their first process it also inherits, and
// buries, what others leave behind.
func hold() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for <-signals == syscall.SIGCHLD {
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve(address string) {
	name, err := os.Hostname()
	if err != nil {
		fail(err)
	}
	http.HandleFunc("/", func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(answer, "%s answers %s\n", name, request.RemoteAddr)
	})
	fail(http.ListenAndServe(address, nil))
}

// get prints the body of a 200, and fails on everything else. The time limit is shorter than a test's patience.
func get(url string) {
	client := http.Client{Timeout: 2 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		fail(err)
	}
	if answer.StatusCode != http.StatusOK {
		fail(answer.Status)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
