package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// umaskEnv makes the test binary run openUnderUmask instead of the tests: the
// umask belongs to a whole process.
const umaskEnv = "LISTEN_TEST_UMASK"

// openUnderUmask prints the mode of the socket file of spec as it is after
// bind and after Open.
func openUnderUmask(mask, spec string) int {
	value, err := strconv.ParseUint(mask, 8, 32)
	if err != nil {
		panic(err)
	}
	unix.Umask(int(value))
	parsed, err := ParseSpec(spec)
	if err != nil {
		panic(err)
	}
	for _, open := range []func() (*Socket, error){
		func() (*Socket, error) { return bind(context.Background(), parsed) },
		func() (*Socket, error) { return Open(context.Background(), parsed) },
	} {
		_ = clearPath(parsed.Address)
		s, err := open()
		if err != nil {
			panic(err)
		}
		info, err := os.Stat(parsed.Address)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%04o\n", info.Mode().Perm())
		s.Close()
	}
	return 0
}

func TestModeDoesNotDependOnTheUmask(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ umask, query, bound, opened string }{
		{"0000", "?mode=0600", "0600", "0600"}, // never more open, not even for a moment
		{"0000", "?mode=0666", "0666", "0666"},
		{"0077", "?mode=0660", "0600", "0660"},
		{"0777", "?mode=0660", "0000", "0660"},
		{"0027", "", "0750", "0750"},
	} {
		for _, network := range []string{"unix", "unixpacket", "unixgram"} {
			cmd := exec.Command(os.Args[0], "a="+network+"://"+t.TempDir()+"/s"+row.query)
			cmd.Env = append(os.Environ(), umaskEnv+"="+row.umask, "GORACE=atexit_sleep_ms=0")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got, want := strings.Fields(string(out)), []string{row.bound, row.opened}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s%s with umask %s: after bind and open %v, want %v", network, row.query, row.umask, got, want)
			}
		}
	}
}

// leaveStale leaves the file of a socket that nobody has open: not even a child
// of another test for the moment between its fork and its exec.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
}

func TestOpenReplacesAStaleFile(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		path := t.TempDir() + "/s"
		leaveStale(t, path)
		mustOpen(t, "a="+network+"://"+path)
	}
}

// TestOpenLeavesALiveSocketAlone tries every kind of live socket against every
// kind of opener.
func TestOpenLeavesALiveSocketAlone(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "packet": unix.SOCK_SEQPACKET, "datagram": unix.SOCK_DGRAM} {
		for _, listens := range []bool{true, false} {
			if kind == unix.SOCK_DGRAM && listens {
				continue
			}
			path := t.TempDir() + "/s"
			live := bound(t, kind, path, listens)
			for _, network := range []string{"unix", "unixpacket", "unixgram"} {
				_, err := Open(t.Context(), Spec{Name: "a", Network: network, Address: path})
				if !errors.Is(err, ErrInUse) || !strings.Contains(fmt.Sprint(err), "in use by a live process") {
					t.Errorf("%s on a live %s (listening %v): %v", network, name, listens, err)
				}
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("the live %s lost its file: %v", name, err)
			}
			if listens {
				if fd, _, err := unix.Accept(live); !errors.Is(err, unix.EAGAIN) {
					unix.Close(fd)
					t.Errorf("the probe disturbed the live %s with a connection", name)
				}
			}
		}
	}
}

// bound returns a socket that is bound to path and closed by the test.
func bound(t *testing.T, kind int, path string, listens bool) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if listens {
		if err := unix.Listen(fd, 5); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

func TestOpenNeverRemovesWhatIsNotASocket(t *testing.T) {
	t.Parallel()
	stale := t.TempDir() + "/stale"
	leaveStale(t, stale)
	for want, create := range map[string]func(path string) error{
		"regular file":  func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory":     func(p string) error { return os.Mkdir(p, 0o700) },
		"symbolic link": func(p string) error { return os.Symlink(stale, p) },
		"named pipe":    func(p string) error { return unix.Mkfifo(p, 0o600) },
	} {
		path := t.TempDir() + "/s"
		if err := create(path); err != nil {
			t.Fatal(err)
		}
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Spec{Name: "a", Network: "unix", Address: path})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "not a socket but a "+want) {
			t.Errorf("%s: %v", want, err)
		}
		if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: it was touched: %v", want, err)
		}
	}
}

func TestCloseRemovesOnlyItsOwnFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := mustOpen(t, "a=unix://"+dir+"/own")
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(own.Address); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its own file is still there: %v", err)
	}

	replaced := mustOpen(t, "a=unix://"+dir+"/replaced")
	if err := os.Remove(replaced.Address); err != nil {
		t.Fatal(err)
	}
	other := mustOpen(t, "b=unix://"+dir+"/replaced")
	if err := replaced.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", other.Address)
	if err != nil {
		t.Fatalf("the other socket's file is gone: %v", err)
	}
	c.Close()

	gone := mustOpen(t, "a=unix://"+dir+"/gone")
	if err := os.Remove(gone.Address); err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Errorf("with its file gone: %v", err)
	}
	if err := os.Mkdir(dir+"/sub", 0o700); err != nil {
		t.Fatal(err)
	}
	moved := mustOpen(t, "a=unix://"+dir+"/sub/s")
	if err := os.RemoveAll(dir + "/sub"); err != nil {
		t.Fatal(err)
	}
	if err := moved.Close(); err != nil {
		t.Errorf("with its directory gone: %v", err)
	}
}

// TestOneOfManyOpenersWins lets 100 openers loose on one path, over a stale
// file; the others must see the winner as live, not replace it.
func TestOneOfManyOpenersWins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	leaveStale(t, path)
	const openers = 100
	sockets, errs := make([]*Socket, openers), make([]error, openers)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range openers {
		all.Go(func() {
			<-start
			sockets[i], errs[i] = Open(t.Context(), Spec{Name: "a", Network: "unix", Address: path})
		})
	}
	close(start)
	all.Wait()
	winners := 0
	for i, s := range sockets {
		if s != nil {
			winners++
			defer s.Close()
		} else if !errors.Is(errs[i], ErrInUse) {
			t.Errorf("opener %d: %v", i, errs[i])
		}
	}
	if winners != 1 {
		t.Fatalf("%d openers won", winners)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the winner cannot be reached: %v", err)
	}
	c.Close()
}
