package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"time"

	"example.com/supervisor/upgrade"
)

// An Attempt is a "supervisor upgrade" or "rollback" under way. Its methods may be
// called concurrently.
type Attempt struct {
	s *Supervisor
	// Cmd is the command that waits for the verdict.
	Cmd *exec.Cmd

	mu     sync.Mutex
	news   chan struct{} // closed when there is some
	steps  []Arrival
	report *upgrade.Report
	other  string // of what it wrote, the last line that is neither
	done   bool
	err    error
}

// An Arrival is a step and when it was read.
type Arrival struct {
	upgrade.Step
	At time.Time
}

// Begin begins an upgrade, or what else words say that ends with a report:
// "rollback", say. --json is added behind the first one.
func (s *Supervisor) Begin(words ...string) *Attempt {
	s.Helper()
	args := append([]string{words[0], "--socket", s.Socket(), "--json"}, words[1:]...)
	a := &Attempt{s: s, Cmd: exec.Command(s.Binary, args...), news: make(chan struct{})}
	out, in := io.Pipe()
	a.Cmd.Stdout, a.Cmd.Stderr = in, in
	if err := a.Cmd.Start(); err != nil {
		s.Fatalf("cannot start %s: %v", words[0], err)
	}
	var read sync.WaitGroup
	read.Go(func() { a.read(out) })
	joined := make(chan struct{})
	go func() { // joined by the end of the test
		defer close(joined)
		err := a.Cmd.Wait()
		_ = in.Close()
		read.Wait()
		a.note(func() { a.done, a.err = true, err })
	}()
	s.Cleanup(func() {
		_ = a.Cmd.Process.Kill() // has ended, if all is well
		<-joined
	})
	return a
}

// read takes what the command writes, to its end.
func (a *Attempt) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			Step   *upgrade.Step
			Report *upgrade.Report
		}
		err := json.Unmarshal(lines.Bytes(), &line)
		a.note(func() {
			switch {
			case err == nil && line.Step != nil:
				a.steps = append(a.steps, Arrival{*line.Step, time.Now()})
			case err == nil && line.Report != nil:
				a.report = line.Report
			default:
				a.other = lines.Text()
			}
		})
	}
}

// note changes what is known, and wakes who waits for it.
func (a *Attempt) note(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.news)
	a.news = make(chan struct{})
}

// until waits until ok, which is asked with the lock held, or until the command has
// ended; it reports whether ok.
func (a *Attempt) until(ok func() bool) (reached bool, err error) {
	late := time.After(Patience)
	for {
		a.mu.Lock()
		reached, done, news := ok(), a.done, a.news
		a.mu.Unlock()
		if reached || done {
			return reached, nil
		}
		select {
		case <-news:
		case <-late:
			return false, fmt.Errorf("waited in vain; steps so far: %+v", a.Steps())
		}
	}
}

// Reaches waits for a step of that phase. It returns false if the command ended
// without it.
func (a *Attempt) Reaches(phase upgrade.Phase) (at Arrival, ok bool) {
	a.s.Helper()
	ok, err := a.until(func() bool {
		for _, s := range a.steps {
			if s.Phase == phase {
				at = s
				return true
			}
		}
		return false
	})
	if err != nil {
		a.s.Fatalf("phase %s: %v", phase, err)
	}
	return at, ok
}

// Over reports whether the command has ended, and all that it wrote was read.
func (a *Attempt) Over() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

// Steps are those so far.
func (a *Attempt) Steps() []Arrival {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Arrival{}, a.steps...)
}

// Verdict waits for the end of the command and returns its report, and its exit
// status. There must be a report, unless the command was killed: then it is nil.
func (a *Attempt) Verdict() (*upgrade.Report, int) {
	a.s.Helper()
	report, status, other := a.End()
	if report == nil && status >= 0 {
		a.s.Fatalf("no report, status %d: %s", status, other)
	}
	return report, status
}

// End waits for the end of the command and returns its report, if it told one, its
// exit status (-1: it was killed), and the last line that it wrote besides.
func (a *Attempt) End() (report *upgrade.Report, status int, other string) {
	a.s.Helper()
	if _, err := a.until(func() bool { return a.done }); err != nil {
		a.s.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.report, a.Cmd.ProcessState.ExitCode(), a.other
}

// Upgrade upgrades, as words say, and waits for the old generation's end.
func (s *Supervisor) Upgrade(words ...string) upgrade.Report {
	s.Helper()
	report, _ := s.Begin(append([]string{"upgrade", "--wait-drain"}, words...)...).Verdict()
	if report == nil {
		s.Fatal("the command was killed")
	}
	return *report
}

// Commits is Upgrade where nothing speaks against it.
func (s *Supervisor) Commits(words ...string) upgrade.Report {
	s.Helper()
	r := s.Upgrade(words...)
	if r.Verdict != upgrade.Committed {
		s.Fatalf("%s: %s", r.Verdict, r.Reason)
	}
	return r
}

// get asks the control socket.
func (s *Supervisor) get(path string) (string, error) {
	client := http.Client{Timeout: Patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.Socket())
		},
	}}
	answer, err := client.Get("http://web" + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, answer.Status)
	}
	return string(text), err
}
