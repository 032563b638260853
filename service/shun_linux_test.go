package service

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestShunDropsNewAttemptsOnly: what is queued is accepted, a new attempt gets
// no answer, and unshun lets it in again.
func TestShunDropsNewAttemptsOnly(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	l, err := listenerOf(f.listeners[0].FD)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := dial(t, f.addr())
	if !shun(l.inner) {
		t.Fatal("the filter was refused")
	}
	_, err = net.DialTimeout("tcp", f.addr().String(), 100*time.Millisecond)
	if failed, ok := errors.AsType[net.Error](err); !ok || !failed.Timeout() {
		t.Errorf("a new attempt: %v", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go echo(t.Context(), c) // ends with the connection
	roundTrip(t, first)
	unshun(l.inner)
	dial(t, f.addr())
}

// TestFinalDrainLeavesNoFilter: whoever holds the sockets all the same finds them
// without a filter.
func TestFinalDrainLeavesNoFilter(t *testing.T) {
	t.Parallel()
	s := stage(t, Config{})
	s.beginDrain(20*time.Second, true)
	s.drained()
	dial(t, s.f.addr()) // the test still holds the socket
}
