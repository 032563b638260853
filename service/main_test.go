package service

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain fails if a test leaves a socket open. (Package net keeps
// pipes for splice.)
func TestMain(m *testing.M) {
	if path := os.Getenv(roleVariable); path != "" { // a process of a test
		if err := play(path); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before := openSockets()
	code := m.Run()
	// Connections that a client closed last are closed by net/http's goroutines
	// a moment later.
	deadline := time.Now().Add(5 * time.Second)
	for code == 0 {
		after := openSockets()
		if len(after) <= len(before) {
			break
		}
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "descriptors leaked: %d before, %d after: %v\n", len(before), len(after), after)
			code = 1
		}
		wait(10 * time.Millisecond)
	}
	os.Exit(code)
}

// wait blocks for d in a poll loop.
func wait(d time.Duration) { <-time.After(d) }

func openSockets() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && strings.HasPrefix(target, "socket:") {
			open = append(open, e.Name()+"="+target)
		}
	}
	return open
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
		wait(time.Millisecond)
	}
}

func dial(t *testing.T, a net.Addr) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(a.Network(), a.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}
