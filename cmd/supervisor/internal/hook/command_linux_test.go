package hook

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden file anew")

// lines takes what a command says.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) tell(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
}

func sh(script string, told *lines) Command {
	return Command{Words: []string{"sh", "-c", script}, Env: os.Environ(), Limit: time.Minute, Tell: told.tell}
}

func TestCommandsEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script string
		want   string // "" is success
	}{
		"well":                    {"cat >/dev/null", ""},
		"without reading":         {"exit 0", ""},
		"with a status":           {"echo one; echo two >&2; exit 7", "sh: exited with status 7: one | two"},
		"by a signal":             {"kill -9 $$", "sh: was killed by signal 9 (killed)"},
		"with a closed stdout":    {"exec >&- 2>&-; exit 0", ""},
		"and leave a process":     {"sleep 1000 & exit 0", ""},
		"with control characters": {`printf 'a\033[31mb\a\377\n'; exit 1`, "sh: exited with status 1: a?[31mb??"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := sh(c.script, new(lines))
			command.Stdin = bytes.Repeat([]byte("x"), 1<<20) // more than a pipe takes
			got := ""
			if err := command.Run(t.Context()); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("the error is %q, want %q", got, c.want)
			}
		})
	}
}

func TestMissingCommand(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"/nowhere/hook", "no-such-hook"} {
		c := Command{Words: []string{word}, Limit: time.Minute, Tell: new(lines).tell}
		if err := c.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), word+": cannot be run: ") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// TestNothingIsLeftOfACommand: at its limit, and when it is called off, all of its
// process group is killed.
func TestNothingIsLeftOfACommand(t *testing.T) {
	t.Parallel()
	for _, calledOff := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "pid")
		if err := unix.Mkfifo(file, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := sh(`trap "" TERM; sleep 1000 & echo $! >`+file+`; wait`, new(lines))
		want := "called off"
		if !calledOff {
			c.Limit, want = 500*time.Millisecond, "did not end within 500ms"
		}
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }() // joined below
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if calledOff {
			cancel()
		}
		if err := <-ended; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
		cancel()
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		tick := time.NewTicker(time.Millisecond)
		for late := time.After(10 * time.Second); stateOf(pid) != "" && stateOf(pid) != "Z"; <-tick.C { // the kernel takes a moment
			select {
			case <-late:
				t.Fatalf("its grandchild %d lives (%s)", pid, stateOf(pid))
			default:
			}
		}
		tick.Stop()
	}
}

// stateOf is the state of a process; "" if there is none.
func stateOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

func TestFloodIsBounded(t *testing.T) {
	t.Parallel()
	told := new(lines)
	if _, err := exec.LookPath("yes"); err != nil {
		t.Skip(err)
	}
	if err := sh("yes | head -n 100000; head -c 100000 /dev/zero; exit 1", told).Run(t.Context()); err == nil || len(err.Error()) > 5*(maxLine+10) {
		t.Errorf("the error is %v", err)
	}
	if n := len(told.all); n != maxLines+1 || told.all[n-1] != "... and 99801 lines more" {
		t.Errorf("%d lines were told, the last is %q", n, told.all[n-1])
	}
	for _, line := range told.all {
		if len(line) > maxLine+10 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

// TestFacts: what a command is told, to the byte.
func TestFacts(t *testing.T) {
	t.Parallel()
	f := upgrade.HookFacts{
		Hook: upgrade.HookOnRollback, Service: "web", Request: 4, Kind: upgrade.KindUpgrade, Note: "change\n7",
		From: 2, To: 3, FromPID: 100, ToPID: 200,
		FromRelease: &upgrade.Release{Program: upgrade.Program{Command: []string{"/srv/current/web"}}, Path: "/srv/1/web", BuildID: "abc"},
		ToRelease:   &upgrade.Release{Program: upgrade.Program{Command: []string{"/srv/current/web"}}, Path: "/srv/2/web"},
		Verdict:     upgrade.RolledBack, Reason: "generation 3 is unhealthy", Active: 2,
	}
	document, err := Document(f)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(Env(f), "\n") + "\n\n" + string(document)
	const golden = "testdata/facts.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != got {
		t.Errorf("got\n%s\n%v; look at the difference after -update", got, err)
	}
}
