package upgrade

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts and docs/machine.md")

// diagram is where the transcripts' transitions are drawn.
const diagram = "../docs/machine.md"

// TestTranscripts plays the conversations under testdata/transcripts. In each,
// a line that starts with "> " is an event and the lines below it are what the
// machine answers. With -update the answers are written anew.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var edges []edge
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is, turns := play(t, string(was))
			edges = append(edges, turns...)
			compare(t, file, string(was), is)
		})
	}
	was, err := os.ReadFile(diagram)
	if err != nil && !*update {
		t.Fatal(err)
	}
	compare(t, diagram, string(was), draw(edges))
}

func compare(t *testing.T, file, was, is string) {
	t.Helper()
	if was == is {
		return
	}
	if *update {
		if err := os.WriteFile(file, []byte(is), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what the machine does now; look at the difference after: go test ./upgrade -run TestTranscripts -update\ngot:\n%s", file, is)
}

// edge is one change of phase that a transcript shows.
type edge struct {
	from, to Phase
	by       string
}

// play feeds the events of a transcript to a machine and writes down what it
// answers.
func play(t *testing.T, script string) (string, []edge) {
	t.Helper()
	var out bytes.Buffer
	var edges []edge
	p := Policy{Bake: 5 * time.Second}
	if strings.Contains(script, "\n> hook ") {
		p.Hooks = HookTimes{time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second, 6 * time.Second}
	}
	m, err := NewMachine(p)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(script) {
		text := strings.TrimSpace(line)
		if strings.HasPrefix(text, "#") || text == "" {
			out.WriteString(line)
			continue
		}
		words, ok := strings.CutPrefix(text, "> ")
		if !ok {
			continue // an answer: written anew
		}
		out.WriteString(line)
		from := m.phase
		event := parseEvent(t, m, words)
		if _, ok := event.(Recovered); ok {
			m = restored(t, m)
		}
		timers := timerNames(m)
		actions := m.Step(event)
		for k, v := range timerNames(m) {
			timers[k] = v
		}
		for _, a := range actions {
			fmt.Fprintf(&out, "    %s\n", describe(a, timers))
		}
		if m.phase != from {
			edges = append(edges, edge{from, m.phase, cause(words)})
		}
	}
	return out.String(), edges
}

// cause is the event's name without its numbers and reasons.
func cause(words string) string {
	name, rest, _ := strings.Cut(words, " ")
	switch name {
	case "timer":
		who, _, _ := strings.Cut(rest, " ")
		return "timer " + who
	case "gate", "probe", "hook":
		how, _, _ := strings.Cut(rest, " ")
		return name + " " + how
	}
	return name
}

// restored is m as the next supervisor has it.
func restored(t *testing.T, m *Machine) *Machine {
	t.Helper()
	next, err := RestoreMachine(m.policy, m.State())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// timerNames says who waits for which timer.
func timerNames(m *Machine) map[TimerID]string {
	names := map[TimerID]string{m.deadline: "phase", m.stable: "stable"}
	if m.request != nil {
		names[m.request.timer] = "request"
	}
	if m.dry != nil {
		names[m.dry.timer] = "dry run"
	}
	if m.restarting != nil {
		names[m.restarting.timer] = "restart"
	}
	for _, g := range m.draining {
		names[g.timer] = fmt.Sprintf("drain %d", g.number)
	}
	delete(names, 0)
	return names
}

func parseEvent(t *testing.T, m *Machine, text string) Event {
	t.Helper()
	words := strings.Fields(text)
	name, args := words[0], words[1:]
	switch name {
	case "boot":
		return Boot{Release: testRelease(args[0])}
	case "upgrade", "rollback":
		return parseRequest(Kind(name), args)
	case "admitted":
		return Admitted{Request: asking(m), Release: testRelease(args[0])}
	case "not-admitted":
		return NotAdmitted{asking(m), strings.Join(args, " ")}
	case "hook":
		if args[1] == "failed" {
			return HookFailed{asking(m), Hook(args[0]), strings.Join(args[2:], " ")}
		}
		return HookPassed{asking(m), Hook(args[0])}
	case "stop":
		return StopRequested{Now: slices.Contains(args, "now")}
	case "timer":
		for id, who := range timerNames(m) {
			if who == strings.Join(args, " ") {
				return TimerFired{id}
			}
		}
		t.Fatalf("nobody waits for %q", text)
	case "probe", "gate":
		return parseLook(name, args)
	case "killed":
		return parseSurvivors(t, m, strings.TrimPrefix(text, name))
	case "rejoined":
		return Rejoined{parseSurvivor(t, m, args)}
	}
	return parseFact(t, m, name, number(t, args[0]), strings.Join(args[1:], " "))
}

// parseSurvivors reads "1, 2 mute, 3 drains": the supervisor was killed, and
// these live.
func parseSurvivors(t *testing.T, m *Machine, text string) Event {
	t.Helper()
	var e Recovered
	for one := range strings.SplitSeq(text, ",") {
		if words := strings.Fields(one); len(words) > 0 {
			e.Survivors = append(e.Survivors, parseSurvivor(t, m, words))
		}
	}
	return e
}

// parseSurvivor reads "1", "1 mute", "1 ready" and "1 drains". What a generation
// was for the machine, it still is unless it says something else.
func parseSurvivor(t *testing.T, m *Machine, words []string) Survivor {
	t.Helper()
	s := Survivor{Generation: number(t, words[0])}
	switch how := strings.Join(words[1:], " "); how {
	case "mute":
		s.Mute = true
		return s
	case "ready":
		s.Ready, s.CanPause = true, true
	case "drains":
		s.Draining = true
	case "":
	default:
		t.Fatalf("unknown survivor %q", words)
	}
	if g := m.find(s.Generation); g != nil {
		s.Ready, s.CanPause = s.Ready || g.ready, s.CanPause || g.canPause
	}
	return s
}

// asking is the request about which admission is asked: the dry run, if there is
// one.
func asking(m *Machine) uint64 {
	if m.dry != nil {
		return m.dry.Request
	}
	if m.request == nil {
		return 0
	}
	return m.request.Request
}

func parseRequest(k Kind, args []string) Event {
	n, _ := strconv.ParseUint(args[0], 10, 64)
	r := Requested{Request: n, Kind: k, Force: slices.Contains(args, "force"), WaitDrain: slices.Contains(args, "wait"), DryRun: slices.Contains(args, "dry")}
	if i := slices.Index(args, "if"); i >= 0 {
		r.IfGeneration, _ = strconv.Atoi(args[i+1])
	}
	if slices.Contains(args, "timeout") {
		r.Timeout = time.Minute
	}
	return r
}

// parseLook reads "probe passed 2" and "gate shut 2 reason".
func parseLook(name string, args []string) Event {
	n, _ := strconv.Atoi(args[1])
	reason := strings.Join(args[2:], " ")
	switch name + " " + args[0] {
	case "probe passed":
		return ProbePassed{n}
	case "probe failed":
		return ProbeFailed{n, reason}
	case "gate opened":
		return GateOpened{n, reason}
	}
	return GateShut{n, reason}
}

func parseFact(t *testing.T, m *Machine, name string, n int, rest string) Event {
	t.Helper()
	command := uint64(0)
	if g := m.find(n); g != nil {
		command = uint64(g.command)
	}
	switch name {
	case "ready":
		return SaidReady{n, rest != "cannot pause"}
	case "failed":
		return SaidFailed{n, rest}
	case "paused":
		return SaidPaused{n, command}
	case "resumed":
		return SaidResumed{n, command}
	case "drained":
		cut, _ := strconv.Atoi(rest)
		return SaidDrained{Generation: n, ID: command, Cut: cut}
	case "lost":
		return ChannelLost{n, rest}
	case "exited":
		return Exited{Generation: n, Clean: rest == "exited with status 0", Reason: rest}
	case "tripped":
		return Tripped{n, rest}
	}
	t.Fatalf("unknown event %q", name)
	return nil
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// describe writes an action as a line; ids that only grow are left out.
func describe(a Action, timers map[TimerID]string) string {
	switch a := a.(type) {
	case Launch:
		return fmt.Sprintf("launch %d %s", a.Generation, a.Release.Path)
	case Pause:
		return fmt.Sprintf("pause %d", a.Generation)
	case Resume:
		return fmt.Sprintf("resume %d", a.Generation)
	case Drain:
		return fmt.Sprintf("drain %d within %v%s%s", a.Generation, a.Deadline, when(a.Final, ", final"), when(a.Again, ", again"))
	case SetTimer:
		return fmt.Sprintf("set timer %s %v%s", timers[a.Timer], a.After, when(a.Jitter, " with jitter"))
	case StopTimer:
		return "stop timer " + timers[a.Timer]
	case Tell:
		return fmt.Sprintf("tell %d [%s] %d %s", a.Request, a.Phase, a.Generation, a.Text)
	case Reply:
		return fmt.Sprintf("reply %d %s %s: %s%s%s", a.Request, a.Kind, a.Verdict, a.Reason,
			when(a.Kind == KindRollback && a.To != 0, fmt.Sprintf(" (to %d, active is %d)", a.To, a.Active)),
			when(a.Drained, fmt.Sprintf(" (drained, %d cut, unknown: %t)", a.Cut, a.CutUnknown)))
	case RunHook:
		return strings.TrimSpace(fmt.Sprintf("run hook %s of %d from %d to %d %s", a.Hook, a.Request, a.From, a.To, a.Verdict))
	case Admit:
		return fmt.Sprintf("admit %d %s%s", a.Request, when(a.Release != nil, "as it was"), when(a.DryRun, "for a dry run"))
	case Finish:
		return strings.TrimSpace("finish " + a.Failure)
	}
	return strings.TrimSpace(strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T %v", a, a), "upgrade.")))
}

func when(b bool, s string) string {
	if b {
		return s
	}
	return ""
}

// draw makes a page of the phases and of what leads from one to another.
func draw(edges []edge) string {
	causes := map[[2]Phase][]string{}
	for _, e := range edges {
		k := [2]Phase{e.from, e.to}
		if !slices.Contains(causes[k], e.by) {
			causes[k] = append(causes[k], e.by)
		}
	}
	order := []Phase{PhaseIdle, PhaseAdmission, PhaseStart, PhaseReady, PhaseOverlap, PhaseGate, PhaseCutOver, PhaseBake, PhaseRollback}
	var b strings.Builder
	b.WriteString("# The phases of an upgrade\n\n" +
		"Drawn from the transcripts in upgrade/testdata/transcripts by\n" +
		"`go test ./upgrade -run TestTranscripts -update`: every arrow is a change of phase\n" +
		"that one of them shows, with the events that cause it. Phases that the machine only\n" +
		"passes through while it handles one event do not appear.\n\n```mermaid\nstateDiagram-v2\n    [*] --> idle\n")
	for _, from := range order {
		for _, to := range order {
			if by := causes[[2]Phase{from, to}]; len(by) > 0 {
				slices.Sort(by)
				fmt.Fprintf(&b, "    %s --> %s: %s\n", id(from), id(to), strings.Join(by, ", "))
			}
		}
	}
	b.WriteString("```\n")
	return b.String()
}

// id is a phase as mermaid wants it.
func id(p Phase) string { return strings.ReplaceAll(string(p), "-", "_") }
