package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/systemd"
	"example.com/supervisor/upgrade"
)

// listenTimeout is how long it may take to open the listeners of a release at the
// start.
const listenTimeout = 10 * time.Second

// renew reads the configuration anew for an upgrade, and opens the listeners that it
// names and that are not open. A rollback goes back to the listeners of its
// release: what the configuration says by then, which may be what has gone wrong, is
// no reason to refuse it.
func (h *host) renew(ctx context.Context, r upgrade.Renewal) (upgrade.Renewed, error) {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	if r.Back != nil {
		return h.goBack(ctx, *r.Back, r.DryRun)
	}
	cfg, err := h.settings.anew(r.Program != nil)
	if err != nil {
		return upgrade.Renewed{}, err
	}
	change, err := h.compareListeners(cfg, r.Now)
	if err != nil {
		return upgrade.Renewed{}, err
	}
	was, before := h.settings.started, h.settings.current()
	policy := before.Compare(cfg).Policy
	renewed := upgrade.Renewed{
		Said: h.said(cfg, change.Wanted),
		Note: config.Note(change, policy, was.Compare(cfg).Restart),
	}
	said := r.Now.Said
	if said == nil { // another version wrote it down
		said = h.said(was, h.listeners.first)
	}
	renewed.Program = config.Renew(r.Now.Program, *said, *renewed.Said)
	if r.Program != nil {
		renewed.Program = r.Program.Or(renewed.Program)
	}
	if len(policy) > 0 {
		next := cfg.Policy()
		next.Hooks = was.Policy().Hooks // which run as they were said at the start
		renewed.Policy = &next
	}
	if r.DryRun {
		return renewed, h.checkPaths(cfg)
	}
	if err := h.openMore(ctx, change.Add, cfg); err != nil {
		return upgrade.Renewed{Note: renewed.Note}, err
	}
	h.settings.propose(r.Request, cfg)
	if ctx.Err() != nil { // it has been answered already, and there will be no other verdict
		h.decided(r.Request, upgrade.Refused)
		return upgrade.Renewed{}, ctx.Err()
	}
	return renewed, h.look()
}

// said is the program of a configuration, with these listeners.
func (h *host) said(cfg config.Config, specs []string) *upgrade.Program {
	p := cfg.UpgradeProgram()
	p.Listen = specs
	return &p
}

// goBack opens the listeners of a release that are not open any more.
func (h *host) goBack(ctx context.Context, r upgrade.Release, dry bool) (upgrade.Renewed, error) {
	specs, err := listen.ParseSpecs(r.Listen)
	if err != nil {
		return upgrade.Renewed{}, err
	}
	change, err := config.CompareListen(h.openSpecs(), nil, specs)
	if err == nil && !slices.Equal(change.Wanted, r.Listen) {
		err = fmt.Errorf("that release has listeners that need a restart: %v", change.Restart)
	}
	if err != nil {
		return upgrade.Renewed{}, err
	}
	note := config.Note(config.ListenChange{Add: change.Add}, nil, nil)
	if dry {
		return upgrade.Renewed{Note: note}, nil
	}
	if err := h.openMore(ctx, change.Add, h.settings.current()); err != nil {
		return upgrade.Renewed{Note: note}, err
	}
	return upgrade.Renewed{Note: note}, h.look()
}

// listensAs is first with its listeners, or if they cannot be had with those of the
// configured release, which are open.
func (h *host) listensAs(first, configured upgrade.Release) upgrade.Release {
	ctx, cancel := context.WithTimeout(context.Background(), listenTimeout)
	defer cancel()
	if _, err := h.goBack(ctx, first, false); err != nil {
		h.log.Warn("the release is started with the listeners that are configured, and not with its own", "release", first.String(), "error", err)
		first.Listen = configured.Listen
	}
	return first
}

// compareListeners tells what is to be done for the listeners to be those of cfg.
func (h *host) compareListeners(cfg config.Config, now upgrade.Release) (config.ListenChange, error) {
	next, err := listen.ParseSpecs(cfg.Listen)
	if err != nil {
		return config.ListenChange{}, err
	}
	open := h.openSpecs()
	if len(next) == 0 { // all that the service manager passed
		next = slices.DeleteFunc(slices.Clone(open), func(s listen.Spec) bool { return !s.Given() })
	}
	return config.CompareListen(open, h.listeners.specsOf(now), next)
}

// openSpecs are those of the listeners that are open.
func (h *host) openSpecs() []listen.Spec {
	var all []listen.Spec
	for _, l := range h.listeners.list() {
		all = append(all, l.socket.Spec)
	}
	return all
}

// openMore opens listeners that no release has yet, all or none, and has the
// service manager keep them.
func (h *host) openMore(ctx context.Context, specs []listen.Spec, cfg config.Config) error {
	if err := h.checkPaths(cfg); err != nil {
		return err
	}
	sockets, err := listen.OpenAll(ctx, specs)
	if err != nil {
		return err
	}
	var added []source
	for _, s := range sockets {
		added = append(added, source{socket: s})
	}
	if err := h.listeners.add(added); err != nil {
		return err
	}
	h.storeThese(sockets)
	return nil
}

// storeThese has the service manager keep listeners for the next start.
func (h *host) storeThese(sockets []*listen.Socket) {
	if !h.notifier.On() || len(sockets) == 0 {
		return
	}
	var errs []error
	for _, s := range sockets {
		errs = append(errs, h.notifier.Store(systemd.StoreName(s.Name), s.FD))
	}
	if err := errors.Join(append(errs, barrier(h.notifier))...); err != nil {
		h.log.Warn("cannot have the service manager keep the listeners", "error", err)
	}
}

// look has the queues of the listeners looked at that there are, by the limits that
// hold now.
func (h *host) look() error {
	h.looking.Lock()
	defer h.looking.Unlock()
	return h.queues.change(h.listeners.all(), h.settings.current())
}

// retain closes the listeners that no release needs any more. Whoever connects is
// refused then, but for what a generation that drains still takes.
func (h *host) retain(inUse []upgrade.Release) (changed bool) {
	used := map[string]bool{}
	for _, r := range inUse {
		for _, spec := range h.listeners.specsOf(r) {
			used[spec] = true
		}
	}
	gone := h.listeners.retain(func(spec string) bool { return used[spec] })
	if len(gone) == 0 && !h.limitsBack.Swap(false) {
		return false
	}
	if err := h.look(); err != nil {
		h.log.Error("cannot look at the accept queues of these listeners alone", "error", err)
	}
	h.unstore(gone)
	h.listeners.part(gone)
	return len(gone) > 0
}

// unstore has the service manager forget listeners, but not others of their names.
func (h *host) unstore(gone []*heldListener) {
	if !h.notifier.On() || len(gone) == 0 {
		return
	}
	var errs []error
	for _, l := range gone {
		errs = append(errs, h.notifier.Unstore(systemd.StoreName(l.Name)))
		for _, stays := range h.listeners.list() {
			if stays.Name == l.Name && !stays.Kept {
				errs = append(errs, h.notifier.Store(systemd.StoreName(stays.Name), stays.FD))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		h.log.Warn("cannot have the service manager forget listeners", "error", err)
	}
}

// decided takes a verdict: what held before may hold again.
func (h *host) decided(request uint64, v upgrade.Verdict) {
	if h.settings.decided(request, v) {
		h.limitsBack.Store(true) // retain sees to it, right after
	}
}

// startSpecs are the listeners of the releases that a killed supervisor left, which
// have to be there for these, and those that the service manager passes; nil if that
// is not known.
func (o *origin) startSpecs() []string {
	if o.state == nil || !o.killed {
		return nil
	}
	var specs []string
	m := o.state.Supervisor.Machine
	for _, g := range []*upgrade.GenerationState{m.Active, m.Candidate, m.Paused} {
		if g != nil {
			specs = append(specs, g.Release.Listen...)
		}
	}
	if m.Release != nil {
		specs = append(specs, m.Release.Listen...)
	}
	if len(specs) == 0 {
		return nil
	}
	for _, l := range o.state.Listeners {
		if l.Kept {
			specs = append(specs, listen.Spec{Name: l.Name, Network: "systemd"}.String())
		}
	}
	var once []string
	for _, s := range specs {
		if !slices.Contains(once, s) {
			once = append(once, s)
		}
	}
	return once
}
