package systemd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

const (
	// notifyWait is how long a datagram waits for room in the queue of the
	// service manager. It reads them as they come unless something is wrong.
	notifyWait = time.Second
	// maxStatus is the length of the longest STATUS, in bytes. systemd ignores
	// a datagram of more than 4,096 (NOTIFY_BUFFER_MAX in its notify-recv.h).
	maxStatus = 1024
	// maxSocketPath is sun_path without its NUL (unix(7)).
	maxSocketPath = 107
)

// A Notifier tells the service manager about this service (sd_notify(3)). A nil
// one, and one made without NOTIFY_SOCKET, does nothing and returns no error. It
// holds no descriptor and may be used by several goroutines at once.
//
// No call waits longer than a second for a service manager that does not read;
// Barrier then waits on for its context. An error means that it was not told,
// or not yet: there is no telling whether it did what it was told.
//
// A status is a line of words; what is not printable becomes a space, and of a
// long one the first 1,024 bytes are sent. An empty one changes nothing, but
// for Status.
type Notifier struct {
	// address is that of NOTIFY_SOCKET, empty if nobody is told.
	address string
	// watchdog is the time of WATCHDOG_USEC, 0 if there is none.
	watchdog time.Duration
}

// NewNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and leaves
// them set: a supervisor that executes itself needs them again. Without
// NOTIFY_SOCKET the Notifier does nothing. A value that makes no sense is an
// error.
func NewNotifier(getenv func(string) string) (*Notifier, error) {
	n := &Notifier{address: getenv("NOTIFY_SOCKET")}
	if n.address == "" {
		return n, nil
	}
	if err := judgeAddress(n.address); err != nil {
		return nil, fmt.Errorf("cannot use NOTIFY_SOCKET=%q: %w", n.address, err)
	}
	var err error
	n.watchdog, err = watchdogTime(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"), os.Getpid())
	if err != nil {
		return nil, err
	}
	return n, nil
}

func judgeAddress(address string) error {
	switch {
	case strings.HasPrefix(address, "vsock"):
		return errors.New("it leads out of a virtual machine by vsock, which is not supported; have the service manager of the machine run this program")
	case address[0] != '/' && address[0] != '@':
		return errors.New(`it is neither an absolute path nor an abstract name, which begins with "@"`)
	case len(address) < 2:
		return errors.New("it has no name")
	case len(address) > maxSocketPath:
		return fmt.Errorf("it is longer than %d bytes", maxSocketPath)
	}
	return nil
}

// On reports whether anybody is told.
func (n *Notifier) On() bool { return n != nil && n.address != "" }

// Ready says that the start, or a reload, is over.
func (n *Notifier) Ready(status string) error {
	return n.send(daemon.SdNotifyReady, statusLine(status))
}

// Reloading says that an upgrade begins. Ready has to follow, whatever becomes
// of it. It carries the time by which systemd knows, for Type=notify-reload, that
// this is the reload it asked for (systemd 253 and later).
func (n *Notifier) Reloading(status string) error {
	if !n.On() {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("cannot tell systemd of a reload: %w", os.NewSyscallError("clock_gettime", err))
	}
	monotonic := fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/int64(time.Microsecond))
	return n.send(daemon.SdNotifyReloading, monotonic, statusLine(status))
}

// Status says in words what goes on, for systemctl status. An empty text clears
// what was said before.
func (n *Notifier) Status(text string) error {
	return n.send("STATUS=" + printable(text))
}

// Stopping says that the service ends. Since systemd 259 there is no way back
// from it.
func (n *Notifier) Stopping(status string) error {
	return n.send(daemon.SdNotifyStopping, statusLine(status))
}

// ExtendTimeout asks that the start, the stop or the run that is under way may
// take d longer, counted from now, in whole microseconds and at least one.
func (n *Notifier) ExtendTimeout(d time.Duration) error {
	return n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", max(d.Microseconds(), 1)))
}

// send joins the lines that are not empty to one datagram.
func (n *Notifier) send(lines ...string) error {
	return n.sendWith(nil, lines...)
}

// sendWith borrows the descriptors.
func (n *Notifier) sendWith(fds []int, lines ...string) error {
	if !n.On() {
		return nil
	}
	var state []byte
	for _, line := range lines {
		if line == "" {
			continue
		}
		if len(state) > 0 {
			state = append(state, '\n')
		}
		state = append(state, line...)
	}
	err := sendDatagram(n.address, state, notifyWait, fds...)
	if isStuck(err) {
		err = fmt.Errorf("%w: its queue has been full for %v", err, notifyWait)
	}
	if err != nil {
		return fmt.Errorf("cannot tell systemd %s: %w", lines[0], err)
	}
	return nil
}

func statusLine(text string) string {
	if text == "" {
		return ""
	}
	return "STATUS=" + printable(text)
}

// printable makes one line of at most maxStatus bytes of UTF-8, which is what
// systemd accepts.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= maxStatus {
		return text
	}
	const more = "…"
	end := maxStatus - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}
