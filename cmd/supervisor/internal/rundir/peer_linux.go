package rundir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning is what errors.Is finds in the error of Alive and Owner when
// nobody listens at the socket.
var ErrNotRunning = errors.New("nobody listens there")

// dialTimeout bounds a look at somebody's socket.
const dialTimeout = 2 * time.Second

// A Peer is the process at the other end of a Unix connection: who connected,
// or who called listen (SO_PEERCRED, unix(7)).
type Peer struct {
	PID int
	UID int
}

// PeerOf returns the peer of c, which must be a *net.UnixConn.
func PeerOf(c net.Conn) (Peer, error) {
	socket, ok := c.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("a connection of type %T has no peer credentials", c)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return Peer{}, fmt.Errorf("cannot read the peer's credentials: %w", err)
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid)}, nil
}

// Owner returns the pid of the process that listens at the Unix socket path,
// 0 if it is alive but too busy to tell.
func Owner(path string) (pid int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer conn.Close()
		peer, err := PeerOf(conn)
		return peer.PID, err
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, context.DeadlineExceeded):
		return 0, nil // its accept queue is full (connect(2))
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return 0, fmt.Errorf("%s: %w", path, ErrNotRunning)
	}
	return 0, err
}

// Alive says why the control socket at path cannot be talked to: it is
// ErrNotRunning, or it is somebody else's.
func Alive(path string) error {
	_, err := Owner(path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("cannot connect to %s: %w; try as root or as the user that runs it", path, fs.ErrPermission)
	}
	return err
}
