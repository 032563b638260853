package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/internal/numbers"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// enduranceEnv makes TestEndurance as long as make endurance has it.
const enduranceEnv = "SUPERVISOR_ENDURANCE"

// TestEndurance upgrades again and again under load, then replaces the supervisor
// in between too. What it and its generation hold is as it was after a few.
func TestEndurance(t *testing.T) {
	t.Parallel()
	warm, upgrades, reexecs := 10, 50, 6
	if os.Getenv(enduranceEnv) != "" {
		warm, upgrades, reexecs = 50, 950, 50
	}
	program := []string{misbehaveIn(t)}
	cgroup := delegatedCgroup(t)
	// On a busy machine a queue stands for longer than the default allows.
	l := conceive(t, program, "--bake", "10ms", "--settle", "10ms", "--log-level", "info", "--queue-target", "500ms", "--queue-interval", "1s")
	l.cgroup = cgroup
	l.start()
	e := endurance{lineage: l, program: program}
	e.columns = append(e.columns, e.spend("at first", 1, 0), e.spend("warm", warm-1, 0))
	e.columns = append(e.columns, e.spend("upgraded", upgrades/2, 0), e.spend("replaced", upgrades/2, reexecs))
	t.Logf("%d upgrades, %d replacements, %d requests, %d failed\n%s", warm+upgrades, reexecs, e.requests, e.failed, e.table())
	e.judge()
	l.stop()
}

// An endurance is how a supervisor takes many upgrades.
type endurance struct {
	*lineage
	program          []string
	upgrades         int // so far
	columns          []holdings
	requests, failed uint64
}

// holdings are what a supervisor and its generation hold at a moment at rest.
type holdings struct {
	name    string
	figures []figure
}

// A figure may become more by slack.
type figure struct {
	name         string
	value, slack int
	unit         string
}

// spend upgrades under load, and replaces the supervisor at even distances, while
// generations drain.
func (e *endurance) spend(name string, upgrades, reexecs int) holdings {
	e.Helper()
	const bout = 100
	for done := 0; done < upgrades; done += bout {
		until := min(done+bout, upgrades)
		run := e.traffic("http://" + e.serves().Listeners[0].Address)
		for i := done; i < until; i++ {
			e.commit()
			if (i+1)*reexecs/upgrades > i*reexecs/upgrades {
				e.replace("")
			}
		}
		e.answered(run, 20)
		e.count(name, run.Stop())
	}
	status := e.serves()
	if got, want := status.Generations[0].Generation, e.upgrades+1; got != want {
		e.Errorf("generation %d is active, want %d", got, want)
	}
	return holdings{name, e.atRest(status)}
}

// commit does not wait for the end of the drain.
func (e *endurance) commit() {
	e.Helper()
	e.upgrades++
	request := upgrade.Request{Program: &upgrade.Program{Command: e.program}}
	report, err := e.client.Attempt(e.Context(), upgrade.KindUpgrade, request, func([]byte, control.Line) {})
	if err != nil || report.Verdict != upgrade.Committed {
		e.Fatalf("upgrade %d: %s (%s), %v", e.upgrades, report.Verdict, report.Reason, err)
	}
}

func (e *endurance) count(name string, report load.Report) {
	e.Helper()
	e.requests += report.Requests
	e.failed += report.Failed
	for _, t := range report.Traffic {
		if t.Failed > 0 || t.OK == 0 {
			e.Errorf("%s: %s: %d of %d requests failed: %+v", name, t.Name, t.Failed, t.Requests, t.Failures)
		}
	}
}

// atRest waits until the connections of clients are gone, and tells what is held.
// Counts may not grow at all, with these exceptions: the Go runtime keeps threads
// for as many system calls as were ever under way at once, and memory according to
// how much garbage there was at the last collection, which differs by some MiB
// from one look to the next. What a leak of one goroutine, or of 8 KiB, in each
// upgrade would come to in the long form is far beyond these.
func (e *endurance) atRest(status upgrade.Status) []figure {
	e.Helper()
	generation := status.Generations[0].PID
	e.poll("the end of all connections", func() bool { return e.rests(status) }, func() any { return links(e, generation) })
	metrics := e.metrics()
	state, err := os.Stat(filepath.Join(e.runDir(), "state.json"))
	if err != nil {
		e.Fatal(err)
	}
	files, err := os.ReadDir(e.runDir())
	if err != nil {
		e.Fatal(err)
	}
	held, _ := e.descriptors(status.PID)
	kept, _ := e.descriptors(generation)
	return []figure{
		{"descriptors of the supervisor", held, 0, ""},
		{"descriptors of the generation", kept, 0, ""},
		{"processes", len(e.processes()), 0, ""},
		{"control groups", e.groups(), 0, ""},
		{"files in the run directory", len(files), 0, ""},
		{"bytes of the state", int(state.Size()), 1024, ""},
		{"lines of the metrics", strings.Count(metrics, "\n"), 10, ""},
		{"goroutines", int(numbers.FromMetrics(e, metrics, "go_goroutines")), 4, ""},
		{"threads", int(numbers.FromMetrics(e, metrics, "go_threads")), 8, ""},
		{"heap", int(numbers.FromMetrics(e, metrics, "go_memstats_heap_inuse_bytes")) >> 10, 4 << 10, " KiB"},
		{"resident", int(numbers.FromMetrics(e, metrics, "process_resident_memory_bytes")) >> 10, 8 << 10, " KiB"},
		{"environment", len(readProc(e, status.PID, "environ")), 32, " bytes"},
	}
}

func (e *endurance) rests(status upgrade.Status) bool {
	_, guests := e.descriptors(status.PID)
	if guests > 0 || len(status.Generations) != 1 {
		return false
	}
	text := readProc(e, os.Getpid(), "net/tcp")
	_, port, _ := strings.Cut(status.Listeners[0].Address, ":")
	number, _ := strconv.Atoi(port)
	return !regexp.MustCompile(fmt.Sprintf(`0100007F:%04X 0100007F:\w{4} 0[18]`, number)).MatchString(text)
}

// descriptors counts those of a process, without connections of control clients.
func (e *endurance) descriptors(pid int) (held, guests int) {
	control := controlConnections(e)
	for _, link := range links(e, pid) {
		if slices.Contains(control, link) {
			guests++
		} else {
			held++
		}
	}
	return held, guests
}

// groups counts the control groups of the lineage.
func (e *endurance) groups() (n int) {
	if e.cgroup == "" {
		return 0
	}
	entries, err := os.ReadDir(e.cgroup)
	if err != nil {
		e.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			n++
		}
	}
	return n
}

// judge compares each later column with the warm one.
func (e *endurance) judge() {
	e.Helper()
	for _, later := range e.columns[2:] {
		for i, f := range later.figures {
			if warm := e.columns[1].figures[i].value; f.value > warm+f.slack {
				e.Errorf("%s: %s: %d%s, and %d when it was warm", later.name, f.name, f.value, f.unit, warm)
			}
		}
	}
}

func (e *endurance) table() string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range e.columns {
		fmt.Fprintf(w, "\t%s", c.name)
	}
	fmt.Fprintln(w, "\t")
	for i, f := range e.columns[0].figures {
		fmt.Fprint(w, f.name)
		for _, c := range e.columns {
			fmt.Fprintf(w, "\t%d%s", c.figures[i].value, f.unit)
		}
		fmt.Fprintln(w, "\t")
	}
	_ = w.Flush() // to memory
	return text.String()
}

// delegatedCgroup makes a control group that is marked as systemd marks those
// that it delegates; "" where that is not possible.
func delegatedCgroup(t *testing.T) string {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		dir, err := os.MkdirTemp(root, "supervisor-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			for late := time.Now().Add(patience); ; { // until the kernel has done with those that were killed
				below, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
				for _, file := range below {
					_ = os.Remove(filepath.Dir(file))
				}
				err := os.Remove(dir)
				if err == nil {
					return
				}
				if time.Now().After(late) {
					t.Errorf("control groups are left: %v", err)
					return
				}
				<-time.After(5 * time.Millisecond)
			}
		})
		if unix.Setxattr(dir, "user.delegate", []byte("1"), 0) == nil {
			return dir
		}
	}
	t.Log("without control groups")
	return ""
}

// within is where a command begins its life.
func within(tb testing.TB, cgroup string) (attr *syscall.SysProcAttr, done func()) {
	tb.Helper()
	if cgroup == "" {
		return nil, func() {}
	}
	fd, err := unix.Open(cgroup, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}, func() { _ = unix.Close(fd) }
}
