// Package leaktest finds descriptors and processes that tests leave. It sees those of
// Linux; elsewhere it finds nothing.
package leaktest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// patience is for descriptors that somebody is closing: a server, for instance,
// whose client has closed the connection a moment ago.
const patience = 5 * time.Second

// Run runs the tests of a package and returns the status to exit with: that of
// the tests, or 1 if they leave a descriptor open. Those whose target counted
// denies are left out; nil counts all.
func Run(m *testing.M, counted func(target string) bool) int {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own come with the first socket, and stay
		l.Close()
	}
	before := Open()
	status := m.Run()
	if status != 0 {
		return status
	}
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		left := Since(before, counted)
		if len(left) == 0 {
			return 0
		}
		select {
		case <-tick.C:
		case <-deadline:
			fmt.Fprintln(os.Stderr, "the tests left descriptors open:", left)
			return 1
		}
	}
}

// Check fails the test if descriptors are open at its end that were not at this
// call. It is for tests that are not parallel.
func Check(t testing.TB) {
	t.Helper()
	before := Open()
	t.Cleanup(func() {
		if left := Since(before, nil); len(left) > 0 {
			t.Errorf("descriptors are left open: %v", left)
		}
	})
}

// Open maps every open descriptor to its target (proc_pid_fd(5)).
func Open() map[int]string {
	open := map[int]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// ReadDir's own descriptor is closed by now.
		if target, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			open[fd] = target
		}
	}
	return open
}

// Since describes what is open now and was not, or was something else; counted
// is as for Run.
func Since(before map[int]string, counted func(target string) bool) []string {
	now := Open()
	var left []string
	for _, fd := range slices.Sorted(maps.Keys(now)) {
		if target := now[fd]; before[fd] != target && (counted == nil || counted(target)) {
			left = append(left, fmt.Sprintf("%d -> %s", fd, target))
		}
	}
	return left
}
