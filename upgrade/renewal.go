package upgrade

import (
	"context"
	"slices"
	"strings"
)

// A Renewal is an upgrade or a rollback at its admission, when what is said of the
// service may be another thing than it was the last time.
type Renewal struct {
	Request uint64
	Kind    Kind
	// DryRun: nothing will be started, and nothing is to be opened.
	DryRun bool
	// Program is what the caller asks for; nil: nothing.
	Program *Program
	// Now is the committed release.
	Now Release
	// Back is what a rollback is to run, as it was; nil for an upgrade.
	Back *Release
}

// Renewed is what is said now.
type Renewed struct {
	// Program is to be resolved and run; of a rollback it means nothing.
	Program Program
	// Said is what Release.Said will be.
	Said *Program
	// Policy holds from the start of the candidate on, or if the upgrade is not
	// committed until its verdict; nil: as it is.
	Policy *Policy
	// Note tells in words what is different, for the report; "" if nothing is.
	Note string
}

// renewal is what Config.Renew is asked.
func (s *Supervisor) renewal(a Admit) Renewal {
	r := Renewal{Request: a.Request, Kind: a.Kind, DryRun: a.DryRun, Now: *s.machine.release.copy(), Back: a.Release.copy()}
	if c := s.callers[a.Request]; c != nil {
		r.Program = c.request.Program.copy()
	}
	return r
}

// renew finds out what is to run.
func (s *Supervisor) renew(ctx context.Context, a Admit, r Renewal) (Release, *Policy, error) {
	if s.cfg.Renew == nil {
		release, err := s.resolveFor(a)
		return release, nil, err
	}
	renewed, err := s.cfg.Renew(ctx, r)
	s.post(func() { s.noteRenewal(a, renewed) })
	if err != nil {
		return Release{}, nil, err
	}
	want := a
	want.Program = renewed.Program
	release, err := s.resolveFor(want)
	if a.Release == nil {
		release.Said = renewed.Said
	}
	return release, renewed.Policy, err
}

// noteRenewal tells what is different, now and in the report.
func (s *Supervisor) noteRenewal(a Admit, r Renewed) {
	if r.Said != nil && !a.DryRun {
		s.said = *r.Said
	}
	if c := s.callers[a.Request]; c != nil && r.Note != "" {
		c.renewed = r.Note
		s.tell(Tell{Request: a.Request, Phase: PhaseAdmission, Text: "the configuration: " + r.Note})
	}
}

// retainListeners tells which releases run or may be started again by themselves, and whose
// listeners are needed therefore; at admission that is not known, and when the
// supervisor stops it parts with all of them. It reports
// whether the others were closed, which is to be written down.
func (s *Supervisor) retainListeners() (changed bool) {
	if s.cfg.Retain == nil || s.machine.phase == PhaseAdmission || s.machine.stopping || !s.cfg.Retain(s.machine.inUse()) {
		return false
	}
	s.persisted = State{}
	return true
}

// inUse are the releases of all generations that accept or may accept again, and
// the committed one.
func (m *Machine) inUse() []Release {
	var all []Release
	for _, g := range []*generation{m.active, m.candidate, m.paused} {
		if g != nil {
			all = append(all, g.release)
		}
	}
	if m.restarting != nil && m.restarting.generation != nil {
		all = append(all, m.restarting.generation.release)
	}
	if m.release != nil {
		all = append(all, *m.release)
	}
	return all
}

// leaves are the names of the listeners of a release from which nobody will accept
// any more when a generation of it has gone.
func (m *Machine) leaves(r Release) []string {
	var names []string
	size := 0
	for i, l := range r.Listen {
		wanted := func(other Release) bool { return other.Listen == nil || slices.Contains(other.Listen, l) }
		if slices.ContainsFunc(m.inUse(), wanted) {
			continue
		}
		names = append(names, r.listenNames()[i])
		size += len(names[len(names)-1])
	}
	if size > mostNames {
		return nil
	}
	return names
}

// mostNames is how many bytes of names fit into a message besides all else.
const mostNames = 32 << 10

// listenNames are the names of the listeners that p is handed; nil if it does not
// say.
func (p Program) listenNames() []string {
	var names []string
	for _, l := range p.Listen {
		name, _, _ := strings.Cut(l, "=")
		names = append(names, name)
	}
	return names
}
