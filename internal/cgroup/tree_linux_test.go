package cgroup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestOwnMovesIntoTheLeaf(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	before := ownCgroup(t, os.Getpid())
	tree := own(t)
	if tree.Path() != os.Getenv(envInside) {
		t.Errorf("the tree is %s, want %s", tree.Path(), os.Getenv(envInside))
	}
	if now := ownCgroup(t, os.Getpid()); now != before+"/supervisor" {
		t.Errorf("this process is in %s", now)
	}
	if procs, err := os.ReadFile(tree.Path() + "/cgroup.procs"); err != nil || len(procs) != 0 {
		t.Errorf("in the tree itself are %q, %v; want nobody, or generations cannot have controllers", procs, err)
	}
	if _, err := Own(); !errors.Is(err, ErrNotDelegated) || !strings.Contains(err.Error(), "another supervisor has the cgroup "+tree.Path()) {
		t.Errorf("owned twice: %v", err)
	}
	found, err := Find()
	if err != nil || found.Path() != tree.Path() {
		t.Errorf("found %v, %v", found, err)
	}
	// As after an exec in place.
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	again := own(t)
	if again.Path() != tree.Path() || attribute(tree.Path()+"/supervisor", markName) != markMove {
		t.Errorf("again the tree is %s, and the leaf is marked %q", again.Path(), attribute(tree.Path()+"/supervisor", markName))
	}
}

func TestOwnWhereStartedInTheLeaf(t *testing.T) {
	started := func(t *testing.T, dir string) string {
		leaf := filepath.Join(delegate(t, dir), leafName)
		if err := os.Mkdir(leaf, 0o755); err != nil {
			t.Fatal(err)
		}
		return leaf
	}
	if !inside(t, 0, started) {
		return
	}
	for range 2 { // an exec in place, or a crash and a new start there
		tree, err := Own()
		if err != nil {
			t.Fatal(err)
		}
		leaf := tree.Path() + "/supervisor"
		if tree.Path() != os.Getenv(envInside) || attribute(leaf, markName) != markHere {
			t.Errorf("the tree is %s, and the leaf is marked %q", tree.Path(), attribute(leaf, markName))
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNotDelegated(t *testing.T) {
	if !inside(t, 0, func(_ *testing.T, dir string) string { return dir }) {
		return
	}
	before := ownCgroup(t, os.Getpid())
	for _, f := range []func() (*Tree, error){Own, Find} {
		if _, err := f(); !errors.Is(err, ErrNotDelegated) || !strings.Contains(err.Error(), before+" is not delegated (Delegate=yes in a unit does that)") {
			t.Errorf("got %v", err)
		}
	}
	if now := ownCgroup(t, os.Getpid()); now != before {
		t.Errorf("moved to %s all the same", now)
	}
	entries, err := filepath.Glob(os.Getenv(envInside) + "/*/")
	if err != nil || len(entries) > 0 {
		t.Errorf("made %q, %v", entries, err)
	}
}

// nobody is a user that owns nothing.
const nobody = 65534

func TestOwnerOfTheCgroupIsItsRuler(t *testing.T) {
	give := func(t *testing.T, dir string) string {
		for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} { // as systemd does
			if err := os.Chown(filepath.Join(dir, name), nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	if !inside(t, nobody, give) {
		return
	}
	g := ownGroup(t)
	sleeper := start(t, g, "", "sh", "-c", "echo there; exec sleep 1000")
	if at := ownCgroup(t, sleeper.Process.Pid); !strings.HasSuffix(at, "/generation-1") {
		t.Errorf("the generation is in %s", at)
	}
	if err := errors.Join(g.Kill(), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
}

func TestAnotherUsersCgroupIsNotOurs(t *testing.T) {
	if !inside(t, nobody, delegate) { // to root
		return
	}
	if _, err := Own(); !errors.Is(err, ErrNotDelegated) || !errors.Is(err, unix.EACCES) {
		t.Errorf("got %v", err)
	}
}

func TestGroupsOutliveTheSupervisor(t *testing.T) {
	if !inside(t, 0, delegate) {
		return
	}
	crashing := start(t, nil, envRole+"=own", "/proc/self/exe")
	if at := ownCgroup(t, crashing.Process.Pid); !strings.HasSuffix(at, "/supervisor") {
		t.Errorf("it is in %s", at)
	}
	if err := crashing.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = crashing.Wait()
	// This process is in the tree itself, where systemd starts the next one.
	tree := own(t)
	left, err := tree.Left()
	if err != nil || !slices.Equal(left, []int{2}) {
		t.Fatalf("left are %v, %v; want generation 2", left, err)
	}
	g, err := tree.Group(2)
	if err != nil {
		t.Fatal(err)
	}
	if populated, err := g.Populated(); !populated || err != nil {
		t.Errorf("generation 2 lives: %v, %v", populated, err)
	}
	if err := errors.Join(g.Kill(), g.Remove(within(t))); err != nil {
		t.Error(err)
	}
	if left, err := tree.Left(); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestGenerationsCountFromOne(t *testing.T) {
	t.Parallel()
	tree := &Tree{path: t.TempDir(), lock: -1}
	for _, n := range []int{0, -1} {
		if _, err := tree.Group(n); err == nil {
			t.Errorf("made a group for generation %d", n)
		}
	}
	for _, name := range []string{"generation-3", "generation-12", "generation-03", "generation-", "generation-x", "supervisor", "generation--1", "generation-0"} {
		if err := os.Mkdir(filepath.Join(tree.path, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := tree.Left(); err != nil || !slices.Equal(left, []int{3, 12}) {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestControllersAreEnabledWhereNobodyIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ procs, there, want string }{
		{"", "cpu memory\n", "+memory"},
		{"", "cpu memory_other\n", ""},
		{"12\n", "cpu memory pids\n", ""},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"cgroup.procs": c.procs, "cgroup.controllers": c.there, "cgroup.subtree_control": ""} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		enable(dir)
		if got, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control")); err != nil || string(got) != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
}
