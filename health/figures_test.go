package health

import (
	"testing"
	"time"
)

func TestOldest(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	waits := Observation{At: 5 * time.Second, Sample: Sample{Depth: 3}}
	looked := Waiting{Known: true, Count: 3, Oldest: 40 * ms}
	for name, c := range map[string]struct {
		figures Figures
		want    time.Duration
		ok      bool
	}{
		"empty":               {Figures{}, 0, true},
		"seen now":            {Figures{Observation: Observation{Sample: Sample{Depth: 3}, Head: 8 * ms, HeadKnown: true}, Waiting: looked}, 8 * ms, true},
		"seen a moment ago":   {Figures{Observation: waits, Waiting: looked, WaitingAt: 4500 * ms}, 40 * ms, true},
		"seen long ago":       {Figures{Observation: waits, Waiting: looked, WaitingAt: 3900 * ms}, 0, false},
		"was empty when seen": {Figures{Observation: waits, Waiting: Waiting{Known: true}, WaitingAt: 5 * time.Second}, 0, false},
		"cannot be seen":      {Figures{Observation: waits, WaitingAt: 5 * time.Second}, 0, false},
	} {
		if got, ok := c.figures.Oldest(); got != c.want || ok != c.ok {
			t.Errorf("%s: got %v, %v, want %v, %v", name, got, ok, c.want, c.ok)
		}
	}
}
