package queue

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/internal/golden"
	"example.com/supervisor/upgrade"
)

func TestSnapshotAsJSON(t *testing.T) {
	t.Parallel()
	s := snapshot()
	s.Time = s.Time.UTC().Truncate(24 * time.Hour) // the same in every time zone
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, *update, "snapshot.json", string(text)+"\n")
	var again Snapshot
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%v: a snapshot came back as\n%+v", err, again)
	}
}

func TestUnknownFiguresAreNotZero(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(NewSnapshot("web", noon, []health.Figures{{Name: "unseen"}}, statuses()[5:], nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"unseen", "dns"} {
		_, rest, _ := strings.Cut(string(text), `"name":"`+name)
		one, _, _ := strings.Cut(rest, "}")
		for _, key := range []string{"depth", "limit", "fill", "oldest_seconds", "drops", "sojourn_p99_seconds", "drops_per_second", "arrivals_per_second", "headroom_seconds"} {
			if !strings.Contains(one, `"`+key+`":null`) {
				t.Errorf("%s: %s is not null: %s", name, key, one)
			}
		}
		if strings.Contains(one, "trouble") || strings.Contains(one, "full_in") {
			t.Errorf("%s: %s", name, one)
		}
	}
	if strings.Contains(string(text), "namespace") {
		t.Errorf("counters that were not read are there: %s", text)
	}
}

func TestOldestIsKnownOnlyWhereItWasLookedAt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*health.Figures)
		want   *float64
	}{
		"with the sample":   {func(*health.Figures) {}, seconds(4*time.Millisecond, true)},
		"not looked at":     {func(f *health.Figures) { f.Observation.HeadKnown = false }, nil},
		"empty":             {func(f *health.Figures) { f.Observation.Depth, f.Observation.HeadKnown = 0, false }, seconds(0, true)},
		"no queue any more": {func(f *health.Figures) { f.Observation.Listening = false }, nil},
		"a moment ago": {func(f *health.Figures) {
			f.Observation.HeadKnown = false
			f.Waiting, f.WaitingAt = health.Waiting{Known: true, Count: 2, Oldest: time.Second}, f.Observation.At-time.Second
		}, seconds(time.Second, true)},
		"long ago": {func(f *health.Figures) {
			f.Observation.HeadKnown = false
			f.Waiting, f.WaitingAt = health.Waiting{Known: true, Count: 2, Oldest: time.Second}, f.Observation.At-time.Second-1
		}, nil},
	} {
		f := quiet("http")
		c.change(&f)
		got := NewSnapshot("web", noon, []health.Figures{f}, statuses()[:1], nil).Listeners[0].OldestSeconds
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, cell(got, span), cell(c.want, span))
		}
	}
}

// script is a Source whose figures are a list, the last for ever.
type script struct {
	rounds   [][]health.Figures
	extremes [][]Extremes
	closed   int
}

func (s *script) Figures() []health.Figures {
	now := s.rounds[0]
	if len(s.rounds) > 1 {
		s.rounds = s.rounds[1:]
	}
	return now
}

func (s *script) Tally() Tally                      { return s }
func (s *script) Counters() (health.Counters, bool) { return health.Counters{}, false }
func (s *script) Close()                            { s.closed++ }

func (s *script) Take() []Extremes {
	now := s.extremes[0]
	if len(s.extremes) > 1 {
		s.extremes = s.extremes[1:]
	}
	return now
}

func TestStreamTellsWhatWasSeenInBetween(t *testing.T) {
	t.Parallel()
	source := &script{
		rounds: [][]health.Figures{{quiet("other"), quiet("http")}},
		extremes: [][]Extremes{
			{{Listener: "other", MaxDepth: 1}, {Listener: "http", MaxDepth: 99, Drops: 5}},
			{{Listener: "other", MaxDepth: 1}, {Listener: "http", MaxDepth: 130, MaxHead: time.Second, HeadKnown: true, Drops: 1}},
			{{Listener: "other", MaxDepth: 1}, {Listener: "http"}},
			{},
		},
	}
	stream := View{Service: "web", Listeners: func() []upgrade.ListenerStatus { return statuses()[:1] }, Source: source}.Stream()
	if l := stream.Next().Listeners[0]; l.MaxDepth != nil || l.NewDrops != nil || l.Trouble != nil {
		t.Errorf("the first tells of a time before it: %+v", l)
	}
	l := stream.Next().Listeners[0]
	if *l.MaxDepth != 130 || *l.MaxOldestSeconds != 1 || *l.NewDrops != 1 || len(l.Trouble) != 2 {
		t.Errorf("the second: %+v", l)
	}
	// What was seen before it was looked at is not less than what is seen now.
	l = stream.Next().Listeners[0]
	if *l.MaxDepth != 3 || *l.MaxOldestSeconds != 0.004 || *l.NewDrops != 0 || l.Trouble != nil {
		t.Errorf("the third: %+v", l)
	}
	if l = stream.Next().Listeners[0]; l.MaxDepth != nil {
		t.Errorf("a tally that says nothing: %+v", l)
	}
	stream.Close()
	if source.closed != 1 {
		t.Errorf("closed %d times, want once", source.closed)
	}
}

func TestTroubleInWords(t *testing.T) {
	t.Parallel()
	one := uint64(1)
	for want, change := range map[string]func(*Listener){
		"": func(*Listener) {},
		"full: it is full: clients that connect now are not answered, and try again a second later": func(l *Listener) { *l.Depth = 129 },
		"full: it was full a moment ago: 129 waited, its limit is 128":                              func(l *Listener) { m := uint32(129); l.MaxDepth = &m },
		"filling: 65 of 129 places are taken":                                                       func(l *Listener) { *l.Depth, *l.Fill = 65, 65.0/129 },
		"filling: it fills: 3 of 129 places are taken, full in 900ms":                               func(l *Listener) { l.FullInSeconds = seconds(900*time.Millisecond, true) },
		"standing-queue: the oldest connection has waited 8ms to be accepted, target 5ms":           func(l *Listener) { *l.OldestSeconds = 0.008 },
		"drops: the kernel dropped 1 packet of clients that connect":                                func(l *Listener) { l.NewDrops = &one },
		"drops: the kernel drops packets of clients that connect: 2.5 a second, 0 since the start":  func(l *Listener) { *l.DropsPerSecond = 2.5 },
	} {
		l := NewSnapshot("web", noon, []health.Figures{quiet("http")}, statuses()[:1], nil).Listeners[0]
		change(&l)
		got := ""
		for _, x := range troubleOf(&l, health.Limits{}, true) {
			got += string(x.Reason) + ": " + x.Text
		}
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
