package history

import (
	"fmt"
	"slices"

	"example.com/supervisor/upgrade"
)

// A Decision is what a supervisor starts when none of its generations is alive.
type Decision struct {
	// Start is the release to be started in place of the configured one; nil if
	// that is to be started.
	Start *upgrade.Release
	// Previous is what a rollback goes to then; nil if there is nothing.
	Previous *upgrade.Release
	// Why says in words why the configured one is not started.
	Why string
}

// Decide says what to start where configured is what the configuration means
// now: that one, if it is the last that was committed, or if nothing is known of
// it, as a new deployment; but the last committed one if configured is known as
// something else: as one that failed, from which was rolled back, or which another
// one has replaced. insist starts the configured one in any case.
func Decide(entries []Entry, configured upgrade.Release, insist bool) Decision {
	committed, before := committedOf(entries)
	switch {
	case committed == nil:
		return Decision{}
	case committed.Same(configured):
		return Decision{Previous: before}
	case insist:
		return Decision{Previous: committed}
	}
	i := -1
	for at, e := range entries {
		if e.Release != nil && e.Release.Same(configured) {
			i = at
		}
	}
	if i < 0 {
		return Decision{Previous: committed}
	}
	return Decision{Start: committed, Previous: before, Why: known(entries[i], entries[i+1:])}
}

// committedOf goes through the history as the supervisors did: the release that
// was committed last, and the one before, which a rollback goes to.
func committedOf(entries []Entry) (committed, before *upgrade.Release) {
	for _, e := range entries {
		if e.Verdict != upgrade.Committed || e.Release == nil || committed != nil && committed.Same(*e.Release) {
			continue
		}
		before, committed = committed, e.Release
	}
	return committed, before
}

// known says what is known of a release, by the last entry of it and those that
// came later.
func known(e Entry, later []Entry) string {
	at := e.At.Local().Format("2006-01-02 15:04:05")
	if e.Verdict != upgrade.Committed {
		return fmt.Sprintf("its %s at %s was %s: %s", e.Kind, at, e.Verdict, e.Reason)
	}
	i := slices.IndexFunc(later, func(l Entry) bool {
		return l.Verdict == upgrade.Committed && l.Release != nil && !l.Release.Same(*e.Release)
	})
	if i < 0 { // it cannot be: then it is the last committed one
		return "another one was committed"
	}
	what := "another one was committed"
	if later[i].Kind == upgrade.KindRollback {
		what = "it was rolled back"
	}
	return fmt.Sprintf("%s at %s", what, later[i].At.Local().Format("2006-01-02 15:04:05"))
}
