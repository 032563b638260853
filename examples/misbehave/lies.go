package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"example.com/supervisor/fdpass"
)

// lies are the ways of being bad on the channel. To tell them, the program puts
// itself between the supervisor and package service, which knows none.
type lies struct {
	protocol     int
	wrongCookies bool
	garbage      bool
	closes       bool
	floods       bool
	ignorePause  bool
	ignoreResume bool
	ignoreDrain  bool
	readyLate    bool

	raw        int // the channel's descriptor
	supervisor *fdpass.Conn
	service    *fdpass.Conn
}

func (l *lies) flags() {
	flag.IntVar(&l.protocol, "protocol", fdpass.Protocol, "say that it speaks this `version` of the protocol")
	flag.BoolVar(&l.wrongCookies, "wrong-cookies", false, "acknowledge other sockets than it got")
	flag.BoolVar(&l.garbage, "garbage", false, "send what is no message instead of ready")
	flag.BoolVar(&l.closes, "close-channel", false, "close the channel instead of saying ready, and live on")
	flag.BoolVar(&l.floods, "flood-channel", false, "send messages without end instead of ready")
	flag.BoolVar(&l.ignorePause, "ignore-pause", false, "do not hear pause")
	flag.BoolVar(&l.ignoreResume, "ignore-resume", false, "do not hear resume")
	flag.BoolVar(&l.ignoreDrain, "ignore-drain", false, "do not hear drain")
	flag.BoolVar(&l.readyLate, "ready-late", false, "accept without saying ready, and say it when drain comes, as if the two had crossed")
}

// told reports whether there is any lie to tell.
func (l *lies) told() bool {
	return l.protocol != fdpass.Protocol || l.wrongCookies || l.garbage || l.closes || l.floods ||
		l.ignorePause || l.ignoreResume || l.ignoreDrain || l.readyLate
}

// begin makes package service speak to this program instead of the supervisor.
func (l *lies) begin() error {
	number, supervised := os.LookupEnv(fdpass.EnvFD)
	if !l.told() || !supervised {
		return nil
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	if l.raw, err = syscall.Dup(fd); err != nil {
		return err
	}
	if l.supervisor, err = fdpass.FromEnv(); err != nil {
		return err
	}
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		return err
	}
	l.service = ours
	inner, err := syscall.Dup(int(theirs.Fd())) // a channel, not a listener: blocking does not matter
	if err != nil {
		return err
	}
	_ = theirs.Close()
	go relay(l.service, l.supervisor, l.up)   // end with the process
	go relay(l.supervisor, l.service, l.down) //
	return os.Setenv(fdpass.EnvFD, strconv.Itoa(inner))
}

// relay passes messages on, as change makes them; nil drops one.
func relay(from, to *fdpass.Conn, change func(fdpass.Message) fdpass.Message) {
	for {
		m, fds, err := from.Receive()
		if err != nil {
			_ = to.Close()
			return
		}
		if m = change(m); m != nil {
			_ = to.Send(m, fds...)
		}
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
	}
}

// up changes what the service says.
func (l *lies) up(m fdpass.Message) fdpass.Message {
	switch m := m.(type) {
	case fdpass.Hello:
		m.Protocol = l.protocol
		return m
	case fdpass.Received:
		if l.wrongCookies {
			for i := range m.Cookies {
				m.Cookies[i] += 1000
			}
		}
		return m
	case fdpass.Ready:
		return l.insteadOfReady()
	}
	return m
}

func (l *lies) insteadOfReady() fdpass.Message {
	switch {
	case l.readyLate:
		return nil
	case l.garbage:
		_, _ = syscall.Write(l.raw, []byte("this is no JSON"))
		return nil
	case l.closes:
		_ = syscall.Shutdown(l.raw, syscall.SHUT_RDWR)
		hang()
	case l.floods:
		for i := 0; ; i++ {
			line := fmt.Sprintf(`{"type":"error","reason":"flood %d"}`, i)
			if _, err := syscall.Write(l.raw, []byte(line)); err != nil && err != syscall.EAGAIN {
				hang()
			}
		}
	}
	return fdpass.Ready{}
}

// down changes what the service hears.
func (l *lies) down(m fdpass.Message) fdpass.Message {
	switch m.(type) {
	case fdpass.Pause:
		if l.ignorePause {
			return nil
		}
	case fdpass.Resume:
		if l.ignoreResume {
			return nil
		}
	case fdpass.Drain:
		if l.ignoreDrain {
			return nil
		}
		if l.readyLate {
			_ = l.supervisor.Send(fdpass.Ready{})
		}
	}
	return m
}
