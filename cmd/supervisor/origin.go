package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// gatherTimeout is how long generations may take to come back to a new
// supervisor after theirs was killed. They try at least once a second.
const gatherTimeout = 5 * time.Second

// An origin is what a supervisor begins with: what the service manager passed,
// and what another supervisor left.
type origin struct {
	passed systemd.Inherited
	// state is nil if nobody was here before.
	state *handover.State
	// killed tells that the other one was killed; otherwise it has executed this
	// program in its place.
	killed bool
	// unusable is why what another supervisor left cannot be used, if so.
	unusable error
	// missed are the generations that a killed supervisor left.
	missed []upgrade.ProcessState
	// gathered are those that came back, and what they gave back.
	gathered upgrade.Gathered
	// stored is what a supervisor that ended for this start wrote down of the
	// listeners that the service manager has in store.
	stored []handover.Listener
	// unclaimed are the names under which the service manager keeps what nobody
	// asks for any more.
	unclaimed []string
}

// inherit takes what this process was executed with.
func inherit(getenv func(string) string) (*origin, error) {
	number := getenv(stateEnv)
	if number == "" {
		passed, err := systemd.Inherit()
		return &origin{passed: passed}, err
	}
	_ = os.Unsetenv(stateEnv)
	fd, err := strconv.Atoi(number)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("cannot go on where another supervisor was: %s=%s is not the number of a descriptor", stateEnv, number)
	}
	defer unix.Close(fd)
	state, err := handover.FromMemfd(fd)
	if err != nil {
		return nil, fmt.Errorf("cannot go on where another supervisor was: %w", err)
	}
	for _, fd := range state.Descriptors() { // no program that is started is to inherit them too
		unix.CloseOnExec(fd)
	}
	return &origin{state: &state}, nil
}

// recall reads what a supervisor left that was killed, if there was one.
func (o *origin) recall(d *rundir.Dir, service string, log *slog.Logger) {
	if o.state != nil || !d.Left {
		return
	}
	state, err := handover.Load(d.State())
	if errors.Is(err, fs.ErrNotExist) { // it could not write it, and took away what was wrong by then
		err = errors.New("it left no state; had it room to write it?")
	}
	var boot string
	if err == nil {
		boot, err = handover.ThisBoot()
	}
	if err == nil {
		err = errors.Join(state.SameBoot(boot), state.Supervisor.Validate())
	}
	if err == nil && state.Supervisor.Service != service {
		err = fmt.Errorf("it is of service %s", state.Supervisor.Service)
	}
	if err != nil {
		log.Error("what the last supervisor left cannot be used; this one begins anew", "file", d.State(), "error", err)
		o.unusable = err
		return
	}
	log.Warn("the last supervisor was killed; looking for its generations", "count", len(state.Supervisor.Generations))
	o.state, o.killed, o.missed = &state, true, state.Supervisor.Generations
	d.Succeed(state.Made)
}

// recallStored reads what a supervisor left that ended for this start.
func (o *origin) recallStored(d *rundir.Dir, log *slog.Logger) {
	if o.state != nil || d.Left {
		return
	}
	state, err := handover.Load(d.Stored())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		log.Warn("what the last supervisor left of its listeners cannot be used", "error", err)
		return
	}
	if boot, err := handover.ThisBoot(); err == nil && state.SameBoot(boot) == nil {
		o.stored = state.Listeners
	}
}

// advice says what is to be done about generations that hold the listeners.
func (o *origin) advice() string {
	if o.unusable != nil {
		return fmt.Sprintf("its supervisor was killed, and what that has written down cannot be used (%v), so that nobody can take over its generations, which may still serve: end them with kill -TERM (%s), then start it again", o.unusable, rundir.Holders)
	}
	var mute []string
	for _, g := range o.missed {
		if slices.ContainsFunc(o.gathered.Survivors, func(s upgrade.Survivor) bool { return s.Mute && s.Generation == g.Generation }) {
			mute = append(mute, fmt.Sprintf("generation %d (pid %d)", g.Generation, g.PID))
		}
	}
	if o.killed && len(o.gathered.Survivors) == 0 {
		return "its supervisor was killed, and no generation lives that it wrote down; if one of a later upgrade does, which it could not write down, nobody can take it over: end it with kill -TERM (" + rundir.Holders + "), then start it again"
	}
	if len(mute) > 0 {
		return fmt.Sprintf("its supervisor was killed, and %s did not come back within %v: have it go on, or end it with kill -KILL, then start it again", strings.Join(mute, ", "), gatherTimeout)
	}
	return rundir.Orphans
}

// handed is what a supervisor left that executed this program; nil if there was
// none.
func (o *origin) handed() *handover.State {
	if o.killed {
		return nil
	}
	return o.state
}

// follows tells that another supervisor was here before, whose generations may
// serve.
func (o *origin) follows() bool { return o != nil && o.state != nil }

// known are the generations that another supervisor wrote down.
func (o *origin) known() ancestry {
	if o.state == nil {
		return nil
	}
	return o.state.Supervisor.Generations
}

// alive are the generations that another supervisor has left and that live.
func (o *origin) alive() []int {
	var all []int
	for _, s := range o.gathered.Survivors {
		all = append(all, s.Generation)
	}
	if from := o.handed(); from != nil {
		for _, g := range from.Supervisor.Generations {
			all = append(all, g.Generation)
		}
	}
	return all
}

// bury ends what generations left that ended while there was no supervisor, also
// where this one begins anew.
func (o *origin) bury(keeper upgrade.Keeper, log *slog.Logger) {
	for _, g := range o.missed {
		if slices.ContainsFunc(o.gathered.Survivors, func(s upgrade.Survivor) bool { return s.Generation == g.Generation }) ||
			slices.Contains(o.gathered.Unproven, g.Generation) { // which may live
			continue
		}
		hold, err := keeper.Hold(g.Generation, g.Token)
		if err != nil {
			log.Error("cannot look for what a generation left", "generation", g.Generation, "error", err)
			continue
		}
		hold.End()
	}
}

// totals are what was counted of the accept queues by whoever was here before,
// as far as that is known.
func (o *origin) totals(log *slog.Logger) queueTotals {
	var t queueTotals
	if from := o.handed(); from != nil && len(from.Queues) > 0 {
		if err := json.Unmarshal(from.Queues, &t); err != nil {
			log.Error("cannot go on with what was counted of the accept queues; it begins anew", "error", err)
			t = queueTotals{}
		}
	}
	for _, n := range o.alive() {
		if t.Counts == nil {
			t.Counts = map[int][]health.Count{}
		}
		if _, known := t.Counts[n]; !known {
			t.Counts[n] = nil // it will say
		}
	}
	return t
}

func sameProgram(a, b upgrade.Program) bool {
	return slices.Equal(a.Command, b.Command) && a.Dir == b.Dir && slices.Equal(a.Env, b.Env) && slices.Equal(a.EnvFiles, b.EnvFiles)
}

// cookies are the sockets that the service's listeners are known to be.
func (o *origin) cookies() map[string]fdpass.Cookie {
	known := map[string]fdpass.Cookie{}
	if o.state != nil {
		for _, l := range o.state.Listeners {
			known[l.Name] = fdpass.Cookie(l.Cookie)
		}
	}
	return known
}

// gather waits for the generations of a killed supervisor. If there are none any
// more, and now is another program than that one ran, there is nothing to go on
// from.
func (o *origin) gather(ctx context.Context, r *upgrade.Rendezvous, now upgrade.Program, log *slog.Logger) {
	if !o.killed {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gatherTimeout)
	defer cancel()
	o.gathered = r.Gather(ctx)
	was := o.state.Supervisor.Program
	if len(o.gathered.Survivors) == 0 && !sameProgram(was, now) {
		log.Warn("no generation lives, and another program is to be run than before; begins anew", "was", was.Command)
		o.state, o.killed = nil, false
	}
	for _, s := range o.gathered.Survivors {
		log.Info("adopts a generation", "generation", s.Generation, "mute", s.Mute, "draining", s.Draining)
	}
}
