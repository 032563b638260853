package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"example.com/supervisor/internal/cgroup"
	"example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
)

// endTimeout is how long the last processes of a generation may take to go after
// they were killed.
const endTimeout = 5 * time.Second

// needTimeout is how long the system may take to tell what a generation uses.
const needTimeout = 2 * time.Second

// keepGenerations returns what keeps hold of all processes of a generation:
// control groups where systemd has delegated them, or else their environment, and
// that this process becomes the parent of orphans. service is the mark that all
// generations of the service have.
func keepGenerations(service string, log *slog.Logger) keeper {
	tree, err := cgroup.Own()
	if err == nil {
		log.Info("keeps every generation in a control group of its own", "below", tree.Path())
		return groups{tree, service, log}
	}
	if !errors.Is(err, cgroup.ErrNotDelegated) {
		log.Warn("cannot use control groups", "error", err)
	} else {
		log.Debug("uses no control groups", "reason", err)
	}
	if err := orphan.Adopt(); err != nil {
		log.Warn("cannot become the parent of orphans; those that leave their generation may be left", "error", err)
	}
	return markers{service, log}
}

// children are the processes that the launcher waits for. The methods may be
// called concurrently.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (c *children) set(pid int, waited bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pids == nil {
		c.pids = map[int]bool{}
	}
	if waited {
		c.pids[pid] = true
	} else {
		delete(c.pids, pid)
	}
}

func (c *children) has(pid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pids[pid]
}

// reap reaps what others leave to this process, until ended is closed, and then
// ends what is left of it.
func (c *children) reap(ended <-chan struct{}, log *slog.Logger) {
	ctx, cancel := context.WithCancel(context.Background())
	var reaping sync.WaitGroup
	reaping.Go(func() { (&orphan.Reaper{Known: c.has, Logger: log}).Run(ctx) })
	<-ended
	end, stop := context.WithTimeout(context.Background(), endTimeout)
	defer stop()
	if err := orphan.EndChildren(end, c.has); err != nil {
		log.Error("processes are left", "error", err)
	}
	cancel()
	reaping.Wait()
}

// groups keep generations in control groups.
type groups struct {
	tree    *cgroup.Tree
	service string
	log     *slog.Logger
}

// Hold makes the group, or finds it.
func (g groups) Hold(generation int, token string) (upgrade.Hold, error) {
	group, err := g.tree.Group(generation)
	if err != nil {
		return nil, err
	}
	return groupHold{group, []string{g.service, orphan.Marker(generation, token)}, g.log.With("generation", generation)}, nil
}

type groupHold struct {
	group *cgroup.Group
	marks []string // for the command sweep, which may be run where groups cannot be seen
	log   *slog.Logger
}

func (h groupHold) Group() int    { return h.group.FD() }
func (h groupHold) Path() string  { return h.group.Path() }
func (h groupHold) Env() []string { return h.marks }

// Within has start fork a child in the group, where its descriptor is of no use.
func (h groupHold) Within(start func() error) error {
	leave, err := h.group.Enter()
	if err != nil {
		return err
	}
	err = start()
	if stays := leave(); stays != nil {
		// The end of the generation would be this process's own, and the next
		// supervisor would go on.
		h.log.Error("this process is in the control group of a generation", "error", stays)
	}
	return err
}

func (h groupHold) Memory(int) (uint64, bool) {
	bytes, err := h.group.Memory()
	return bytes, err == nil
}

func (h groupHold) Kill() {
	if err := h.group.Kill(); err != nil {
		h.log.Error("cannot kill all of a generation", "error", err)
	}
}

func (h groupHold) End() {
	h.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := h.group.Remove(ctx); err != nil {
		h.log.Error("a control group is left", "error", err)
	}
}

// markers know generations by their environment.
type markers struct {
	service string
	log     *slog.Logger
}

// Hold makes the mark.
func (m markers) Hold(generation int, token string) (upgrade.Hold, error) {
	return &markerHold{service: m.service, marker: orphan.Marker(generation, token), log: m.log.With("generation", generation)}, nil
}

type markerHold struct {
	service string
	marker  string
	log     *slog.Logger
}

func (h *markerHold) Group() int    { return -1 }
func (h *markerHold) Path() string  { return "" }
func (h *markerHold) Env() []string { return []string{h.service, h.marker} }
func (h *markerHold) Kill()         {}

// Within has nothing to enter.
func (h *markerHold) Within(start func() error) error { return start() }

// Memory adds up what the process and its descendants use.
func (h *markerHold) Memory(pid int) (uint64, bool) {
	sum, err := cgroup.MemoryOf(pid)
	if err != nil {
		return 0, false
	}
	below, _ := orphan.Descendants(pid)
	for _, p := range below {
		if bytes, err := cgroup.MemoryOf(p.PID); err == nil { // it may have ended
			sum += bytes
		}
	}
	return sum, true
}

func (h *markerHold) End() {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	if err := orphan.End(ctx, h.marker, h.log); err != nil {
		h.log.Error("processes of a generation are left", "error", err)
	}
}

// need is what the active generation uses: about what another one will.
func (h *host) need() (bytes uint64, known bool) {
	ctx, cancel := context.WithTimeout(context.Background(), needTimeout)
	defer cancel()
	st, err := h.supervisor.Status(ctx)
	if err != nil {
		return 0, false
	}
	for _, g := range st.Generations {
		if g.Role == upgrade.RoleActive && g.MemoryBytes != nil {
			return *g.MemoryBytes, true
		}
	}
	return 0, false
}
