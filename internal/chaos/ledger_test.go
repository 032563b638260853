package chaos

import (
	"fmt"
	"slices"
	"strings"

	"example.com/supervisor/upgrade"
)

// A ledger is what is known of a supervisor at rest, from what it told.
type ledger struct {
	// active is what runs, and generation its number; highest is the greatest
	// number that any generation had.
	active     release
	generation int
	highest    int
	// request is the number of the last request of which there is a report.
	request uint64
	// processes are those of all generations there were.
	processes map[int]int
}

// A release is what runs, as far as scripts tell.
type release struct {
	note    string
	quality quality
	command []string
	listen  []string
}

// An answer is what a caller got.
type answer struct {
	act
	report *upgrade.Report
	status int // of its exit; -1: it was killed
	other  string
}

// An outcome is what was seen of a step.
type outcome struct {
	step    step
	answers []answer
	after   upgrade.Status
}

// books are a ledger with what speaks against what it was told.
type books struct {
	ledger
	faults []string
}

func (b *books) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// settle says what must be after a step, and what of that is not so.
func (l ledger) settle(o outcome) books {
	b := books{ledger: l}
	reports := newReports(l.request, o.after.Reports)
	for _, a := range o.answers {
		b.answered(o, a)
	}
	b.told(o, reports)
	for _, r := range reports {
		b.enter(o, r)
	}
	b.rests(o)
	return b
}

// newReports are those of requests that came after the last one that is known.
func newReports(last uint64, all []upgrade.Report) []upgrade.Report {
	fresh := slices.DeleteFunc(slices.Clone(all), func(r upgrade.Report) bool { return r.Request <= last })
	slices.SortFunc(fresh, func(a, b upgrade.Report) int { return int(a.Request) - int(b.Request) })
	return fresh
}

// answered looks at what one caller got.
func (b *books) answered(o outcome, a answer) {
	r := a.report
	if r == nil {
		b.unanswered(o, a)
		return
	}
	if want := exitStatus(*r); a.status != want && !(a.fate == isKilled && a.status == -1) {
		b.fault("%s: the caller exits with status %d, want %d for %s", a.note, a.status, want, r.Verdict)
	}
	if a.kind == triesDry {
		if r.Verdict != upgrade.Refused && r.Verdict != upgrade.Admissible {
			b.fault("%s: a dry run is %s", a.note, r.Verdict)
		}
		return
	}
	if r.Note != a.note && a.kind == upgrades {
		b.fault("%s: the caller is told of %q", a.note, r.Note)
	}
	same := func(k upgrade.Report) bool {
		return k.Request == r.Request && k.Verdict == r.Verdict && k.Reason == r.Reason
	}
	if r.Verdict != upgrade.Refused && !slices.ContainsFunc(o.after.Reports, same) {
		b.fault("%s: the caller is told %s (%s), and the status has another report", a.note, r.Verdict, r.Reason)
	}
}

// unanswered looks at a caller who got no report: it was killed, or lost its
// supervisor before that told the number of the request, or did not find any.
func (b *books) unanswered(o outcome, a answer) {
	lost := o.step.has(killsSupervisor, removesSocket, lowersLimit)
	switch {
	case a.fate == isKilled && a.status == -1:
	case a.status == 1 && lost:
	case a.status == 10 && a.kind == rollsBack && strings.Contains(a.other, "refused"): // nothing to go back to
	default:
		b.fault("%s: the caller has no report, and status %d: %s", a.note, a.status, a.other)
	}
}

// exitStatus is how "supervisor upgrade" says a verdict.
func exitStatus(r upgrade.Report) int {
	switch {
	case r.Verdict == upgrade.Committed && (r.Cut > 0 || r.CutUnknown):
		return 13
	case r.Verdict == upgrade.Committed || r.Verdict == upgrade.Admissible:
		return 0
	case r.Verdict == upgrade.Refused:
		return 10
	case r.Verdict == upgrade.Aborted:
		return 11
	}
	return 12
}

// told sees that no request has two reports, or was made by nobody.
func (b *books) told(o outcome, reports []upgrade.Report) {
	seen, anonymous := map[string]bool{}, 0
	for _, r := range reports {
		if r.Note == "" || r.Note == "SIGHUP" {
			anonymous++
			continue
		}
		if seen[r.Note] {
			b.fault("%s has two reports", r.Note)
		}
		seen[r.Note] = true
		if o.step.find(r.Note) == nil {
			b.fault("request %d has a report, and its note is %q", r.Request, r.Note)
		}
	}
	most := 0
	for _, a := range o.step {
		if a.kind == hangsUp || a.kind == rollsBack {
			most++
		}
	}
	if anonymous > most {
		b.fault("%d reports of nobody's requests, and %d may be", anonymous, most)
	}
}

// find is the act of that note, if there is one.
func (s step) find(note string) *act {
	for i := range s {
		if s[i].note == note {
			return &s[i]
		}
	}
	return nil
}

// enter takes one report into the books.
func (b *books) enter(o outcome, r upgrade.Report) {
	b.request = r.Request
	if r.To != 0 && r.Verdict != upgrade.Refused && r.Kind != upgrade.KindRollback { // which may go back to one that lives
		if r.To <= b.highest {
			b.fault("request %d has generation %d, and that was one before", r.Request, r.To)
		}
		b.highest = max(b.highest, r.To)
	}
	a := o.step.find(r.Note)
	if r.Verdict != upgrade.Committed {
		if a != nil && a.mustCommit(o.step) {
			b.fault("%s is %s, and nothing spoke against it: %s", r.Note, r.Verdict, r.Reason)
		}
		if strings.Contains(r.Reason, "its release runs again as generation") { // the old one could not be resumed
			b.generation = max(b.generation, r.Active)
		}
		return
	}
	if a != nil && a.quality == bad && !o.step.has(killsGeneration, stopsGeneration, killsSupervisor) && !unwatched(*a, r) {
		b.fault("%s is committed", a)
	}
	if r.ToRelease == nil {
		b.fault("request %d is committed without a release", r.Request)
		return
	}
	if a != nil && a.kind == upgrades && !slices.Contains(r.ToRelease.Command, a.note) {
		b.fault("%s is committed with %q", a.note, r.ToRelease.Command)
	}
	b.active, b.generation = releaseOf(*r.ToRelease), r.To
}

// unwatched reports whether a program was committed without a bake: it was to be
// forced past an active generation that does not pause.
func unwatched(a act, r upgrade.Report) bool {
	return slices.Contains(a.words, "--force") && strings.Contains(r.Reason, "did not pause")
}

// mustCommit reports whether nothing speaks against an upgrade: it is alone.
func (a act) mustCommit(s step) bool {
	return a.kind == upgrades && a.quality == good && a.protocol == "native" && len(s) == 1 && !slices.Contains(a.words, "--timeout")
}

// releaseOf reads a release.
func releaseOf(r upgrade.Release) release {
	return release{note: noteOf(r.Command), quality: qualityOf(r.Command), command: r.Command, listen: r.Listen}
}

// noteOf finds which act a program was started for.
func noteOf(command []string) string {
	if i := slices.Index(command, "-version"); i >= 0 && i+1 < len(command) {
		return command[i+1]
	}
	return ""
}

// qualityOf is that of a program with these flags.
func qualityOf(command []string) quality {
	for _, d := range everything() {
		if len(d.flags) > 0 && slices.Contains(command, d.flags[0]) {
			return d.quality
		}
	}
	return good
}

// rests compares the status with what must be.
func (b *books) rests(o outcome) {
	if len(o.after.Generations) != 1 {
		b.fault("%d generations are there", len(o.after.Generations))
		return
	}
	is := o.after.Generations[0]
	if !slices.Equal(is.Release.Command, b.active.command) {
		b.fault("%q runs, want %q", is.Release.Command, b.active.command)
	}
	died := o.step.has(killsGeneration) || b.active.quality != good
	if is.Generation != b.generation && !(died && is.Generation > b.generation) {
		b.fault("generation %d is active, want %d", is.Generation, b.generation)
	}
	if pid := b.processes[is.Generation]; pid != 0 && pid != is.PID {
		b.fault("generation %d is process %d, and was %d", is.Generation, is.PID, pid)
	}
	if !slices.Equal(names(o.after), specNames(b.active.listen)) {
		b.fault("the listeners are %q, want those of %q", names(o.after), b.active.listen)
	}
	b.generation, b.highest = is.Generation, max(b.highest, is.Generation)
	b.processes[is.Generation] = is.PID
}

// names are those of the listeners that the supervisor has.
func names(s upgrade.Status) []string {
	all := []string{}
	for _, l := range s.Listeners {
		all = append(all, l.Name)
	}
	slices.Sort(all)
	return all
}

// specNames are those of listeners as the configuration says them.
func specNames(specs []string) []string {
	all := []string{}
	for _, spec := range specs {
		name, _, _ := strings.Cut(spec, "=")
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
