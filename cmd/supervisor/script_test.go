package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds every wait of a test: for a slow and busy machine, as none of
// them lasts longer on one that is not.
const patience = time.Minute

// TestScripts runs the command as a command. Each script has a directory of
// its own in which its services are found by name.
func TestScripts(t *testing.T) {
	t.Parallel()
	examples := buildExamples(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, "xdg"))
			e.Setenv("RUNTIME_DIRECTORY", "")
			e.Setenv("SUPERVISOR_TEST_ROOT", filepath.Join(e.WorkDir, "run-supervisor"))
			e.Setenv("EXAMPLES", examples)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Values[processes{}] = map[string]*exec.Cmd{}
			return os.Mkdir(filepath.Join(e.WorkDir, "xdg"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":   start,
			"ended":   ended,
			"exits":   exits,
			"until":   until,
			"signal":  sendSignal,
			"insist":  insist,
			"port":    port,
			"get":     get,
			"crash":   crash,
			"murder":  murder,
			"expand":  expand,
			"bereave": bereave,
		},
	})
}

// buildExamples builds the example services for the scripts.
func buildExamples(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"misbehave", "tableflip"} {
		build := exec.Command("go", "build", "-o", dir, "example.com/supervisor/examples/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("cannot build examples/%s: %v\n%s", name, err, out)
		}
	}
	return dir
}

// processes is the key of a script's own background processes, by name.
type processes struct{}

// command makes a command with the script's directory and environment.
func command(ts *testscript.TestScript, words []string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = os.Environ()
	for _, name := range []string{"XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY", "SUPERVISOR_TEST_ROOT"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	return cmd
}

// start NAME WORD... starts a command in the background, its output going to
// NAME.out and NAME.err.
func start(ts *testscript.TestScript, _ bool, args []string) {
	cmd := command(ts, args[1:])
	cmd.Stdout = create(ts, args[0]+".out")
	cmd.Stderr = create(ts, args[0]+".err")
	ts.Check(cmd.Start())
	ts.Value(processes{}).(map[string]*exec.Cmd)[args[0]] = cmd
	ts.Defer(func() {
		if cmd.ProcessState == nil { // the script failed
			_ = cmd.Process.Signal(syscall.SIGTERM)
			timer := time.AfterFunc(patience/4, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			_ = cmd.Wait()
			ts.Logf("%s: %s", args[0], ts.ReadFile(args[0]+".err"))
		}
	})
}

func create(ts *testscript.TestScript, name string) *os.File {
	f, err := os.Create(ts.MkAbs(name))
	ts.Check(err)
	ts.Defer(func() { f.Close() })
	return f
}

// ended NAME STATUS waits until what start started has ended.
func ended(ts *testscript.TestScript, _ bool, args []string) {
	cmd := ts.Value(processes{}).(map[string]*exec.Cmd)[args[0]]
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	ts.Logf("%s: %s%s", args[0], ts.ReadFile(args[0]+".out"), ts.ReadFile(args[0]+".err"))
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s: exit status %s (%v), want %s", args[0], got, err, args[1])
	}
}

// exits STATUS WORD... runs a command that exits with the status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// until REGEXP WORD... runs a command until its output matches.
func until(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	poll(ts, args[0], func() (string, bool) {
		output, _ := command(ts, args[1:]).CombinedOutput() // it may fail until it does not
		if !pattern.Match(output) {
			return string(output), false
		}
		_, err := ts.Stdout().Write(output)
		ts.Check(err)
		return "", true
	})
}

// poll tries until ok, and fails with the last state seen.
func poll(ts *testscript.TestScript, what string, try func() (state string, ok bool)) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		state, ok := try()
		if ok {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("waited in vain for %s; last:\n%s", what, state)
		}
	}
}

// signal SIGNAL NAME signals the supervisor of a service, or what start
// started under that name.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL}
	if cmd := ts.Value(processes{}).(map[string]*exec.Cmd)[args[1]]; cmd != nil {
		ts.Check(cmd.Process.Signal(signals[args[0]]))
		return
	}
	pid, err := rundir.Owner(filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "supervisor", args[1], rundir.ControlSocket))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signals[args[0]]))
}

// insist SIGNAL NAME REGEXP FILE sends a signal again and again until the file
// matches.
func insist(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[2])
	poll(ts, args[2], func() (string, bool) {
		sendSignal(ts, false, args[:2])
		text := ts.ReadFile(args[3])
		return text, pattern.MatchString(text)
	})
}

// crash NAME kills the active generation of a service.
func crash(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "an active generation", func() (string, bool) { // it may answer a moment before it is that
		status := statusOf(ts, args[0])
		i := slices.IndexFunc(status.Generations, func(g upgrade.GenerationStatus) bool { return g.Role == upgrade.RoleActive })
		if i >= 0 {
			ts.Check(syscall.Kill(status.Generations[i].PID, syscall.SIGKILL))
		}
		return fmt.Sprint(status.Generations), i >= 0
	})
}

// murder NAME kills the supervisor of a service, and then the generations that
// it leaves behind.
func murder(ts *testscript.TestScript, _ bool, args []string) {
	status := statusOf(ts, args[0])
	ts.Check(syscall.Kill(status.PID, syscall.SIGKILL))
	for _, g := range status.Generations {
		ts.Check(syscall.Kill(g.PID, syscall.SIGKILL))
	}
}

// bereave NAME kills the supervisor of a service; the generations that it leaves
// behind end with the script.
func bereave(ts *testscript.TestScript, _ bool, args []string) {
	status := statusOf(ts, args[0])
	for _, g := range status.Generations {
		handle, err := os.FindProcess(g.PID) // by pidfd: it is that process or none
		ts.Check(err)
		ts.Defer(func() {
			_ = handle.Kill()
			_ = handle.Release()
		})
	}
	ts.Check(syscall.Kill(status.PID, syscall.SIGKILL))
}

func statusOf(ts *testscript.TestScript, name string) upgrade.Status {
	client := control.NewClient(filepath.Join(ts.Getenv("XDG_RUNTIME_DIR"), "supervisor", name, rundir.ControlSocket))
	status, err := client.Status(context.Background())
	ts.Check(err)
	return status
}

// expand FILE replaces $WORK in a file.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "$WORK", ts.Getenv("WORK"))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// port VARIABLE sets a variable to a free port.
func port(ts *testscript.TestScript, _ bool, args []string) {
	port, err := findPort()
	ts.Check(err)
	ts.Setenv(args[0], port)
}

// get SOCKET PATH [REGEXP] prints the answer to a GET over a Unix socket, or
// from a TCP address; with a REGEXP it is repeated until it matches.
func get(ts *testscript.TestScript, neg bool, args []string) {
	pattern := ""
	if len(args) > 2 {
		pattern = args[2]
	}
	place := args[0]
	if !isTCP(place) {
		place = ts.MkAbs(place)
	}
	poll(ts, pattern, func() (string, bool) {
		body, err := getOnce(place, args[1])
		if neg {
			return body, err != nil
		}
		if err != nil {
			return err.Error(), pattern == "" && failOn(ts, err)
		}
		matched := regexp.MustCompile(pattern).MatchString(body)
		if matched {
			fmt.Fprint(ts.Stdout(), body)
		}
		return body, matched
	})
}

func isTCP(place string) bool { return strings.HasPrefix(place, "127.0.0.1:") }

func failOn(ts *testscript.TestScript, err error) bool {
	ts.Check(err)
	return false
}

func getOnce(socket, path string) (string, error) {
	var text strings.Builder
	err := getTo(&text, socket, path)
	return text.String(), err
}

// getTo writes the status of the answer as soon as it has come, then the body.
func getTo(out io.Writer, socket, path string) error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			if isTCP(socket) {
				return new(net.Dialer).DialContext(ctx, "tcp", socket)
			}
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	response, err := client.Get("http://test" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Fprintln(out, response.Status)
	_, err = io.Copy(out, response.Body)
	return err
}
