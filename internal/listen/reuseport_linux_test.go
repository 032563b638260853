package listen

import (
	"bytes"
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClosingAReusePortSocketResetsItsQueue holds the fact for which one shared
// socket is handed on, and not one per generation: each SO_REUSEPORT socket has
// an accept queue of its own, and closing one resets what waits in it
// (socket(7)). Should a kernel do otherwise, this tells.
func TestClosingAReusePortSocketResetsItsQueue(t *testing.T) {
	t.Parallel()
	if text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_migrate_req"); err == nil && bytes.Equal(bytes.TrimSpace(text), []byte("1")) {
		t.Skip("net.ipv4.tcp_migrate_req=1 moves what waits to the other socket")
	}
	shared := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				t.Error(err)
			}
		})
	}}
	shared.SetMultipathTCP(false)
	first, err := shared.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := shared.Listen(context.Background(), "tcp", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const clients = 100
	conns := make([]net.Conn, clients)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", first.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	reset := 0
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !os.IsTimeout(err) {
			reset++
		}
	}
	t.Logf("%d of %d waiting connections were reset", reset, clients)
	if reset == 0 {
		t.Error("no connection was reset: this kernel keeps the queue of a closed SO_REUSEPORT socket")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
