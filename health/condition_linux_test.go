package health

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestInspectTellsWhatOthersChanged(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	for name, fd := range map[string]int{
		"TCP":   listen(t, unix.IPPROTO_TCP, v4(1, 0), 7),
		"MPTCP": listen(t, unix.IPPROTO_MPTCP, v4(1, 0), 7),
		"v6":    listen(t, unix.IPPROTO_TCP, v6(0), 7),
	} {
		inspected(t, name, fd, Condition{Listening: true, Limit: 7})
		if err := unix.SetNonblock(fd, false); err != nil {
			t.Fatal(err)
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1); err != nil {
			t.Fatal(err)
		}
		if err := unix.Listen(fd, 3); err != nil {
			t.Fatal(err)
		}
		inspected(t, name, fd, Condition{Listening: true, Blocking: true, Limit: 3, DeferAccept: time.Second})
	}
	inspected(t, "group", listen(t, unix.IPPROTO_TCP, v4(1, 0), 1, unix.SO_REUSEPORT),
		Condition{Listening: true, Limit: 1, ReusePort: true})
	inspected(t, "unix", listen(t, 0, &unix.SockaddrUnix{Name: "@"}, 7), Condition{Listening: true, Limit: 7})
}

func inspected(t *testing.T, name string, fd int, want Condition) {
	t.Helper()
	if got, err := Inspect(fd); err != nil || got != want {
		t.Errorf("%s: %+v, error %v, want %+v", name, got, err, want)
	}
}

func TestSomaxconnBoundsTheLimit(t *testing.T) {
	t.Parallel()
	ownNamespace(t)
	sysctl(t, "core/somaxconn", "11")
	fd := listen(t, unix.IPPROTO_TCP, v4(1, 0), 100)
	inspected(t, "listener", fd, Condition{Listening: true, Limit: 11})
	sysctl(t, "core/somaxconn", "5")
	inspected(t, "a later change", fd, Condition{Listening: true, Limit: 11})
}
