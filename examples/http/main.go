// Http is a net/http service that a supervisor can upgrade without a failed
// request. It shows that nothing of the program knows of upgrades but four
// lines: Join, ServeHTTP, Run, and, for the stream, Draining.
//
//	supervisor run --listen http=tcp://127.0.0.1:8080 -- http -version v1
//	supervisor upgrade -- http -version v2
//
// It runs alone as well, on the address below, or with the sockets of systemd,
// and upgrades itself at SIGHUP then. It answers
//
//	GET  /                        with its generation, pid and version
//	POST /echo                    with the body of the request
//	GET  /slow?ms=N               after N milliseconds
//	GET  /stream?n=N&every=D      with N lines, one every D ("100ms")
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	"example.com/supervisor/service"
)

func main() {
	version := flag.String("version", "dev", "the `version` that / shows")
	listen := flag.String("listen", "http=tcp://127.0.0.1:8080", "what to listen on without a supervisor")
	pidFile := flag.String("pid-file", "", "`FILE` that names the process that serves, where there is no supervisor")
	flag.Parse()
	if err := run(*listen, *pidFile, *version); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run(listen, pidFile, version string) error {
	svc, err := service.Join(service.Config{Listen: []string{listen}, PIDFile: pidFile})
	if err != nil {
		return err
	}
	if err := svc.ServeHTTP("http", &http.Server{Handler: handler(svc, version)}); err != nil {
		return err
	}
	return svc.Run(context.Background())
}

func handler(svc *service.Service, version string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "generation %d, pid %d, version %s\n", svc.Generation(), os.Getpid(), version)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // a client that is gone needs no answer
	})
	mux.HandleFunc("GET /slow", slow)
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) { stream(w, r, svc.Draining()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", strconv.Itoa(svc.Generation()))
		mux.ServeHTTP(w, r)
	})
}

func slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	if err != nil || ms < 0 {
		http.Error(w, "ms must be a number of milliseconds", http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		fmt.Fprintln(w, "slow")
	case <-r.Context().Done():
	}
}

// stream sends its lines to the end, also when the service drains meanwhile:
// that is what a drain deadline is for. A stream without an end would watch
// draining and end, so that its client comes back to the next generation.
func stream(w http.ResponseWriter, r *http.Request, draining <-chan struct{}) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	every, err2 := time.ParseDuration(r.URL.Query().Get("every"))
	if err != nil || err2 != nil || n < 0 || every <= 0 {
		http.Error(w, "n must be a number and every a duration", http.StatusBadRequest)
		return
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	out := http.NewResponseController(w)
	for i := range n {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		note := ""
		select {
		case <-draining:
			note = " of a generation that drains"
		default:
		}
		fmt.Fprintf(w, "line %d%s\n", i+1, note)
		if out.Flush() != nil {
			return
		}
	}
}
