package listen

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// TestMain fails when a test leaves a descriptor open. With umaskEnv set it is
// the child of a test instead.
func TestMain(m *testing.M) {
	if mask, ok := os.LookupEnv(umaskEnv); ok {
		os.Exit(openUnderUmask(mask, os.Args[len(os.Args)-1]))
	}
	os.Exit(leaktest.Run(m, nil))
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
