package upgrade

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A ward is a process that a shell has started for a test.
type ward struct {
	pid   int
	ticks uint64
	end   io.Closer // of its input: it ends when this is closed
}

// attended starts a shell that does what script says when its input ends. Its
// parent is another process, which waits for it.
func attended(t *testing.T, script string) ward {
	t.Helper()
	return startWard(t, `setsid sh -c 'read line; `+script+`' <&3 & echo $!; exec 3<&- >&-; wait`)
}

// neglected is attended, but its parent never waits for it.
func neglected(t *testing.T, script string) ward {
	t.Helper()
	return startWard(t, `sh -c 'read line; `+script+`' <&3 & echo $!; exec sleep 60 3<&- >&-`)
}

func startWard(t *testing.T, script string) ward {
	t.Helper()
	input, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
	shell := exec.Command("sh", "-c", script)
	shell.ExtraFiles = []*os.File{input}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	_ = input.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
	})
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	_, ticks, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return ward{pid, ticks, end}
}

// mine starts a process that this one may wait for and that ends when its input
// does, with that status.
func mine(t *testing.T, status string) ward {
	t.Helper()
	input, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = end.Close() })
	defer input.Close()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.StartProcess(sh, []string{"sh", "-c", "read line; exit " + status}, &os.ProcAttr{Files: []*os.File{input}})
	if err != nil {
		t.Fatal(err)
	}
	pid := p.Pid
	_ = p.Release() // the test waits for it by its pid
	_, ticks, err := readStat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return ward{pid, ticks, end}
}

func TestOwnChildIsWaitedForAndReaped(t *testing.T) {
	t.Parallel()
	w := mine(t, "7")
	c, err := findChild(w.pid, w.ticks)
	if err != nil || c.pidfd != 0 {
		t.Fatalf("%+v, %v; want one that is ours to wait for", c, err)
	}
	_ = w.end.Close()
	c.await()
	if _, ticks, err := readStat(w.pid); err != nil || ticks != w.ticks {
		t.Errorf("its number is free before it was reaped: %v", err)
	}
	if err := c.signal(syscall.SIGKILL, false); err != nil {
		t.Errorf("a signal to one that is not reaped: %v", err)
	}
	if end := c.reap(); !end.known || end.status.ExitStatus() != 7 || end.clean() {
		t.Errorf("it %v, want status 7", end)
	}
	if _, err := findChild(w.pid, w.ticks); !errors.Is(err, errGone) {
		t.Errorf("it is found after it was reaped: %v", err)
	}
}

func TestAdoptedChildTellsItsExit(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"exit 0":        "exited with status 0",
		"exit 37":       "exited with status 37",
		"kill -KILL $$": "was killed by signal 9 (killed)",
	} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			w := attended(t, script)
			c, err := findChild(w.pid, w.ticks)
			if err != nil || c.pidfd == 0 {
				t.Fatalf("%+v, %v; want one that is held by a pidfd", c, err)
			}
			if c.over(0) {
				t.Error("it is over before it has ended")
			}
			_ = w.end.Close()
			c.await()
			end := c.reap()
			if !tellsExit() {
				want = exit{}.String()
			}
			if end.String() != want || end.clean() != (want == "exited with status 0") {
				t.Errorf("it %v, want that it %s", end, want)
			}
		})
	}
}

// tellsExit is whether the kernel tells others than the parent (Linux 6.15).
func tellsExit() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	release := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	major, _ := strconv.Atoi(release[0])
	minor, _ := strconv.Atoi(release[1])
	return major > 6 || major == 6 && minor >= 15
}

// A parent that never waits keeps the exit from being known: it is not waited
// for long.
func TestAdoptedChildWhoseParentDoesNotWait(t *testing.T) {
	t.Parallel()
	w := neglected(t, "exit 3")
	c, err := findChild(w.pid, w.ticks)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.end.Close()
	c.await()
	if _, err := findChild(w.pid, w.ticks); !errors.Is(err, errGone) {
		t.Errorf("a zombie is found: %v", err)
	}
	began := time.Now()
	if end := c.reap(); end.known || end.clean() {
		t.Errorf("it %v, want that it is not known", end)
	}
	if took := time.Since(began); took > 20*reapGrace {
		t.Errorf("it took %v", took)
	}
}

// A kernel that does not know the question is not asked again: the place of the
// generation is to be taken at once. A file that is no pidfd stands for it.
func TestExitThatTheKernelNeverTellsIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	file, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if end := (child{pid: os.Getpid(), pidfd: file}).reap(); end.known {
		t.Errorf("it %v, want that it is not known", end)
	}
	if took := time.Since(began); took > reapGrace/2 {
		t.Errorf("it took %v", took)
	}
}

// Who asks after a generation whose exit is being waited for does not wait too.
func TestNobodyWaitsForAnExitThatIsNotKnown(t *testing.T) {
	t.Parallel()
	w := neglected(t, "exit 3")
	l := NewLauncher(LauncherConfig{}).(*launcher)
	exited := make(chan Event, 1)
	p := l.Adopt(ProcessState{Generation: 1, PID: w.pid, StartTicks: w.ticks}, func(e Event) { exited <- e })
	_ = w.end.Close()
	longest := time.Duration(0)
	for {
		began := time.Now()
		p.Snapshot()
		longest = max(longest, time.Since(began))
		select {
		case e := <-exited:
			if gone, ok := e.(Exited); !ok || gone.Clean {
				t.Errorf("heard %#v", e)
			}
			if longest > reapGrace/2 {
				t.Errorf("a snapshot took %v", longest)
			}
			l.Join()
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// A process is its number and the moment of its start: the number alone may be
// another's by now.
func TestAnotherProcessWithTheSameNumberIsNotFound(t *testing.T) {
	t.Parallel()
	own, adopted := mine(t, "0"), attended(t, "exit 0")
	if _, err := findChild(adopted.pid, 0); !errors.Is(err, errUnproven) {
		t.Errorf("process %d is taken for the one whose start nobody knows: %v", adopted.pid, err)
	}
	if c, err := findChild(own.pid, 0); err != nil || c != (child{pid: own.pid, ticks: own.ticks}) {
		t.Errorf("one that nobody else can have reaped is not found: %+v, %v", c, err)
	}
	for _, w := range []ward{own, adopted} {
		for _, ticks := range []uint64{w.ticks - 1, w.ticks + 1} {
			if c, err := findChild(w.pid, ticks); !errors.Is(err, errGone) {
				c.close()
				t.Errorf("process %d of %d is found as that of %d: %v", w.pid, w.ticks, ticks, err)
			}
			if lives(ProcessState{PID: w.pid, StartTicks: ticks}) {
				t.Errorf("process %d of %d lives as that of %d", w.pid, w.ticks, ticks)
			}
		}
		if !lives(ProcessState{PID: w.pid, StartTicks: w.ticks}) {
			t.Errorf("process %d does not live", w.pid)
		}
	}
	for _, pid := range []int{-1, 0, 1 << 30} {
		if _, err := findChild(pid, 1); !errors.Is(err, errGone) {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	_ = own.end.Close()
	child{pid: own.pid, ticks: own.ticks}.reap()
}

// The group of an adopted process can be killed when its leader is gone and its
// number may be used again.
func TestGroupOfAnAdoptedChildIsKilledAfterItsLeader(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	w := attended(t, `sleep 60 <&- >&- 2>&- & echo $! >`+file+`; exit 0`)
	c, err := findChild(w.pid, w.ticks)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.end.Close()
	c.await()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	_, ticks, err := readStat(left)
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := findChild(left, ticks)
	if err != nil {
		t.Fatal(err)
	}
	defer grandchild.close()
	poll := []unix.PollFd{{Fd: int32(c.pidfd)}}
	if _, err := unix.Poll(poll, 5000); err != nil || poll[0].Revents&unix.POLLHUP == 0 {
		t.Fatalf("the leader is not reaped by its parent: %v", err)
	}
	if err := c.signal(syscall.SIGTERM, false); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the leader can still be signalled: %v", err)
	}
	if err := c.signal(syscall.SIGKILL, true); err != nil {
		t.Error(err)
	}
	if !grandchild.over(5000) {
		t.Error("the rest of the group lives on")
		_ = grandchild.signal(syscall.SIGKILL, false)
	}
	if err := c.signal(syscall.SIGKILL, true); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a group that is gone: %v", err)
	}
	c.reap()
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const rest = " S 17 3 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 10 20"
	for text, good := range map[string]bool{
		"42 (web)" + rest:                true,
		"42 ()" + rest:                   true,
		"42 (a) S 1 (b) Z 2 )))" + rest:  true,
		"42 (line\nbreak)" + rest + "\n": true,
		"":                               false,
		"42 web" + rest:                  false,
		"42 (web" + rest:                 false,
		"42 (web)":                       false,
		"42 (web) S 17 3 3 0 -1":         false,
		"42 (web)" + rest[:len(rest)-18]: false,
		"42 (web) S x" + rest[5:]:        false,
		"42 (web) S 17 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 -5 1": false,
	} {
		parent, ticks, err := parseStat([]byte(text))
		if good != (err == nil) || good && (parent != 17 || ticks != 987654321) {
			t.Errorf("%q: %d, %d, %v", text, parent, ticks, err)
		}
	}
}

// FuzzParseStat: a process may call itself anything, and nothing in its name is
// taken for a field.
func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (web) S 17 3 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 10 20"))
	f.Add([]byte(") S 1 1 1"))
	f.Add([]byte("42 ("))
	f.Fuzz(func(t *testing.T, text []byte) {
		parent, ticks, err := parseStat(text)
		if err != nil && (parent != 0 || ticks != 0) {
			t.Errorf("%d, %d beside %v", parent, ticks, err)
		}
		stat := append(append([]byte("42 ("), text...), ") S 17 3 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654321 10 20"...)
		if parent, ticks, err := parseStat(stat); err != nil || parent != 17 || ticks != 987654321 {
			t.Errorf("a process called %q: %d, %d, %v", text, parent, ticks, err)
		}
	})
}
