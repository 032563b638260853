package service

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// A farewell is the http.ResponseWriter of an HTTP/1 request. If the service
// drains by the time the header is written, it adds "Connection: close". It has
// the methods of net/http's own writer; http.ResponseController finds the rest
// with Unwrap.
type farewell struct {
	http.ResponseWriter
	server *httpServer
	said   bool
}

// say is called before the header is written.
func (w *farewell) say() {
	if !w.said {
		w.said = true
		if w.server.draining.Load() {
			w.Header().Set("Connection", "close")
		}
	}
}

// WriteHeader leaves informational responses alone, and those that switch to
// another protocol and have a Connection header of their own.
func (w *farewell) WriteHeader(code int) {
	if code >= http.StatusOK {
		w.say()
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *farewell) Write(b []byte) (int, error) {
	w.say()
	return w.ResponseWriter.Write(b)
}

func (w *farewell) WriteString(s string) (int, error) {
	w.say()
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom keeps sendfile for http.ServeContent and the like.
func (w *farewell) ReadFrom(r io.Reader) (int64, error) {
	w.say()
	return io.Copy(w.ResponseWriter, r)
}

func (w *farewell) Flush() { _ = w.FlushError() }

func (w *farewell) FlushError() error {
	w.say()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *farewell) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *farewell) Unwrap() http.ResponseWriter { return w.ResponseWriter }
