package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/fdpass"
)

// TestLyingGenerationIsNotBelieved: a generation that lies about its token, its
// number, its service or its socket when it comes back to the next supervisor is
// refused, with the reason in the log, and serves on; once it tells the truth it
// is adopted.
func TestLyingGenerationIsNotBelieved(t *testing.T) {
	t.Parallel()
	l := found(t, []string{"liar"})
	run := l.traffic("http://" + l.serves().Listeners[0].Address)
	l.answered(run, 20)
	l.kill()
	l.answered(run, 20)
	l.start()
	pid := l.serves().Generations[0].PID
	l.answered(run, 20)
	l.noneFailed(run)
	for lie, reason := range map[string]string{
		"another token":      "the token is wrong",
		"no token":           "token must be from 16 to 128",
		"another generation": "generation 2 is not missed",
		"another service":    `this is service "web"`,
		"another cookie":     "socket cookie mismatch",
	} {
		line := logLine(l.logged(), "liar: "+lie+": ")
		if !strings.Contains(line, reason) {
			t.Errorf("a generation with %s is told %q, want %q in it", lie, line, reason)
		}
		if lie != "no token" { // which it cannot even say
			l.wantRefusal("refused somebody at the rendezvous", strings.ReplaceAll(reason, `"`, `\"`), fmt.Sprintf("peer_pid=%d", pid))
		}
	}
	l.stop()
}

// TestGenerationThatGivesAnotherSocketBack: without the listener the next
// supervisor cannot go on, and says why; the generation serves on, and one more
// supervisor gets the listener from it.
func TestGenerationThatGivesAnotherSocketBack(t *testing.T) {
	t.Parallel()
	port, err := findPort()
	if err != nil {
		t.Fatal(err)
	}
	l := found(t, []string{"liar", "socket"}, "--listen", "http=tcp://127.0.0.1:"+port)
	l.serves()
	run := l.traffic("http://127.0.0.1:" + port)
	l.answered(run, 20)
	l.succeed()
	l.fails("a socket that is none of the service's listeners; it is not taken", "in use by a live process")
	l.answered(run, 20)
	l.start()
	l.serves()
	l.answered(run, 20)
	l.noneFailed(run)
	l.stop()
}

// logLine is the rest of the first line that begins so.
func logLine(log, begin string) string {
	_, rest, _ := strings.Cut("\n"+log, "\n"+begin)
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// wantRefusal expects a line with all these words in the log.
func (l *lineage) wantRefusal(words ...string) {
	l.Helper()
	log := l.logged()
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return
		}
	}
	l.Errorf("no line of the log has all of %q", words)
}

// knock goes to the sockets of a run directory as whoever it is, and says on
// standard output how that went. It knows the token of generation 1.
func knock() {
	dir, token := os.Args[1], os.Args[2]
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "control.sock"))
	}}}
	for _, path := range []string{"status", "stop", "upgrade", "reexec"} {
		request, err := http.NewRequest(http.MethodPost, "http://supervisor/v1/"+path, http.NoBody)
		if path == "status" {
			request, err = http.NewRequest(http.MethodGet, "http://supervisor/v1/status", http.NoBody)
		}
		var answer *http.Response
		if err == nil {
			answer, err = client.Do(request)
		}
		if err != nil {
			fmt.Printf("%s: %v\n", path, err)
			continue
		}
		fmt.Printf("%s: %s\n", path, answer.Status)
		_ = answer.Body.Close()
	}
	conn, err := fdpass.DialRendezvous(filepath.Join(dir, "rendezvous.sock"))
	if err == nil {
		_, err = fdpass.GiveBack(conn, fdpass.Rejoin{Service: "web", Generation: 1, Token: token, Ready: true}, nil)
	}
	fmt.Printf("rendezvous: %v\n", err)
	_, err = os.ReadFile(filepath.Join(dir, "state.json"))
	fmt.Printf("state: %v\n", err)
}

// TestSocketsAreForOneUser: another user, who even knows the token of a
// generation, gets nowhere near a supervisor; where somebody has opened the modes
// of its directory and sockets, the kernel still says who it is.
func TestSocketsAreForOneUser(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to start processes of another user")
	}
	l := found(t, []string{misbehaveIn(t)})
	run := l.traffic("http://" + l.serves().Listeners[0].Address)
	state, err := handover.Load(filepath.Join(l.runDir(), "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	knocks := func(want map[string]string) {
		t.Helper()
		l.answered(run, 10)
		const nobody = 65534
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{"knock", l.runDir(), state.Supervisor.Generations[0].Token}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		said, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		for what, answer := range want {
			if line := logLine(string(said), what+": "); !strings.Contains(line, answer) {
				t.Errorf("%s: another user is told %q, want %q", what, line, answer)
			}
		}
	}
	const denied = "permission denied"
	knocks(map[string]string{"status": denied, "stop": denied, "upgrade": denied, "reexec": denied, "rendezvous": denied, "state": denied})
	for file, mode := range map[string]os.FileMode{"": 0o755, "run": 0o755, "run/control.sock": 0o666, "run/rendezvous.sock": 0o666} {
		if err := os.Chmod(filepath.Join(l.dir, file), mode); err != nil {
			t.Fatal(err)
		}
	}
	const forbidden = "403 Forbidden"
	knocks(map[string]string{"status": forbidden, "stop": forbidden, "upgrade": forbidden, "reexec": forbidden,
		"rendezvous": "uid 65534 is not that of the service", "state": denied})
	l.wantRefusal("refused a control request", "path=/v1/stop", "peer_uid=65534")
	l.wantRefusal("refused somebody at the rendezvous", "peer_uid=65534", "uid 65534 is not that of the service")
	l.succeed() // in the directory that others may see
	l.serves()
	l.answered(run, 20)
	l.noneFailed(run)
	l.stop()
}

// TestNumberOfAProcessThatIsAnothersNow: the pid of a generation that died while
// there was no supervisor is that of a stranger by now, as its start time tells.
// The stranger is left alone, and so is its group, whatever becomes of the service.
func TestNumberOfAProcessThatIsAnothersNow(t *testing.T) {
	t.Parallel()
	stranger := exec.Command("sleep", "1000")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stranger.Wait() }() // joined below
	t.Cleanup(func() {
		_ = stranger.Process.Kill()
		<-ended
	})
	l := conceive(t, []string{misbehaveIn(t)}, "--listen", "http=systemd", "--bake", "100ms")
	l.held = holdSocket(t)
	l.start()
	first := l.serves()
	l.kill()
	signalTo(t, first.Generations[0].PID, syscall.SIGKILL)
	l.poll("its end", func() bool { return len(l.processes()) == 0 }, func() any { return l.processes() })
	path := filepath.Join(l.runDir(), "state.json")
	state, err := handover.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	state.Supervisor.Generations[0].PID = stranger.Process.Pid
	if err := handover.Save(path, state); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("supervisor", "sweep", "--now", "--run-dir", l.runDir()).CombinedOutput(); err != nil {
		t.Errorf("sweep: %v: %s", err, out)
	}
	run := l.traffic("http://" + first.Listeners[0].Address)
	l.start()
	status := l.serves()
	if n := status.Generations[0].Generation; n != 2 {
		t.Errorf("generation %d is active, want 2", n)
	}
	l.upgradesOn(l.args[len(l.args)-1])
	l.answered(run, 20)
	l.noneFailed(run)
	l.stop()
	select {
	case err := <-ended:
		t.Errorf("the stranger has ended: %v", err)
		ended <- err
	default:
	}
}
