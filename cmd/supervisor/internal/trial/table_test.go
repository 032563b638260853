package trial

import (
	"fmt"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/golden"
	"example.com/supervisor/internal/load"
)

// someResult has one of each that is shown.
func someResult() Result {
	latency := load.Latency{Count: 100, P50MS: 0.412, P99MS: 1.234, P999MS: 12.34, MaxMS: 123.4}
	deepest, wait := uint32(17), 12.0
	r := Result{
		Machine: load.Machine{Cores: 2, Kernel: "Linux 6.12.0", Go: "go1.26.8", Arch: "amd64"}, URL: "http://127.0.0.1:8080/",
		AfterUpgradeSeconds: 1, Counts: figures.Counts{Requests: 12_000, Answered: 12_000}, Resent: 7, acts: true,
		Traffic: []figures.Traffic{
			{Name: "new connections", Requests: 6_000, Answered: 6_000, Steady: latency, AfterUpgrade: latency},
			{Name: "HTTP/2", Requests: 6_000, Answered: 6_000, Resent: 7, Steady: latency},
		},
		Attempts: []Attempt{
			{Number: 1, What: "generation 2", OK: true, Verdict: "committed", AtSeconds: 2, DurationSeconds: 0.512, StartupSeconds: 0.01, Aftermath: figures.Aftermath{QueueMaxDepth: &deepest, QueueMaxSojournMS: &wait, After: latency}},
			{Number: 2, What: "systemctl", OK: true, Verdict: Done, AtSeconds: 4, DurationSeconds: 0.1},
		},
		Queue: []figures.QueuePoint{{Seconds: 0, Depth: 3}},
	}
	return r
}

func TestTable(t *testing.T) {
	t.Parallel()
	bad := someResult()
	bad.Answered, bad.Failed, bad.FailedByKind = bad.Answered-1, 1, map[load.FailureKind]uint64{load.Reset: 1}
	bad.Traffic[0].Failures = []load.FailureReport{{Kind: load.Reset, Count: 1, First: []load.Failure{{AtSeconds: 2.1, Error: "read: connection reset by peer"}}}}
	bad.Attempts[1].OK, bad.Attempts[1].Verdict, bad.Attempts[1].Reason = false, Broken, "exit status 1"
	calm := someResult()
	calm.Attempts, calm.Queue, calm.Resent, calm.acts = nil, nil, 0, false
	for name, r := range map[string]Result{"good": someResult(), "bad": bad, "calm": calm} {
		r.Problems = judge(r)
		r.OK = len(r.Problems) == 0
		if r.OK != (name != "bad") {
			t.Errorf("%s: problems are %q", name, r.Problems)
		}
		var b strings.Builder
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, *update, name+".txt", b.String())
		golden.Width(t, b.String(), 79)
	}
}

// TestTableTellsOfALateSender: its limit must not be taken for the service's.
func TestTableTellsOfALateSender(t *testing.T) {
	t.Parallel()
	for p99, tells := range map[float64]bool{0: false, 9.9: false, 10: true, 850.4: true} {
		r := someResult()
		r.StartLag = load.Latency{Count: 100, P99MS: p99, MaxMS: 2 * p99}
		var b strings.Builder
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
		golden.Width(t, b.String(), 79)
		want := fmt.Sprintf("could not keep its times: one request in a hundred was %.0f ms late", p99)
		if strings.Contains(b.String(), "could not keep") != tells || tells && !strings.Contains(b.String(), want) {
			t.Errorf("%v ms late:\n%s", p99, b.String())
		}
	}
}

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*Result)
		want  string
	}{
		"one failed":    {func(r *Result) { r.Answered, r.Failed = r.Answered-1, 1 }, "1 request failed"},
		"unfinished":    {func(r *Result) { r.Answered, r.Unfinished = r.Answered-2, 2 }, "2 requests had no answer"},
		"not counted":   {func(r *Result) { r.Requests++ }, "do not make 12,001 requests"},
		"none answered": {func(r *Result) { r.Traffic[1].Answered = 0 }, `no request of "HTTP/2"`},
		"aborted":       {func(r *Result) { r.Attempts[0].OK, r.Attempts[0].Verdict = false, "aborted" }, "1, generation 2: aborted"},
		"not tried":     {func(r *Result) { r.Attempts = nil }, "nothing was done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := someResult()
			test.spoil(&r)
			if problems := strings.Join(judge(r), "\n"); !strings.Contains(problems, test.want) {
				t.Errorf("problems are %q, want %q", problems, test.want)
			}
		})
	}
}
