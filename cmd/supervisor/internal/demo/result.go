package demo

import (
	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// A Result is what came of a run, as --json prints it. Units are in the names
// of the fields.
type Result struct {
	// OK tells that there are no Problems.
	OK bool `json:"ok"`
	// Problems says in words what is not as it should be.
	Problems []string `json:"problems"`
	// Interrupted tells that the run was cut short; then nothing was judged.
	Interrupted bool         `json:"interrupted,omitempty"`
	Machine     load.Machine `json:"machine"`
	Settings    Settings     `json:"settings"`
	// DurationSeconds is how long requests were sent.
	DurationSeconds float64 `json:"duration_seconds"`
	figures.Counts
	// FailedByKind has only the kinds that occurred.
	FailedByKind map[load.FailureKind]uint64 `json:"failed_by_kind"`
	Traffic      []figures.Traffic           `json:"traffic"`
	Upgrades     []Upgrade                   `json:"upgrades"`
	// Answers counts the answers by the generation that gave them.
	Answers map[string]uint64 `json:"answers_by_generation"`
	// Restarts counts the crashes of active generations.
	Restarts uint64 `json:"restarts"`
	// Queue is the service's accept queue over time. QueueLimit is what it was
	// given, it holds one more; QueueDrops is how many packets of clients that
	// want to connect the kernel dropped during the run.
	Queue      []figures.QueuePoint `json:"queue"`
	QueueLimit uint32               `json:"queue_limit"`
	QueueDrops uint64               `json:"queue_drops"`
	// StartLag is how much later than due the demo itself was in sending; it
	// is part of the latencies of the open loops.
	StartLag load.Latency `json:"start_lag"`
	// LeftBehind are the processes and files that were there at the end.
	LeftBehind []string `json:"left_behind"`

	report *load.Report // nil if no traffic was sent
	log    string       // the end of the supervisor's
}

// Settings are those of Config, and what follows from them.
type Settings struct {
	NewConnectionsPerSecond int     `json:"new_connections_per_second"`
	KeepAliveClients        int     `json:"keep_alive_clients"`
	KeepAlivePerSecond      float64 `json:"keep_alive_requests_per_second"`
	SlowRequests            int     `json:"slow_requests_in_flight"`
	SlowSeconds             float64 `json:"slow_request_seconds"`
	Streams                 int     `json:"streams_in_flight"`
	StreamSeconds           float64 `json:"stream_seconds"`
	DurationSeconds         float64 `json:"duration_seconds"`
	Upgrades                int     `json:"upgrades"`
	BakeSeconds             float64 `json:"bake_seconds"`
	// AfterUpgradeSeconds is how long after the request for an upgrade a
	// request of a client counts as influenced by it.
	AfterUpgradeSeconds float64 `json:"after_upgrade_seconds"`
}

// An Upgrade is one version that was offered.
type Upgrade struct {
	Number  int    `json:"number"`
	Version string `json:"version"`
	// Fault is what is wrong with the version, empty for nothing.
	Fault    Fault           `json:"fault"`
	Expected upgrade.Verdict `json:"expected"`
	Verdict  upgrade.Verdict `json:"verdict"`
	Reason   string          `json:"reason"`
	// From and To are the generations.
	From int `json:"from_generation"`
	To   int `json:"to_generation,omitempty"`
	// AtSeconds is when it was asked for, from the start of the traffic;
	// DurationSeconds the time to the verdict, StartupSeconds the part of it
	// that the version took to become ready.
	AtSeconds       float64 `json:"at_seconds"`
	DurationSeconds float64 `json:"duration_seconds"`
	StartupSeconds  float64 `json:"startup_seconds"`
	figures.Aftermath
}

func newResult(c Config) Result {
	clients, rate := c.keepAlive()
	return Result{
		Problems: []string{}, LeftBehind: []string{}, Traffic: []figures.Traffic{}, Upgrades: []Upgrade{}, Queue: []figures.QueuePoint{},
		FailedByKind: map[load.FailureKind]uint64{}, Answers: map[string]uint64{},
		Machine: load.ThisMachine(),
		Settings: Settings{
			NewConnectionsPerSecond: c.Rate,
			KeepAliveClients:        clients,
			KeepAlivePerSecond:      rate * float64(clients),
			SlowRequests:            slowClients,
			SlowSeconds:             c.slowFor().Seconds(),
			Streams:                 streamClients,
			StreamSeconds:           c.streamFor().Seconds(),
			DurationSeconds:         c.Duration.Seconds(),
			Upgrades:                c.Upgrades,
			BakeSeconds:             c.Bake.Seconds(),
			AfterUpgradeSeconds:     c.afterUpgrade().Seconds(),
		},
	}
}

// take fills in what the traffic tells.
func (r *Result) take(report load.Report) {
	r.report = &report
	r.DurationSeconds = report.DurationSeconds
	r.Counts = figures.CountsOf(report)
	if report.FailedByKind != nil {
		r.FailedByKind = report.FailedByKind
	}
	if report.Generations != nil {
		r.Answers = report.Generations
	}
	r.StartLag = report.StartLag
	r.Traffic = figures.TrafficOf(report)
	for i := range min(len(report.Events), len(r.Upgrades)) { // both in the order of time
		r.Upgrades[i].AtSeconds = report.Events[i].AtSeconds
		r.Upgrades[i].Take(report.Events[i])
	}
}

// watched fills in what the tape tells, which has been stopped.
func (r *Result) watched(t *figures.Tape) {
	r.Queue, r.QueueLimit, r.QueueDrops = t.Points(), t.Limit(), t.Drops()
}

// isItsListener reports whether a listener is the only one of the service.
func isItsListener(name string) bool { return name == listenerName }
