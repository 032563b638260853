package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// takeOrders listens for orders: a line each, answered by "ok" or an error in a
// line, but for "go" and "hear", which are not answered.
func (b *body) takeOrders() error {
	l, err := net.Listen("unix", b.file("order"))
	if err != nil {
		return err
	}
	go func() { // ends with the process
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.obey(c) // as well
		}
	}()
	return nil
}

func (b *body) obey(c net.Conn) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		verb, what, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "go":
			b.station(what).end()
			continue
		case "hear":
			b.relay.deaf.end()
			continue
		}
		answer := "ok"
		if err := b.order(verb, what); err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(c, answer)
	}
}

func (b *body) station(name string) *station {
	return map[string]*station{"ready": &b.ready, "probe": &b.probe, "paused": &b.relay.paused, "drain": &b.relay.drain}[name]
}

// order does what is ordered: first what holds it in a phase, then how it can fail.
func (b *body) order(verb, what string) error {
	switch verb {
	case "hold":
		b.station(what).hold()
	case "await": // that somebody is held there
		<-b.station(what).arrived()
	case "draining":
		<-b.joined
		<-b.service.Draining()
	case "exit":
		os.Exit(7)
	case "hang":
		b.hanging.begin()
		b.begun.Do(func() { go ignoreTerm() }) // ends with the process
	case "block-handlers":
		b.handling.begin()
	case "close", "shutdown", "set-blocking", "shrink":
		return spoil(verb)
	case "leak":
		return leak(1000)
	case "exhaust":
		return b.exhaust()
	case "allocate":
		allocate()
	case "fork":
		return fork()
	case "ignore-term":
		b.begun.Do(func() { go ignoreTerm() }) // ends with the process
		b.relay.drain.hold()
	case "lie":
		b.relay.lie()
	case "flood":
		b.begun.Do(func() { go b.relay.flood() }) // ends with the channel
	case "deaf":
		b.relay.deaf.begin()
	default:
		return fmt.Errorf("unknown order %q", verb)
	}
	return nil
}

// listening are the descriptors of the service's listener in this process, its own
// copies included.
func listening() (fds []int, err error) {
	entries, err := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			continue
		}
		family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || family == unix.AF_UNIX { // no socket; orders and probes
			continue
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 1 {
			fds = append(fds, fd)
		}
	}
	if err == nil && len(fds) == 0 {
		err = errors.New("it has no listener")
	}
	return fds, err
}

// spoil does to the listener what concerns all who share it, and "close" to this
// process's copies.
func spoil(how string) error {
	fds, err := listening()
	if err != nil {
		return err
	}
	for _, fd := range fds {
		switch how {
		case "close":
			err = become(fd, "/dev/null")
		case "shutdown":
			err = unix.Shutdown(fd, unix.SHUT_RDWR)
		case "set-blocking":
			err = unix.SetNonblock(fd, false)
		case "shrink":
			err = unix.Listen(fd, 1)
		}
		if how != "close" || err != nil {
			return err // they are one socket
		}
	}
	return nil
}

// become closes fd, and has its number be that file: it shall not become another
// socket while the runtime believes it to be the listener.
func become(fd int, path string) error {
	other, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(other)
	return unix.Dup3(other, fd, unix.O_CLOEXEC)
}

// leak leaves n copies of the listener open, or of standard input where there is
// none any more.
func leak(n int) error {
	what := 0
	if fds, err := listening(); err == nil {
		what = fds[0]
	}
	for range n {
		if _, err := unix.FcntlInt(uintptr(what), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return err
		}
	}
	return nil
}

// exhaust takes every descriptor that there is, and those that come free.
func (b *body) exhaust() error {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 512, Max: 512}); err != nil {
		return err
	}
	grab := func() {
		for {
			if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				return
			}
		}
	}
	grab()
	b.stop.Do(func() {
		go func() { // ends with the process
			for range time.Tick(time.Millisecond) {
				grab()
			}
		}()
	})
	return nil
}

// allocate needs more memory than whoever orders it has left to this process.
func allocate() {
	all := make([]byte, 256<<20)
	for i := 0; i < len(all); i += os.Getpagesize() {
		all[i] = 1
	}
	runtime.KeepAlive(all)
}

// fork leaves two processes that hold the listener; one has left the process group.
func fork() error {
	fds, err := listening()
	if err != nil {
		return err
	}
	if _, err := unix.Dup(fds[0]); err != nil { // without close-on-exec: a program that is started has it
		return err
	}
	for _, own := range []bool{false, true} {
		child := exec.Command("sleep", "300")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: own}
		if err := child.Start(); err != nil {
			return err
		}
	}
	return nil
}

// ignoreTerm takes back, again and again, what package service does about SIGTERM.
func ignoreTerm() {
	for range time.Tick(5 * time.Millisecond) {
		signal.Ignore(syscall.SIGTERM)
	}
}
