package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A pkg is a package and where its inputs are.
type pkg struct {
	path  string // of its import
	dir   string
	cache string // has a folder for each target that was fuzzed
}

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// targets are the names of the package's Fuzz targets.
func (p pkg) targets() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(p.dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for _, m := range fuzzTarget.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names, nil
}

// keep leaves the fewest inputs of each target.
func (p pkg) keep(ctx context.Context) error {
	names, err := p.targets()
	if err != nil || len(names) == 0 {
		return err
	}
	work, err := os.MkdirTemp(p.dir, ".corpus") // within the module: some tests build programs of it
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	probe := prober{program: filepath.Join(work, "test"), dir: work}
	if _, err := output(ctx, "go", "test", "-c", "-cover", "-coverpkg", p.path, "-o", probe.program, p.path); err != nil {
		return err
	}
	if err := p.lend(work); err != nil {
		return err
	}
	var all error
	for _, name := range names {
		if err := p.keepTarget(ctx, name, probe); err != nil {
			all = errors.Join(all, fmt.Errorf("%s %s: %w", p.path, name, err))
		}
	}
	return all
}

// lend makes what else is in testdata visible in another folder.
func (p pkg) lend(work string) error {
	testdata := filepath.Join(p.dir, "testdata")
	entries, err := os.ReadDir(testdata)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(filepath.Join(work, "testdata"), 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "fuzz" {
			continue
		}
		if err := os.Symlink(filepath.Join(testdata, e.Name()), filepath.Join(work, "testdata", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// keepTarget does it for one target.
func (p pkg) keepTarget(ctx context.Context, name string, probe prober) error {
	kept := filepath.Join(p.dir, "testdata", "fuzz", name)
	given, err := probe.run(ctx, name, input{})
	if err != nil {
		return err
	}
	inputs, err := gather(kept, filepath.Join(p.cache, name))
	if err != nil {
		return err
	}
	var failed error
	for i := range inputs {
		inputs[i].reaches, err = probe.run(ctx, name, inputs[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, errUnfit) {
			continue
		}
		if err != nil {
			inputs[i].fails = true
			failed = errors.Join(failed, fmt.Errorf("input %s: %w", inputs[i].name, err))
		}
	}
	few := fewest(given, inputs)
	fmt.Printf("%s %s: %d of %d inputs\n", p.path, name, len(few), len(inputs))
	return errors.Join(failed, write(kept, few))
}

// gather reads the inputs in folders, each once. One that is not there is empty.
func gather(folders ...string) (all []input, err error) {
	seen := map[string]bool{}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(folder, e.Name()))
			if err != nil {
				return nil, err
			}
			if !seen[string(text)] {
				seen[string(text)] = true
				all = append(all, input{name: e.Name(), text: text})
			}
		}
	}
	return all, nil
}

// write makes the folder have these inputs and no others.
func write(folder string, inputs []input) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if len(inputs) == 0 {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, in := range inputs {
		if err := os.WriteFile(filepath.Join(folder, in.name), in.text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// errUnfit is an input of another time, when its target had other arguments.
var errUnfit = errors.New("the input has other values than the target takes")

// unfit is how package testing says so.
var unfit = regexp.MustCompile(`(wrong number of values|mismatched types) in corpus entry`)

// A prober runs single inputs of a package's targets.
type prober struct {
	program string // the tests of the package
	dir     string // where it runs
}

// run runs a target with the inputs of f.Add, and with in if it has a name, and
// returns what was reached.
func (r prober) run(ctx context.Context, target string, in input) (map[string]bool, error) {
	folder := filepath.Join(r.dir, "testdata", "fuzz", target)
	var inputs []input
	if in.name != "" {
		inputs = append(inputs, in)
	}
	if err := write(folder, inputs); err != nil {
		return nil, err
	}
	profile := filepath.Join(r.dir, "profile")
	cmd := exec.CommandContext(ctx, r.program, "-test.run", "^"+target+"$", "-test.coverprofile", profile)
	cmd.Dir = r.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if unfit.Match(out) {
			return nil, errUnfit
		}
		return nil, fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	return reached(string(text)), nil
}

// reached are the blocks of a coverage profile that were run (cover(1): each line
// ends with the number of statements and how often they were).
func reached(profile string) map[string]bool {
	blocks := map[string]bool{}
	for line := range strings.Lines(profile) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[2] != "0" {
			blocks[fields[0]] = true
		}
	}
	return blocks
}
