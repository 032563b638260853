package main

import (
	"reflect"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

func TestStatusTellsOfTheQueues(t *testing.T) {
	t.Parallel()
	shared := []upgrade.ListenerStatus{{Name: "dns", Network: "udp"}, {Name: "http", Network: "tcp"}, {Name: "admin", Network: "unix"}}
	got := withQueues(upgrade.Status{Listeners: shared}, []health.Figures{
		{Name: "admin", Observation: health.Observation{Sample: health.Sample{Depth: 1, Limit: 16}, Arrivals: -1}}, // whose connections cannot be seen
		{Name: "http", DropsKnown: true, Drops: 9, Observation: health.Observation{
			Sample:   health.Sample{Depth: 97, Limit: 4096, Drops: 1 << 31},
			Arrivals: 2000, Head: 12 * time.Millisecond, HeadKnown: true,
		}},
		{Name: "gone"},
	})
	want := []upgrade.ListenerStatus{
		{Name: "dns", Network: "udp"},
		{Name: "http", Network: "tcp", Queue: &upgrade.QueueStatus{
			Depth: 97, Limit: 4096, Drops: new(uint64(9)), OldestSeconds: new(0.012), ArrivalsPerSecond: new(2000.0), HeadroomSeconds: new(2.0),
		}},
		{Name: "admin", Network: "unix", Queue: &upgrade.QueueStatus{Depth: 1, Limit: 16}},
	}
	if !reflect.DeepEqual(got.Listeners, want) {
		t.Errorf("got %+v\nwant %+v", got.Listeners, want)
	}
	if shared[1].Queue != nil {
		t.Error("the listeners of the supervisor itself were changed")
	}
}
