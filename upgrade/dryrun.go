package upgrade

import (
	"fmt"
	"time"
)

// beginDryRun asks what admission says to e. A dry run has a slot of its own and
// leaves the phase as it is, so that nobody's upgrade is refused because of it.
func (m *Machine) beginDryRun(e Requested) {
	r := m.newRequest(e)
	if m.request != nil { // or there would have been an objection: it is a rollback
		m.do(m.answer(r, Admissible, fmt.Sprintf("%s %d (%s) would be undone", m.request.Kind, m.request.Request, m.phase)))
		return
	}
	m.dry = r
	m.do(Tell{Request: e.Request, Phase: PhaseAdmission, Text: "would the " + string(e.Kind) + " start? Nothing is changed"})
	r.timer = m.setTimer(m.dryRunLimit(e))
	m.do(m.admission(e))
}

func (m *Machine) dryRunLimit(e Requested) time.Duration {
	if e.Timeout > 0 {
		return min(e.Timeout, m.policy.AdmissionTimeout)
	}
	return m.policy.AdmissionTimeout
}

// endDryRunWith says what would be done. Something may have happened while
// admission was asked, so that it would be refused after all.
func (m *Machine) endDryRunWith(release Release) {
	e := m.dry.Requested
	e.DryRun = false // which is not in its own way
	if reason := m.objection(e); reason != "" {
		m.endDryRun(Refused, reason)
		return
	}
	r := m.dry
	r.toRelease = &release
	what := release.String()
	if release.Same(*r.fromRelease) {
		what = "the same release again, " + what
	}
	switch {
	case m.request != nil:
		m.endDryRun(Admissible, fmt.Sprintf("%s %d (%s) would be undone", m.request.Kind, m.request.Request, m.phase))
	case m.active == nil:
		m.endDryRun(Admissible, "no generation is active; would start "+what)
	default:
		m.endDryRun(Admissible, fmt.Sprintf("generation %d would be replaced by %s", m.active.number, what))
	}
}

// endDryRun answers the dry run under way, if there is one.
func (m *Machine) endDryRun(v Verdict, reason string) {
	r := m.dry
	if r == nil {
		return
	}
	m.dry = nil
	m.stopTimer(&r.timer)
	m.do(m.answer(r, v, reason))
}
