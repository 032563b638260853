package faults

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/supervisor/upgrade"
)

// A spoiling is something done to the file of the program that an upgrade starts.
// It is done when the upgrade has been admitted and nothing is started yet; to the
// file of a program that runs; and in idle before an upgrade is asked for.
type spoiling struct {
	name string
	// inPlace does it to the file itself. The kernel refuses that where the program
	// runs (ETXTBSY, open(2)).
	inPlace func(path string) (back func() error, err error)
	// byName does it to the name, where the program runs; nil: inPlace is tried.
	byName func(path string) error
}

// programFaults are those of the program that is to be started.
func programFaults() (all []fault) {
	for _, sp := range []spoiling{
		{name: "the program is deleted", inPlace: forGood(os.Remove), byName: os.Remove},
		{name: "the program is being written (ETXTBSY)", inPlace: openForWriting},
		{name: "the program is truncated", inPlace: forGood(truncate), byName: asAnother(truncate)},
		{name: "the program is for another machine", inPlace: forGood(forAnotherMachine), byName: asAnother(forAnotherMachine)},
		{name: "the program is replaced by another", inPlace: forGood(asAnother(lengthen)), byName: asAnother(lengthen)},
		{name: "the program is written over", inPlace: forGood(lengthen)},
	} {
		all = append(all, fault{
			name: sp.name, before: secondRelease, inject: sp.inject, undo: restoreProgram, passage: betweenAdmissionAndStart,
			words: []string{"--", "$DIR/2/service", "-dir", "$DIR"},
		})
	}
	return all
}

// release is the program that the upgrade is to start.
func (s *scene) release() string { return filepath.Join(s.dir, "2", "service") }

// secondRelease puts a release beside the one that runs: a file of its own.
func secondRelease(tb testing.TB, s *scene) {
	tb.Helper()
	s.keeps = 1
	first := filepath.Join(s.dir, "service")
	if err := errors.Join(os.Mkdir(filepath.Dir(s.release()), 0o755), copyFile(first, s.release())); err != nil {
		tb.Fatal(err)
	}
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o755)
}

// restoreProgram has the file as it was.
func restoreProgram(s *scene) {
	s.Helper()
	if s.back != nil {
		s.takeBack()
	}
	again := s.release() + ".again"
	if err := errors.Join(copyFile(filepath.Join(s.dir, "service"), again), os.Rename(again, s.release())); err != nil {
		s.Fatal(err)
	}
}

// betweenAdmissionAndStart is what a program's start is in this matrix: when it has
// been admitted, and before it runs.
func betweenAdmissionAndStart(p phase) (passage, bool) {
	if p != starting {
		return passage{}, false
	}
	return passage{
		step: upgrade.PhaseAdmission,
		flags: []string{"--hook-before-start", "/bin/sh", "--hook-before-start", "-c",
			"--hook-before-start", "touch $DIR/admitted; until [ -e $DIR/start ]; do sleep 0.02; done"},
		hold: func(*scene) {},
		reach: func(s *scene) {
			s.Poll("the hook", func() bool {
				_, err := os.Stat(filepath.Join(s.dir, "admitted"))
				return err == nil
			}, func() any { return s.attempt.Steps() })
		},
		release: func(s *scene) {
			if err := os.WriteFile(filepath.Join(s.dir, "start"), nil, 0o600); err != nil {
				s.Fatal(err)
			}
		},
	}, true
}

// inject does it, and asks for the upgrade where there is none yet.
func (sp spoiling) inject(s *scene) {
	s.Helper()
	running := s.passage.step != upgrade.PhaseAdmission && s.passage.step != upgrade.PhaseIdle
	if running && sp.byName != nil {
		if err := sp.byName(s.release()); err != nil {
			s.Fatal(err)
		}
		return
	}
	back, err := sp.inPlace(s.release())
	switch {
	case running && !errors.Is(err, syscall.ETXTBSY):
		s.object("the kernel lets somebody write to a program that runs: %v", err)
	case !running && err != nil:
		s.Fatal(err)
	case err == nil:
		s.back = back
	}
	s.askNow()
}

// forGood is of what lasts without anybody doing more.
func forGood(spoil func(path string) error) func(string) (func() error, error) {
	return func(path string) (func() error, error) { return func() error { return nil }, spoil(path) }
}

// asAnother spoils a copy, which takes the place of the file.
func asAnother(spoil func(path string) error) func(string) error {
	return func(path string) error {
		other := path + ".other"
		return errors.Join(copyFile(path, other), spoil(other), os.Rename(other, path))
	}
}

// openForWriting opens the file for writing, and does not write.
func openForWriting(path string) (back func() error, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return f.Close, nil
}

// truncate leaves what no program is.
func truncate(path string) error { return os.Truncate(path, 1000) }

// lengthen writes to the file, which is as good a program as before.
func lengthen(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("more")
	return errors.Join(err, f.Close())
}

const (
	// machineOffset is where an ELF file says for which machine it is (e_machine, elf(5)).
	machineOffset = 18
	// otherMachine is one that nothing here is: EM_SPARC.
	otherMachine = 2
)

func forAnotherMachine(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint16(nil, otherMachine), machineOffset)
	return errors.Join(err, f.Close())
}
