package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
)

// programKeys are the settings of the program, and listen: an upgrade takes these
// for its release. It takes the policyKeys for itself and all that comes after it;
// what is in neither list needs a restart.
const (
	programKeys = "program dir env env-file protocol ready stop-schedule watchdog listen"
	policyKeys  = "ready-timeout overlap settle gate-timeout pause-timeout bake drain-timeout stop-grace max-draining " +
		"backoff-min backoff-max stable-after probe probe-command probe-interval probe-timeout probe-failures " +
		"queue-target queue-interval queue-headroom queue-reaction queue check"
)

// Changes are the settings that are others than they were, by their keys and in
// the order of Config.
type Changes struct {
	// Program are those of the program, Policy those that hold from an upgrade on,
	// and Restart those that do so only from the next start on.
	Program, Policy, Restart []string
}

// Compare tells by which settings next differs from c.
func (c Config) Compare(next Config) Changes {
	var changes Changes
	if c.ServiceName() != next.ServiceName() {
		changes.Restart = append(changes.Restart, "name")
	}
	was, is := reflect.ValueOf(c), reflect.ValueOf(next)
	for i := range was.NumField() {
		key := was.Type().Field(i).Tag.Get("toml")
		same := reflect.DeepEqual(was.Field(i).Interface(), is.Field(i).Interface()) ||
			was.Field(i).Kind() == reflect.Slice && was.Field(i).Len()+is.Field(i).Len() == 0
		switch {
		case same || key == "-" || key == "name":
		case slices.Contains(strings.Fields(programKeys), key):
			changes.Program = append(changes.Program, key)
		case slices.Contains(strings.Fields(policyKeys), key):
			changes.Policy = append(changes.Policy, key)
		default:
			changes.Restart = append(changes.Restart, key)
		}
	}
	return changes
}

// Renew is the program that an upgrade runs: now is what runs, said what the
// configuration said when that was made, and next what it says now. What is said
// otherwise than before counts; all else stays as it is, so that an upgrade does not
// undo what another one was asked for.
func Renew(now, said, next upgrade.Program) upgrade.Program {
	p := now
	list := func(to *[]string, said, next []string) {
		if !slices.Equal(said, next) {
			*to = next
			if next == nil {
				*to = []string{} // nothing, and not what runs now
			}
		}
	}
	text := func(to *string, said, next string) {
		if said != next {
			*to = next
		}
	}
	list(&p.Command, said.Command, next.Command)
	list(&p.Env, said.Env, next.Env)
	list(&p.EnvFiles, said.EnvFiles, next.EnvFiles)
	text(&p.Dir, said.Dir, next.Dir)
	if said.Protocol != next.Protocol { // of which these are then said anew
		p.Protocol, p.Ready, p.Stop, p.Watchdog = next.Protocol, next.Ready, next.Stop, next.Watchdog
	}
	text(&p.Ready, said.Ready, next.Ready)
	text(&p.Stop, said.Stop, next.Stop)
	text(&p.Watchdog, said.Watchdog, next.Watchdog)
	p.Listen = next.Listen
	return p
}

// A ListenChange is what is to be done about listeners.
type ListenChange struct {
	// Wanted are the specs of all that the release is to have, in their order.
	Wanted []string
	// Add are those that are to be opened.
	Add []listen.Spec
	// Remove are the specs of those that were wanted before.
	Remove []string
	// Restart are the names of those that cannot become what is wanted.
	Restart []string
}

// CompareListen tells what is to be done for a release to have the listeners of
// next, where those of open are open and those of now were wanted before. An error
// names a listener that cannot be had beside those that are open.
//
// An address that changes is another listener: the new one is opened beside the old
// one, which whoever has it keeps. What the service manager does not pass cannot be
// had, and a listener that is open keeps its backlog and its mode.
func CompareListen(open []listen.Spec, now []string, next []listen.Spec) (ListenChange, error) {
	var c ListenChange
	places := listen.NewPlaces(open)
	for _, spec := range next {
		wanted, err := spec, error(nil)
		switch i := places.Of(spec); {
		case i >= 0 && open[i].Name != spec.Name:
			err = fmt.Errorf("listener %q is to be at %s, where %q is: a listener is renamed by a restart", spec.Name, spec.URL(), open[i].Name)
		case i >= 0:
			wanted = open[i]
			if wanted.String() != spec.String() {
				c.Restart = append(c.Restart, "listen "+spec.Name+" (backlog and mode)")
			}
		case spec.Given():
			c.Restart = append(c.Restart, "listen "+spec.Name+" (the service manager passes sockets at the start)")
			continue
		default:
			c.Add = append(c.Add, spec)
		}
		if err != nil {
			return ListenChange{}, err
		}
		c.Wanted = append(c.Wanted, wanted.String())
	}
	wanted := make(map[string]bool, len(c.Wanted))
	for _, spec := range c.Wanted {
		wanted[spec] = true
	}
	for _, spec := range now {
		if !wanted[spec] {
			c.Remove = append(c.Remove, spec)
		}
	}
	return c, nil
}

// Note tells in words what is done, and what would need a restart; "" if nothing is.
func Note(l ListenChange, policy, restart []string) string {
	var added, parts []string
	for _, spec := range l.Add {
		added = append(added, spec.String())
	}
	say := func(what string, all []string) {
		if len(all) > 0 {
			parts = append(parts, what+strings.Join(all, ", "))
		}
	}
	say("new listeners: ", added)
	say("no more: ", l.Remove)
	say("changed: ", policy)
	say("needs a restart: ", slices.Concat(restart, l.Restart))
	return strings.Join(parts, "; ")
}
