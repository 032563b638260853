package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// A source is an open socket that is to be a listener.
type source struct {
	socket *listen.Socket
	taken  bool // over: others may hold it too, and go on with it
	kept   bool // by the service manager too
}

// giveUp closes the socket of a supervisor that cannot start. One that was taken
// over keeps its file: generations may serve there, and the next supervisor
// takes it over again.
func (s source) giveUp() error {
	if s.taken {
		return s.socket.Leave()
	}
	return s.socket.Close()
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
				_ = s.giveUp()
			}
		}
	}()
	if o.state != nil && !o.killed {
		return o.handedOn()
	}
	specs, err := o.specs(cfg, log)
	if err != nil {
		return nil, err
	}
	o.clear(specs, log)
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
// service manager passes; but those of the releases that a killed supervisor left,
// if that is known: others come with the next upgrade.
func (o *origin) specs(cfg config.Config, log *slog.Logger) ([]listen.Spec, error) {
	specs, err := listen.ParseSpecs(cfg.Listen)
	if err != nil {
		return nil, err
	}
	if left := o.startSpecs(); left != nil {
		if asked := canonical(cfg.Listen); len(asked) > 0 && !slices.Equal(slices.Sorted(slices.Values(asked)), slices.Sorted(slices.Values(left))) {
			log.Warn("the configuration asks for other listeners than the releases that serve on have; these stay until the next upgrade", "asked", asked, "open", left)
		}
		specs = nil
		for _, text := range left {
			spec, err := listen.ParseSpec(text)
			if err != nil {
				return nil, err
			}
			specs = append(specs, spec)
		}
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
		if known && was != spec && slices.ContainsFunc(o.gathered.Listeners, func(other fdpass.Listener) bool {
			now, ok := o.was(other)
			return ok && other.Name == spec.Name && now == spec
		}) {
			continue // one of two by this name
		}
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
	return source{socket: socket, taken: true, kept: kept}, nil
}

// is reports whether the socket is the one that spec asks for: the
// configuration may have been changed since it was opened.
func (o *origin) is(fd int, spec listen.Spec) bool {
	l, err := fdpass.Describe(spec.Name, fd)
	if err != nil || !sameNetwork(l.Network, spec.Network) {
		return false
	}
	if known, ok := o.written(spec); ok {
		return known.Spec == spec.String() && fdpass.Cookie(known.Cookie) == l.Cookie && (o.state != nil || known.File == nil || isThere(known))
	}
	if want, err := netip.ParseAddrPort(spec.Address); err == nil && want.Port() != 0 {
		have, err := netip.ParseAddrPort(l.Address)
		return err == nil && have == want
	}
	return !strings.HasPrefix(spec.Network, "unix") || l.Address == spec.Address && reachable(spec)
}

// written is what another supervisor wrote down of a listener: of one by its name,
// unless there is one with all of its spec.
func (o *origin) written(spec listen.Spec) (handover.Listener, bool) {
	all := o.stored
	if o.state != nil {
		all = o.state.Listeners
	}
	for _, same := range []func(l handover.Listener) bool{
		func(l handover.Listener) bool { return l.Spec == spec.String() },
		func(l handover.Listener) bool { return l.Name == spec.Name },
	} {
		if i := slices.IndexFunc(all, same); i >= 0 {
			return all[i], true
		}
	}
	return handover.Listener{}, false
}

// isThere reports whether a Unix socket still has the file that was made for it.
func isThere(l handover.Listener) bool {
	now, err := listen.Identify(l.Address)
	return err == nil && l.File != nil && now == listen.FileID{Dev: l.File.Dev, Ino: l.File.Ino}
}

// clear removes the files that were left with stored sockets for this supervisor,
// which has no use for them: what is asked for has changed, or the sockets are not
// in store.
func (o *origin) clear(specs []listen.Spec, log *slog.Logger) {
	for _, l := range o.stored {
		used := slices.ContainsFunc(specs, func(s listen.Spec) bool {
			return s.Name == l.Name && slices.ContainsFunc(o.passed.Stored, func(d systemd.Descriptor) bool { return o.is(d.FD, s) })
		})
		if used || !isThere(l) {
			continue
		}
		if err := os.Remove(l.Address); err != nil {
			log.Warn("cannot remove the file of a Unix socket that is not used any more", "listener", l.Name, "file", l.Address, "error", err)
		}
	}
}

// reachable reports whether a Unix socket has its file, without which nobody
// reaches a stored one.
func reachable(spec listen.Spec) bool {
	if strings.HasPrefix(spec.Address, "@") {
		return true
	}
	_, err := listen.Identify(spec.Address)
	return err == nil
}

// sameNetwork compares what a socket is with what was asked for.
func sameNetwork(is, asked string) bool {
	return is == asked || !strings.HasPrefix(asked, "unix") && strings.HasPrefix(is, strings.TrimRight(asked, "46"))
}

// file is the file that another supervisor made for a listener, and this one
// removes.
func (o *origin) file(spec listen.Spec) listen.FileID {
	if known, ok := o.written(spec); ok && known.File != nil {
		return listen.FileID{Dev: known.File.Dev, Ino: known.File.Ino}
	}
	if o.state != nil {
		return listen.FileID{}
	}
	if file, err := listen.Identify(spec.Address); err == nil { // a stored socket is bound to it
		return file
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

// was is how a listener was asked for that a generation gave back. The
// generation accepts there and nowhere else, so a configuration that was changed
// meanwhile must wait for a start that nobody outlives.
func (o *origin) was(given fdpass.Listener) (listen.Spec, bool) {
	if o.state == nil {
		return listen.Spec{}, false
	}
	for _, l := range o.state.Listeners {
		if l.Name != given.Name || l.Kept || fdpass.Cookie(l.Cookie) != given.Cookie {
			continue
		}
		spec, err := listen.ParseSpec(l.Spec)
		return spec, err == nil
	}
	return listen.Spec{}, false
}

// warnOfUnserved says which sockets the generations that were adopted do not
// have, given what they gave back: clients would wait there.
func (o *origin) warnOfUnserved(all []source, given []fdpass.Listener, log *slog.Logger) {
	accepts := func(s upgrade.Survivor) bool { return !s.Mute && !s.Draining }
	if !slices.ContainsFunc(o.gathered.Survivors, accepts) {
		return
	}
	for _, s := range all {
		now, err := fdpass.Describe(s.socket.Name, s.socket.FD)
		if err != nil || slices.ContainsFunc(given, func(l fdpass.Listener) bool { return l.Cookie == now.Cookie }) {
			continue
		}
		log.Warn("no generation that serves on has this listener, so clients wait there; give it one by supervisor upgrade --force",
			"listener", now.Name, "network", now.Network, "address", now.Address)
	}
}

// checkPaths refuses Unix sockets in the run directory, which is the supervisor's
// own: it is locked, and removed at the end with what is in it.
func (h *host) checkPaths(cfg config.Config) error {
	specs, err := listen.ParseSpecs(cfg.Listen)
	if err != nil {
		return err
	}
	if err := h.dir.Check(); err != nil {
		return err
	}
	own, err := os.Stat(h.dir.Path)
	if err != nil {
		return fmt.Errorf("cannot look at the run directory: %w", err)
	}
	for _, spec := range specs {
		if !strings.HasPrefix(spec.Network, "unix") || strings.HasPrefix(spec.Address, "@") {
			continue
		}
		if dir, err := os.Stat(filepath.Dir(spec.Address)); err == nil && os.SameFile(own, dir) {
			return fmt.Errorf("cannot open listener %q at %s: the directory %s is reserved for the supervisor's own files; choose another directory",
				spec.Name, spec.URL(), h.dir.Path)
		}
	}
	return nil
}
