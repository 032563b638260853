package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/internal/rig"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// A scene is one run: a supervisor with its service, under load, and an upgrade in
// which a fault falls.
type scene struct {
	*rig.Supervisor
	dir      string
	fault    fault
	passage  passage
	clients  *clients
	old, new int // generations; there is no new one in idle
	attempt  *rig.Attempt
	injected time.Time
	fallen   bool // the fault has, and was not taken back
	orders   map[int]*orderLine
	late     string         // an order for a generation that had ended
	open     map[string]int // descriptors of the supervisor before the upgrade
	// back takes the fault back, where inject has to say how.
	back func() error
	// keeps is how many descriptors the supervisor may have more in the end, because
	// the release before is another file, which it keeps.
	keeps int
	// later tells that an upgrade was let in besides, which brought the next generation.
	later bool
	// missed tells that there was nobody any more whom the fault could concern.
	missed bool
	// besides are objections of the fault itself.
	besides []string
}

// object objects to what only the fault itself can see.
func (s *scene) object(format string, args ...any) {
	s.besides = append(s.besides, fmt.Sprintf(format, args...))
}

// in puts the scene's folder into words.
func (s *scene) in(words []string) (all []string) {
	for _, w := range words {
		all = append(all, strings.ReplaceAll(w, "$DIR", s.dir))
	}
	return all
}

// programs are what a scene is made of.
type programs struct{ supervisor, service string }

// build builds them, as they are run: without the race detector.
func build(t *testing.T) programs {
	t.Helper()
	return programs{rig.Build(t, rig.Command), rig.Build(t, "example.com/supervisor/internal/faults/failing")}
}

// file is the path of a file of a generation.
func (s *scene) file(name string, generation int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s.%d", name, generation))
}

// flags are those of the supervisors: short times, and queues that no busy machine
// makes stand by itself.
func flags(address string) []string {
	return []string{
		"--listen", "http=tcp://" + address, "--probe", "/healthz", "--probe-interval", "50ms", "--probe-timeout", "500ms",
		"--ready-timeout", "4s", "--settle", "100ms", "--gate-timeout", "4s", "--pause-timeout", "2s", "--bake", "1s",
		"--drain-timeout", "2s", "--stop-grace", "2s", "--backoff-min", "50ms", "--log-level", "debug",
		"--queue-target", "900ms", "--queue-interval", "1s",
	}
}

// watchful are flags for faults that the queue alone shows.
func watchful() []string {
	return []string{"--queue-target", "300ms", "--queue-interval", "400ms", "--bake", "2s"}
}

const (
	// inside is for how long a phase lasts before the fault, and at the least after it.
	inside = 200 * time.Millisecond
	// slowTime is how long slow requests take.
	slowTime = 600 * time.Millisecond
	// drainTime is so long that a drain lasts.
	drainTime = 3 * time.Second
)

// setUp starts what a fault in that phase needs, and waits until it serves.
func setUp(t *testing.T, built programs, f fault, p phase) *scene {
	t.Helper()
	s := &scene{fault: f, passage: f.passageOf(p), dir: rig.Folder(t), old: 1, new: 2, orders: map[int]*orderLine{}}
	program := filepath.Join(s.dir, "service") // as a release is put in place
	if err := os.Symlink(built.service, program); err != nil {
		t.Fatal(err)
	}
	if f.before != nil {
		f.before(t, s)
	}
	address := rig.FreeAddress(t)
	t.Cleanup(s.hangUp)
	s.Supervisor = rig.Start(t, rig.Config{
		Binary: built.supervisor, Dir: s.dir, Program: []string{program, "-dir", s.dir},
		Flags: slices.Concat(flags(address), s.in(f.flags), s.in(s.passage.flags)),
	})
	slow := slowTime
	if p == drain {
		slow = drainTime
	}
	s.clients = startClients(t, address, slow)
	if !s.clients.answered(t, max(f.warm, 120)) {
		t.Fatal("the service does not answer")
	}
	s.line(s.old)
	s.open = s.descriptors()
	return s
}

// fall has the fault fall in its phase; it is false if the phase was not reached.
func (s *scene) fall() bool {
	s.Helper()
	if s.passage.step != upgrade.PhaseIdle {
		s.passage.hold(s)
		s.attempt = s.Begin(s.asked()...)
		if _, ok := s.attempt.Reaches(s.passage.step); !ok {
			return false
		}
		s.passage.reach(s)
	}
	<-time.After(inside) // the time itself is what is wanted: clients come meanwhile
	s.injected = time.Now()
	s.fault.inject(s)
	s.fallen = true
	<-time.After(inside) // as above: the fault has its effect in this phase
	s.turnsBack()
	if !s.fault.keeps || s.fault.victim(s) != s.new || s.passage.step != upgrade.PhaseStart {
		s.passage.release(s)
	}
	return s.late == ""
}

// turnsBack keeps the old generation's answer back in a cut-over until the supervisor
// has seen a fault of the new one, however busy the machine. If the answer came first,
// the fault would be one of the bake, and the upgrade rightly rolled back.
func (s *scene) turnsBack() {
	s.Helper()
	if !s.fault.turns || s.passage.step != upgrade.PhaseCutOver || s.fault.victim(s) != s.new {
		return
	}
	step, ok := s.attempt.Reaches(upgrade.PhaseRollback)
	if because := fmt.Sprintf("resumes: generation %d ", s.new); !ok || !strings.HasPrefix(step.Text, because) {
		s.object("the upgrade was not turned back by the fault: %q", step.Text)
	}
}

// undo takes the fault back, once, if it has fallen and can be.
func (s *scene) undo() {
	s.Helper()
	if s.fallen && s.fault.undo != nil {
		s.fallen = false
		s.fault.undo(s)
	}
}

// asked are the words of the upgrade.
func (s *scene) asked() []string {
	return slices.Concat([]string{"upgrade"}, s.passage.words, s.in(s.fault.words))
}

// descriptors counts what the supervisor has open, by what it is: the target of the
// descriptor without its number (proc_pid_fd(5)).
func (s *scene) descriptors() map[string]int {
	s.Helper()
	counts := map[string]int{}
	folder := fmt.Sprintf("/proc/%d/fd", s.PID())
	entries, err := os.ReadDir(folder)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(folder, e.Name())); err == nil {
			kind, _, _ := strings.Cut(target, ":[")
			counts[kind]++
		}
	}
	return counts
}

// leaked are the descriptors that the supervisor has open and had not before the
// upgrade; those of what comes to its end just now are waited for.
func (s *scene) leaked() (more []string) {
	s.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(5 * time.Second); ; {
		more = nil
		all, now := 0, s.descriptors()
		for _, n := range s.open {
			all -= n
		}
		for kind, n := range now {
			all += n
			if n > s.open[kind] {
				more = append(more, fmt.Sprintf("%d descriptors of the supervisor: %s", n-s.open[kind], kind))
			}
		}
		if all <= s.keeps {
			return nil
		}
		select {
		case <-tick.C:
		case <-late:
			return more
		}
	}
}

// signal sends a signal to a generation, if it lives.
func (s *scene) signal(generation int, sig syscall.Signal) {
	s.Helper()
	line := s.line(generation)
	if line == nil {
		s.Fatalf("generation %d takes no orders", generation)
	}
	if err := unix.PidfdSendSignal(line.process, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		s.Error(err)
	}
}

// An orderLine is where a generation takes orders.
type orderLine struct {
	net.Conn
	answers *bufio.Reader
	process int // a pidfd
	pid     int
}

// line is that of a generation; it is opened once, because one that is short of
// descriptors could not open another.
func (s *scene) line(generation int) *orderLine {
	s.Helper()
	if l := s.orders[generation]; l != nil {
		return l
	}
	var conn net.Conn
	var err error
	s.Poll(fmt.Sprintf("generation %d to take orders", generation), func() bool {
		conn, err = net.Dial("unix", s.file("order", generation))
		return err == nil
	}, func() any { return err })
	l := &orderLine{Conn: conn, answers: bufio.NewReader(conn)}
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) {
			var who *unix.Ucred // of who listens there (unix(7))
			if who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
				l.pid = int(who.Pid)
				l.process, err = unix.PidfdOpen(l.pid, 0)
			}
		})
	}
	if err != nil {
		s.Fatal(err)
	}
	s.orders[generation] = l
	return l
}

// hangUp closes the lines.
func (s *scene) hangUp() {
	for _, l := range s.orders {
		_ = l.Close()
		_ = unix.Close(l.process)
	}
}

// order gives a generation an order and waits until it is done. One that has ended
// before has left the phase in which it was to be given.
func (s *scene) order(generation int, what string) {
	s.Helper()
	answer, err := s.ordered(generation, what)
	switch {
	case isEnd(err):
		s.late = fmt.Sprintf("generation %d had ended before %s", generation, what)
	case err != nil || answer != "ok":
		s.Fatalf("generation %d, %s: %s, %v", generation, what, answer, err)
	}
}

// isEnd tells the end of the process at the other end of a connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// orderToEnd gives an order that ends the process.
func (s *scene) orderToEnd(generation int, what string) {
	s.Helper()
	if answer, err := s.ordered(generation, what); !isEnd(err) {
		s.Fatalf("generation %d, %s: %s, %v", generation, what, answer, err)
	}
}

func (s *scene) ordered(generation int, what string) (string, error) {
	l := s.line(generation)
	if err := l.SetDeadline(time.Now().Add(rig.Patience / 2)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(l, what); err != nil {
		return "", err
	}
	answer, err := l.answers.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// tell gives an order that is not answered, to a generation that may have ended.
func (s *scene) tell(generation int, what string) {
	_, _ = fmt.Fprintln(s.line(generation), what)
}
