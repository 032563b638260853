// Command http is a web server that is upgraded without a failed request:
// keep-alive connections, slow handlers and streams included.
//
//	supervisor run --listen http=tcp://127.0.0.1:8080 -- ./http -version 1
//	supervisor upgrade -- ./http -version 2
//
// Without a supervisor it opens the listener of -listen itself. It serves
//
//	/                     generation, pid and version
//	/slow?ms=N            the same, N milliseconds later
//	/stream?n=N&every=D   N lines, one every D; without n, lines until the
//	                      service drains
//	/echo                 POST: the body of the request
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
	listen := flag.String("listen", "http=tcp://127.0.0.1:8080", "listener to open when there is no supervisor")
	version := flag.String("version", "dev", "version to tell clients")
	flag.Parse()
	if err := run(*listen, *version); err != nil {
		log.Fatalf("http: %v", err)
	}
}

func run(listen, version string) error {
	svc, err := service.Join(service.Config{Listen: []string{listen}})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: routes(svc, version), ReadHeaderTimeout: time.Minute}
	if err := svc.ServeHTTP("http", server); err != nil {
		return err
	}
	return svc.Run(context.Background())
}

func routes(svc *service.Service, version string) http.Handler {
	generation := strconv.Itoa(svc.Generation())
	greet := func(w http.ResponseWriter) {
		fmt.Fprintf(w, "generation %s pid %d version %s\n", generation, os.Getpid(), version)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { greet(w) })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.FormValue("ms"))
		if err != nil || ms < 0 {
			http.Error(w, "ms must be a number of milliseconds", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			greet(w)
		case <-r.Context().Done(): // the client has gone
		}
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) { stream(w, r, svc.Draining()) })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(body)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", generation)
		mux.ServeHTTP(w, r)
	})
}

// stream writes lines. A stream with an end is written to its end, also while
// the service drains; one without looks at draining to find it.
func stream(w http.ResponseWriter, r *http.Request, draining <-chan struct{}) {
	lines, err := strconv.Atoi(r.FormValue("n"))
	endless := r.FormValue("n") == ""
	every, everyErr := time.ParseDuration(r.FormValue("every"))
	if r.FormValue("every") == "" {
		every, everyErr = 100*time.Millisecond, nil
	}
	if err != nil && !endless || everyErr != nil || lines < 0 || every <= 0 {
		http.Error(w, "n must be a number and every a duration", http.StatusBadRequest)
		return
	}
	if !endless {
		draining = nil
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	out := http.NewResponseController(w)
	for i := 1; endless || i <= lines; i++ {
		fmt.Fprintln(w, i)
		if out.Flush() != nil {
			return // the client has gone
		}
		select {
		case <-ticker.C:
		case <-draining:
			fmt.Fprintln(w, "end")
			return
		case <-r.Context().Done():
			return
		}
	}
}
