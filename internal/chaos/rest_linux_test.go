package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
)

// rest waits until all that a step began is over, and judges what has come of it.
func (p *player) rest() {
	p.Helper()
	if p.step.has(spoilsConfig) {
		p.configure(p.base, "")
	}
	p.revive()
	o := outcome{step: p.step, answers: p.answers()}
	o.after = p.calm()
	if slices.ContainsFunc(p.step, func(a act) bool { return a.fate == isKilled }) { // what it asked may only be read now
		<-time.After(150 * time.Millisecond)
		o.after = p.calm()
	}
	b := p.ledger.settle(o)
	p.ledger = b.ledger
	for _, fault := range b.faults {
		p.Error(fault)
	}
	p.alone(o.after)
	if p.ledger.active.quality == good { // others may keep their clients until they are replaced
		p.losses()
	}
	if p.Failed() {
		p.Fatalf("the status: %s", sketch(o.after))
	}
}

// revive starts a supervisor that has ended by itself, where that may be.
func (p *player) revive() {
	p.Helper()
	how := p.Gone()
	if how == nil {
		return
	}
	if !p.step.has(spoilsConfig) {
		p.Fatalf("the supervisor has ended: %v", how)
	}
	p.launch()
}

// launch starts the next supervisor.
func (p *player) launch() {
	p.Launch()
	p.coroner.supervisor.Store(int64(p.PID()))
}

// calm waits until nothing goes on.
func (p *player) calm() upgrade.Status {
	p.Helper()
	return p.Await("rest", func(s upgrade.Status) bool {
		p.revive()
		_, err := os.Stat(p.state())
		return err == nil && s.Phase == upgrade.PhaseIdle && s.Request == 0 && s.Restart == nil && !s.Stopping &&
			len(s.Generations) == 1 && s.Generations[0].Role == upgrade.RoleActive && s.Generations[0].Library != "" &&
			!p.coroner.doomed(s.Generations[0].PID) && (s.Generations[0].Program == 0 || !p.coroner.doomed(s.Generations[0].Program))
	})
}

// alone expects that the supervisor and its generation are all processes there are.
func (p *player) alone(s upgrade.Status) {
	p.Helper()
	want := []int{p.PID(), s.Generations[0].PID}
	if program := s.Generations[0].Program; program != 0 {
		want = append(want, program)
	}
	var extra []string
	p.Poll("the end of all other processes", func() bool {
		extra = nil
		for _, is := range p.Processes() {
			mayBe := strings.HasPrefix(is.Command, "sleep") && slices.Contains(p.ledger.active.command, "-grandchild")
			if !slices.Contains(want, is.PID) && !mayBe {
				extra = append(extra, fmt.Sprint(is))
			}
		}
		return len(extra) == 0
	}, func() any { return extra })
}

// losses expects that only those have failed whose generation died.
func (p *player) losses() {
	p.Helper()
	all, news := p.traffic.failures()
	if !news {
		return
	}
	lost, excused := unexcused(all, p.coroner.excuses())
	p.Logf("%d requests have failed, %d with their generation", len(all), excused)
	for _, l := range lost[:min(len(lost), 20)] {
		p.Errorf("lost: %s", l)
	}
	if len(lost) > 0 {
		for _, d := range p.coroner.excuses() {
			p.Logf("generation %d, process %d died between %s and %s: %s", d.generation, d.pid,
				d.from.Format("15:04:05.000"), d.to.Format("15:04:05.000"), d.why)
		}
		for _, t := range p.traffic.run.Stop().Traffic {
			p.Logf("%s: %+v", t.Name, t.Failures)
		}
	}
}

// rescue puts a good release in the place of one that is not.
func (p *player) rescue(n int) {
	p.Helper()
	for try := 1; p.ledger.active.quality != good; try++ {
		if try > 5 {
			p.Fatalf("%q could not be replaced", p.ledger.active.command)
		}
		a := act{deed: deed{kind: upgrades, protocol: "native"}, note: fmt.Sprintf("%d.r%d", n, try)}
		p.step, p.attempts, p.orders = step{a, {deed: deed{kind: rests}}}, map[string]*rig.Attempt{}, nil
		p.attempts[a.note] = p.Begin(append([]string{"upgrade", "--force", "--note", a.note, "--protocol", "native", "--"}, p.release(a)...)...)
		p.rest()
	}
}

func sketch(s upgrade.Status) string {
	var all []string
	for _, g := range s.Generations {
		all = append(all, fmt.Sprintf("generation %d %s, pid %d: %q", g.Generation, g.Role, g.PID, g.Release.Command))
	}
	for _, r := range s.Reports {
		all = append(all, fmt.Sprintf("request %d (%s) %s: %s", r.Request, r.Note, r.Verdict, r.Reason))
	}
	return strings.Join(all, "\n")
}
