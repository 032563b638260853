package service

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestQueueLimit(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp := l.(*net.TCPListener)
	if err := withFD(tcp, func(fd int) { err = unix.Listen(fd, 77) }); err != nil {
		t.Fatal(err)
	}
	if limit := queueLimit(tcp); err != nil || limit != 77 {
		t.Errorf("the limit is %d, want 77: %v", limit, err)
	}
	path := filepath.Join(t.TempDir(), "s")
	u, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer u.Close()
	if limit := queueLimit(u.(*net.UnixListener)); limit != 0 {
		t.Errorf("the limit of a Unix socket is %d", limit)
	}
}
