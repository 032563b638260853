package systemdtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bootLimit is how long an instance may take to come up. It takes half a
	// second where the machine is not busy.
	bootLimit = 60 * time.Second
	// endLimit is how long a killed instance may take to be gone.
	endLimit = 10 * time.Second
)

// An instance is the systemd of a Machine as this process sees it: a child and
// its namespaces.
type instance struct {
	store   store
	run     string // its name
	folder  string // all that it has on disk
	dir     string // the part that it sees
	groups  cgroups
	leader  int      // the pid of its PID 1; reaped at the end and not before
	network *os.File // its network namespace
	home    *os.File // that of this process
	ended   chan struct{}
	reap    chan struct{} // closed: the end
	reaped  chan struct{}
}

// boot starts an instance and waits until it is up.
func (s store) boot(root string) (*instance, error) {
	run, err := s.newRun()
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder for an instance: %w", err)
	}
	i := &instance{
		store: s, run: run, folder: filepath.Join(s.runs(), run),
		ended: make(chan struct{}), reap: make(chan struct{}), reaped: make(chan struct{}),
	}
	i.dir = filepath.Join(i.folder, "dir")
	if err := i.up(root); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, i.console()), i.end())
	}
	return i, nil
}

func (i *instance) up(root string) (err error) {
	work := filepath.Join(i.folder, "work")
	for _, folder := range []string{i.dir, work} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	if i.groups, err = openCgroups(); err != nil {
		return err
	}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(i.dir, ".ready")})
	if err != nil {
		return err
	}
	defer ready.Close()
	if err := i.start(stage{Lower: root, Work: work, Dir: i.dir, Ready: ready.LocalAddr().String()}); err != nil {
		return err
	}
	if i.home, err = os.Open("/proc/self/ns/net"); err != nil {
		return err
	}
	if i.network, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", i.leader)); err != nil {
		return err
	}
	return i.awaitReady(ready)
}

// start starts the stage and the goroutine that waits for its end.
func (i *instance) start(s stage) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// A file: a pipe would have to be read to its end.
	console, err := os.Create(filepath.Join(i.folder, "console"))
	if err != nil {
		return err
	}
	defer console.Close()
	group, err := i.groups.create(i.run)
	if err != nil {
		return err
	}
	defer group.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), stageEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		// Not with CLONE_NEWCGROUP, whose root would be the cgroup of the parent.
		UseCgroupFD: true, CgroupFD: int(group.Fd()),
		Setsid: true, Pdeathsig: syscall.SIGKILL,
	}
	started := make(chan error)
	go i.hold(cmd, started) // joined by end
	return <-started
}

// hold starts PID 1 and reaps it when told to. Pdeathsig is sent when the
// thread of the start ends, so the goroutine keeps it.
func (i *instance) hold(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(i.reaped)
	if err := cmd.Start(); err != nil {
		started <- fmt.Errorf("cannot start a process in new namespaces: %w", err)
		return
	}
	i.leader = cmd.Process.Pid
	started <- nil
	for {
		err := unix.Waitid(unix.P_PID, i.leader, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	close(i.ended)
	<-i.reap
	_ = cmd.Wait() // its status is of no interest: it was killed
}

// awaitReady waits until systemd tells that it has started everything
// (sd_notify(3)).
func (i *instance) awaitReady(ready *net.UnixConn) error {
	if err := ready.SetReadDeadline(time.Now().Add(bootLimit)); err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() { // joined by result, at the deadline at the latest
		message := make([]byte, 4096)
		for {
			n, err := ready.Read(message)
			if err != nil || strings.Contains("\n"+string(message[:n])+"\n", "\nREADY=1\n") {
				result <- err
				return
			}
		}
	}()
	select {
	case err := <-result:
		if err != nil {
			return fmt.Errorf("systemd is not up: %w", err)
		}
	case <-i.ended:
		_ = ready.SetReadDeadline(time.Unix(1, 0))
		<-result
		return errors.New("systemd ended while it came up")
	}
	return os.Remove(ready.LocalAddr().String())
}

// console returns what PID 1 wrote to its stdout and stderr.
func (i *instance) console() string {
	text, err := os.ReadFile(filepath.Join(i.folder, "console"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-16<<10):])
}

// end kills the instance and removes all of it. It is done once.
func (i *instance) end() error {
	var errs []error
	if i.leader != 0 {
		errs = append(errs, i.kill())
	}
	if i.groups.mount != nil {
		errs = append(errs, i.groups.remove(i.run))
		i.groups.Close()
	}
	for _, f := range []*os.File{i.network, i.home} {
		if f != nil {
			f.Close()
		}
	}
	return errors.Join(append(errs, os.RemoveAll(i.folder))...)
}

// kill ends PID 1, and with it the kernel ends all that is in its pid
// namespace (pid_namespaces(7)), and waits until that is done.
func (i *instance) kill() error {
	// Its pid is not reused before it is reaped.
	if err := syscall.Kill(i.leader, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	limit := time.NewTimer(endLimit)
	defer limit.Stop()
	select {
	case <-i.ended:
	case <-limit.C:
		return fmt.Errorf("PID 1 (%d) was killed and is not gone after %v; a process of the instance waits to be reaped by one outside", i.leader, endLimit)
	}
	close(i.reap)
	<-i.reaped
	return nil
}
