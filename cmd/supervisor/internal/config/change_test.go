package config

import (
	"reflect"
	"testing"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

func specs(t *testing.T, all ...string) []listen.Spec {
	t.Helper()
	var parsed []listen.Spec
	for _, s := range all {
		spec, err := listen.ParseSpec(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, spec)
	}
	return parsed
}

func TestCompareListen(t *testing.T) {
	t.Parallel()
	const a, b, moved, unix = "a=tcp://127.0.0.1:1", "b=tcp://127.0.0.1:2", "a=tcp://127.0.0.1:3", "u=unix:///u"
	for name, c := range map[string]struct {
		open, now, next []string
		want            ListenChange
		wrong           bool
	}{
		"none":             {[]string{a, b}, []string{a, b}, []string{a, b}, ListenChange{Wanted: []string{a, b}}, false},
		"order":            {[]string{a, b}, []string{a, b}, []string{b, a}, ListenChange{Wanted: []string{b, a}}, false},
		"added":            {[]string{a}, []string{a}, []string{unix, a}, ListenChange{Wanted: []string{unix, a}, Add: specs(t, unix)}, false},
		"removed":          {[]string{a, b}, []string{a, b}, []string{b}, ListenChange{Wanted: []string{b}, Remove: []string{a}}, false},
		"moved":            {[]string{a}, []string{a}, []string{moved}, ListenChange{Wanted: []string{moved}, Add: specs(t, moved), Remove: []string{a}}, false},
		"open for another": {[]string{a, b}, []string{a}, []string{a, b}, ListenChange{Wanted: []string{a, b}}, false},
		"another backlog": {[]string{a}, []string{a}, []string{a + "?backlog=7"},
			ListenChange{Wanted: []string{a}, Restart: []string{"listen a (backlog and mode)"}}, false},
		"another name": {[]string{a}, []string{a}, []string{"c=tcp://127.0.0.1:1"}, ListenChange{}, true},
		"of a socket unit": {[]string{"s=systemd"}, []string{"s=systemd"}, []string{"s=systemd", "n=systemd"},
			ListenChange{Wanted: []string{"s=systemd"}, Restart: []string{"listen n (the service manager passes sockets at the start)"}}, false},
	} {
		got, err := CompareListen(specs(t, c.open...), c.now, specs(t, c.next...))
		if !reflect.DeepEqual(got, c.want) || (err != nil) != c.wrong {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

func TestRenewTakesWhatIsSaidOtherwise(t *testing.T) {
	t.Parallel()
	said := upgrade.Program{Command: []string{"web"}, Env: []string{"A=1"}, Protocol: "native", Listen: []string{"a=1"}}
	now := said // but for what an upgrade was asked for
	now.Command, now.Dir = []string{"other"}, "/else"
	next := said
	next.Env, next.Listen = nil, []string{"b=2"}
	want := now
	want.Env, want.Listen = []string{}, next.Listen
	if got := Renew(now, said, next); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	now.Protocol, now.Ready = "listen-fds", "2s"
	next.Protocol, next.Command = "nginx", []string{"nginx"}
	want.Command, want.Protocol, want.Ready = next.Command, "nginx", ""
	if got := Renew(now, said, next); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCompareTellsWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	was := Default()
	was.Program = []string{"web"}
	is := was
	is.Program, is.Bake, is.Queue, is.Metrics, is.Env = []string{"/srv/api"}, 7, []string{"*:off"}, "127.0.0.1:1", []string{}
	want := Changes{Program: []string{"program"}, Policy: []string{"bake", "queue"}, Restart: []string{"name", "metrics"}}
	if got := was.Compare(is); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if note := Note(ListenChange{Add: specs(t, "a=tcp://127.0.0.1:1"), Remove: []string{"b=systemd"}}, want.Policy, want.Restart); note !=
		"new listeners: a=tcp://127.0.0.1:1; no more: b=systemd; changed: bake, queue; needs a restart: name, metrics" {
		t.Error(note)
	}
	// What a setting is for must have been decided.
	if all := was.Compare(Config{}); len(all.Restart) == 0 || len(all.Policy) == 0 {
		t.Errorf("%+v", all)
	}
}
