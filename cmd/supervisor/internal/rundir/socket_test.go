package rundir

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// control opens a control socket, and a server of it that says one letter.
func control(t *testing.T) *Socket {
	t.Helper()
	d := openDir(t, Place{Path: filepath.Join(t.TempDir(), "web")})
	s, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// greets accepts until the socket is closed, and says one letter to each.
func greets(t *testing.T, s *Socket) (ended <-chan error) {
	t.Helper()
	end := make(chan error, 1)
	go func() { // ended by Close
		for {
			conn, err := s.Accept()
			if err != nil {
				end <- err
				return
			}
			_, _ = conn.Write([]byte("s"))
			_ = conn.Close()
		}
	}()
	return end
}

// greeted says why a client of the path is not greeted.
func greeted(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

func TestRemovedSocketIsMadeAnew(t *testing.T) {
	t.Parallel()
	s := control(t)
	path := s.Addr().String()
	ended := greets(t, s)
	for range 3 {
		if renewed, err := s.Renew(); renewed || err != nil {
			t.Errorf("of a socket that is there: %v, %v", renewed, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := greeted(path); err == nil {
			t.Error("a socket without a file can be connected to")
		}
		if renewed, err := s.Renew(); !renewed || err != nil {
			t.Errorf("of a socket that is gone: %v, %v", renewed, err)
		}
		if err := greeted(path); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v; want mode 0600", info, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ends with %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file is left: %v", err)
	}
	if renewed, err := s.Renew(); renewed || err != nil {
		t.Errorf("of a closed socket: %v, %v", renewed, err)
	}
}

// TestSocketThatIsGivenAwayStays: who takes a supervisor's place has its socket,
// which must not become another one meanwhile.
func TestSocketThatIsGivenAwayStays(t *testing.T) {
	t.Parallel()
	s := control(t)
	if err := errors.Join(s.SetDeadline(time.Unix(1, 0)), os.Remove(s.Addr().String())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Accept ends with %v", err)
	}
	if renewed, err := s.Renew(); renewed || err != nil {
		t.Errorf("while it is given away: %v, %v", renewed, err)
	}
	if err := s.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if renewed, err := s.Renew(); !renewed || err != nil {
		t.Errorf("when it was not: %v, %v", renewed, err)
	}
}
