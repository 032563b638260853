package service

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/internal/leaktest"
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
	os.Exit(leaktest.Run(m, func(target string) bool { return strings.HasPrefix(target, "socket:") }))
}

// wait blocks for d in a poll loop.
func wait(d time.Duration) { <-time.After(d) }

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
