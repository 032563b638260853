package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// serveMetrics answers GET /metrics over TCP until ended is closed.
func serveMetrics(l net.Listener, scrapes http.Handler, ended <-chan struct{}) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrapes)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn),
	}
	group := new(errgroup.Group)
	group.Go(func() error {
		<-ended
		return server.Close() // a scrape can be repeated elsewhere
	})
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("cannot serve metrics: %w", err)
		}
		return nil
	})
	return group.Wait()
}
