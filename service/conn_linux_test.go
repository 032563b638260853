package service

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// pairOf returns a connection as a service's listener gives it, and its client.
func pairOf(t *testing.T, network string) (ours, client net.Conn) {
	t.Helper()
	spec := tcpPort("x")
	if network == "unix" {
		spec = "x=unix://" + filepath.Join(t.TempDir(), "s")
	}
	f := supervise(t, spec)
	s := f.join(Config{}).service
	t.Cleanup(func() { s.abandon() })
	l, err := s.Listener("x")
	if err != nil {
		t.Fatal(err)
	}
	client = dial(t, f.addr())
	if ours, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return ours, client
}

// threadIO returns what the calling thread has moved with read(2) and write(2)
// (proc(5), /proc/[pid]/io); splice(2) is not in it.
func threadIO(t *testing.T) (read, written int64) {
	b, err := os.ReadFile("/proc/thread-self/io")
	if err != nil {
		t.Skipf("no I/O accounting: %v", err)
	}
	for line := range strings.Lines(string(b)) {
		if n := int64(0); strings.HasPrefix(line, "rchar:") {
			fmt.Sscanf(line, "rchar: %d", &n)
			read = n
		} else if strings.HasPrefix(line, "wchar:") {
			fmt.Sscanf(line, "wchar: %d", &n)
			written = n
		}
	}
	return read, written
}

// TestConnectionsAreSpliced copies between two connections of ours, on a thread
// of its own, and sees from the kernel's accounting that nothing went through
// this process. A wrapper that hides *net.TCPConn fails it.
func TestConnectionsAreSpliced(t *testing.T) {
	const size = 8 << 20
	for _, test := range []struct{ from, to string }{
		{"tcp", "tcp"}, {"tcp", "unix"}, {"unix", "tcp"},
	} {
		t.Run(test.from+" to "+test.to, func(t *testing.T) {
			from, source := pairOf(t, test.from)
			to, sink := pairOf(t, test.to)
			payload := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			sent := make(chan error, 1)
			go func() {
				_, err := source.Write(payload)
				sent <- err
				source.Close()
			}()
			received := make(chan []byte, 1)
			go func() {
				b, _ := io.ReadAll(sink)
				received <- b
			}()
			moved := copied(t, to, from)
			to.Close()
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(<-received, payload) {
				t.Error("the copy differs")
			}
			if moved > size/10 {
				t.Errorf("%d of %d bytes went through this process", moved, size)
			}
		})
	}
}

// copied copies and returns how many bytes the thread read for it.
func copied(t *testing.T, to io.Writer, from io.Reader) int64 {
	t.Helper()
	moved := make(chan int64)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its figures
		before, _ := threadIO(t)
		if _, err := io.Copy(to, from); err != nil {
			t.Error(err)
		}
		after, _ := threadIO(t)
		moved <- after - before
	}()
	return <-moved
}

// A fileOnly is a file that sendfile(2) can read and nobody else.
type fileOnly struct {
	t *testing.T
	f *os.File
}

func (f fileOnly) SyscallConn() (syscall.RawConn, error) { return f.f.SyscallConn() }
func (f fileOnly) Read([]byte) (int, error) {
	f.t.Error("the file was read instead of sent with sendfile")
	return 0, io.EOF
}

func TestFilesAreSentWithSendfile(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{0, 1000} {
		ours, client := pairOf(t, "tcp")
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 4000), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var r io.Reader = fileOnly{t, file}
		want := int64(4000)
		if limit > 0 {
			r, want = io.LimitReader(r, limit), limit
		}
		if n, err := io.Copy(ours, r); n != want || err != nil {
			t.Errorf("sent %d, %v", n, err)
		}
		ours.Close()
		if got := len(mustReadAll(t, client)); int64(got) != want {
			t.Errorf("received %d of %d", got, want)
		}
	}
}
