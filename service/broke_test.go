package service

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/supervisor/fdpass"
)

type fdpassFailed = fdpass.Failed

// A brokeListener has no descriptors left for a while, and is then closed.
type brokeListener struct {
	left int
	done chan struct{}
	once sync.Once
}

func (l *brokeListener) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, &net.OpError{Op: "accept", Err: unix.EMFILE}
	}
	l.once.Do(func() { close(l.done) })
	return nil, net.ErrClosed
}

func (l *brokeListener) Close() error   { return nil }
func (l *brokeListener) Addr() net.Addr { return &net.TCPAddr{} }

// shutdownListener does what a foreign process that shares the socket may do:
// it ends listening for every holder.
func shutdownListener(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
}
