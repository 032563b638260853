package service

import (
	"fmt"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

const (
	// notifyWait is how long a datagram waits for room in systemd's queue.
	notifyWait = time.Second
	// maxStatus is the length of the longest STATUS, in bytes; systemd ignores a
	// datagram of more than 4,096.
	maxStatus = 1024
)

// A notifier tells systemd of the service (sd_notify(3)). The zero value tells
// nobody. It holds no descriptor and may be used concurrently.
type notifier struct {
	address  string        // of NOTIFY_SOCKET
	watchdog time.Duration // 0: systemd expects no sign of life
}

// takeNotifier reads the variables and removes them: what this program starts is
// not to speak for the service.
func takeNotifier() (notifier, error) {
	address, usec, pid := os.Getenv("NOTIFY_SOCKET"), os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		_ = os.Unsetenv(name) // fails on no such name
	}
	return notifierOf(address, usec, pid, os.Getpid())
}

// notifierOf judges the variables of the process self.
func notifierOf(address, usec, pid string, self int) (notifier, error) {
	if address == "" {
		return notifier{}, nil
	}
	if address[0] != '/' && address[0] != '@' || len(address) < 2 {
		return notifier{}, fmt.Errorf("cannot use NOTIFY_SOCKET=%q: it is neither an absolute path nor an abstract name, which begins with \"@\"; "+
			"take it out of Environment= of the service unit, systemd sets it", address)
	}
	n := notifier{address: address}
	if usec == "" || pid != "" && pid != strconv.Itoa(self) {
		return n, nil
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us <= 0 || us > math.MaxInt64/int64(time.Microsecond) {
		return notifier{}, fmt.Errorf("cannot use WATCHDOG_USEC=%q: it is not a number of microseconds above 0; "+
			"set WatchdogSec= in the service unit, and take the variable out of its Environment=", usec)
	}
	n.watchdog = time.Duration(us) * time.Microsecond
	return n, nil
}

func (n notifier) on() bool { return n.address != "" }

// reloading says that an upgrade begins. The time is that by which systemd knows,
// for Type=notify-reload, that this is the reload it asked for.
func (n notifier) reloading() error {
	if !n.on() {
		return nil
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("cannot tell systemd of a reload: %w", os.NewSyscallError("clock_gettime", err))
	}
	return n.send("RELOADING=1", "MONOTONIC_USEC="+strconv.FormatInt(now.Nano()/1000, 10), "STATUS=upgrading")
}

// kept says that an upgrade is over and has failed.
func (n notifier) kept(why error) error {
	return n.send("READY=1", "STATUS=upgrade failed: "+printable(why.Error()))
}

// replaced says that an upgrade is over. It does not say MAINPID=: see
// leavePIDFile.
func (n notifier) replaced(by int) error {
	return n.send("READY=1", "STATUS=upgraded: process "+strconv.Itoa(by)+" serves")
}

// send sends the lines as one datagram and waits a second at most for a systemd
// that does not read.
func (n notifier) send(lines ...string) error {
	if !n.on() {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.address, Net: "unixgram"})
	if err == nil {
		defer conn.Close()
		if err = conn.SetWriteDeadline(time.Now().Add(notifyWait)); err == nil {
			_, err = conn.Write([]byte(strings.Join(lines, "\n")))
		}
	}
	if err != nil {
		return fmt.Errorf("cannot tell systemd %s: %w", lines[0], err)
	}
	return nil
}

// notify logs what could not be said: the service can do without.
func (a *solo) notify(err error) {
	if err != nil {
		a.service.log.Warn("systemd was not told", "err", err)
	}
}

// beat gives systemd's watchdog its signs of life: what they prove is that this
// process runs goroutines. They come often enough that the time between the last
// of one process and the first of the next is not too long: the next waits, since
// systemd may not know it yet.
func (a *solo) beat() {
	ticker := time.NewTicker(max(a.systemd.watchdog/4, time.Millisecond))
	defer ticker.Stop()
	if a.before == nil {
		a.notify(a.systemd.send("WATCHDOG=1"))
	}
	for {
		select {
		case <-ticker.C:
			a.notify(a.systemd.send("WATCHDOG=1"))
		case <-a.life.Done():
			return
		}
	}
}

// printable makes one line of at most maxStatus bytes of UTF-8.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > maxStatus {
		text = strings.ToValidUTF8(text[:maxStatus], "")
	}
	return text
}
