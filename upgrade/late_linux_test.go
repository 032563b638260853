package upgrade_test

import (
	"net/http"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
)

// TestReadyTooLateFinishesWhatItAccepted: the ready of a candidate and the end of its
// time cross. What it has accepted by then takes longer than the grace that one has
// which holds nothing, and is answered all the same.
func TestReadyTooLateFinishesWhatItAccepted(t *testing.T) {
	t.Parallel()
	const takes = 5 * time.Second
	p := quick()
	p.ReadyTimeout, p.DrainTimeout, p.StopGrace = 2*time.Second, time.Minute, 500*time.Millisecond
	r := start(t, p)
	verdict := make(chan upgrade.Report, 1)
	go func() { verdict <- r.upgrade("-ready-late") }() // joined below
	var answers []func() (int, error)
	r.await("a request at the candidate", func(s upgrade.Status) bool {
		c := byRole(s, upgrade.RoleCandidate)
		if c == nil || c.Active == nil {
			return false
		}
		if len(answers) < 200 { // who takes which is the kernel's choice
			answers = append(answers, r.slowRequest(takes))
		}
		return *c.Active > 0
	})
	r.wants(<-verdict, upgrade.Aborted, "did not say ready")
	for _, answer := range answers {
		if status, err := answer(); err != nil || status != http.StatusOK {
			t.Errorf("a request got %d, %v", status, err)
		}
	}
	r.stop()
}
