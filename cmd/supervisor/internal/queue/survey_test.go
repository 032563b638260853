package queue

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/internal/golden"
	"example.com/supervisor/upgrade"
)

func found(network, address string, inode, depth, limit, drops uint32) health.NamespaceListener {
	return health.NamespaceListener{
		Network: network, Address: address, Inode: inode, Group: 1,
		Sample:  health.Sample{Depth: depth, Limit: limit, Drops: drops, Listening: true},
		Waiting: health.Waiting{Known: network == "tcp"},
	}
}

// namespace is a namespace with everything in it.
func namespace() []health.NamespaceListener {
	all := []health.NamespaceListener{
		found("tcp", "127.0.0.1:22", 1, 0, 128, 0),
		found("unix", "/run/dbus/system_bus_socket", 2, 1, 4096, 0),
		found("unix", "@/tmp/\x1b[31m.X11-unix/X0", 3, 0, 128, 0),
		found("tcp", "[::]:8443", 4, 0, 4096, 7),
		found("tcp", "0.0.0.0:80", 5, 120, 128, 0),
		found("tcp", "0.0.0.0:80", 6, 0, 128, 0),
		found("tcp", "127.0.0.1:9000", 7, 3, 128, 0),
		found("tcp", "[::1]:25", 8, 129, 128, 4_294_967_290),
	}
	all[3].V6Only = true
	all[4].Group, all[5].Group = 2, 2
	all[6].Waiting = health.Waiting{Known: true, Count: 3, Oldest: 2 * time.Second}
	all[7].UID = 104
	return all
}

func owners() []Owner {
	return []Owner{
		{"web", []upgrade.ListenerStatus{{Name: "https", Network: "tcp", Address: "[::]:8443"}, {Name: "http", Network: "tcp4", Address: "0.0.0.0:80"}}},
		{},
		{"bus", []upgrade.ListenerStatus{{Name: "bus", Network: "unix", Address: "/run/dbus/system_bus_socket"}, {Name: "dns", Network: "udp4", Address: "127.0.0.1:22"}}},
	}
}

func someSurvey() Survey {
	return NewSurvey(noon, namespace(), owners(), nil, &health.Counters{ListenDrops: 4, ListenOverflows: 1})
}

func TestSurveyShowsTroubleFirst(t *testing.T) {
	t.Parallel()
	var got []string
	for _, l := range someSurvey().Listeners {
		var reasons []string
		for _, x := range l.Trouble {
			reasons = append(reasons, string(x.Reason))
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s", l.Inode, strings.Join(reasons, ","), l.owner())))
	}
	want := "8 full,drops -; 5 filling web/http; 6  web/http; 7 standing-queue -; 4 drops web/https; 2  bus/bus; 1  -; 3  -"
	if strings.Join(got, "; ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), want)
	}
}

func TestSurveyOfAGroup(t *testing.T) {
	t.Parallel()
	for _, l := range someSurvey().Listeners {
		in := l.Address == "0.0.0.0:80"
		if in != (l.GroupSize == 2) || in != (l.GroupUniformity != nil && *l.GroupUniformity == 0.5) {
			t.Errorf("%+v", l)
		}
	}
	idle := namespace()
	idle[4].Depth = 0
	for _, l := range NewSurvey(noon, idle, nil, nil, nil).Listeners {
		if l.GroupUniformity != nil {
			t.Errorf("a uniformity of nothing: %+v", l)
		}
	}
}

func TestSurveyTellsHowFastDropsCome(t *testing.T) {
	t.Parallel()
	before := someSurvey()
	later := namespace()
	later[7].Drops += 10 // wraps
	later[2].Inode = 99
	later = append(later, found("tcp", "127.0.0.1:1", 1, 0, 1, 50)) // an inode that is used again
	next := NewSurvey(noon.Add(2*time.Second), later, nil, &before, nil)
	for _, l := range next.Listeners {
		switch {
		case l.Inode == 8 && (l.DropsPerSecond == nil || *l.DropsPerSecond != 5):
			t.Errorf("%s drops a second, want 5", cell(l.DropsPerSecond, frequency))
		case l.Inode == 4 && (l.DropsPerSecond == nil || *l.DropsPerSecond != 0 || l.severity() != 1):
			t.Errorf("drops of the past: %+v", l)
		case (l.Network == "unix" || l.Address == "127.0.0.1:1") && l.DropsPerSecond != nil:
			t.Errorf("a rate that nobody knows: %+v", l)
		}
	}
	if again := NewSurvey(before.Time, later, nil, &before, nil); again.Listeners[0].DropsPerSecond != nil {
		t.Error("a rate over no time at all")
	}
}

// TestSurveyKnowsStrays: where the namespace has lost nothing, a listener's
// counter has counted strays, and nobody is in trouble.
func TestSurveyKnowsStrays(t *testing.T) {
	t.Parallel()
	listener := func(drops uint32) []health.NamespaceListener {
		return []health.NamespaceListener{found("tcp", "127.0.0.1:1", 1, 0, 128, drops)}
	}
	for _, c := range []struct {
		before, now *health.Counters
		want        string
	}{
		{nil, &health.Counters{}, ""},
		{&health.Counters{}, &health.Counters{}, ""},
		{nil, nil, "the kernel dropped 5 packets since it was opened, strays included"},
		{nil, &health.Counters{ListenDrops: 1}, "the kernel dropped 5 packets since it was opened, strays included"},
		{&health.Counters{ListenDrops: 1}, &health.Counters{ListenDrops: 1}, "the kernel dropped 5 packets since it was opened, strays included"},
		{&health.Counters{ListenDrops: 1}, &health.Counters{ListenDrops: 2}, "the kernel drops packets of clients that connect, or strays: 2 a second"},
		{&health.Counters{}, nil, "the kernel drops packets of clients that connect, or strays: 2 a second"},
	} {
		var before *Survey
		if c.before != nil {
			s := NewSurvey(noon, listener(3), nil, nil, c.before)
			before = &s
		}
		var got string
		for _, x := range NewSurvey(noon.Add(time.Second), listener(5), nil, before, c.now).Listeners[0].Trouble {
			got += x.Text
		}
		if got != c.want {
			t.Errorf("%v, %v: got %q, want %q", c.before, c.now, got, c.want)
		}
	}
}

func TestSurveyAsJSON(t *testing.T) {
	t.Parallel()
	s := someSurvey()
	s.Time = s.Time.UTC().Truncate(24 * time.Hour)
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, *update, "survey.json", string(text)+"\n")
}

func TestSurveyOfAListenerThatWasShutDown(t *testing.T) {
	t.Parallel()
	gone := found("tcp", "127.0.0.1:1", 1, 0, 0, 0)
	gone.Listening = false
	l := NewSurvey(noon, []health.NamespaceListener{gone}, nil, nil, nil).Listeners[0]
	if l.Depth != nil || len(l.Trouble) != 1 || l.Trouble[0].Reason != health.ReasonNotListening {
		t.Errorf("%+v", l)
	}
}

func TestPlaceIsTheSameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		networkA, a, networkB, b string
		want                     bool
	}{
		{"tcp", "127.0.0.1:80", "tcp4", "127.0.0.1:80", true},
		{"tcp", "[::ffff:127.0.0.1]:80", "tcp4", "127.0.0.1:80", true},
		{"tcp", "[::]:80", "tcp6", "[0:0::0]:80", true},
		{"tcp", "[::]:80", "tcp4", "0.0.0.0:80", false},
		{"tcp", "127.0.0.1:80", "udp", "127.0.0.1:80", false},
		{"unix", "/a", "unix", "/a", true},
		{"unix", "/a", "unixpacket", "/a", false},
		{"tcp", "strange", "tcp", "strange", true},
	} {
		if got := placeOf(c.networkA, c.a) == placeOf(c.networkB, c.b); got != c.want {
			t.Errorf("%s %s, %s %s: %v, want %v", c.networkA, c.a, c.networkB, c.b, got, c.want)
		}
	}
}
