package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A FailureKind says in which way a request failed.
type FailureKind string

// The kinds of failure.
const (
	Refused  FailureKind = "refused"  // nobody listens, or a Unix socket's queue is full, or HTTP/2 did not process it
	Reset    FailureKind = "reset"    // the connection was reset or broken, or HTTP/2 gave up the request
	Timeout  FailureKind = "timeout"  // no answer in time
	EOF      FailureKind = "eof"      // closed before the whole answer
	Status   FailureKind = "status"   // an answer with another status
	Body     FailureKind = "body"     // an answer with other content
	Overload FailureKind = "overload" // not sent: too many requests in flight
	TLS      FailureKind = "tls"      // no handshake: a certificate, or no common protocol
	Other    FailureKind = "other"
)

const failureKindCount = 9

// failureKinds returns all kinds; a sample holds a position in it, plus one.
func failureKinds() [failureKindCount]FailureKind {
	return [...]FailureKind{Refused, Reset, Timeout, EOF, Status, Body, Overload, TLS, Other}
}

// An unexpected is an answer that came whole but is not the one expected.
type unexpected struct {
	kind FailureKind
	text string
}

func (u *unexpected) Error() string { return u.text }

func fail(kind FailureKind, format string, args ...any) error {
	return &unexpected{kind, fmt.Sprintf(format, args...)}
}

// classify finds the kind of a request's error.
func classify(err error) FailureKind {
	var u *unexpected
	switch {
	case errors.As(err, &u):
		return u.kind
	case errors.Is(err, errUnasked):
		return Body
	case errors.Is(err, errHandshake) && !isTimeout(err) && !isAny(err, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF):
		return TLS
	case isTimeout(err):
		return Timeout
	case errors.Is(err, errUntouched), isAny(err, syscall.ECONNREFUSED, syscall.ENOENT, syscall.EAGAIN):
		return Refused
	case errors.Is(err, errStreamReset), isAny(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED):
		return Reset
	case isAny(err, io.EOF, io.ErrUnexpectedEOF):
		return EOF
	}
	return Other
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	var n net.Error
	return isAny(err, os.ErrDeadlineExceeded, context.DeadlineExceeded, syscall.ETIMEDOUT) ||
		errors.As(err, &n) && n.Timeout() && !errors.Is(err, syscall.EAGAIN)
}

// firstFailures is how many failures of each kind a report tells in full.
const firstFailures = 5

// A failureLog keeps the first failures of each kind.
type failureLog struct {
	mu    sync.Mutex
	first map[FailureKind][]Failure
}

func (l *failureLog) add(kind FailureKind, at float64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = map[FailureKind][]Failure{}
	}
	if len(l.first[kind]) < firstFailures {
		l.first[kind] = append(l.first[kind], Failure{AtSeconds: at, Error: err.Error()})
	}
}

func (l *failureLog) of(kind FailureKind) []Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Failure{}, l.first[kind]...)
}
