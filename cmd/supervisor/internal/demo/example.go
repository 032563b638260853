package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"example.com/supervisor/service"
)

// slowBody is the answer to /slow.
const slowBody = "at last\n"

// longest is the longest time that a client may ask /slow and /stream for.
const longest = time.Minute

// An Example is a version of the example service.
type Example struct {
	Version   string
	Fault     Fault
	LoseEvery int // as in Config
}

// Validate names the field that cannot be used, as its flag.
func (e Example) Validate() error {
	if !slices.Contains(faults(), e.Fault) {
		return fmt.Errorf("--fault: unknown %q; known are %s, %s and %s", e.Fault, Crash, Sick, Stall)
	}
	if e.LoseEvery < 0 {
		return fmt.Errorf("--lose-every: %d is negative", e.LoseEvery)
	}
	return nil
}

// Serve runs the service until it is drained. Without a supervisor it listens
// on a loopback port of its own.
func (e Example) Serve(ctx context.Context) error {
	if e.Fault == Crash {
		return fmt.Errorf("version %s cannot find its tables; it is made to fail", e.Version)
	}
	s, err := service.Join(service.Config{
		Listen: []string{listenerName + "=tcp://127.0.0.1:0"},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("version", e.Version),
	})
	if err != nil {
		return err
	}
	var shows atomic.Bool // the fault
	if e.Fault.latent() {
		defer setOn(onset, &shows)()
	}
	server := &http.Server{Handler: e.routes(s.Generation()), ReadHeaderTimeout: 10 * time.Second}
	switch e.Fault {
	case Sick:
		s.HandleHealth(healthUntil(&shows))
	case Stall:
		server.ConnContext = stallFrom(&shows, s.Draining())
	}
	if err := s.ServeHTTP(listenerName, server); err != nil {
		return err
	}
	return s.Run(ctx)
}

// routes are the three ways in which a request can be answered: at once, late,
// and bit by bit.
func (e Example) routes(generation int) http.Handler {
	var echoes atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if n := int64(e.LoseEvery); n > 0 && echoes.Add(1)%n == 0 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.Copy(w, r.Body) // a client that goes away needs no answer
	})
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		if d, err := asked(w, r); err == nil && pause(r.Context(), d) {
			fmt.Fprint(w, slowBody)
		}
	})
	mux.HandleFunc("POST /stream", func(w http.ResponseWriter, r *http.Request) {
		if d, err := asked(w, r); err == nil {
			stream(w, r.Context(), int(d/streamEvery))
		}
	})
	number := strconv.Itoa(generation)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Generation", number)
		mux.ServeHTTP(w, r)
	})
}

// asked returns the time that the request asks for, or refuses it.
func asked(w http.ResponseWriter, r *http.Request) (time.Duration, error) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err == nil && (d <= 0 || d > longest) {
		err = fmt.Errorf("for: %v is not from 0 to %v", d, longest)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return d, err
}

// stream writes lines, one at a time.
func stream(w http.ResponseWriter, ctx context.Context, lines int) {
	line := strings.Repeat("-", streamLine-1) + "\n"
	control := http.NewResponseController(w)
	for range lines {
		if !pause(ctx, streamEvery) {
			return
		}
		_, err := io.WriteString(w, line)
		if errors.Join(err, control.Flush()) != nil {
			return
		}
	}
}

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
