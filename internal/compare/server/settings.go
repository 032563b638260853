package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// settings are a version of the service: what a release is here. All ways of
// being replaced read them from a file, so that no file of a program must change.
type settings struct {
	Version string `json:"version"`
	// StartUpMS is how many milliseconds the service takes to start.
	StartUpMS int `json:"start_up_ms"`
	// Fault is what is wrong with the version; "": nothing.
	Fault string `json:"fault,omitempty"`
	// Trigger is the file whose coming begins a fault that comes after ready.
	Trigger string `json:"trigger,omitempty"`

	begun *atomic.Bool // the fault has
}

// The faults.
const (
	exits     = "exits"     // at the start, with status 1
	hangs     = "hangs"     // before it is ready
	crashes   = "crashes"   // with status 1, when triggered
	unhealthy = "unhealthy" // answers 503 to everything, health included, when triggered
	stalls    = "stalls"    // accepts nothing more, when triggered
)

// readSettings is strict: what it does not know is an error.
func readSettings(path string) (s settings, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	s.begun = new(atomic.Bool)
	return s, nil
}

func (s settings) startUp() time.Duration { return time.Duration(s.StartUpMS) * time.Millisecond }

// atStart has the faults that come before ready.
func (s settings) atStart() error {
	switch s.Fault {
	case exits:
		return errors.New("exits, as asked")
	case hangs:
		time.Sleep(time.Hour)
	}
	return nil
}

// glance is how often the service looks for its trigger.
const glance = time.Millisecond

// afterReady begins to wait for the trigger. A version that is started anew with it
// has the fault again.
func (s settings) afterReady() {
	if s.Trigger == "" {
		return
	}
	go func() { // ends with the process
		for {
			if _, err := os.Stat(s.Trigger); err == nil {
				break
			}
			time.Sleep(glance)
		}
		if s.Fault == crashes {
			os.Exit(1)
		}
		s.begun.Store(true)
	}()
}

// ill reports whether the fault has begun and is that one.
func (s settings) ill(fault string) bool { return s.Fault == fault && s.begun.Load() }

// around has the listener stop accepting when that is the fault.
func (s settings) around(l net.Listener) net.Listener {
	if s.Fault != stalls {
		return l
	}
	return &stalling{Listener: l, s: s, closed: make(chan struct{})}
}

// A stalling listener stops accepting when its fault begins. Closed, it ends as any
// other does.
type stalling struct {
	net.Listener
	s      settings
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *stalling) Accept() (net.Conn, error) {
	if l.s.ill(stalls) {
		<-l.closed
	}
	return l.Listener.Accept()
}

func (l *stalling) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// fine answers for the fault of being unhealthy.
func (s settings) fine(w http.ResponseWriter) bool {
	if s.ill(unhealthy) {
		http.Error(w, "not well, as asked", http.StatusServiceUnavailable)
		return false
	}
	return true
}
