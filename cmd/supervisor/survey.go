package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/control"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/health"
)

const (
	// ownersTimeout is how long supervisors may take to tell their listeners,
	// and ownersLast for how long their answers do.
	ownersTimeout = 500 * time.Millisecond
	ownersLast    = 10 * time.Second
)

// A survey looks at every listener of the network namespace. It is used by one
// goroutine.
type survey struct {
	getenv func(string) string
	socket string // of one more supervisor to be asked

	netstat *health.Netstat // nil if there is none
	owners  []queue.Owner
	asked   time.Time
	last    *queue.Survey
}

func (s *survey) once(ctx context.Context) (queue.Picture, error) {
	defer s.open()()
	return s.look(ctx)
}

func (s *survey) watch(ctx context.Context, interval time.Duration, each func([]byte, queue.Picture) error) error {
	defer s.open()()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		picture, err := s.look(ctx)
		if err != nil {
			return err
		}
		text, err := json.Marshal(picture)
		if err != nil {
			return err
		}
		if err := each(text, picture); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// open opens the namespace's counters, where they can be had, and returns what
// closes them.
func (s *survey) open() (closing func()) {
	netstat, err := health.OpenNetstat()
	if err != nil {
		return func() {}
	}
	s.netstat = netstat
	return func() { _ = netstat.Close() } // it was read only
}

func (s *survey) look(ctx context.Context) (queue.Survey, error) {
	if now := time.Now(); s.asked.IsZero() || now.Sub(s.asked) > ownersLast {
		s.owners, s.asked = s.ask(ctx), now
	}
	at := time.Now()
	found, err := health.NamespaceListeners()
	if err != nil {
		return queue.Survey{}, fmt.Errorf("cannot look at the listeners of the network namespace: %w", err)
	}
	picture := queue.NewSurvey(at, found, s.owners, s.last, s.counters())
	s.last = &picture
	return picture, nil
}

func (s *survey) counters() *health.Counters {
	if s.netstat == nil {
		return nil
	}
	c, err := s.netstat.Read()
	if err != nil {
		return nil
	}
	return &c
}

// ask asks the supervisors that can be found which listeners are theirs. One
// that does not answer has none.
func (s *survey) ask(ctx context.Context) []queue.Owner {
	sockets := []string{}
	for _, service := range rundir.List(s.getenv) {
		if service.Err == nil {
			sockets = append(sockets, service.Socket)
		}
	}
	if s.socket != "" && !slices.Contains(sockets, s.socket) {
		sockets = append(sockets, s.socket)
	}
	ctx, cancel := context.WithTimeout(ctx, ownersTimeout)
	defer cancel()
	answers := make([]queue.Owner, len(sockets))
	var asking sync.WaitGroup
	for i, socket := range sockets {
		asking.Go(func() {
			client := control.NewClient(socket)
			status, err := client.Status(ctx)
			if err == nil && sharesNetwork(client.PID()) {
				answers[i] = queue.Owner{Service: status.Service, Listeners: status.Listeners}
			}
		})
	}
	asking.Wait()
	return answers
}

// sharesNetwork tells whether a process is in our network namespace, so that an
// address means the same to it; where that cannot be seen it is taken for
// granted (namespaces(7)).
func sharesNetwork(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/net")
	theirs, other := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err != nil || other != nil || ours == theirs
}
