// Corpus keeps what fuzzing has found. For each Fuzz target it takes the inputs
// below testdata/fuzz and those in Go's cache, and leaves in testdata/fuzz the few
// that together reach every statement of the package that all of them reach: every
// "go test" runs these, and every later fuzzing begins with them.
//
//	go run ./internal/corpus [PACKAGE...]
//
// An input that makes its target fail is kept whatever it reaches, and the command
// fails. What a target was given by f.Add counts as kept already.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	release()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, packages []string) error {
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	cache, err := output(ctx, "go", "env", "GOCACHE")
	if err != nil {
		return err
	}
	found, err := output(ctx, "go", append([]string{"list", "-f", "{{.ImportPath}} {{.Dir}}"}, packages...)...)
	if err != nil {
		return err
	}
	var all error
	for _, line := range strings.Split(found, "\n") {
		path, dir, _ := strings.Cut(line, " ")
		p := pkg{path: path, dir: dir, cache: filepath.Join(cache, "fuzz", path)}
		all = errors.Join(all, p.keep(ctx))
	}
	return all
}

// output is what a command prints, without the space around it.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
