package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/health"
	"example.com/supervisor/internal/listen"
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
	// gathered are the generations that came back, and what they gave back.
	gathered upgrade.Gathered
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
	if errors.Is(err, fs.ErrNotExist) {
		return
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
	o.state, o.killed = &state, true
	d.Succeed(state.Made)
}

// advice says what is to be done about generations that hold the listeners.
func (o *origin) advice() string {
	if o.unusable != nil {
		return fmt.Sprintf("its supervisor was killed, and what that has written down cannot be used (%v), so that nobody can take over its generations, which may still serve: end them with kill -TERM (%s), then start it again", o.unusable, rundir.Holders)
	}
	var mute []string
	for _, g := range o.missed() {
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

// alive are the generations that another supervisor has left.
func (o *origin) alive() []int {
	var all []int
	if o.state == nil {
		return nil
	}
	for _, g := range o.state.Supervisor.Generations {
		all = append(all, g.Generation)
	}
	return all
}

// bury ends what generations left that ended while there was no supervisor.
func (o *origin) bury(keeper upgrade.Keeper, log *slog.Logger) {
	if !o.killed {
		return
	}
	for _, g := range o.state.Supervisor.Generations {
		if slices.ContainsFunc(o.gathered.Survivors, func(s upgrade.Survivor) bool { return s.Generation == g.Generation }) {
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
	return slices.Equal(a.Command, b.Command) && a.Dir == b.Dir && slices.Equal(a.Env, b.Env)
}

// missed are the generations that a killed supervisor left.
func (o *origin) missed() []upgrade.ProcessState {
	if !o.killed {
		return nil
	}
	return o.state.Supervisor.Generations
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

// A source is an open socket that is to be a listener.
type source struct {
	socket *listen.Socket
	kept   bool // by the service manager too
}

// sources opens the listeners, or takes those that are open already.
func (o *origin) sources(ctx context.Context, cfg config.Config, log *slog.Logger) (all []source, err error) {
	defer func() {
		for _, d := range o.passed.Stored {
			o.unclaimed = append(o.unclaimed, d.Name)
		}
		err = errors.Join(err, o.passed.Close())
		for _, l := range o.gathered.Listeners {
			_ = unix.Close(l.FD)
		}
		o.gathered.Listeners = nil
		if err != nil {
			for _, s := range all {
				_ = s.socket.Close()
			}
		}
	}()
	if o.state != nil && !o.killed {
		return o.handedOn()
	}
	specs, err := o.specs(cfg)
	if err != nil {
		return nil, err
	}
	given := slices.Clone(o.gathered.Listeners)
	for _, spec := range specs {
		s, err := o.source(ctx, spec, log)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	o.warnOfUnserved(all, given, log)
	return all, nil
}

// specs are the listeners that the configuration asks for, or all that the
// service manager passes.
func (o *origin) specs(cfg config.Config) ([]listen.Spec, error) {
	specs, err := listen.ParseSpecs(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if len(specs) == 0 {
		for _, d := range o.passed.Units {
			specs = append(specs, listen.Spec{Name: d.Name, Network: "systemd"})
		}
	}
	var given []string
	for _, s := range specs {
		if s.Given() {
			given = append(given, s.Name)
		}
	}
	_, err = systemd.Match(o.passed.Units, given)
	return specs, err
}

// source finds or opens one listener.
func (o *origin) source(ctx context.Context, spec listen.Spec, log *slog.Logger) (source, error) {
	if spec.Given() {
		i := slices.IndexFunc(o.passed.Units, func(d systemd.Descriptor) bool { return d.Name == spec.Name })
		fd := o.passed.Units[i].FD
		o.passed.Units = slices.Delete(o.passed.Units, i, i+1)
		return o.adopt(spec, fd, listen.FileID{}, true)
	}
	for i, d := range o.passed.Stored {
		if name, ok := systemd.ListenerOf(d.Name); ok && name == spec.Name && o.is(d.FD, spec) {
			o.passed.Stored = slices.Delete(o.passed.Stored, i, i+1)
			return o.adopt(spec, d.FD, o.file(spec), false)
		}
	}
	for i, l := range o.gathered.Listeners {
		if l.Name != spec.Name {
			continue
		}
		was, known := o.was(l)
		if !o.is(l.FD, spec) && !known {
			continue
		}
		if known && was != spec {
			log.Warn("generations that serve on have this listener as it was asked for before; so it stays until the service is stopped and started",
				"listener", spec.Name, "was", was.String(), "asked", spec.String())
			spec = was
		}
		o.gathered.Listeners = slices.Delete(o.gathered.Listeners, i, i+1)
		return o.adopt(spec, l.FD, o.file(spec), false)
	}
	socket, err := listen.Open(ctx, spec)
	return source{socket: socket}, err
}

func (o *origin) adopt(spec listen.Spec, fd int, file listen.FileID, kept bool) (source, error) {
	l, err := fdpass.Describe(spec.Name, fd)
	if err == nil {
		err = l.Restore()
	}
	var socket *listen.Socket
	if err == nil {
		socket, err = listen.Adopt(spec, fd, file)
	}
	if err != nil {
		_ = unix.Close(fd)
		return source{}, fmt.Errorf("cannot take listener %s: %w", spec.Name, err)
	}
	return source{socket, kept}, nil
}

// is reports whether the socket is the one that spec asks for: the
// configuration may have been changed since it was opened.
func (o *origin) is(fd int, spec listen.Spec) bool {
	l, err := fdpass.Describe(spec.Name, fd)
	if err != nil || !sameNetwork(l.Network, spec.Network) {
		return false
	}
	if o.state != nil {
		for _, known := range o.state.Listeners {
			if known.Name == spec.Name {
				return known.Spec == spec.String() && fdpass.Cookie(known.Cookie) == l.Cookie
			}
		}
	}
	if want, err := netip.ParseAddrPort(spec.Address); err == nil && want.Port() != 0 {
		have, err := netip.ParseAddrPort(l.Address)
		return err == nil && have == want
	}
	return !strings.HasPrefix(spec.Network, "unix") || l.Address == spec.Address && reachable(spec)
}

// reachable reports whether a Unix socket has its file: that of a stored one goes
// with the supervisor that ended in an orderly way, and nobody reaches it then.
func reachable(spec listen.Spec) bool {
	if strings.HasPrefix(spec.Address, "@") {
		return true
	}
	info, err := os.Lstat(spec.Address)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// sameNetwork compares what a socket is with what was asked for.
func sameNetwork(is, asked string) bool {
	return is == asked || !strings.HasPrefix(asked, "unix") && strings.HasPrefix(is, strings.TrimRight(asked, "46"))
}

// file is the file that another supervisor made for a listener, and this one
// removes.
func (o *origin) file(spec listen.Spec) listen.FileID {
	if o.state != nil {
		for _, l := range o.state.Listeners {
			if l.Name == spec.Name && l.File != nil {
				return listen.FileID{Dev: l.File.Dev, Ino: l.File.Ino}
			}
		}
		return listen.FileID{}
	}
	if info, err := os.Lstat(spec.Address); err == nil && info.Mode().Type() == fs.ModeSocket {
		if st, ok := info.Sys().(*syscall.Stat_t); ok { // a stored socket is bound to it
			return listen.FileID{Dev: uint64(st.Dev), Ino: st.Ino}
		}
	}
	return listen.FileID{}
}

// handedOn are the listeners that this process held before it executed this
// program.
func (o *origin) handedOn() ([]source, error) {
	var all []source
	for _, l := range o.state.Listeners {
		spec := listen.Spec{Name: l.Name, Network: "systemd"}
		if !l.Kept {
			var err error
			if spec, err = listen.ParseSpec(l.Spec); err != nil {
				return all, err
			}
		}
		s, err := o.adopt(spec, l.FD, o.file(spec), l.Kept)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		if now, err := fdpass.Describe(l.Name, l.FD); err != nil || uint64(now.Cookie) != l.Cookie {
			return all, fmt.Errorf("cannot take listener %s: descriptor %d is another socket", l.Name, l.FD)
		}
	}
	return all, nil
}
