// Package notifytest stands in for systemd's end of NOTIFY_SOCKET in tests: it
// keeps every datagram and every descriptor that a service sends, and answers
// each barrier, as systemd does, by closing what came with it.
package notifytest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Socket receives what a service sends (sd_notify(3)). Its methods may be used
// by several goroutines at once. It ends with its test.
type Socket struct {
	// Path is the value for NOTIFY_SOCKET.
	Path string

	conn *net.UnixConn
	done chan struct{} // closed when receive has returned

	mu       sync.Mutex
	received []message
	next     int           // index of what Next returns next
	more     chan struct{} // closed and replaced when something has come
}

type message struct {
	text string
	fds  []int
}

// Listen makes a socket with a file.
func Listen(t testing.TB) *Socket {
	t.Helper()
	// Not t.TempDir: the name of the test is part of it, and a socket's path is
	// at most 107 bytes long.
	dir, err := os.MkdirTemp("", "notify-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return listen(t, filepath.Join(dir, "notify"))
}

// ListenAbstract makes a socket without a file: its Path begins with "@".
func ListenAbstract(t testing.TB) *Socket {
	t.Helper()
	return listen(t, "@notifytest-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatInt(time.Now().UnixNano(), 36))
}

func listen(t testing.TB, path string) *Socket {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Socket{Path: path, conn: conn, done: make(chan struct{}), more: make(chan struct{})}
	go s.receive(t)
	t.Cleanup(s.close)
	return s
}

// close ends receive and closes the descriptors that nobody took.
func (s *Socket) close() {
	s.conn.Close()
	<-s.done
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.received[s.next:] {
		closeAll(m.fds)
	}
}

// Getenv is os.Getenv for a service that is told of this socket and nothing
// else.
func (s *Socket) Getenv(name string) string {
	if name == "NOTIFY_SOCKET" {
		return s.Path
	}
	return ""
}

// Next returns the text of the next datagram and gives the descriptors that
// came with it. It fails the test if none comes in time.
func (s *Socket) Next(t testing.TB, timeout time.Duration) (string, []int) {
	t.Helper()
	late := time.NewTimer(timeout)
	defer late.Stop()
	for {
		m, more := s.take()
		if more == nil {
			return m.text, m.fds
		}
		select {
		case <-more:
		case <-late.C:
			t.Fatalf("nothing was sent in %v; before that: %q", timeout, s.All())
		}
	}
}

// take returns the next message, or what is closed when there is one.
func (s *Socket) take() (message, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == len(s.received) {
		return message{}, s.more
	}
	m := s.received[s.next]
	s.next++
	return m, nil
}

// All returns the texts of all datagrams so far, also of those that Next has
// returned.
func (s *Socket) All() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, m := range s.received {
		all = append(all, m.text)
	}
	return all
}

func (s *Socket) receive(t testing.TB) {
	defer close(s.done)
	text := make([]byte, 1<<16)
	rights := make([]byte, unix.CmsgSpace(253*4)) // SCM_MAX_FD of unix(7)
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(text, rights)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("cannot receive a notification: %v", err)
			return
		}
		s.keep(message{string(text[:n]), descriptors(t, rights[:oobn])})
	}
}

func (s *Socket) keep(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	barrier := m.text == "BARRIER=1"
	fds := m.fds
	if barrier {
		m.fds = nil
	}
	s.received = append(s.received, m)
	close(s.more)
	s.more = make(chan struct{})
	if barrier {
		closeAll(fds)
	}
}

func descriptors(t testing.TB, rights []byte) []int {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		t.Errorf("cannot read the descriptors of a notification: %v", err)
		return nil
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			t.Errorf("cannot read the descriptors of a notification: %v", err)
			continue
		}
		all = slices.Concat(all, fds)
	}
	return all
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
