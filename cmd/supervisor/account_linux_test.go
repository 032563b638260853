package main

import (
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// The arrivals are what generations report. Where the new one does not, they
// fade while it takes as many as ever.
func TestBakeOfASilentGenerationDoesNotGoByTheArrivals(t *testing.T) {
	t.Parallel()
	_, fd, _ := held(t, "tcp://127.0.0.1:0")
	monitor, err := health.NewMonitor(health.MonitorConfig{Listeners: []health.Listener{{Name: "http", FD: fd}}})
	if err != nil {
		t.Fatal(err)
	}
	defer monitor.Close()
	bake := func(v health.View, reports bool) (tripped bool) {
		a := &account{bake: health.NewBake([]health.Watched{{Name: "http"}})}
		for at := time.Duration(0); at < time.Second && !tripped; at += 5 * time.Millisecond {
			v.At = at
			v.Observations = []health.Observation{{At: at, Sample: health.Sample{Depth: 2, Limit: 128, Listening: true}, Arrivals: 50}}
			_, tripped = a.bakes(v, upgrade.Target{Generation: 2, Reports: reports})
		}
		return tripped
	}
	err = monitor.Follow(t.Context(), time.Second, func(v health.View) bool {
		for _, reports := range []bool{false, true} {
			if tripped := bake(v, reports); tripped != reports {
				t.Errorf("reports %v: tripped %v", reports, tripped)
			}
		}
		return true
	})
	if err != nil {
		t.Error(err)
	}
}
