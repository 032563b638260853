package load

import "time"

// An Event is something that happened to the server during a run, such as an
// upgrade.
type Event struct {
	Label string
	// Time may lie in the past, but not before the run.
	Time time.Time
	// Verdict says how it went: committed, rolled-back, aborted or refused.
	Verdict string
}

// A Report is the result of a run. Units are in the names of the fields; times
// within the run count from its start.
type Report struct {
	Started         time.Time `json:"started"`
	DurationSeconds float64   `json:"duration_seconds"`
	// Requests = OK + Failed + Unfinished, over all traffic.
	Requests uint64 `json:"requests"`
	OK       uint64 `json:"ok"`
	Failed   uint64 `json:"failed"`
	// Unfinished requests were in flight when the run was cut short.
	Unfinished uint64 `json:"unfinished"`
	// Resent counts how often a request was sent again because the server said
	// by HTTP/2 that it had not processed it (RFC 9113, 6.8 and 8.7). Its
	// latency counts from when it was due all the same.
	Resent uint64 `json:"resent"`
	// FailedByKind has only the kinds that occurred.
	FailedByKind map[FailureKind]uint64 `json:"failed_by_kind"`
	// Generations counts the answers by the generation that they name.
	Generations map[string]uint64 `json:"generations,omitempty"`
	Traffic     []TrafficReport   `json:"traffic"`
	Events      []EventReport     `json:"events,omitempty"`
	// StartLag is how much later than due the engine itself was in starting
	// requests; it is part of every latency of an open loop.
	StartLag      Latency `json:"start_lag"`
	BucketSeconds float64 `json:"bucket_seconds"`
}

// A TrafficReport is the part of a Report that is about one Traffic.
type TrafficReport struct {
	Name       string  `json:"name"`
	Pattern    Pattern `json:"pattern"`
	Requests   uint64  `json:"requests"`
	OK         uint64  `json:"ok"`
	Failed     uint64  `json:"failed"`
	Unfinished uint64  `json:"unfinished"`
	Resent     uint64  `json:"resent"`
	// Connections were established. IdleCloses of them were closed by the
	// server between two requests and noticed in time: that is allowed.
	Connections uint64            `json:"connections"`
	IdleCloses  uint64            `json:"idle_closes"`
	Failures    []FailureReport   `json:"failures,omitempty"`
	Generations map[string]uint64 `json:"generations,omitempty"`
	// All, Steady and AfterEvent are latencies of the requests that were OK.
	// AfterEvent has those that overlap with the time after a marked event,
	// Steady all the others.
	All        Latency `json:"all"`
	Steady     Latency `json:"steady"`
	AfterEvent Latency `json:"after_event"`
	Series     []Point `json:"series,omitempty"`
}

// A Latency summarises a distribution. Values have 3 significant digits.
type Latency struct {
	Count  int64   `json:"count"`
	P50MS  float64 `json:"p50_ms"`
	P99MS  float64 `json:"p99_ms"`
	P999MS float64 `json:"p999_ms"`
	MaxMS  float64 `json:"max_ms"`
}

// A Point summarises the requests that were due in one bucket of time.
type Point struct {
	AtSeconds float64 `json:"at_seconds"`
	OK        int     `json:"ok"`
	Failed    int     `json:"failed,omitempty"`
	P50MS     float64 `json:"p50_ms"`
	P99MS     float64 `json:"p99_ms"`
	MaxMS     float64 `json:"max_ms"`
}

// An EventReport is a marked event and the latency of the open loops after it.
type EventReport struct {
	Label     string  `json:"label"`
	Verdict   string  `json:"verdict,omitempty"`
	AtSeconds float64 `json:"at_seconds"`
	Failed    uint64  `json:"failed"`
	After     Latency `json:"after"`
}

// A FailureReport counts the failures of one kind.
type FailureReport struct {
	Kind  FailureKind `json:"kind"`
	Count uint64      `json:"count"`
	// First are the first of them.
	First []Failure `json:"first"`
}

// A Failure is one request that failed.
type Failure struct {
	// AtSeconds is when it was due.
	AtSeconds float64 `json:"at_seconds"`
	Error     string  `json:"error"`
}

// Progress is a cheap view of a run that goes on, for a live line.
type Progress struct {
	ElapsedSeconds float64           `json:"elapsed_seconds"`
	Requests       uint64            `json:"requests"`
	OK             uint64            `json:"ok"`
	Failed         uint64            `json:"failed"`
	InFlight       int64             `json:"in_flight"`
	Traffic        []TrafficProgress `json:"traffic"`
}

// TrafficProgress is the part of a Progress that is about one Traffic.
type TrafficProgress struct {
	Name     string `json:"name"`
	Requests uint64 `json:"requests"`
	OK       uint64 `json:"ok"`
	Failed   uint64 `json:"failed"`
	InFlight int64  `json:"in_flight"`
	// Recent has the requests that were answered in the last second.
	Recent Latency `json:"recent"`
}
