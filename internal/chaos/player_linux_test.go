package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// A player plays scripts with a supervisor. All is done by the test's goroutine.
type player struct {
	*rig.Supervisor
	site
	ledger  ledger
	coroner *coroner
	traffic *traffic

	step     step // the present one
	began    time.Time
	agenda   []*event
	attempts map[string]*rig.Attempt // by note
	orders   []*order
}

// An event is what is to be done at a moment of the present step.
type event struct {
	// phase is when the step's first caller must have been told of it before the
	// time is counted; "" for the begin of the step.
	phase upgrade.Phase
	after time.Duration
	do    func()
}

// play plays one step to the end of the last event.
func (p *player) play(s step) {
	p.Helper()
	p.step, p.began, p.agenda = s, time.Now(), nil
	p.attempts, p.orders = map[string]*rig.Attempt{}, nil
	for _, a := range s {
		p.agenda = append(p.agenda, &event{a.phase, a.after, func() { p.act(a) }})
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(p.agenda) > 0 {
		p.agenda = slices.DeleteFunc(p.agenda, func(e *event) bool { return e.do == nil })
		for _, e := range slices.Clone(p.agenda) {
			if at, known := p.moment(e); known && !time.Now().Before(at) {
				e.do()
				e.do = nil
			}
		}
		<-tick.C
	}
}

// moment is when an event is due, if that is known yet. A caller who has got an
// answer will not be told of a phase any more.
func (p *player) moment(e *event) (at time.Time, known bool) {
	if e.phase == "" {
		return p.began.Add(e.after), true
	}
	first := p.attempts[p.step[0].note]
	if first == nil {
		return at, false
	}
	over := first.Over()
	for _, s := range first.Steps() {
		if s.Phase == e.phase {
			return s.At.Add(e.after), true
		}
	}
	return p.began, over
}

// later puts something on the agenda.
func (p *player) later(after time.Duration, do func()) {
	p.agenda = append(p.agenda, &event{"", time.Since(p.began) + after, do})
}

// act does a deed, or begins it.
func (p *player) act(a act) {
	p.Helper()
	switch a.kind {
	case upgrades, rollsBack, triesDry:
		p.ask(a)
	case hangsUp:
		p.signal(p.PID(), syscall.SIGHUP)
	case replaces:
		p.order("reexec", p.Binary)
	case replacesBadly:
		p.order("reexec", "/bin/false")
	case killsSupervisor:
		p.kill(a.absent, a.later)
	case stopsSupervisor:
		p.pause(p.PID(), a.lasts)
	case killsGeneration, stopsGeneration:
		p.hit(a)
	case addsListener:
		p.configure(append(slices.Clone(p.base), "extra=tcp://127.0.0.1:0"), "")
	case removesListener:
		p.configure(p.base, "")
	case spoilsConfig:
		p.configure(nil, `bake = "soon"`)
	case deletesProgram:
		_ = os.RemoveAll(filepath.Dir(p.ledger.active.command[0]))
	case removesSocket:
		_ = os.Remove(p.Socket())
	case removesState:
		_ = os.Remove(p.state())
	case lowersLimit:
		p.lower(a.count, a.lasts)
	case connectsSlowly:
		p.traffic.sendSlow(a.count, a.lasts)
	}
}

func (p *player) state() string { return filepath.Join(p.Dir, "run", "state.json") }

// ask has a caller ask for a report.
func (p *player) ask(a act) {
	words := []string{"upgrade", "--note", a.note}
	switch a.kind {
	case rollsBack:
		words = []string{"rollback"}
	case triesDry:
		words = append(words, "--dry-run")
	default:
		words = append(append(words, a.words...), "--protocol", a.protocol, "--")
		words = append(words, p.release(a)...)
	}
	attempt := p.Begin(words...)
	p.attempts[a.note] = attempt
	switch a.fate {
	case isKilled:
		p.later(a.lasts, func() { _ = attempt.Cmd.Process.Kill() })
	case isStopped:
		p.later(a.lasts/4, func() { _ = attempt.Cmd.Process.Signal(syscall.SIGSTOP) })
		p.later(a.lasts, func() { _ = attempt.Cmd.Process.Signal(syscall.SIGCONT) })
	}
}

// kill kills the supervisor, and those that come next.
func (p *player) kill(absent time.Duration, later []laterKill) {
	if !p.step.has(spoilsConfig) || p.Gone() == nil { // for which the one before may have ended
		p.Kill()
	}
	p.later(absent, func() {
		p.launch()
		if len(later) > 0 {
			p.later(later[0].after, func() { p.kill(later[0].absent, later[1:]) })
		}
	})
}

// signal signals to a process, if that is there still.
func (p *player) signal(pid int, s syscall.Signal) {
	if process, err := os.FindProcess(pid); err == nil {
		_ = process.Signal(s)
		_ = process.Release()
	}
}

// pause stops a process for a while.
func (p *player) pause(pid int, lasts time.Duration) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	_ = process.Signal(syscall.SIGSTOP)
	p.later(lasts, func() {
		_ = process.Signal(syscall.SIGCONT)
		_ = process.Release()
	})
}

// hit kills or stops the generation in a role, if there is one.
func (p *player) hit(a act) {
	status, err := p.glimpse()
	if err != nil {
		p.Logf("%s: it is not known whom to hit: %v", a.note, err)
		return
	}
	for _, g := range status.Generations {
		if g.Role != a.role || g.PID == 0 {
			continue
		}
		pid, others := g.PID, []int{}
		if g.Program != 0 && a.after%2 == 0 { // the shim's turn, or that of its program
			others = append(others, g.Program)
		} else if g.Program != 0 {
			pid, others = g.Program, append(others, g.PID)
		}
		if a.kind == stopsGeneration {
			p.pause(pid, a.lasts)
			return
		}
		p.coroner.strikes(g.Generation, pid, others, "it was killed by "+a.note)
		p.signal(pid, syscall.SIGKILL)
		return
	}
	p.Logf("%s: there is no generation that is %s", a.note, a.role)
}

// glimpse asks for the status, and does not wait for long: whoever answers may be
// stopped.
func (p *player) glimpse() (status upgrade.Status, err error) {
	ctx, cancel := context.WithTimeout(p.Context(), 300*time.Millisecond)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", p.Socket())
	if err != nil {
		return status, err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/v1/status", nil)
	if err != nil {
		_ = conn.Close()
		return status, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return status, err
	}
	defer answer.Body.Close()
	return status, json.NewDecoder(answer.Body).Decode(&status)
}

// lower leaves the supervisor so many descriptors more than it has, for a while.
func (p *player) lower(more int, lasts time.Duration) {
	pid := p.PID()
	var old unix.Rlimit
	open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old); err != nil || len(open) == 0 {
		return
	}
	low := unix.Rlimit{Cur: uint64(len(open) + more), Max: old.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &low, nil); err != nil {
		p.Errorf("cannot lower the limit: %v", err)
	}
	p.later(lasts, func() {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil); err != nil {
			p.Errorf("cannot raise the limit again: %v", err)
		}
	})
}

// An order is a command that tells no report.
type order struct {
	cmd   *exec.Cmd
	text  bytes.Buffer
	ended chan struct{}
}

// order begins a command.
func (p *player) order(words ...string) {
	o := &order{cmd: exec.Command(p.Binary, append([]string{words[0], "--socket", p.Socket()}, words[1:]...)...), ended: make(chan struct{})}
	o.cmd.Stdout, o.cmd.Stderr = &o.text, &o.text
	if err := o.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	go func() { // joined by the end of the step, or of the test
		defer close(o.ended)
		_ = o.cmd.Wait()
	}()
	p.Cleanup(func() {
		_ = o.cmd.Process.Kill() // has ended, if all is well
		<-o.ended
	})
	p.orders = append(p.orders, o)
}

// answers waits for all who wait for something.
func (p *player) answers() (all []answer) {
	p.Helper()
	for _, a := range p.step {
		if attempt := p.attempts[a.note]; attempt != nil {
			report, status, other := attempt.End()
			all = append(all, answer{a, report, status, other})
			p.Logf("%s: %s", a.note, told(report, status, other))
		}
	}
	for _, o := range p.orders {
		select {
		case <-o.ended:
			p.Logf("%s: status %d, %s", o.cmd.Args[1], o.cmd.ProcessState.ExitCode(), strings.TrimSpace(o.text.String()))
		case <-time.After(rig.Patience):
			p.Fatalf("no end of %v", o.cmd.Args)
		}
	}
	return all
}

func told(r *upgrade.Report, status int, other string) string {
	if r == nil {
		return fmt.Sprintf("status %d, %s", status, other)
	}
	return fmt.Sprintf("%s: %s (request %d, generation %d)", r.Verdict, r.Reason, r.Request, r.To)
}
