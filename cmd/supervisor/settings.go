package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/upgrade"
)

// settings are what holds of the configuration that an upgrade may change: what a
// candidate was started with holds if it is committed, else what held before. The
// methods may be called concurrently.
type settings struct {
	// read reads the configuration anew; resumes is as in config.Config.
	read    func(resumes bool) (config.Config, error)
	started config.Config // what holds until a restart

	mu      sync.Mutex
	now     config.Config
	before  config.Config // what holds again if request is not committed
	request uint64        // 0: there is none
}

func newSettings(cfg config.Config, read func(resumes bool) (config.Config, error)) *settings {
	if read == nil {
		read = func(bool) (config.Config, error) { return cfg, nil }
	}
	return &settings{read: read, started: cfg, now: cfg}
}

// current is what holds now.
func (s *settings) current() config.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// propose has next hold, until the verdict of a request.
func (s *settings) propose(request uint64, next config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request == 0 {
		s.before = s.now
	}
	s.now, s.request = next, request
}

// decided takes a verdict. It reports whether what held before holds again.
func (s *settings) decided(request uint64, v upgrade.Verdict) (back bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.request == 0 || s.request != request {
		return false
	}
	s.request = 0
	if v != upgrade.Committed {
		s.now, back = s.before, true
	}
	s.before = config.Config{}
	return back
}

// anew reads what is said now. The program is looked for if it is what is said
// that is to run.
func (s *settings) anew(other bool) (config.Config, error) {
	cfg, err := s.read(other)
	if err != nil {
		return cfg, fmt.Errorf("the configuration cannot be used: %w", inOneLine(err))
	}
	return cfg, nil
}

// inOneLine is err for a reason, which is one line.
func inOneLine(err error) error {
	if text := err.Error(); strings.Contains(text, "\n") {
		return errors.New(strings.ReplaceAll(text, "\n", "; "))
	}
	return err
}
