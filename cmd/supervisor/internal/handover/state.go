// Package handover is the form in which a supervisor leaves its state to the
// next one: to another binary that it executes in its place, through a sealed
// memfd, or to the one that is started when it was killed, through a file in
// the run directory.
//
// It guarantees that what is read is what was written, whole, by a version that
// this one understands: everything else is an error that says what it is, and
// none of it is believed. What the state means is not its business.
package handover

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/upgrade"
)

const (
	// Version is that of the states which this package writes.
	Version = 1
	// oldestReader is the version whose readers may take what this one writes
	// and ignore the fields that they do not know.
	oldestReader = 1
	// oldestRead is the oldest version that this package reads: the previous
	// one, once there is one.
	oldestRead = 1
	// newestRead is the newest, if it says that this version may read it.
	newestRead = Version + 1
)

// State is all that a supervisor knows and the next one cannot see for itself.
//
// Descriptors are numbers in the process that inherits them, which owns them;
// 0 means none, also where a killed supervisor has left nothing to inherit.
type State struct {
	// Version and Reads are set by Encode. Reads is the oldest version whose
	// readers understand this.
	Version int `json:"version"`
	Reads   int `json:"reads"`
	// Writer is the version of the binary that wrote this, for people.
	Writer string `json:"writer"`
	// Boot is the boot in which it was written, as in ThisBoot: the pids and
	// times in it mean nothing in another.
	Boot string `json:"boot"`
	// Written is when, on the clock of CLOCK_BOOTTIME.
	Written time.Duration `json:"written_ns"`
	// Supervisor is the part of package upgrade.
	Supervisor upgrade.State `json:"supervisor"`
	Listeners  []Listener    `json:"listeners,omitempty"`
	// Control and Scrape are the listening sockets of the control API and of
	// the metrics, Lock the locked run directory.
	Control int `json:"control_fd,omitempty"`
	Scrape  int `json:"scrape_fd,omitempty"`
	Lock    int `json:"lock_fd,omitempty"`
	// Streams are connections whose clients wait for an answer.
	Streams []Stream `json:"streams,omitempty"`
	// RunDir is the run directory, absolute.
	RunDir string `json:"run_dir,omitempty"`
	// Made are the directories that were made for the run directory, outermost
	// first, and are removed with it.
	Made []string `json:"made,omitempty"`
	// Metrics are the counters, in the form of whoever keeps them.
	Metrics json.RawMessage `json:"metrics,omitempty"`
	// Queues is what was counted of the accept queues, likewise.
	Queues json.RawMessage `json:"queues,omitempty"`
}

// Listener is a listening socket of the service.
type Listener struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Address string `json:"address"`
	// Cookie identifies the socket: SO_COOKIE of socket(7).
	Cookie uint64 `json:"cookie"`
	FD     int    `json:"fd,omitempty"`
	// Kept tells that the service manager holds the socket too.
	Kept bool `json:"kept,omitempty"`
	// Spec is what --listen said of it; "" if nothing did.
	Spec string `json:"spec,omitempty"`
	// File is the file of a Unix socket that the supervisor made, and removes at
	// its end; nil if there is none.
	File *FileIdentity `json:"file,omitempty"`
}

// FileIdentity tells a file from another one under the same path: st_dev and
// st_ino of stat(2).
type FileIdentity struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// A StreamKind is what the client of a stream waits for.
type StreamKind string

const (
	// StreamVerdict waits for the verdict of a request.
	StreamVerdict StreamKind = "verdict"
	// StreamReexec waits to hear from the supervisor that was executed.
	StreamReexec StreamKind = "reexec"
	// StreamQueue is told of the accept queues again and again.
	StreamQueue StreamKind = "queue"
)

// Stream is a connection to the control API whose client waits for an answer.
type Stream struct {
	FD   int        `json:"fd"`
	Kind StreamKind `json:"kind"`
	// Request is the number of the request; 0 but for a StreamVerdict.
	Request uint64 `json:"request,omitempty"`
	// Details are what else it takes to go on, in the form of whoever answers.
	Details json.RawMessage `json:"details,omitempty"`
}

// ThisBoot identifies the present boot of the system: boot_id of random(4).
func ThisBoot() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot tell this boot from others: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

// SameBoot says whether s was written in the boot identified so; an error is
// the reason why what it says of processes is worth nothing.
func (s State) SameBoot(boot string) error {
	if s.Boot != boot {
		return fmt.Errorf("the state was written before the system was booted (boot %s; now %s)", s.Boot, boot)
	}
	return nil
}

// validate says what no supervisor writes.
func (s State) validate() error {
	owner := map[int]string{}
	take := func(fd int, whose string) error {
		if fd == 0 {
			return nil
		}
		if fd < 3 {
			return fmt.Errorf("descriptor %d cannot be that of %s", fd, whose)
		}
		if other, twice := owner[fd]; twice {
			return fmt.Errorf("descriptor %d is that of %s and of %s", fd, other, whose)
		}
		owner[fd] = whose
		return nil
	}
	for _, d := range s.descriptors() {
		if err := take(d.fd, d.whose); err != nil {
			return err
		}
	}
	for _, c := range s.Streams {
		if c.FD == 0 || !slices.Contains([]StreamKind{StreamVerdict, StreamReexec, StreamQueue}, c.Kind) || (c.Kind == StreamVerdict) != (c.Request != 0) {
			return fmt.Errorf("a stream of kind %q on descriptor %d waits for request %d", c.Kind, c.FD, c.Request)
		}
	}
	names := map[string]bool{}
	for _, l := range s.Listeners {
		if l.Name == "" || names[l.Name] {
			return fmt.Errorf("a listener is called %q, as another is or none should be", l.Name)
		}
		names[l.Name] = true
	}
	return nil
}

type descriptor struct {
	fd    int
	whose string
}

// Descriptors are the numbers of all descriptors that the next program is to
// inherit.
func (s State) Descriptors() []int {
	var all []int
	for _, d := range s.descriptors() {
		if d.fd != 0 {
			all = append(all, d.fd)
		}
	}
	return all
}

// descriptors lists the numbers in s with what they are of, 0 included.
func (s State) descriptors() []descriptor {
	all := []descriptor{{s.Control, "the control socket"}, {s.Scrape, "the metrics"}, {s.Lock, "the run directory"}}
	for _, l := range s.Listeners {
		all = append(all, descriptor{l.FD, "listener " + l.Name})
	}
	for _, g := range s.Supervisor.Generations {
		all = append(all, descriptor{g.Channel, fmt.Sprintf("the channel of generation %d", g.Generation)})
	}
	for _, k := range s.Supervisor.Kept {
		all = append(all, descriptor{k.FD, k.Path})
	}
	for _, c := range s.Streams {
		all = append(all, descriptor{c.FD, "a client"})
	}
	return all
}
