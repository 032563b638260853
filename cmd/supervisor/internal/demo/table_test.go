package demo

import (
	"strings"
	"testing"

	"example.com/supervisor/internal/golden"
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
		golden.Compare(t, *update, name+".txt", b.String())
		golden.Width(t, b.String(), 79, "NOT OK")
	}
}
