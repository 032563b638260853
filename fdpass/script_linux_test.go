package fdpass

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/supervisor/internal/leaktest"
)

// A script is what a child does with its channel. The same scripts are played
// in this process and in one of their own.
type script func(*Conn) error

func childScripts() map[string]script {
	return map[string]script{
		"serves":                    serves,
		"has no room for one more":  func(c *Conn) error { return withRoomFor(c, 0) },
		"has room for three":        func(c *Conn) error { return withRoomFor(c, 3) },
		"other version":             says(`{"type":"hello","protocol":2,"pid":"not a number any more"}`),
		"version 2":                 says(`{"type":"hello","protocol":2,"identity":{"pid":7}}`),
		"no version":                says(`{"type":"hello","pid":7}`),
		"fails at once":             leaves(failed),
		"fails after hello":         leaves(hello, failed),
		"fails and waits":           says(hello, failed),
		"reports an error":          leaves(hello, `{"type":"error","reason":"what is a welcome?"}`),
		"leaves at once":            leaves(),
		"leaves after hello":        leaves(hello),
		"ready before the end":      says(hello, `{"type":"ready"}`),
		"hello twice":               says(hello, hello),
		"no JSON":                   says("GET / HTTP/1.1\r\n\r\n"),
		"unknown type":              says(`{"type":"bonjour"}`),
		"huge numbers":              says(`{"type":"hello","protocol":1e30,"pid":1}`),
		"wrong types":               says(`{"type":"hello","protocol":"1","pid":[1]}`),
		"received before hello":     says(`{"type":"received","batch":1,"count":1,"cookies":["1"]}`),
		"empty packet":              says(""),
		"descriptors with hello":    func(c *Conn) error { return gifts(c, hello, 1) },
		"253 descriptors, no words": func(c *Conn) error { return gifts(c, "", kernelBatch) },
		"wrong batch":               answers(func(m *Received) { m.Batch++ }),
		"wrong count":               answers(func(m *Received) { m.Count-- }),
		"cookie missing":            answers(func(m *Received) { m.Cookies = m.Cookies[1:] }),
		"cookie too many":           answers(func(m *Received) { m.Cookies = append(m.Cookies, 1) }),
		"wrong cookie":              answers(func(m *Received) { m.Cookies[1]++ }),
		"cookies in another order":  answers(func(m *Received) { slices.Reverse(m.Cookies) }),
		"no cookies":                answers(func(m *Received) { m.Cookies = nil }),
		"floods":                    floods,
	}
}

const (
	hello  = `{"type":"hello","protocol":1,"pid":7}`
	failed = `{"type":"failed","reason":"no database"}`
)

// playScript is the main function of a child process.
func playScript(name string) int {
	c, err := FromEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := childScripts()[name](c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// leaves sends packets and is gone.
func leaves(packets ...string) script {
	return func(c *Conn) error {
		defer c.Close()
		for _, p := range packets {
			if err := c.sendText(p); err != nil {
				return err
			}
		}
		return nil
	}
}

// says sends packets, then reads what the supervisor has to say.
func says(packets ...string) script {
	return func(c *Conn) error {
		defer c.Close()
		for _, p := range packets {
			if err := c.sendText(p); err != nil {
				return err
			}
		}
		return wantsError(c)
	}
}

// wantsError reads to the end. A child that broke the protocol is told so.
func wantsError(c *Conn) error {
	all, err := untilEOF(c)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		if _, ok := all[len(all)-1].(Error); ok {
			return nil
		}
	}
	return fmt.Errorf("the supervisor did not say error but %v", all)
}

func gifts(c *Conn, packet string, n int) error {
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	fds := make([]int, n)
	for i := range fds {
		fds[i] = int(w.Fd())
	}
	err = c.sendText(packet, fds...)
	w.Close()
	if err != nil {
		return err
	}
	// The end of the pipe comes when the last copy of its other end is closed.
	if err := r.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		return fmt.Errorf("the supervisor kept a descriptor: %w", err)
	}
	return wantsError(c)
}

// answers plays the handoff with an acknowledgement that is changed.
func answers(change func(*Received)) script {
	return func(c *Conn) error {
		defer c.Close()
		if err := c.sendText(hello); err != nil {
			return err
		}
		if _, fds, err := c.Receive(); err != nil || len(fds) != 0 {
			return fmt.Errorf("welcome: %v, %w", fds, err)
		}
		m, fds, err := c.Receive()
		if err != nil {
			return err
		}
		closeFDs(fds)
		batch := m.(Listeners)
		r := Received{Batch: batch.Batch, Count: len(batch.Listeners)}
		for _, l := range batch.Listeners {
			r.Cookies = append(r.Cookies, l.Cookie)
		}
		change(&r)
		if err := c.Send(r); err != nil {
			return err
		}
		return wantsError(c)
	}
}

// floods sends for as long as it is let; the supervisor must not read it all.
func floods(c *Conn) error {
	defer c.Close()
	for {
		if err := c.sendText(`{"type":"stats","listeners":[]}`); err != nil {
			if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
				return nil
			}
			return err
		}
	}
}

// serves is a well-behaved child: after drain it exits.
func serves(c *Conn) error {
	defer c.Close()
	_, ls, probe, err := Accept(c, Hello{})
	if err != nil {
		return err
	}
	defer closeListeners(ls)
	if probe >= 0 {
		defer closeFDs([]int{probe})
	}
	for _, l := range ls {
		if err := isNonblocking(l.FD); err != nil {
			return fmt.Errorf("listener %q: %w", l.Name, err)
		}
	}
	if err := c.Send(Ready{}); err != nil {
		return err
	}
	if len(ls) > 0 {
		if err := greetOne(ls[0]); err != nil {
			return err
		}
	}
	for {
		m, _, err := c.Receive()
		if err != nil {
			return fmt.Errorf("drain never came: %w", err)
		}
		if d, ok := m.(Drain); ok {
			return c.Send(Drained{ID: d.ID, Accepted: 1})
		}
	}
}

func isNonblocking(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		err = errors.New("O_NONBLOCK is not set")
	}
	return err
}

// greetOne accepts one connection, waiting for it without changing any flag.
func greetOne(l Listener) error {
	poll := []unix.PollFd{{Fd: int32(l.FD), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, 20000); err != nil && err != unix.EINTR {
			return err
		}
		fd, _, err := unix.Accept4(l.FD, unix.SOCK_CLOEXEC)
		if err == unix.EINTR || err == unix.EAGAIN && poll[0].Revents == 0 {
			continue
		}
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, []byte(l.Name))
		unix.Close(fd)
		return err
	}
}

// withRoomFor lowers the limit of open descriptors, so that only n of the
// listeners fit, and expects to be told.
func withRoomFor(c *Conn, n int) error {
	defer c.Close()
	highest, err := fillGaps()
	if err != nil {
		return err
	}
	before := leaktest.Open()
	if err := setLimit(func(r *unix.Rlimit) { r.Cur = uint64(highest + 1 + n) }); err != nil {
		return err
	}
	_, _, _, lost := Accept(c, Hello{})
	if !errors.Is(lost, ErrDescriptorsLost) || !strings.Contains(lost.Error(), "LimitNOFILE=") {
		return fmt.Errorf("want lost descriptors, got %w", lost)
	}
	if err := setLimit(func(r *unix.Rlimit) { r.Cur = r.Max }); err != nil {
		return err
	}
	if leaked := leaktest.Since(before, nil); len(leaked) > 0 {
		return fmt.Errorf("leaked descriptors: %v", leaked)
	}
	return nil
}

// fillGaps opens files until every number below the highest one in use is
// taken, so that a limit says exactly how many more fit.
func fillGaps() (highest int, err error) {
	for fd := range leaktest.Open() {
		highest = max(highest, fd)
	}
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil || fd > highest {
			return fd, err
		}
	}
}

func setLimit(change func(*unix.Rlimit)) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return err
	}
	change(&r)
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
}

// dial fetches the greeting of a child that serves.
func dial(address string) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}
