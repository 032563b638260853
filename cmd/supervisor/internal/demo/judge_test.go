package demo

import (
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// goodResult is one with which nothing is wrong.
func goodResult() Result {
	r := newResult(Config{Rate: 1000, Duration: 16e9, Upgrades: 1, Bake: 4e8})
	r.Machine = load.Machine{Cores: 2, Kernel: "Linux 6.12.0-1234-generic", Go: "go1.26.8", Arch: "amd64"}
	r.Requests, r.Answered = 24_120, 24_120
	r.Answers = map[string]uint64{"1": 12_000, "3": 120, "4": 110, "5": 12_000}
	latency := load.Latency{Count: 100, P50MS: 0.412, P99MS: 1.234, P999MS: 12.34, MaxMS: 123.4}
	for _, name := range []string{"new connections", "keep-alive", "slow requests", "streams"} {
		r.Traffic = append(r.Traffic, figures.Traffic{Name: name, Requests: 6_030, Answered: 6_030, Steady: latency, AfterUpgrade: latency})
	}
	r.Traffic[3].Steady = load.Latency{}
	r.Upgrades = []Upgrade{
		{Number: 1, Version: "v2", Fault: Crash, Expected: upgrade.Aborted, Verdict: upgrade.Aborted, From: 1, To: 2, AtSeconds: 2, DurationSeconds: 0.012, Aftermath: figures.Aftermath{After: latency}},
		{Number: 2, Version: "v3", Fault: Sick, Expected: upgrade.RolledBack, Verdict: upgrade.RolledBack, From: 1, To: 3, AtSeconds: 6, DurationSeconds: 0.15, StartupSeconds: 0.01, Aftermath: figures.Aftermath{After: latency}},
		{Number: 3, Version: "v4", Fault: Stall, Expected: upgrade.RolledBack, Verdict: upgrade.RolledBack, From: 1, To: 4, AtSeconds: 8, DurationSeconds: 0.21, StartupSeconds: 0.01, Aftermath: figures.Aftermath{After: latency}},
		{Number: 4, Version: "v5", Expected: upgrade.Committed, Verdict: upgrade.Committed, From: 1, To: 5, AtSeconds: 10, DurationSeconds: 0.512, StartupSeconds: 0.009, Aftermath: figures.Aftermath{After: latency}},
	}
	for i, depth := range []uint32{2, 3, 131, 1} {
		wait := float64(depth)
		r.Upgrades[i].QueueMaxDepth, r.Upgrades[i].QueueMaxSojournMS, r.Upgrades[i].QueueDrops = &depth, &wait, new(uint64)
	}
	r.Upgrades[0].QueueMaxSojournMS = nil // nobody looked in time
	r.Queue, r.QueueLimit = []figures.QueuePoint{{Seconds: 0, Depth: 1}, {Seconds: 8, Depth: 131}, {Seconds: 8.05}}, 4096
	r.report = &load.Report{}
	return r
}

func TestJudgeFindsNothingWrongWithAGoodRun(t *testing.T) {
	t.Parallel()
	if problems := judge(goodResult()); len(problems) > 0 {
		t.Error(problems)
	}
}

func TestJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(*Result)
		want  string
	}{
		"one failed": {func(r *Result) {
			r.Answered, r.Failed, r.FailedByKind = r.Answered-1, 1, map[load.FailureKind]uint64{load.Reset: 1}
		}, "1 request failed: reset 1"},
		"unfinished":       {func(r *Result) { r.Answered, r.Unfinished = r.Answered-2, 2 }, "2 requests had no answer"},
		"not counted":      {func(r *Result) { r.Requests++ }, "do not make 24,121 requests"},
		"no traffic":       {func(r *Result) { r.Traffic = nil }, "no traffic"},
		"no streams":       {func(r *Result) { r.Traffic[3].Answered = 0 }, `no request of "streams"`},
		"not all offered":  {func(r *Result) { r.Upgrades = r.Upgrades[:2] }, "2 of 4 versions"},
		"bad committed":    {func(r *Result) { r.Upgrades[1].Verdict = upgrade.Committed }, "upgrade 2 to v3 is committed instead of rolled-back"},
		"stall committed":  {func(r *Result) { r.Upgrades[2].Verdict = upgrade.Committed }, "upgrade 3 to v4 is committed instead of rolled-back"},
		"sound aborted":    {func(r *Result) { r.Upgrades[3].Verdict = upgrade.Aborted }, "upgrade 4 to v5 is aborted instead of committed"},
		"refused":          {func(r *Result) { r.Upgrades[0].Verdict = upgrade.Refused }, "upgrade 1 to v2 is refused instead of aborted"},
		"not really":       {func(r *Result) { delete(r.Answers, "5") }, "generation 5 answered nothing"},
		"crashed":          {func(r *Result) { r.Restarts = 1 }, "crashed"},
		"dropped once":     {func(r *Result) { r.QueueDrops = 1 }, "the kernel dropped 1 packet of clients"},
		"dropped":          {func(r *Result) { r.QueueDrops, *r.Upgrades[2].QueueDrops, *r.Upgrades[3].QueueDrops = 6, 1500, 2 }, "the kernel dropped 1,502 packets of clients"},
		"not looked at":    {func(r *Result) { r.Upgrades[3].QueueMaxDepth = nil }, "the report of upgrade 4 says nothing of the accept queue"},
		"nothing waited":   {func(r *Result) { *r.Upgrades[2].QueueMaxDepth = 0 }, "upgrade 3 stops accepting, but nothing waited"},
		"left a process":   {func(r *Result) { r.LeftBehind = []string{"process 7 (x)"} }, "left behind: process 7 (x)"},
		"everything at it": {func(r *Result) { *r = newResult(Config{Upgrades: 1}) }, "0 of 4 versions"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := goodResult()
			test.spoil(&r)
			if problems := strings.Join(judge(r), "\n"); !strings.Contains(problems, test.want) {
				t.Errorf("problems are %q, want %q", problems, test.want)
			}
		})
	}
}
