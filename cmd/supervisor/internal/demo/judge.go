package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/upgrade"
)

// judge returns what in r is not as it should be, in words.
func judge(r Result) []string {
	return slices.Concat(judgeTraffic(r), judgeUpgrades(r), judgeQueue(r), judgeRemains(r))
}

func judgeTraffic(r Result) []string {
	problems := r.Counts.Problems(r.FailedByKind)
	if len(r.Traffic) == 0 {
		problems = append(problems, "no traffic was sent")
	}
	return append(problems, figures.Silent(r.Traffic)...)
}

func judgeUpgrades(r Result) []string {
	var problems []string
	if want := r.Settings.Upgrades + badVersions; len(r.Upgrades) != want {
		problems = append(problems, fmt.Sprintf("%d of %d versions were offered", len(r.Upgrades), want))
	}
	for _, u := range r.Upgrades {
		if u.Verdict != u.Expected {
			problems = append(problems, fmt.Sprintf("upgrade %d to %s is %s instead of %s: %s", u.Number, u.Version, u.Verdict, u.Expected, u.Reason))
		}
		if u.Verdict == upgrade.Committed && r.Answers[strconv.Itoa(u.To)] == 0 && r.sees() {
			problems = append(problems, fmt.Sprintf("upgrade %d is committed, but generation %d answered nothing", u.Number, u.To))
		}
	}
	if r.Restarts > 0 {
		problems = append(problems, fmt.Sprintf("an active generation crashed and was restarted (%d times)", r.Restarts))
	}
	return problems
}

// sees reports whether the traffic is so dense that each generation must have
// got some.
func (r Result) sees() bool {
	return float64(r.Settings.NewConnectionsPerSecond)*r.Settings.BakeSeconds >= 20
}

// judgeQueue demands figures, not only good ones: a run in which nobody looked at
// the queue shows nothing of it.
func judgeQueue(r Result) []string {
	var problems []string
	if dropped := r.dropped(); dropped > 0 {
		problems = append(problems, fmt.Sprintf("the accept queue was full: the kernel dropped %s of clients that want to connect", packets(dropped)))
	}
	for _, u := range r.Upgrades {
		switch {
		case u.Verdict == upgrade.Refused: // nothing happened
		case u.QueueMaxDepth == nil:
			problems = append(problems, fmt.Sprintf("the report of upgrade %d says nothing of the accept queue", u.Number))
		case u.Fault == Stall && u.Verdict == upgrade.RolledBack && *u.QueueMaxDepth == 0:
			problems = append(problems, fmt.Sprintf("upgrade %d stops accepting, but nothing waited: it was rolled back for something else: %s", u.Number, u.Reason))
		}
	}
	return problems
}

// dropped is how many packets the kernel dropped, by those who counted more: the
// supervisor's reports or what was recorded.
func (r Result) dropped() uint64 {
	var reported uint64
	for _, u := range r.Upgrades {
		if u.QueueDrops != nil {
			reported += *u.QueueDrops
		}
	}
	return max(reported, r.QueueDrops)
}

func packets(n uint64) string {
	if n == 1 {
		return "1 packet"
	}
	return figures.Grouped(n) + " packets"
}

func judgeRemains(r Result) []string {
	if len(r.LeftBehind) == 0 {
		return nil
	}
	return []string{"left behind: " + strings.Join(r.LeftBehind, ", ")}
}
