package fdpass

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const testToken = "00112233445566778899aabbccddeeff"

// samples has one message of each type, as Receive returns them.
func samples() []Message {
	return []Message{
		Hello{Protocol: Protocol, PID: 7, Library: "go", Capabilities: []string{CanPause, CanStats}},
		Welcome{Protocol: Protocol, Service: "api", Generation: 3, Listeners: 2, StatsMS: 250, ReadyMS: 1000,
			Rendezvous: "/run/supervisor/api/rendezvous.sock", Token: testToken},
		Received{Batch: 1, Count: 2, Cookies: []Cookie{1, 1<<64 - 1}},
		Ready{},
		Failed{Reason: "no database"},
		Pause{ID: 1},
		Resume{ID: 2},
		Drain{ID: 3, DeadlineMS: 30000, Final: true},
		Paused{ID: 1, Accepted: MaxID},
		Resumed{ID: 2},
		Drained{ID: 3, Accepted: 9, Cut: 1},
		Hold{On: true},
		Stats{Listeners: []ListenerStats{{Name: "http", Active: 3}, {Name: "admin", Unknown: true}}, Program: 4243},
		Stats{Listeners: []ListenerStats{{
			Name: "http", Accepted: 5, Active: 2, OldestMS: 40, Durations: []uint64{0, 1, 4}, Answered: 6, Sojourn: []uint64{4, 0, 1}}}},
		Error{Reason: "what?"},
		Rejoin{Protocol: Protocol, PID: 7, Service: "api", Generation: 3, Token: testToken, Ready: true, Draining: true,
			Listeners: 2, Library: "go", Capabilities: []string{CanPause}},
	}
}

func TestTypeComesFirst(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]Message{
		`{"type":"ready"}`:                                     Ready{},
		`{"type":"pause","id":7}`:                              Pause{ID: 7},
		`{"type":"drain","id":7,"deadline_ms":30000}`:          Drain{ID: 7, DeadlineMS: 30000},
		`{"type":"hold","on":true}`:                            Hold{On: true},
		`{"type":"hold","on":false}`:                           Hold{},
		`{"type":"failed","reason":"a < b & \"c\""}`:           Failed{Reason: `a < b & "c"`},
		`{"type":"received","batch":1,"count":0,"cookies":[]}`: Received{Batch: 1, Cookies: []Cookie{}},
		`{"type":"listeners","batch":1,"of":1,"listeners":[{"name":"http","network":"tcp4","address":"127.0.0.1:80","cookie":"18446744073709551615"}]}`: Listeners{
			Batch: 1, Of: 1, Listeners: []Listener{{Name: "http", Network: "tcp4", Address: "127.0.0.1:80", Cookie: 1<<64 - 1, FD: 9}}},
	} {
		if got, err := encode(m); err != nil || string(got) != want {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

// A child may know neither answered nor sojourn, and a hold that leaves its
// field out releases.
func TestWhatMayBeLeftOut(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]Message{
		`{"type":"hold"}`: Hold{},
		`{"type":"stats","listeners":[{"name":"a","accepted":3,"sojourn":null}]}`: Stats{Listeners: []ListenerStats{{Name: "a", Accepted: 3}}},
	} {
		if got, err := decode([]byte(packet)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v; want %#v", packet, got, err, want)
		}
	}
	// An empty histogram is left out: the child does not know.
	data, err := encode(Stats{Listeners: []ListenerStats{{Name: "a", Sojourn: []uint64{}}}})
	if want := `{"type":"stats","listeners":[{"name":"a","active":0}]}`; err != nil || string(data) != want {
		t.Errorf("got %s, %v; want %s", data, err, want)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"http": true, "http-2.x_y:z/[0]": true, "été": true, strings.Repeat("n", 255): true,
		"": false, strings.Repeat("n", 256): false, "a b": false, "a\tb": false, "a=b": false,
		"a\x00": false, "\u00a0": false, "\u2028": false, "\xff": false, "\u202e": false, "\x7f": false,
	} {
		if err := checkName(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestMilliseconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]int64{
		0: 0, 1: 1, time.Millisecond: 1, 1999 * time.Microsecond: 1, time.Second: 1000, -time.Second: -1000,
	} {
		if got := Milliseconds(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}
