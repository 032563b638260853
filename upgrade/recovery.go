package upgrade

import "fmt"

// HandOverObjection says why another binary cannot be executed in the
// supervisor's place now; "" if it can. Generations that drain or are killed,
// callers who wait for them and a back-off are no obstacle: all of that goes on
// where it was.
func (m *Machine) HandOverObjection() string {
	switch {
	case m.finished:
		return "the supervisor has ended"
	case m.stopping:
		return "the supervisor is stopping"
	case m.release == nil:
		return "the first generation is not ready yet"
	case m.request != nil:
		return fmt.Sprintf("%s %d is running (%s)", m.request.Kind, m.request.Request, m.phase)
	case m.restarting != nil && m.restarting.generation != nil:
		return fmt.Sprintf("generation %d is being started in place of one that ended", m.restarting.generation.number)
	}
	return ""
}

// recovered settles what the supervisor that was killed left open.
func (m *Machine) recovered(Recovered) {}

// rejoined takes note that a generation can be spoken to again.
func (m *Machine) rejoined(Rejoined) {}
