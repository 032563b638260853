package hook

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"example.com/supervisor/upgrade"
)

// Hooks runs a command at each hook that has one: upgrade.Hooks. Its methods may be
// called concurrently.
type Hooks struct {
	// Commands are the words of each.
	Commands map[upgrade.Hook][]string
	// Env is the environment to which the facts are added, Dir the working
	// directory; empty means the supervisor's own.
	Env []string
	Dir string
	// Limit is how long each may take.
	Limit time.Duration
	// Log takes their output.
	Log *slog.Logger
	// Mark, if set, gives each run a variable by which its processes are known, and
	// what ends those that left its process group.
	Mark func() (variable string, end func())
}

// Run runs the command of f.Hook.
func (h *Hooks) Run(ctx context.Context, f upgrade.HookFacts) error {
	words := h.Commands[f.Hook]
	if len(words) == 0 {
		return nil
	}
	document, err := Document(f)
	if err != nil {
		return fmt.Errorf("cannot tell it the facts: %w", err)
	}
	env := append(h.Env[:len(h.Env):len(h.Env)], Env(f)...)
	if h.Mark != nil {
		variable, end := h.Mark()
		env = append(env, variable)
		defer end()
	}
	log := h.Log.With("hook", string(f.Hook), "request", strconv.FormatUint(f.Request, 10))
	return Command{
		Words: words, Dir: h.Dir, Env: env, Stdin: document, Limit: h.Limit,
		Tell: func(line string) { log.Info(line) },
	}.Run(ctx)
}
