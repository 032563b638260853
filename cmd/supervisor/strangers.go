package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/internal/cgroup"
	"example.com/supervisor/internal/orphan"
	"example.com/supervisor/upgrade"
)

// strangerPoll is how often it is looked whether strangers have ended.
const strangerPoll = 50 * time.Millisecond

// A keeper also finds what generations of earlier supervisors live.
type keeper interface {
	upgrade.Keeper
	// strangers lists the generations of the service that live and that are not
	// known, and tells the highest number that one has that may live.
	strangers(known ancestry) (all []stranger, highest int, err error)
}

// An ancestry is the generations that were written down.
type ancestry []upgrade.ProcessState

func (a ancestry) hasNumber(generation int) bool {
	return slices.ContainsFunc(a, func(p upgrade.ProcessState) bool { return p.Generation == generation })
}

func (a ancestry) hasMarker(marker string) bool {
	return slices.ContainsFunc(a, func(p upgrade.ProcessState) bool { return orphan.Marker(p.Generation, p.Token) == marker })
}

// A stranger is a generation of the service that nobody can take over: what a
// supervisor wrote down of it is lost, and its secret with it.
type stranger struct {
	orphan.Kin
	tree *cgroup.Tree // nil: it is known by its marker alone
}

// lives is true also if it cannot be told.
func (s stranger) lives() bool {
	if s.tree == nil {
		left, err := orphan.Strays(s.Marker)
		return err != nil || len(left) > 0
	}
	group, err := s.tree.Group(s.Generation)
	if err != nil {
		return true
	}
	defer group.Close()
	populated, err := group.Populated()
	return err != nil || populated
}

// kill kills what is left of it, and waits until that is gone.
func (s stranger) kill(ctx context.Context, log *slog.Logger) error {
	if s.tree == nil {
		return orphan.End(ctx, s.Marker, log)
	}
	group, err := s.tree.Group(s.Generation)
	if err != nil {
		return err
	}
	return errors.Join(group.Kill(), group.Remove(ctx))
}

// strangers are those with a group of theirs. What has left its group, as to a
// scope of its own, has done so to stay.
func (g groups) strangers(known ancestry) (all []stranger, highest int, err error) {
	left, err := g.tree.Left()
	if err != nil || len(left) == 0 {
		return nil, 0, err
	}
	kin, err := orphan.KinOf(g.service)
	for _, n := range left {
		highest = max(highest, n)
		if known.hasNumber(n) {
			continue
		}
		s := stranger{Kin: orphan.Kin{Generation: n}, tree: g.tree}
		for _, k := range kin {
			if k.Generation == n {
				s.First = append(s.First, k.First...)
			}
		}
		if s.lives() {
			all = append(all, s)
		}
	}
	return all, highest, err
}

func (m markers) strangers(known ancestry) (all []stranger, highest int, err error) {
	kin, err := orphan.KinOf(m.service)
	for _, k := range kin {
		highest = max(highest, k.Generation)
		if !known.hasMarker(k.Marker) {
			all = append(all, stranger{Kin: k})
		}
	}
	return all, highest, err
}

// serviceMarker is what all generations of the service have in their environment
// whose run directory that is.
func serviceMarker(d *rundir.Dir) (string, error) {
	dev, ino, err := d.Identity()
	return orphan.ServiceMarker(d.Path, dev, ino), err
}

// strangers are those that were there when this supervisor began. It has them
// told to end when its own generations serve; what does not understand that serves
// on until the stop. The methods may be called concurrently.
type strangers struct {
	all     []stranger
	highest int // no generation is to have its number or a lower one
	grace   time.Duration
	log     *slog.Logger

	mu    sync.Mutex
	asked bool          // the service is to stop
	hurry chan struct{} // closed when that is to be at once
}

// meet looks for strangers.
func meet(k keeper, known ancestry, grace time.Duration, log *slog.Logger) *strangers {
	s := &strangers{grace: grace, log: log, hurry: make(chan struct{})}
	var err error
	if s.all, s.highest, err = k.strangers(known); err != nil {
		log.Error("cannot look for generations that nobody has written down", "error", err)
	}
	for _, one := range s.all {
		log.Warn("a generation lives that nobody can take over; it is told to end when another one serves", "generation", one.Generation, "pids", pids(one.First))
	}
	return s
}

func pids(some []orphan.Process) []int {
	var all []int
	for _, p := range some {
		all = append(all, p.PID)
	}
	return all
}

// part has them end, because the service stops: at once if now is set.
func (s *strangers) part(now bool) {
	s.mu.Lock()
	first := !s.asked
	s.asked = true
	if now && !s.hurried() {
		close(s.hurry)
	}
	s.mu.Unlock()
	for _, one := range s.all {
		if !first || now {
			break
		}
		if err := one.Terminate(); err != nil {
			s.log.Warn("cannot tell a generation to end that nobody could take over", "generation", one.Generation, "error", err)
		}
	}
}

func (s *strangers) hurried() bool {
	select {
	case <-s.hurry:
		return true
	default:
		return false
	}
}

// end waits for their end, for as long as a generation may take whose drain is
// over, and then kills them. It does nothing if the service does not stop: who
// serves is more than a supervisor that failed.
func (s *strangers) end() {
	s.mu.Lock()
	asked := s.asked
	s.mu.Unlock()
	if !asked || len(s.all) == 0 {
		return
	}
	s.await()
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	for _, one := range s.all {
		if err := one.kill(ctx, s.log); err != nil {
			s.log.Error("processes of a generation are left that nobody could take over", "generation", one.Generation, "error", err)
		}
	}
}

func (s *strangers) await() {
	late := time.NewTimer(s.grace)
	defer late.Stop()
	tick := time.NewTicker(strangerPoll)
	defer tick.Stop()
	for slices.ContainsFunc(s.all, stranger.lives) {
		select {
		case <-tick.C:
		case <-late.C:
			return
		case <-s.hurry:
			return
		}
	}
}

// A parting is a launcher that at the end also waits for the strangers.
type parting struct {
	upgrade.Launcher
	strangers *strangers
}

// Join waits until nothing is left of any generation, for a limited time.
func (p parting) Join() {
	p.Launcher.Join()
	p.strangers.end()
}

// part has all end that the stop of the supervisor does not.
func (h *host) part(ctx context.Context, now bool) {
	h.strangers.part(now)
	if !now {
		h.depart(ctx)
	}
}

// changed tells of a new status, and has the rendezvous dismiss strangers once a
// generation of ours serves.
func (h *host) changed(st upgrade.Status) {
	serves := func(g upgrade.GenerationStatus) bool { return g.Role == upgrade.RoleActive && g.Ready != nil }
	if slices.ContainsFunc(st.Generations, serves) {
		h.rendezvous.Settle()
	}
	h.announcer.changed(st)
}

// kinOf are the generations of a dead supervisor's service that live and that
// are not known.
func kinOf(dir string, known ancestry) ([]orphan.Kin, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	dev, ino, err := rundir.IdentityOf(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot look for generations by their marks: %w", err)
	}
	kin, err := orphan.KinOf(orphan.ServiceMarker(dir, dev, ino))
	return slices.DeleteFunc(kin, func(k orphan.Kin) bool { return known.hasMarker(k.Marker) }), err
}
