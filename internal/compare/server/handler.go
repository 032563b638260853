package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// line is what a stream says again and again, every beat.
const (
	line = "still here\n"
	beat = 100 * time.Millisecond
)

// handler serves
//
//	POST /echo         with the body of the request
//	GET  /slow?ms=N    after N milliseconds
//	GET  /stream?ms=N  a line every 100 ms, for N milliseconds
//	GET  /health       for probes
//
// Each answer names the version.
func (s settings) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(asked(r))
		fmt.Fprint(w, "slow\n")
	})
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		for range asked(r) / beat {
			time.Sleep(beat)
			fmt.Fprint(w, line)
			if err := out.Flush(); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well\n") })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", s.Version)
		if s.fine(w) {
			mux.ServeHTTP(w, r)
		}
	})
}

// asked is the time that a request asks for; none if it is not told.
func asked(r *http.Request) time.Duration {
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
	return time.Duration(ms) * time.Millisecond
}
