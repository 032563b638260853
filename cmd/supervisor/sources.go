package main

import (
	"log/slog"
	"slices"

	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

// was is how a listener was asked for that a generation gave back. The
// generation accepts there and nowhere else, so a configuration that was changed
// meanwhile must wait for a start that nobody outlives.
func (o *origin) was(given fdpass.Listener) (listen.Spec, bool) {
	if o.state == nil {
		return listen.Spec{}, false
	}
	for _, l := range o.state.Listeners {
		if l.Name != given.Name || l.Kept || fdpass.Cookie(l.Cookie) != given.Cookie {
			continue
		}
		spec, err := listen.ParseSpec(l.Spec)
		return spec, err == nil
	}
	return listen.Spec{}, false
}

// warnOfUnserved says which sockets the generations that were adopted do not
// have, given what they gave back: clients would wait there.
func (o *origin) warnOfUnserved(all []source, given []fdpass.Listener, log *slog.Logger) {
	accepts := func(s upgrade.Survivor) bool { return !s.Mute && !s.Draining }
	if !slices.ContainsFunc(o.gathered.Survivors, accepts) {
		return
	}
	for _, s := range all {
		now, err := fdpass.Describe(s.socket.Name, s.socket.FD)
		if err != nil || slices.ContainsFunc(given, func(l fdpass.Listener) bool { return l.Cookie == now.Cookie }) {
			continue
		}
		log.Warn("no generation that serves on has this listener, so clients wait there; give it one by supervisor upgrade --force",
			"listener", now.Name, "network", now.Network, "address", now.Address)
	}
}
