package load

import (
	"testing"
	"time"
)

// TestOutcomesAreThoseOfTheReport: every request that ended is walked over
// once, with what the report counts it as.
func TestOutcomesAreThoseOfTheReport(t *testing.T) {
	t.Parallel()
	r, err := Start(t.Context(), Config{Target: goodServer(t), Duration: 300 * time.Millisecond, Traffic: []Traffic{
		{Name: "good", Pattern: NewConnection, Rate: 100},
		{Name: "bad", Pattern: KeepAlive, Clients: 2, Rate: 50, Status: 418},
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-r.Done()
	report := r.Stop()
	counts := map[string]uint64{}
	last := map[string]time.Time{}
	for o := range r.Outcomes() {
		counts[o.Traffic+" "+string(o.Failure)+" "+o.Generation]++
		if o.Due.Before(last[o.Traffic]) || o.Due.Before(report.Started) || o.Latency <= 0 || !o.Ended().Equal(o.Due.Add(o.Latency)) {
			t.Fatalf("after %v: %+v", last[o.Traffic], o)
		}
		last[o.Traffic] = o.Due
	}
	good, bad := report.Traffic[0].Requests, report.Traffic[1].Requests
	if counts["good  7"] != good || counts["bad status 7"] != bad || len(counts) != 2 {
		t.Errorf("%v, want %d good and %d bad", counts, good, bad)
	}
	for range r.Outcomes() {
		break // a walk may end early
	}
}
