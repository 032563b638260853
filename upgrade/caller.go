package upgrade

import (
	"context"
	"log/slog"
	"time"
)

// keptReports is the number of reports that Status shows.
const keptReports = 10

// caller is somebody who waits for the verdict of a request.
type caller struct {
	kind    Kind
	request Request
	// audience are those who listen: whoever asked, unless that was before this
	// supervisor began, and who asked for the outcome since. Owned by the
	// supervisor's goroutine, as all below.
	audience []*listener

	number     uint64
	started    time.Time
	phases     []PhaseTime
	phase      Phase
	phaseSince time.Time
	overruled  string // what admission had to say against a forced upgrade
	renewed    string // what is different in the configuration
	moment     *moment
	callOff    context.CancelFunc // ends the admission, or its hook, under way; nil if there was none
	hooks      []HookResult
	awaits     bool // the hook that follows its verdict is not over
}

// moment is what a report says of the moment of the verdict.
type moment struct {
	at       time.Time
	stranger string // as Supervisor.stranger
	output   []string
	accepted uint64 // by a candidate that failed
	open     int64
	queues   []QueueAccount
}

// listener is one who waits for a report.
type listener struct {
	steps  chan Step
	report chan Report
}

func newListener() *listener {
	return &listener{steps: make(chan Step, 64), report: make(chan Report, 1)}
}

func newCaller(k Kind, r Request, l *listener) *caller {
	return &caller{kind: k, request: r, audience: []*listener{l}, started: time.Now()}
}

// wait passes steps on until the report comes.
func (c *listener) wait(ctx context.Context, ended <-chan struct{}, progress func(Step)) (Report, error) {
	if progress == nil {
		progress = func(Step) {}
	}
	for {
		select {
		case step := <-c.steps:
			progress(step)
		case report := <-c.report:
			c.rest(progress)
			return report, nil
		case <-ctx.Done():
			c.rest(progress)
			return Report{}, ctx.Err()
		case <-ended:
			select {
			case report := <-c.report:
				c.rest(progress)
				return report, nil
			default:
				return Report{}, ErrEnded
			}
		}
	}
}

// rest passes on the steps that came before the report.
func (c *listener) rest(progress func(Step)) {
	for {
		select {
		case step := <-c.steps:
			progress(step)
		default:
			return
		}
	}
}

// say passes a step on; who does not read misses some.
func (c *caller) say(step Step) {
	for _, l := range c.audience {
		select {
		case l.steps <- step:
		default:
		}
	}
}

// enter counts the time since the last phase towards that phase.
func (c *caller) enter(p Phase, now time.Time) {
	if p == c.phase {
		return
	}
	if c.phase != "" {
		c.phases = append(c.phases, PhaseTime{c.phase, now.Sub(c.phaseSince).Seconds()})
	}
	c.phase, c.phaseSince = p, now
}

func (s *Supervisor) admitCaller(c *caller) {
	s.lastRequest++
	c.number = s.lastRequest
	s.callers[c.number] = c
	s.step(Requested{
		Request: c.number, Kind: c.kind, Program: c.request.Program,
		Force: c.request.Force, WaitDrain: c.request.WaitDrain, DryRun: c.request.DryRun, IfGeneration: c.request.IfGeneration,
		Timeout: c.request.Timeout,
	})
}

// tell logs a step and passes it on to its caller.
func (s *Supervisor) tell(a Tell) {
	attrs := []any{"phase", string(a.Phase)}
	if a.Generation != 0 {
		attrs = append(attrs, "generation", a.Generation)
		if g := s.generations[a.Generation]; g != nil {
			attrs = append(attrs, "pid", g.process.Snapshot().PID)
		}
	}
	c := s.callers[a.Request]
	if c != nil {
		attrs = append(attrs, "request", a.Request)
	}
	level := slog.LevelInfo
	if a.Trouble {
		level = slog.LevelWarn
	}
	s.log.Log(s.watching, level, a.Text, attrs...)
	if c == nil {
		return
	}
	now := time.Now()
	c.enter(a.Phase, now)
	step := Step{Request: c.number, Time: now, ElapsedSeconds: now.Sub(c.started).Seconds(), Phase: a.Phase, Generation: a.Generation, Text: a.Text}
	s.answers = append(s.answers, func() { c.say(step) })
}

// decide keeps what there is to see at the moment of a verdict.
func (s *Supervisor) decide(a Decide) {
	failed := a.Verdict == Aborted || a.Verdict == RolledBack
	m := &moment{at: time.Now(), stranger: s.stranger, queues: s.cfg.Watcher.Account(a.Request, failed)}
	if g := s.generations[a.To]; g != nil && failed {
		m.output = g.process.Output()
		snapshot := g.process.Snapshot()
		m.accepted, m.open = orZero(snapshot.Accepted), orZero(snapshot.Active)
	}
	s.callers[a.Request].moment = m
	if s.cfg.Decided != nil {
		s.cfg.Decided(a.Request, a.Verdict)
	}
}

// orZero is what p points to, 0 for nil.
func orZero[T uint64 | int64](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// reply makes the report and gives it to its caller.
func (s *Supervisor) reply(a Reply) {
	c := s.callers[a.Request]
	c.enter(PhaseVerdict, time.Now())
	if c.callOff != nil {
		c.callOff() // before the verdict is told, after which nothing may be begun
	}
	if c.moment == nil {
		s.decide(Decide{a.Request, a.Verdict, a.To})
	}
	delete(s.callers, a.Request)
	report := s.report(a, c)
	s.logVerdict(report)
	if !a.DryRun {
		s.keep(report)
	}
	if c.awaits {
		s.hold(report, c)
		return
	}
	s.answers = append(s.answers, func() {
		for _, l := range c.audience {
			l.report <- report
		}
	})
}

func (s *Supervisor) report(a Reply, c *caller) Report {
	report := Report{
		Request: a.Request, Kind: a.Kind, Verdict: a.Verdict, Reason: a.Reason,
		From: a.From, To: a.To, Active: a.Active, FromRelease: a.FromRelease, ToRelease: a.ToRelease,
		Started: c.started, DurationSeconds: c.moment.at.Sub(c.started).Seconds(), Phases: c.phases,
		Forced: a.Forced, DryRun: a.DryRun, Note: c.request.Reason, Overruled: c.overruled, Configuration: c.renewed,
		Output: c.moment.output, CandidateAccepted: c.moment.accepted, CandidateOpen: c.moment.open, Queues: c.moment.queues,
		Drained: a.Drained, Cut: a.Cut, CutUnknown: a.CutUnknown, Hooks: c.hooks,
	}
	if a.Verdict == Aborted {
		report.Reason += c.moment.stranger
	}
	if g := s.generations[a.To]; g != nil && !g.ready.IsZero() {
		report.StartupSeconds = g.ready.Sub(g.started).Seconds()
	}
	return report
}

// keep adds a report to those that are shown, and tells who wants to know.
func (s *Supervisor) keep(report Report) {
	if len(report.Phases) > 0 { // and not refused because another one runs
		s.reports = append(s.reports, report)
		s.reports = s.reports[max(0, len(s.reports)-keptReports):]
	}
	if s.cfg.Reported != nil {
		s.cfg.Reported(report)
	}
}

// logVerdict logs the end of a request. The line of a dry run is none of a verdict,
// which those who look for upgrades find by that.
func (s *Supervisor) logVerdict(r Report) {
	level := slog.LevelInfo
	if r.Verdict != Committed && r.Verdict != Admissible {
		level = slog.LevelWarn
	}
	if r.DryRun {
		s.log.Log(s.watching, level, "dry run: "+string(r.Verdict), "request", r.Request, "kind", string(r.Kind), "reason", r.Reason)
		return
	}
	s.log.Log(s.watching, level, "verdict: "+string(r.Verdict), "verdict", string(r.Verdict), "phase", string(PhaseVerdict), "generation", r.Active, "request", r.Request, "kind", string(r.Kind), "reason", r.Reason,
		"from", r.From, "to", r.To, "seconds", r.DurationSeconds)
}
