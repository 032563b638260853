package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/demo"
	"example.com/supervisor/upgrade"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestDemo runs the demo as a command. Each script has a runtime directory of
// its own, by which everything that a demo started is found.
func TestDemo(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/demo",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, "xdg"))
			e.Values[processes{}] = map[string]*exec.Cmd{}
			return os.Mkdir(filepath.Join(e.WorkDir, "xdg"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":   start,
			"ended":   ended,
			"exits":   exits,
			"until":   until,
			"signal":  sendSignal,
			"result":  result,
			"nothing": nothing,
		},
	})
}

// result UPGRADES checks what the demo printed as JSON.
func result(ts *testscript.TestScript, _ bool, args []string) {
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	decoder.DisallowUnknownFields()
	var r demo.Result
	ts.Check(decoder.Decode(&r))
	if !r.OK || r.Failed != 0 || r.Unfinished != 0 || r.Answered == 0 || r.Answered != r.Requests || len(r.LeftBehind) > 0 {
		ts.Fatalf("not good: %+v", r)
	}
	verdicts := map[upgrade.Verdict]int{}
	for _, u := range r.Upgrades {
		verdicts[u.Verdict]++
	}
	want := fmt.Sprintf("map[aborted:1 committed:%s rolled-back:2]", args[0])
	if got := fmt.Sprint(verdicts); got != want {
		ts.Fatalf("verdicts are %s, want %s", got, want)
	}
}

// nothing left: waits until no process has this script's runtime directory in
// its environment, and nothing is in that directory.
func nothing(ts *testscript.TestScript, _ bool, _ []string) {
	dir := ts.MkAbs("xdg")
	poll(ts, "nothing left", func() (string, bool) {
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		environments, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range environments {
			environment, err := os.ReadFile(path)
			if err == nil && bytes.Contains(environment, []byte(dir)) {
				left = append(left, path)
			}
		}
		return strings.Join(left, "\n"), len(left) == 0
	})
}
