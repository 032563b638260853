// Crowd is a service of many listeners and many connections, for the figures of
// docs/scale.md. It serves every listener that it gets: one whose name begins with
// "hold" sends back what it reads, for as long as the client likes, also while it
// drains; the others speak HTTP:
//
//	POST /echo           with the body of the request
//	POST /slow?ms=N      the same, after N milliseconds
//
// It is one generation of a supervisor, or, with --protocol=listen-fds, a program
// as systemd starts it.
package main

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/service"
)

func main() {
	if err := run(); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run() error {
	svc, err := service.Join(service.Config{Listen: listeners(), DrainTimeout: time.Hour, Logger: quiet()})
	if err != nil {
		return err
	}
	h := handler(strconv.Itoa(svc.Generation()))
	for _, name := range svc.Names() {
		if strings.HasPrefix(name, "hold") {
			err = svc.Serve(name, echo)
		} else {
			err = svc.ServeHTTP(name, &http.Server{Handler: h})
		}
		if err != nil {
			return err
		}
	}
	return svc.Run(context.Background())
}

// listeners are those that systemd passes (sd_listen_fds(3)), if it does.
func listeners() []string {
	names := os.Getenv("LISTEN_FDNAMES")
	if names == "" {
		return nil
	}
	all := strings.Split(names, ":")
	for i := range all {
		all[i] += "=systemd"
	}
	return all
}

// echo takes little memory of its own.
func echo(_ context.Context, c net.Conn) {
	var buffer [64]byte
	for {
		n, err := c.Read(buffer[:])
		if err != nil {
			return
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func handler(generation string) http.Handler {
	mux := http.NewServeMux()
	back := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", generation)
		_, _ = io.Copy(w, r.Body) // a client that is gone needs no answer
	}
	mux.HandleFunc("POST /echo", back)
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
		if err != nil || ms < 0 {
			http.Error(w, "ms must be a number of milliseconds", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
			back(w, r)
		case <-r.Context().Done():
		}
	})
	return mux
}

// quiet says nothing of ten upgrades in a second that go well.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
