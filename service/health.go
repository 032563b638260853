package service

import (
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// health serves HTTP on the private socket of this generation.
type health struct {
	server  *http.Server
	done    sync.WaitGroup
	reason  atomic.Pointer[string]
	handler atomic.Pointer[http.Handler]
}

// startHealth takes l; close stops what it starts.
func startHealth(l net.Listener) *health {
	h := &health{}
	h.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	h.done.Go(func() { _ = h.server.Serve(l) })
	return h
}

func (h *health) close() {
	_ = h.server.Close()
	h.done.Wait()
}

func (h *health) fail(err error) {
	reason := err.Error()
	h.reason.Store(&reason)
}

func (h *health) handle(handler http.Handler) { h.handler.Store(&handler) }

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if reason := h.reason.Load(); reason != nil {
		http.Error(w, *reason, http.StatusServiceUnavailable)
		return
	}
	if handler := h.handler.Load(); handler != nil {
		(*handler).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}
