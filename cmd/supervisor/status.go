package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/supervisor/upgrade"
	"github.com/spf13/cobra"
)

// maxArguments is how much is shown of a program's arguments.
const maxArguments = 60

func newStatusCommand(e environment) *cobra.Command {
	t := &target{e: e}
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [NAME] [flags]",
		Short: "Show what a service runs and how its last upgrades went",
		Long: `Show what a service runs and how its last upgrades went.

The exit status is 0 if a generation is active, 3 if none is (the first one is
starting, or the active one has crashed and is being restarted), and 1 if there
is no supervisor to ask.`,
		Args: argumentsOf(nameOnly),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := t.client(cmd, only(args))
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), askTimeout)
			defer cancel()
			status, err := client.Status(ctx)
			if err != nil {
				return fmt.Errorf("cannot tell the status: %w", err)
			}
			if asJSON {
				err = json.NewEncoder(e.out).Encode(status)
			} else {
				err = printStatus(e.out, status, rollbackTrouble(status), time.Now())
			}
			if err == nil && isDown(status) {
				return &exitError{Status: exitDown}
			}
			return err
		},
	}
	t.addFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// isDown reports whether nobody accepts: the service has not started yet, or has
// crashed. One that is paused is about to be resumed.
func isDown(s upgrade.Status) bool {
	return !slices.ContainsFunc(s.Generations, func(g upgrade.GenerationStatus) bool {
		return g.Role == upgrade.RoleActive || g.Role == upgrade.RolePaused
	})
}

// rollbackTrouble says why a rollback would be refused.
func rollbackTrouble(s upgrade.Status) error {
	if s.RollbackTrouble == "" {
		return nil
	}
	return errors.New(s.RollbackTrouble)
}

// printStatus writes s, as of now, for a person. gone is why there can be no
// rollback.
func printStatus(out io.Writer, s upgrade.Status, gone error, now time.Time) error {
	var text strings.Builder
	fmt.Fprintf(&text, "service %s, pid %d, up %s%s, %s%s\n", s.Service, s.PID, age(now, s.Started), takenOver(s, now), activity(s), restarts(s.Restarts))
	if s.Trouble != "" {
		fmt.Fprintf(&text, "trouble: %s\n", s.Trouble)
	}
	if s.Restart != nil {
		fmt.Fprintf(&text, "down: %s\n", restartInWords(*s.Restart, now))
	}
	if s.Previous != nil && gone != nil {
		fmt.Fprintf(&text, "rollback is not possible: %v\n", gone)
	} else if s.Previous != nil {
		fmt.Fprintf(&text, "rollback would start %s\n", releaseInWords(*s.Previous))
	}
	table(&text, generationRows(s, now))
	table(&text, listenerRows(s))
	table(&text, verdictRows(s))
	_, err := io.WriteString(out, text.String())
	return err
}

// takenOver tells since when the supervisor is the one that it is, if another one was
// here before.
func takenOver(s upgrade.Status, now time.Time) string {
	if !s.SupervisorStarted.After(s.Started) {
		return ""
	}
	return fmt.Sprintf(" (this supervisor %s)", age(now, s.SupervisorStarted))
}

// restarts tells how often a crashed generation was started anew, if ever.
func restarts(n uint64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", restarted once"
	}
	return fmt.Sprintf(", restarted %d times", n)
}

func activity(s upgrade.Status) string {
	switch {
	case s.Stopping:
		return "stopping"
	case s.Phase == upgrade.PhaseIdle:
		return "idle"
	case s.Request == 0:
		return string(s.Phase)
	}
	return fmt.Sprintf("request %d is in its phase %s", s.Request, s.Phase)
}

func restartInWords(r upgrade.RestartStatus, now time.Time) string {
	next := "starts again now"
	if wait := r.Next.Sub(now); wait > 0 {
		next = "starts again in " + shortly(wait)
	}
	return fmt.Sprintf("%s; failure %d in a row, %s", r.Reason, r.Failures, next)
}

func generationRows(s upgrade.Status, now time.Time) [][]string {
	rows := [][]string{{"GENERATION", "ROLE", "PID", "UP", "MEMORY", "OPEN", "ACCEPTED", "NOTE", "RELEASE"}}
	for _, g := range s.Generations {
		memory := "-"
		if g.MemoryBytes != nil {
			memory = sizeInWords(*g.MemoryBytes)
		}
		rows = append(rows, []string{
			fmt.Sprint(g.Generation), string(g.Role), fmt.Sprint(cmp.Or(g.Program, g.PID)), age(now, g.Started), memory,
			ifKnown(g.Active), ifKnown(g.Accepted), generationNote(g, now), releaseInWords(g.Release),
		})
	}
	return rows
}

// ifKnown writes a count; "-" where it is not known.
func ifKnown[T int64 | uint64](n *T) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// releaseInWords is the release with its arguments, as far as they fit.
func releaseInWords(r upgrade.Release) string {
	if len(r.Command) < 2 {
		return r.String()
	}
	arguments := strings.Join(r.Command[1:], " ")
	if short := cutTo(arguments, maxArguments); short != arguments {
		arguments = short + "..."
	}
	r.Command = []string{r.Command[0], arguments}
	return r.String()
}

// generationNote says what a generation waits for.
func generationNote(g upgrade.GenerationStatus, now time.Time) string {
	switch {
	case g.DrainDeadline != nil:
		note := "draining"
		if g.Active != nil {
			note = connections(*g.Active) + " left"
		}
		for _, l := range g.Listeners {
			if l.OldestSeconds > 0 && l.Active > 0 {
				note += fmt.Sprintf(", oldest on %s %s", l.Name, shortly(time.Duration(l.OldestSeconds*float64(time.Second))))
			}
		}
		if left := g.DrainDeadline.Sub(now); left > 0 {
			return note + ", cut in " + shortly(left)
		}
		return note + ", past its deadline"
	case g.Ready == nil:
		return "not ready yet"
	}
	return "-"
}

func connections(n int64) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

func listenerRows(s upgrade.Status) [][]string {
	rows := [][]string{{"LISTENER", "NETWORK", "ADDRESS"}}
	watched := slices.ContainsFunc(s.Listeners, func(l upgrade.ListenerStatus) bool { return l.Queue != nil })
	if watched {
		rows[0] = append(rows[0], "DEPTH", "OLDEST", "DROPS")
	}
	for _, l := range s.Listeners {
		row := []string{l.Name, l.Network, l.Address}
		if watched {
			row = append(row, queueCells(l)...)
		}
		rows = append(rows, row)
	}
	return rows
}

// queueCells are how many connections wait at l, how long the oldest of them
// has, and how many packets were dropped; "-" where that cannot be known.
func queueCells(l upgrade.ListenerStatus) []string {
	q := l.Queue
	if q == nil {
		return []string{"-", "-", "-"}
	}
	depth, oldest, drops := fmt.Sprintf("%d of %d", q.Depth, q.Limit), "-", "-"
	if q.Depth > 0 && q.OldestSeconds != nil {
		oldest = inWords(*q.OldestSeconds)
	}
	if q.Drops != nil {
		drops = fmt.Sprint(*q.Drops)
	}
	return []string{depth, oldest, drops}
}

func verdictRows(s upgrade.Status) [][]string {
	rows := [][]string{{"REQUEST", "AT", "KIND", "VERDICT", "FROM", "TO", "TOOK", "REASON"}}
	for _, r := range s.Reports {
		reason := r.Reason
		if r.Overruled != "" {
			reason += "; admission was overruled: " + r.Overruled
		}
		if r.Note != "" {
			reason += " [" + r.Note + "]"
		}
		rows = append(rows, []string{
			fmt.Sprint(r.Request), r.Started.Local().Format("2006-01-02 15:04:05"), string(r.Kind), string(r.Verdict),
			number(r.From), number(r.To), inWords(r.DurationSeconds), reason,
		})
	}
	return rows
}

func number(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// table writes rows with aligned columns below an empty line; a heading
// without rows is left out.
func table(out io.Writer, rows [][]string) {
	if len(rows) < 2 {
		return
	}
	fmt.Fprintln(out)
	aligned := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(aligned, strings.Join(row, "\t"))
	}
	_ = aligned.Flush() // a strings.Builder takes all
}

// age is how long ago then was.
func age(now, then time.Time) string { return shortly(max(0, now.Sub(then))) }

// shortly writes a duration with as much precision as a person wants.
func shortly(d time.Duration) string {
	switch {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= 10*time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%.1fs", d.Seconds())
}
