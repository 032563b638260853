package control

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
)

// TestAnswerThatBreaksOffIsLost: a supervisor that is killed may have sent some
// lines of its answer, or a part of the body, which do not say what has happened.
func TestAnswerThatBreaksOffIsLost(t *testing.T) {
	t.Parallel()
	const (
		head   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n"
		answer = head + `{"reexec":{"to":{}}}`
	)
	for n := range len(answer) {
		if 0 < n && n < len(head) && answer[n-1] != '\n' {
			continue
		}
		socket := filepath.Join(t.TempDir(), "control.sock")
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { // joined below
			conn, err := l.Accept()
			if err == nil {
				_, err = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer[:n])
				err = errors.Join(err, conn.Close())
			}
			served <- err
		}()
		_, err = NewClient(socket).Reexec(t.Context(), "")
		if !errors.Is(err, ErrLost) {
			t.Errorf("after %q the client says %v", answer[:n], err)
		}
		if err := errors.Join(<-served, l.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
