package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// badResult has one of each that is shown.
func badResult() Result {
	r := goodResult()
	r.Answered, r.Failed, r.FailedByKind = r.Answered-1, 1, map[load.FailureKind]uint64{load.Reset: 1}
	r.Traffic[0].Answered, r.Traffic[0].Failed = 6_029, 1
	r.Traffic[0].Failures = []load.FailureReport{{Kind: load.Reset, Count: 1, First: []load.Failure{{AtSeconds: 2.1, Error: "read: connection reset by peer"}}}}
	r.Upgrades[1].Verdict, r.Upgrades[1].Reason = upgrade.Committed, "all was well"
	r.LeftBehind = []string{"process 4711 (supervisor demo-service)"}
	r.log = "level=INFO msg=\"has ended\"\n"
	return r
}

func TestTable(t *testing.T) {
	t.Parallel()
	interrupted := goodResult()
	interrupted.Interrupted = true
	for name, r := range map[string]Result{"good": goodResult(), "bad": badResult(), "interrupted": interrupted} {
		r.Problems = judge(r)
		if r.Interrupted {
			r.Problems = []string{"interrupted"}
		}
		r.OK = len(r.Problems) == 0
		var b strings.Builder
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", b.String())
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update); got:\n%s\nwant:\n%s", path, got, want)
	}
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > 79 && !strings.HasPrefix(line, "NOT OK") {
			t.Errorf("%s: longer than 79 columns: %s", name, line)
		}
	}
}
