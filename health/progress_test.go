package health

import (
	"testing"
	"time"
)

// serving is what an active generation reports that has accepted so many, and
// closed so many of them after less than 16 ms.
func serving(accepted, closed uint64) Count {
	durations := make([]uint64, SojournBuckets)
	durations[4] = closed
	return Count{Accepted: accepted, Finished: closed, Durations: durations}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	// The candidate's totals at a moment. Three intervals are 300 ms.
	perMS := func(n uint64, from, to time.Duration) func(at time.Duration) uint64 {
		return func(at time.Duration) uint64 { return uint64(max(0, min(at, to)-from)/ms) * n }
	}
	none := perMS(0, 0, 0)
	slow := make([]uint64, SojournBuckets)
	slow[10] = 100 // about a second
	mixed := make([]uint64, SojournBuckets)
	mixed[4], mixed[10] = 600, 400
	tests := []struct {
		name               string
		active             []Count
		accepted, finished func(at time.Duration) uint64
		shown, stuck       time.Duration // from when on it is not Open any more; negative: never
	}{
		{"works", []Count{serving(1000, 1000)}, perMS(1, 0, never), perMS(1, 20*ms, never), 30 * ms, -1},
		{"accepts and blocks", []Count{serving(1000, 1000)}, perMS(1, 0, never), none, -1, 310 * ms},
		{"works for a second and blocks", []Count{serving(1000, 1000)}, perMS(1, 0, never), perMS(1, 0, time.Second), 10 * ms, 1310 * ms},
		{"finished one only", []Count{serving(1000, 1000)}, perMS(1, 0, never), func(at time.Duration) uint64 { return min(1, uint64(at/(100*ms))) }, -1, 410 * ms},
		{"finished one, and nobody comes any more", []Count{serving(1000, 1000)}, perMS(1, 0, 100*ms), func(at time.Duration) uint64 { return min(1, uint64(at/(100*ms))) }, 300 * ms, -1},
		{"nobody comes", []Count{serving(1000, 1000)}, none, none, 300 * ms, -1},
		{"seven come", []Count{serving(1000, 1000)}, perMS(1, 0, 7*ms), none, 300 * ms, -1},
		{"eight come late", []Count{serving(1000, 1000)}, perMS(1, time.Second, 1008*ms), none, 300 * ms, 1310 * ms},
		{"nothing is known of the active one", nil, perMS(1, 0, never), none, 0, -1},
		{"the active one has no durations", []Count{{Accepted: 1000, Finished: 1000}}, perMS(1, 0, never), none, 0, -1},
		{"the active one is new", []Count{serving(19, 19)}, perMS(1, 0, never), none, 0, -1},
		{"a tenth is open for long", []Count{serving(1000, 900)}, perMS(1, 0, never), none, -1, 310 * ms},
		{"more are open for long", []Count{serving(1000, 880)}, perMS(1, 0, never), none, -1, 510 * ms},
		{"nearly half are open for long", []Count{serving(1000, 510)}, perMS(1, 0, never), none, -1, 900 * ms},
		{"more than half are open for long", []Count{serving(1000, 490)}, perMS(1, 0, never), none, 0, -1},
		{"two of five are closed after a second", []Count{{Accepted: 1000, Finished: 1000, Durations: mixed}}, perMS(1, 0, never), none, -1, 700 * ms},
		{"a swarm of long ones, and nobody else", []Count{serving(1000, 510)}, perMS(1, 0, 99*ms), none, 600 * ms, -1},
		{"many come at once to the active one", []Count{serving(1000, 1000), serving(1100, 1045)}, perMS(1, 0, never), none, -1, 310 * ms},
		{"many of those are long", []Count{serving(1000, 1000), serving(1100, 1042)}, perMS(1, 0, never), none, -1, 510 * ms},
		{"works and blocks while a third is long", []Count{serving(1000, 660)}, perMS(1, 0, never), perMS(1, 0, time.Second), 10 * ms, 1700 * ms},
		{"a third is long, the active one is young", []Count{serving(50, 33)}, perMS(1, 0, never), none, 0, -1},
		{"connections are open for a second", []Count{{Accepted: 100, Finished: 100, Durations: slow}}, perMS(1, 0, never), none, 2010 * ms, 4106 * ms},
		{"the active one is stuck as well", []Count{serving(1000, 1000), serving(1050, 1010)}, perMS(1, 0, never), none, 0, -1},
		{"the active one goes on", []Count{serving(1000, 1000), serving(1050, 1040)}, perMS(1, 0, never), none, -1, 310 * ms},
	}
	for _, test := range tests {
		p := NewProgress(100 * ms)
		for _, active := range test.active {
			p.Typical(active)
		}
		shown, stuck := time.Duration(-1), time.Duration(-1)
		for at := time.Duration(0); at <= 5*time.Second && stuck < 0; at += 2 * ms {
			f, state := p.Observe(at, Count{Accepted: test.accepted(at), Finished: test.finished(at)})
			switch {
			case state == Stuck:
				stuck = at
				if f.Reason != ReasonNoProgress || f.Accepted < 8 {
					t.Errorf("%s: stuck with %+v", test.name, f)
				}
			case state == Shown && shown < 0:
				shown = at
			}
		}
		if !near(shown, test.shown) || !near(stuck, test.stuck) {
			t.Errorf("%s: shown at %v, stuck at %v, want %v and %v", test.name, shown, stuck, test.shown, test.stuck)
		}
	}
}

// near allows for the time between two looks, and for the first ones.
func near(got, want time.Duration) bool {
	return (got < 0) == (want < 0) && (got-want).Abs() <= 30*ms
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte{10, 8, 0, 255, 8, 0, 255, 8, 0, 255, 8, 0})
	f.Add([]byte{200, 0, 254, 200, 15, 254, 200, 15, 0, 200, 15, 0, 200, 15, 0, 200, 15, 0, 200, 15, 0, 200, 15, 0, 200, 15, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		p := NewProgress(100 * ms)
		active := serving(1000, 1000)
		p.Typical(active)
		var candidate Count
		var accepted uint64 // when it finished one
		var at, finished time.Duration
		for ; len(data) >= 3; data = data[3:] {
			at += time.Duration(data[0]) * ms
			candidate.Accepted += uint64(data[1] % 16)
			if done := uint64(data[2]); done < 16 && done > 0 {
				candidate.Finished, accepted, finished = candidate.Finished+done, candidate.Accepted, at
			}
			_, state := p.Observe(at, candidate)
			least := p.held
			if state == Stuck && (candidate.Accepted-accepted < least.accepted || at-finished < least.patience(100*ms) || least.within == 0) {
				t.Fatalf("at %v: stuck, last finished at %v, held to %+v: %+v", at, finished, least, candidate)
			}
			switch data[2] { // the active one reports
			case 255:
				active.Accepted, active.Durations[data[0]%SojournBuckets] = active.Accepted+9, active.Durations[data[0]%SojournBuckets]+9
				p.Typical(active)
			case 254: // of connections that are open
				active.Accepted += uint64(data[0])
				p.Typical(active)
			}
			if closed := sumUp(active.Durations); p.held.within > 0 && float64(closed) < p.held.part*float64(active.Accepted) {
				t.Fatalf("held to %+v, but only %d of %d are closed", p.held, closed, active.Accepted)
			}
		}
	})
}

func sumUp(buckets []uint64) (sum uint64) {
	for _, n := range buckets {
		sum += n
	}
	return sum
}
