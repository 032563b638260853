package service

import (
	"net/http"
	"testing"
	"time"
)

// TestMayClose: when closing a connection takes nothing from its client.
func TestMayClose(t *testing.T) {
	now := time.Now()
	view := &sweep{now: now, began: now.Add(-10 * time.Second), idle: 5 * time.Second, grace: goAwayGrace}
	conn := func(state http.ConnState, edit func(*tracked)) *tracked {
		t := &tracked{accepted: now.Add(-time.Minute)}
		t.note(nil, state)
		t.idleAt.Store(now.Add(-time.Minute).UnixNano())
		if edit != nil {
			edit(t)
		}
		return t
	}
	for _, test := range []struct {
		what string
		t    *tracked
		want bool
	}{
		{"idle for long", conn(http.StateIdle, nil), true},
		{"idle since just now", conn(http.StateIdle, func(t *tracked) { t.idleAt.Store(now.UnixNano()) }), false},
		{"idle, a request begun", conn(http.StateIdle, func(t *tracked) { t.reads.Add(1) }), false},
		{"active", conn(http.StateActive, nil), false},
		{"hijacked", conn(http.StateHijacked, nil), false},
		{"new and silent", conn(http.StateNew, nil), true},
		{"new, a request begun", conn(http.StateNew, func(t *tracked) { t.reads.Add(1) }), false},
		{"new, accepted just now", conn(http.StateNew, func(t *tracked) { t.accepted = now }), false},
		{"HTTP/2, not told yet", http2Conn(conn(http.StateIdle, nil), time.Time{}), false},
		{"HTTP/2, told just now", http2Conn(conn(http.StateIdle, nil), now), false},
		{"HTTP/2, told for long", http2Conn(conn(http.StateIdle, func(t *tracked) { t.reads.Add(3); t.seen = 3 }), now.Add(-goAwayGrace)), true},
		{"HTTP/2, a frame just read", http2Conn(conn(http.StateIdle, func(t *tracked) { t.reads.Add(3); t.seen = 2 }), now.Add(-goAwayGrace)), false},
		{"HTTP/2, streams open", http2Conn(conn(http.StateActive, nil), now.Add(-time.Minute)), false},
	} {
		if got := test.t.mayClose(view); got != test.want {
			t.Errorf("%s: mayClose = %v", test.what, got)
		}
	}
}

// TestMayCloseLooksIntoTheQueue: what the client sent and nobody has read yet is
// a request.
func TestMayCloseLooksIntoTheQueue(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	l, err := listenerOf(f.listeners[0].FD)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.prepare = func(*tracked) {
		if l.gate.state.Load() != 1 {
			t.Error("a connection is registered when the gate may be quiet already")
		}
	}
	client := dial(t, f.addr())
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := trackedOf(c)
	for _, state := range []http.ConnState{http.StateNew, http.StateIdle} {
		conn.note(c, state)
	}
	view := func() *sweep { return &sweep{now: time.Now().Add(time.Hour), began: time.Now(), idle: time.Second} }
	if !conn.mayClose(view()) {
		t.Error("a silent connection is kept")
	}
	if _, err := client.Write([]byte("G")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the byte has arrived", conn.readable)
	if conn.mayClose(view()) {
		t.Error("a connection with a request in its queue is closed")
	}
}

func http2Conn(t *tracked, told time.Time) *tracked {
	g := t.expectHTTP2()
	g.http2.Store(true)
	if !told.IsZero() {
		g.told.Store(told.UnixNano())
	}
	return t
}
