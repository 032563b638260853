package service

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// listenAsForeigner is a rendezvous of another user: what the kernel notes is
// who called listen(2), so one thread with other rights is enough.
func listenAsForeigner(t *testing.T, path string) net.Listener {
	t.Helper()
	var l net.Listener
	listened := make(chan error)
	go func() { // ends with its thread, which is never unlocked
		runtime.LockOSThread()
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534)
		if errno != 0 {
			listened <- errno
			return
		}
		var err error
		l, err = net.Listen("unixpacket", path)
		listened <- err
	}()
	if err := <-listened; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestForeignRendezvousHearsNothing: another user who has taken the place of the
// supervisor is not told the token.
func TestForeignRendezvousHearsNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to listen as another user")
	}
	t.Parallel()
	f := supervise(t, tcpPort("http")).withRendezvous()
	if err := os.Chmod(filepath.Dir(f.rendezvous), 0o777); err != nil {
		t.Fatal(err)
	}
	foreigner := listenAsForeigner(t, f.rendezvous)
	var book logBook
	c := f.start(Config{Logger: book.logger()}, serveOK)
	c.dies()
	conn, err := foreigner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("it heard %d bytes, %v", n, err)
	}
	foreigner.Close()
	c.comesBack(t, f, f.returns())
	if book.count("user 65534 listens there") != 1 || book.count(testToken(1)) != 0 {
		t.Errorf("the log: %s", book.text.String())
	}
}

// TestFilterOfAKilledGeneration: one that is killed while it empties its queues
// for the last time leaves its filter to whoever else holds the socket.
func TestFilterOfAKilledGeneration(t *testing.T) {
	t.Parallel()
	f := supervise(t, tcpPort("http"))
	l, err := listenerOf(f.listeners[0].FD)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !shun(l.inner) {
		t.Fatal("there is no filter")
	}
	l.Close() // as the kernel does for a process that is killed
	if c, err := net.DialTimeout("tcp", f.addr().String(), 50*time.Millisecond); err == nil {
		c.Close()
		t.Fatal("the filter does nothing")
	}
	if err := f.listeners[0].Restore(); err != nil {
		t.Fatal(err)
	}
	dial(t, f.addr())
}
