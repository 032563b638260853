package chaos

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A coroner sees when generations die. It learns of them from the supervisor's log and
// its children, and has a pidfd of each (pidfd_open(2)). Its methods may be called
// concurrently.
type coroner struct {
	log  *os.File
	rest []byte // of a line that is not whole yet
	over chan struct{}

	supervisor atomic.Int64 // its pid

	mu       sync.Mutex
	watched  map[int]*patient // by process
	releases map[int]string   // by generation, as the log names them
	unseen   map[int]string   // those of them whose process is not known yet
	deaths   []death
}

// A patient is a process of a generation.
type patient struct {
	generation int
	pid, fd    int
	struck     time.Time // when it was killed by the script; zero if it was not
	why        string
	alive      time.Time // when it was seen last
}

const (
	// glance is the time between two looks.
	glance = 4 * time.Millisecond
	// exits is how long a process takes at most from closing its connections to its
	// end: measured, a third of a second where a drain cuts hundreds on a busy machine.
	exits = 500 * time.Millisecond
	// mended is how long after the start of a generation that shuts the shared
	// listener down that must listen again.
	mended = time.Second
)

// attend begins to watch what the log tells, to the end of the test.
func attend(t testing.TB, log string, supervisor int) *coroner {
	t.Helper()
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	c := &coroner{log: f, over: make(chan struct{}), watched: map[int]*patient{}, releases: map[int]string{}, unseen: map[int]string{}}
	c.supervisor.Store(int64(supervisor))
	stop := make(chan struct{})
	go c.watch(stop) // joined by the end of the test
	t.Cleanup(func() {
		close(stop)
		<-c.over
	})
	return c
}

func (c *coroner) watch(stop chan struct{}) {
	defer close(c.over)
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			c.leave()
			return
		case <-tick.C:
			c.read()
			c.find()
			c.look()
		}
	}
}

// leave gives up what it holds.
func (c *coroner) leave() {
	_ = c.log.Close()
	for _, p := range c.watched {
		_ = unix.Close(p.fd)
	}
}

// read reads what is new in the log.
func (c *coroner) read() {
	more, _ := io.ReadAll(c.log)
	c.rest = append(c.rest, more...)
	end := bytes.LastIndexByte(c.rest, '\n') + 1
	lines := string(c.rest[:end])
	c.rest = c.rest[end:]
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(lines) {
		c.learn(line)
	}
}

var (
	startLine = regexp.MustCompile(`^time=(\S+) .*msg="starts (.*)" phase=\S+ generation=(\d+)`)
	pidLine   = regexp.MustCompile(`^time=(\S+) .* generation=(\d+) pid=(\d+)`)
)

// learn takes what one line tells. The lock is held.
func (c *coroner) learn(line string) {
	if m := startLine.FindStringSubmatch(line); m != nil {
		at, _ := time.Parse(time.RFC3339Nano, m[1])
		generation, _ := strconv.Atoi(m[3])
		c.releases[generation], c.unseen[generation] = m[2], m[2]
		delete(c.unseen, generation-3) // it is not there any more
		if strings.Contains(m[2], "-shutdown-listener") {
			why := "the listener was shut down by generation " + m[3]
			c.deaths = append(c.deaths, death{generation: generation, why: why, from: at, to: at.Add(mended), spoils: true})
		}
	}
	if m := pidLine.FindStringSubmatch(line); m != nil {
		at, _ := time.Parse(time.RFC3339Nano, m[1])
		generation, _ := strconv.Atoi(m[2])
		pid, _ := strconv.Atoi(m[3])
		c.admit(generation, pid, at)
	}
}

// find looks for the processes of generations that have started and said nothing yet,
// as one never does that breaks the protocol. They are children of the supervisor.
func (c *coroner) find() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.unseen) == 0 {
		return
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.supervisor.Load()))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			pid, _ := strconv.Atoi(child)
			command, _ := os.ReadFile(filepath.Join("/proc", child, "cmdline"))
			c.recognise(pid, strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
}

// recognise takes a child for the generation of its command. The lock is held.
func (c *coroner) recognise(pid int, command string) {
	for generation, release := range c.unseen {
		if c.watched[pid] == nil && command != "" && strings.HasPrefix(release, strings.TrimSpace(command)) {
			c.admit(generation, pid, time.Now())
			return
		}
	}
}

// admit begins to watch a process that lived at that time. The lock is held.
func (c *coroner) admit(generation, pid int, at time.Time) *patient {
	delete(c.unseen, generation)
	if p := c.watched[pid]; p != nil {
		return p
	}
	known := slices.ContainsFunc(c.deaths, func(d death) bool { return d.pid == pid && d.generation == generation })
	if known {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	p := &patient{generation: generation, pid: pid, fd: fd, alive: at}
	if err != nil { // it has died already
		c.bury(p)
		return nil
	}
	c.watched[pid] = p
	return p
}

// strikes says that the script is about to kill a process of a generation, and what
// else belongs to that.
func (c *coroner) strikes(generation, pid int, others []int, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, other := range append(others, pid) {
		if p := c.admit(generation, other, now); p != nil {
			p.why = why
			if other == pid {
				p.struck = now
			}
		}
	}
}

// doomed reports whether the script has killed a process: it may not have ended yet,
// or the supervisor not have seen it.
func (c *coroner) doomed(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.watched[pid]
	return p != nil && !p.struck.IsZero() || slices.ContainsFunc(c.deaths, func(d death) bool { return d.pid == pid })
}

// look sees who has died.
func (c *coroner) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for pid, p := range c.watched {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 0); err != nil || n == 0 {
			p.alive = now
			continue
		}
		_ = unix.Close(p.fd)
		delete(c.watched, pid)
		c.bury(p)
	}
}

// bury writes a death down. The lock is held.
func (c *coroner) bury(p *patient) {
	d := death{generation: p.generation, pid: p.pid, why: p.why, from: p.struck, to: time.Now()}
	if p.struck.IsZero() {
		d.from = p.alive.Add(-exits)
	}
	if command := strings.Fields(c.releases[p.generation]); qualityOf(command) != good {
		d.why = cmp.Or(d.why, "it is "+strings.Join(command, " "))
	}
	c.deaths = append(c.deaths, d)
}

// excuses are the deaths that excuse losses.
func (c *coroner) excuses() []death {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.deaths), func(d death) bool { return d.why == "" })
}
