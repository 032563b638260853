package listen

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain fails when a test leaves a descriptor open. With umaskEnv set it is
// the child of a test instead.
func TestMain(m *testing.M) {
	if mask, ok := os.LookupEnv(umaskEnv); ok {
		os.Exit(openUnderUmask(mask, os.Args[len(os.Args)-1]))
	}
	before := openDescriptors()
	code := m.Run()
	after := openDescriptors()
	for fd, name := range after {
		if _, ok := before[fd]; !ok {
			fmt.Fprintf(os.Stderr, "a test left descriptor %d open: %s\n", fd, name)
			code = 1
		}
	}
	os.Exit(code)
}

// openDescriptors returns what each descriptor of this process refers to. The
// runtime's own, which appear with the first socket, are there before.
func openDescriptors() map[int]string {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	open := map[int]string{}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// ReadDir's own descriptor is closed by now.
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil {
			open[fd] = name
		}
	}
	return open
}

func mustOpen(t *testing.T, spec string) *Socket {
	t.Helper()
	parsed, err := ParseSpec(spec)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func sockoptInt(t *testing.T, fd, level, option int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(fd, level, option)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
