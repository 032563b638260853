// Package hook runs the commands that an operator has at the hooks of an upgrade
// (docs/hooks.md), and the check of a configuration.
//
// It guarantees that a command gets the facts, in its environment and on its
// standard input; that it inherits no descriptor and no variable that is meant for
// the supervisor or for a generation; that when it is over all of its process group
// is killed, and what left that is found by a mark; and that its output, whatever
// it is, is no more than so many lines of plain text.
package hook

import (
	"encoding/json"
	"strconv"

	"example.com/supervisor/upgrade"
)

// Env is what f adds to the environment of a command. What is not known is not
// there.
func Env(f upgrade.HookFacts) []string {
	var env []string
	add := func(key, value string) {
		if value != "" {
			env = append(env, "SUPERVISOR_"+key+"="+plain(value))
		}
	}
	count := func(key string, n int) {
		if n != 0 {
			add(key, strconv.Itoa(n))
		}
	}
	add("HOOK", string(f.Hook))
	add("NAME", f.Service)
	add("REQUEST", strconv.FormatUint(f.Request, 10))
	add("KIND", string(f.Kind))
	add("NOTE", f.Note)
	count("FROM_GENERATION", f.From)
	count("FROM_PID", f.FromPID)
	if r := f.FromRelease; r != nil {
		add("FROM_PATH", r.Path)
		add("FROM_BUILD_ID", r.BuildID)
	}
	count("TO_GENERATION", f.To)
	count("TO_PID", f.ToPID)
	if r := f.ToRelease; r != nil {
		add("TO_PATH", r.Path)
		add("TO_BUILD_ID", r.BuildID)
	}
	add("VERDICT", string(f.Verdict))
	add("REASON", f.Reason)
	count("ACTIVE_GENERATION", f.Active)
	return env
}

// Document is f as one JSON document, for standard input.
func Document(f upgrade.HookFacts) ([]byte, error) {
	text, err := json.Marshal(f)
	return append(text, '\n'), err
}
