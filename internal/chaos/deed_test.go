package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/upgrade"
)

// A kind is what a deed does.
type kind string

const (
	rests           kind = "rest"
	upgrades        kind = "upgrade"
	rollsBack       kind = "rollback"
	hangsUp         kind = "SIGHUP"
	triesDry        kind = "dry run"
	replaces        kind = "reexec"
	replacesBadly   kind = "reexec of what is no supervisor"
	killsSupervisor kind = "kill -9 of the supervisor"
	stopsSupervisor kind = "SIGSTOP of the supervisor"
	killsGeneration kind = "kill -9 of a generation"
	stopsGeneration kind = "SIGSTOP of a generation"
	addsListener    kind = "a listener more in the configuration"
	removesListener kind = "a listener less in the configuration"
	spoilsConfig    kind = "a wrong value in the configuration"
	deletesProgram  kind = "the running program's file deleted"
	removesSocket   kind = "control socket removed"
	removesState    kind = "state removed"
	lowersLimit     kind = "descriptor limit of the supervisor lowered"
	connectsSlowly  kind = "slow clients"
)

// A fate is what becomes of a caller while it waits.
type fate string

const (
	waits     fate = ""
	isKilled  fate = "the caller is killed"
	isStopped fate = "the caller is stopped for a while"
)

// A quality says what may become of a program.
type quality int

const (
	// good ones are committed if nothing speaks against the moment.
	good quality = iota
	// lax ones may be committed, and must be replaced then: what is wrong with them
	// shows later, or, as with handlers that hang where one request in ten takes long
	// by nature, not within so short a bake.
	lax
	// bad ones are committed by nobody, unless the active generation has died.
	bad
)

// A deed is something that is done to a supervisor, or near it.
type deed struct {
	kind kind
	// flags are those of the program to upgrade to, and protocol is how it is
	// spoken to.
	flags    []string
	quality  quality
	protocol string
	// words are further ones of the caller's.
	words []string
	// fate is the caller's.
	fate fate
	// role is that of the generation that is hit.
	role upgrade.Role
	// lasts is how long somebody stays stopped or a limit low, or how long after its
	// begin the caller meets its fate.
	lasts time.Duration
	// absent is how long there is no supervisor; later are the kills of those
	// that are started next.
	absent time.Duration
	later  []laterKill
	// count is of clients, or of descriptors that are left.
	count int
}

// A laterKill hits a supervisor that was started after a kill.
type laterKill struct {
	after  time.Duration // its start
	absent time.Duration
}

// catalogue is every deed that there is in a world, without what is drawn. Programs
// that are spoken to by listen-fds have no probe socket, so that they cannot be in
// the world in which there is a probe.
func catalogue(w world) []deed {
	probed := w == shellLoop
	return slices.DeleteFunc(everything(), func(d deed) bool {
		return probed && d.protocol == "listen-fds" || !probed && len(d.flags) > 0 && strings.HasPrefix(d.flags[0], "-unhealthy")
	})
}

// everything is every deed that there is.
func everything() []deed {
	all := []deed{
		{kind: rests}, {kind: rollsBack}, {kind: hangsUp}, {kind: triesDry}, {kind: replaces}, {kind: replacesBadly},
		{kind: killsSupervisor}, {kind: stopsSupervisor}, {kind: addsListener}, {kind: removesListener}, {kind: spoilsConfig},
		{kind: deletesProgram}, {kind: removesSocket}, {kind: removesState}, {kind: lowersLimit}, {kind: connectsSlowly},
		{kind: rollsBack, fate: isKilled},
	}
	for _, role := range []upgrade.Role{upgrade.RoleActive, upgrade.RoleCandidate, upgrade.RolePaused, upgrade.RoleDraining} {
		all = append(all, deed{kind: killsGeneration, role: role}, deed{kind: stopsGeneration, role: role})
	}
	for _, fate := range []fate{waits, isKilled, isStopped} {
		all = append(all, deed{kind: upgrades, protocol: "native", fate: fate})
	}
	all = append(all, deed{kind: upgrades, protocol: "listen-fds"}, deed{kind: upgrades, protocol: "listen-fds", fate: isStopped})
	for _, q := range []struct {
		quality quality
		flags   string
	}{
		{good, "-ignore-term"}, {good, "-grandchild"}, {good, "-start-delay 200ms"},
		{lax, "-ignore-pause"}, {lax, "-ignore-resume"}, {lax, "-ignore-drain"}, {lax, "-set-blocking"},
		{bad, "-exit-before-hello 3"}, {bad, "-panic"}, {bad, "-hang-before-hello"}, {bad, "-hang-before-ready"},
		{bad, "-crash-before-ready"}, {bad, "-never-ready"}, {bad, "-ready-then-exit"}, {bad, "-fail no-tables"},
		{bad, "-fail-after 150ms"}, {bad, "-crash-after 150ms"}, {bad, "-unhealthy"}, {bad, "-unhealthy-after 150ms"},
		{bad, "-protocol 7"}, {bad, "-wrong-cookies"}, {bad, "-garbage"}, {bad, "-close-channel"}, {bad, "-flood-channel"},
		{bad, "-stop-accepting-after 3"}, {bad, "-slow-accept 100ms"}, {bad, "-stall-after 10ms"},
		{lax, "-block-handlers-after 5"}, {lax, "-shutdown-listener"}, {bad, missing},
	} {
		all = append(all, deed{kind: upgrades, protocol: "native", quality: q.quality, flags: strings.Fields(q.flags)})
	}
	return all
}

// missing stands for a program that is not there.
const missing = "-missing"

// drawn is d with what is left to chance.
func (d deed) drawn(r *rand.Rand) deed {
	upTo := func(most time.Duration) time.Duration {
		return time.Duration(1 + r.Int64N(int64(most))).Truncate(10 * time.Microsecond)
	}
	switch {
	case d.fate != waits:
		d.lasts = upTo(500 * time.Millisecond)
	case d.kind == upgrades:
		d.words = [][]string{nil, nil, {"--wait-drain"}, {"--force"}, {"--timeout", upTo(900 * time.Millisecond).String()}}[r.IntN(5)]
	case d.kind == stopsSupervisor || d.kind == stopsGeneration:
		d.lasts = upTo(time.Second)
	case d.kind == lowersLimit:
		d.lasts, d.count = upTo(500*time.Millisecond), r.IntN(6)
	case d.kind == connectsSlowly:
		d.count, d.lasts = 1+r.IntN(8), upTo(time.Second)
	case d.kind == killsSupervisor:
		d.absent = upTo(150 * time.Millisecond)
		if r.IntN(3) == 0 {
			d.absent = 0
		}
		for r.IntN(3) == 0 {
			d.later = append(d.later, laterKill{upTo(80 * time.Millisecond), upTo(50 * time.Millisecond)})
		}
	}
	return d
}

// asks reports whether there is a caller who waits for a report.
func (d deed) asks() bool { return d.kind == upgrades || d.kind == rollsBack || d.kind == triesDry }

// name tells deeds apart that must all come.
func (d deed) name() string {
	return strings.Join(slices.DeleteFunc([]string{
		string(d.kind), string(d.role), d.protocol, strings.Join(d.flags, " "), string(d.fate),
	}, func(s string) bool { return s == "" }), " ")
}

func (d deed) String() string {
	text := d.name()
	if len(d.words) > 0 {
		text += " " + strings.Join(d.words, " ")
	}
	if d.lasts > 0 {
		text += fmt.Sprintf(" for %v", d.lasts)
	}
	if d.kind == killsSupervisor {
		text += fmt.Sprintf(", none for %v", d.absent)
		for _, k := range d.later {
			text += fmt.Sprintf(", killed again after %v, none for %v", k.after, k.absent)
		}
	}
	if d.count > 0 {
		text += fmt.Sprintf(" (%d)", d.count)
	}
	return text
}
