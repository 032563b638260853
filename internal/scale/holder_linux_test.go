package scale

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// holderEnv makes the test binary a holder, by its order.
	holderEnv = "SUPERVISOR_SCALE_HOLDER"
	// atOnce is how many connections of a holder are opened, or asked, at a time.
	atOnce = 128
	// spare is how many descriptors a process needs besides connections.
	spare = 1000
	// answerTime is how long an answer may take.
	answerTime = 30 * time.Second
)

// most is how many connections one process may have open (RLIMIT_NOFILE,
// getrlimit(2)): a client, or a generation.
func most(tb testing.TB) int {
	tb.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		tb.Fatal(err)
	}
	return int(min(limit.Max, 1<<20)) - spare
}

// An order tells a holder what to open.
type order struct {
	Connections int
	Address     string
	Source      string // the address to come from: each has its own ports
}

// An echoed is how a holder's connections answered.
type echoed struct {
	Answered, Lost int
	First          string // what went wrong first
}

// A holder is a process of clients that have connections open.
type holder struct {
	order
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// hold opens connections, each of which is answered once.
func hold(tb testing.TB, o order) *holder {
	tb.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	h := &holder{order: o, cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), holderEnv+"="+string(text))
	h.cmd.Stderr = os.Stderr
	in, err := h.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	h.in, h.out = in, bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if h.cmd.ProcessState == nil {
			_ = h.cmd.Process.Kill()
			_ = h.cmd.Wait()
		}
	})
	if e := h.answer(tb); e.Answered != o.Connections {
		tb.Fatalf("cannot open %d connections to %s from %s: %+v", o.Connections, o.Address, o.Source, e)
	}
	return h
}

// ask has every connection answer once more.
func (h *holder) ask(tb testing.TB) echoed {
	tb.Helper()
	if _, err := io.WriteString(h.in, "\n"); err != nil {
		tb.Fatalf("a holder of connections is gone: %v", err)
	}
	return h.answer(tb)
}

func (h *holder) answer(tb testing.TB) (e echoed) {
	tb.Helper()
	line, err := h.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		tb.Fatalf("a holder of connections is gone: %v", err)
	}
	return e
}

// letGo closes all connections.
func (h *holder) letGo(tb testing.TB) {
	tb.Helper()
	_ = h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		tb.Errorf("a holder of connections: %v", err)
	}
}

// beHolder is the holder's own process: it opens its connections, and asks them at
// each line that it reads.
func beHolder(text string, in io.Reader, out io.Writer) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	all, opened := open(o)
	answers := json.NewEncoder(out)
	if err := answers.Encode(opened); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		e := each(len(all), func(i int) error { return exchange(all[i], i) })
		if err := answers.Encode(e); err != nil {
			return err
		}
	}
	for _, c := range all {
		if c != nil {
			_ = c.Close()
		}
	}
	return nil
}

// open opens the connections and asks each once, so that it was accepted.
func open(o order) ([]net.Conn, echoed) {
	all := make([]net.Conn, o.Connections)
	dialer := net.Dialer{Timeout: answerTime, KeepAlive: -1, Control: bindWithoutPort}
	if o.Source != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(o.Source)}
	}
	e := each(len(all), func(i int) (err error) {
		if all[i], err = dialer.Dial("tcp", o.Address); err != nil {
			return err
		}
		return exchange(all[i], i)
	})
	return all, e
}

// bindWithoutPort lets connect choose the port instead of bind, which looks for one
// that is free for every destination, and takes ever longer for it
// (IP_BIND_ADDRESS_NO_PORT, ip(7)).
func bindWithoutPort(_, _ string, c syscall.RawConn) error {
	var inner error
	err := c.Control(func(fd uintptr) {
		inner = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	return errors.Join(err, inner)
}

// each calls f for every connection, some at a time.
func each(n int, f func(i int) error) (e echoed) {
	var next atomic.Int64
	var mu sync.Mutex
	var calls sync.WaitGroup
	for range min(atOnce, n) {
		calls.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				err := f(i)
				mu.Lock()
				if err == nil {
					e.Answered++
				} else if e.Lost++; e.First == "" {
					e.First = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	calls.Wait()
	return e
}

// exchange says something of its own on a connection and expects it back.
func exchange(c net.Conn, number int) error {
	if c == nil {
		return errors.New("it was never open")
	}
	if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	said := fmt.Sprintf("%016d", number)
	if _, err := io.WriteString(c, said); err != nil {
		return err
	}
	heard := make([]byte, len(said))
	if _, err := io.ReadFull(c, heard); err != nil {
		return err
	}
	if string(heard) != said {
		return fmt.Errorf("said %s, heard %s", said, heard)
	}
	return c.SetDeadline(time.Time{})
}
