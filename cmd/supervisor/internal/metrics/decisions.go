package metrics

import (
	"example.com/supervisor/health"
	"github.com/prometheus/client_golang/prometheus"
)

// The reasons of decisions besides those of package health.
const (
	// ReasonProbe: the generation's probe did not pass.
	ReasonProbe = "probe"
	// ReasonListeners: a listener is not what it was.
	ReasonListeners = "listeners"
	// ReasonMemory: there is no memory for two generations.
	ReasonMemory = "memory"
	// ReasonState: the next supervisor could not go on from here.
	ReasonState = "state"
	// ReasonTimeout: the time was over, and no single thing was to blame.
	ReasonTimeout = "timeout"
	// ReasonOther is shown for every reason that is not known here, so that a
	// text cannot become a label.
	ReasonOther = "other"
)

// A decision is what was decided at a step, and why.
type decision struct{ step, decision, reason string }

func newDecisions() *tally {
	decisions := newTally(prometheus.CounterValue, "supervisor_decisions_total",
		"What was decided at the steps of upgrades and rollbacks, and why; admission lets a forced one pass, a rollback, and one while no generation is active, for whatever reason it has against the moment.",
		"step", "decision", "reason")
	for _, d := range usualDecisions() {
		decisions.add(0, d.step, d.decision, d.reason)
	}
	return decisions
}

// usualDecisions are those that an upgrade meets on its way, and the ways in
// which it ends.
func usualDecisions() []decision {
	all := []decision{
		{"admission", "let", string(health.ReasonSettled)},
		{"gate", "opened", string(health.ReasonSettled)},
		{"bake", "passed", string(health.ReasonSettled)},
		{"admission", "refused", ReasonListeners},
		{"admission", "refused", ReasonMemory},
		{"admission", "refused", ReasonState},
		{"gate", "shut", ReasonProbe},
		{"gate", "shut", ReasonTimeout},
		{"bake", "tripped", ReasonProbe},
	}
	for step, reasons := range map[[2]string][]health.Reason{
		{"admission", "refused"}: {health.ReasonDrops, health.ReasonStanding, health.ReasonNotListening},
		{"gate", "shut"}: {
			health.ReasonDrops, health.ReasonStanding, health.ReasonDepth, health.ReasonHeadroom,
			health.ReasonNotListening, health.ReasonNoProgress, health.ReasonUnseen,
		},
		{"bake", "tripped"}: {
			health.ReasonDrops, health.ReasonStanding, health.ReasonFilling, health.ReasonNotListening, health.ReasonNoProgress,
		},
	} {
		for _, reason := range reasons {
			all = append(all, decision{step[0], step[1], string(reason)})
		}
	}
	return all
}

// Decided counts a decision: step is admission, gate or bake, decision let or
// refused, opened or shut, passed or tripped, reason a [health.Reason] or one of
// those above. It does not block. That a bake is passed is known from the report,
// which counts it.
func (m *Metrics) Decided(step, decision, reason string) {
	switch health.Reason(reason) {
	case health.ReasonSettled, health.ReasonDrops, health.ReasonStanding, health.ReasonFilling, health.ReasonDepth,
		health.ReasonHeadroom, health.ReasonNotListening, health.ReasonNoProgress, health.ReasonUnseen:
	case ReasonProbe, ReasonListeners, ReasonMemory, ReasonState, ReasonTimeout:
	default:
		reason = ReasonOther
	}
	m.decisions.add(1, step, decision, reason)
}
