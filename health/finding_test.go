package health

import (
	"strings"
	"testing"
	"time"
)

func TestFindingsSayWhatIsTheMatter(t *testing.T) {
	t.Parallel()
	def := Limits{}.WithDefaults()
	at := func(depth, limit uint32) Observation {
		return Observation{At: time.Second, Sample: Sample{Depth: depth, Limit: limit, Listening: true}, Arrivals: -1}
	}
	headed := func(o Observation, head time.Duration) Observation {
		o.Head, o.HeadKnown = head, true
		return o
	}
	arriving := func(o Observation, arrivals float64) Observation {
		o.Arrivals = arrivals
		return o
	}
	tests := []struct {
		f    Finding
		want string
	}{
		{Finding{}, "nothing was found"},
		{Finding{Reason: "new"}, "new"},
		{Finding{Reason: ReasonDrops, Listener: "http", Observation: at(129, 128), Dropped: 3, Ago: 20 * ms},
			"listener http: the kernel dropped 3 packets of connecting clients 20ms ago (129 of 128 waiting)"},
		{Finding{Reason: ReasonDrops, Listener: "http", Observation: at(129, 128), Dropped: 1},
			"listener http: the kernel dropped 1 packet of connecting clients just now (129 of 128 waiting)"},
		{Finding{Reason: ReasonStanding, Listener: "http", Observation: headed(at(87, 4096), 109*ms), Limits: def, Since: 896 * ms},
			"listener http: its queue stands: connections have waited more than 5ms for 104ms on end (oldest 109ms, 87 of 4096 waiting)"},
		{Finding{Reason: ReasonStanding, Listener: "http", Observation: at(87, 4096), Limits: def, Since: 896 * ms, Ago: 80 * ms},
			"listener http: its queue stands: connections have waited more than 5ms for 104ms on end (87 of 4096 waiting), 80ms ago"},
		{Finding{Reason: ReasonStanding, Listener: "http", Observation: headed(at(9, 128), 12*ms), Limits: def, Since: 993 * ms},
			"listener http: connections wait for more than 5ms (oldest 12ms, 9 of 128 waiting)"},
		{Finding{Reason: ReasonFilling, Listener: "http", Observation: at(79, 128), FullIn: 31250 * time.Microsecond, Growth: 1600},
			"listener http: its queue will be full in 31ms (79 of 128 waiting, growing by 1600 a second)"},
		{Finding{Reason: ReasonFilling, Listener: "http", Observation: at(129, 128)},
			"listener http: its queue is full (129 of 128 waiting): the next connection is dropped"},
		{Finding{Reason: ReasonHeadroom, Listener: "http", Observation: arriving(at(0, 128), 10000), Limits: def},
			"listener http: at 10000 connections a second its queue of 128 is full in 13ms if nobody accepts, and 20ms is the least: raise its backlog (?backlog=4096, net.core.somaxconn)"},
		{Finding{Reason: ReasonHeadroom, Listener: "http", Observation: arriving(at(0, 1024), 100000), Limits: def},
			"listener http: at 100000 connections a second its queue of 1024 is full in 10ms if nobody accepts, and 20ms is the least: raise its backlog (?backlog=8192, net.core.somaxconn)"},
		{Finding{Reason: ReasonHeadroom, Listener: "http", Observation: arriving(at(4000, 4096), 10000), Limits: def},
			"listener http: at 10000 connections a second its queue of 4096 (4000 waiting) is full in 10ms if nobody accepts, and 20ms is the least"},
		{Finding{Reason: ReasonDepth, Listener: "http", Observation: at(60, 128), Baseline: 3},
			"listener http: its queue is deeper than before the upgrade (60 of 128 waiting, 3 before)"},
		{Finding{Reason: ReasonNotListening, Listener: "http"},
			"listener http: it does not listen any more: a process that holds it called shutdown(2)"},
		{Finding{Reason: ReasonNoProgress, Accepted: 12, For: 320 * ms},
			"the candidate accepted 12 connections and has finished none for 320ms: its handlers seem to be blocked"},
		{Finding{Reason: ReasonSettled, Listener: "http", Observation: arriving(at(0, 4096), 10000), For: 100 * ms},
			"all queues were well for 100ms (least room: http, 0 of 4096 waiting, no drops, headroom 410ms)"},
		{Finding{Reason: ReasonSettled, Listener: "http", Observation: at(2, 128), For: 1500 * ms},
			"all queues were well for 1.5s (least room: http, 2 of 128 waiting, no drops)"},
		{Finding{Reason: ReasonSettled, For: 100 * ms}, "no queue is judged, for 100ms"},
		{Finding{Reason: ReasonUnseen}, "the queues have not been looked at"},
		{Finding{Reason: ReasonUnseen, Listener: "http", Ago: 40 * ms}, "listener http: its queue cannot be looked at; the last look was 40ms ago"},
		{Finding{Reason: ReasonUnseen, For: 40 * ms, Window: 100 * ms}, "all queues are well, but were seen for 40ms only, and 100ms are wanted"},
	}
	for _, test := range tests {
		if got := test.f.String(); got != test.want || test.f.Error() != got {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

// TestFindingsOfManyListenersAreShort has a thousand of them in trouble.
func TestFindingsOfManyListenersAreShort(t *testing.T) {
	t.Parallel()
	watched, obs := make([]Watched, 1000), make([]Observation, 1000)
	for i := range watched {
		watched[i].Name = strings.Repeat("n", 20)
		obs[i] = well(time.Second)
		obs[i].Depth, obs[i].Head = 128, 900*ms
	}
	f, tripped := NewBake(watched).Observe(obs)
	if text := f.String(); !tripped || len(text) > 200 {
		t.Errorf("tripped %v with %d bytes: %s", tripped, len(text), text)
	}
}

func TestDurationsAreRounded(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                        "0s",
		123456 * time.Nanosecond: "120µs",
		13400 * time.Microsecond: "13ms",
		1340 * ms:                "1.3s",
		13400 * ms:               "13s",
		409*time.Second + ms:     "6m49s",
	} {
		if got := rounded(d).String(); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
