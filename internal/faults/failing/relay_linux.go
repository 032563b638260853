package main

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"

	"example.com/supervisor/fdpass"
	"golang.org/x/sys/unix"
)

// A relay stands between the supervisor and package service, which knows none of
// the ways to be bad on the channel.
type relay struct {
	raw        int // the channel's descriptor
	supervisor *fdpass.Conn
	service    *fdpass.Conn
	hanging    *freeze
	// deaf holds back what the supervisor says: nothing more is read.
	deaf freeze
	// paused and drain are where the message of that name waits, if it is to.
	paused, drain station
	lying         atomic.Bool
}

// between makes package service speak to this program instead of the supervisor.
func between(hanging *freeze) (*relay, error) {
	fd, err := strconv.Atoi(os.Getenv(fdpass.EnvFD))
	if err != nil {
		return nil, fmt.Errorf("no channel: %w", err)
	}
	r := &relay{hanging: hanging}
	if r.raw, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return nil, err
	}
	if r.supervisor, err = fdpass.FromEnv(); err != nil {
		return nil, err
	}
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	r.service = ours
	inner, err := syscall.Dup(int(theirs.Fd())) // a channel, not a listener: blocking does not matter
	if err != nil {
		return nil, err
	}
	_ = theirs.Close()
	go r.pass(r.service, r.supervisor, r.up)   // end with the process
	go r.pass(r.supervisor, r.service, r.down) //
	return r, os.Setenv(fdpass.EnvFD, strconv.Itoa(inner))
}

// pass passes messages on, as change makes them; nil drops one.
func (r *relay) pass(from, to *fdpass.Conn, change func(fdpass.Message) fdpass.Message) {
	for {
		m, fds, err := from.Receive()
		r.hanging.wait()
		if err != nil {
			_ = to.Close()
			return
		}
		if m = change(m); m != nil {
			_ = to.Send(m, fds...)
		}
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
}

// up changes what the service says.
func (r *relay) up(m fdpass.Message) fdpass.Message {
	if _, ok := m.(fdpass.Paused); ok {
		r.paused.pass()
		r.hanging.wait()
	}
	if s, ok := m.(fdpass.Stats); ok && r.lying.Load() {
		for i := range s.Listeners { // all that it accepts is answered at once
			s.Listeners[i].Accepted += 1000
			s.Listeners[i].Active, s.Listeners[i].Answered = 0, s.Listeners[i].Accepted
		}
		return s
	}
	return m
}

// down changes what the service hears.
func (r *relay) down(m fdpass.Message) fdpass.Message {
	r.deaf.wait()
	if _, ok := m.(fdpass.Drain); ok {
		r.drain.pass()
		r.deaf.wait()
	}
	if !r.lying.Load() {
		return m
	}
	switch m := m.(type) { // it says that it did, and does not
	case fdpass.Pause:
		_ = r.supervisor.Send(fdpass.Paused{ID: m.ID})
	case fdpass.Resume:
		_ = r.supervisor.Send(fdpass.Resumed{ID: m.ID})
	case fdpass.Drain:
		_ = r.supervisor.Send(fdpass.Drained{ID: m.ID})
	default:
		return m
	}
	return nil
}

// lie begins to answer in the service's place, and to answer what nobody asked.
func (r *relay) lie() {
	r.lying.Store(true)
	_ = r.supervisor.Send(fdpass.Ready{})
	for id := uint64(1); id < 50; id++ {
		for _, m := range []fdpass.Message{fdpass.Paused{ID: id}, fdpass.Resumed{ID: id}, fdpass.Drained{ID: id}} {
			_ = r.supervisor.Send(m)
		}
	}
}

// flood says so much that nobody can listen, until the channel is closed.
func (r *relay) flood() {
	for i := 0; ; i++ {
		line := fmt.Sprintf(`{"type":"error","reason":"flood %d"}`, i)
		if _, err := unix.Write(r.raw, []byte(line)); err != nil && err != unix.EAGAIN && err != unix.EINTR {
			_ = unix.Close(r.raw)
			return
		}
	}
}
