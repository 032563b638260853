package service

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pairOfLines are both ends of a line.
func pairOfLines(t *testing.T) (one, other *line) {
	t.Helper()
	one, end, err := newLine()
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if other, err = lineOf(end); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { one.close(); other.close() })
	return one, other
}

// TestEstateGoesOverALine: many more descriptors than one message may carry, each
// to its name, and words before and after them.
func TestEstateGoesOverALine(t *testing.T) {
	t.Parallel()
	one, other := pairOfLines(t)
	sent := estate{Notify: "/run/notify", Watchdog: time.Second, Unit: true, Activated: true}
	var sockets []*os.File
	for i := range 300 {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sockets = append(sockets, f)
		sent.Listeners = append(sent.Listeners, heirloom{Name: strconv.Itoa(i), Network: "tcp", Kept: i%2 == 0, fd: int(f.Fd())})
	}
	given := make(chan error, 1)
	go func() { given <- errors.Join(one.give(sent), one.say(word{Serve: true})) }() // joined below
	got, err := other.take()
	if err := errors.Join(err, <-given); err != nil {
		t.Fatal(err)
	}
	defer got.close()
	for i, h := range got.Listeners {
		var a, b unix.Stat_t
		if err := errors.Join(unix.Fstat(h.fd, &a), unix.Fstat(int(sockets[i].Fd()), &b)); err != nil || a.Ino != b.Ino {
			t.Errorf("descriptor %d is another file: %v", i, err)
		}
		if flags, err := unix.FcntlInt(uintptr(h.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be inherited: %v", i, err)
		}
		h.fd = sent.Listeners[i].fd
		if !reflect.DeepEqual(h, sent.Listeners[i]) {
			t.Errorf("%+v instead of %+v", h, sent.Listeners[i])
		}
	}
	if w, err := other.hear(); err != nil || !w.Serve {
		t.Errorf("%+v, %v", w, err)
	}
}

func wordOf(text string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
}

// TestLineThatMakesNoSense is an error, not a panic or a wait, and takes no more
// memory than a word may have.
func TestLineThatMakesNoSense(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ bytes, want string }{
		"nothing":       {"", io.EOF.Error()},
		"half a length": {"\x00\x00", io.ErrUnexpectedEOF.Error()},
		"too long":      {"\xff\xff\xff\xff", "too long"},
		"half a word":   {"\x00\x00\x00\x09{}", io.ErrUnexpectedEOF.Error()},
		"no JSON":       {wordOf("{]"), "invalid character"},
		"another word":  {wordOf(`{"serve":true}`), "something else first"},
		"no descriptor": {wordOf(`{"estate":{"listeners":[{"name":"a"}]}}`) + "\x00", "no descriptor came"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := pairOfLines(t)
			if _, err := one.conn.Write([]byte(c.bytes)); err != nil {
				t.Fatal(err)
			}
			one.close()
			if e, err := other.take(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
}
