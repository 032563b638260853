package systemdtest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Dial connects to a server of the instance, whose network is its own and has
// the loopback addresses only: a test may choose any port. The host of address
// must be an IP address. The path of a Unix socket is one inside. Dial has the
// form of (*net.Dialer).DialContext and may be called by many at once; the
// connection is the caller's, and outlives the call like any other.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if strings.HasPrefix(network, "unix") && filepath.IsAbs(address) && !strings.HasPrefix(address, m.Dir+"/") {
		address = m.Path(address)
	}
	var c net.Conn
	err := m.inNetwork(func() (err error) {
		c, err = (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// inNetwork calls f on a thread that is in the instance's network namespace.
// A socket belongs to the namespace in which it was made, for good.
func (m *Machine) inNetwork(f func() error) error {
	done := make(chan error, 1)
	go func() { // joined by done
		runtime.LockOSThread()
		if err := unix.Setns(int(m.instance.network.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("cannot enter the network of the instance: %w", err)
			return
		}
		err := f()
		if unix.Setns(int(m.instance.home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with this goroutine
		done <- err
	}()
	return <-done
}
