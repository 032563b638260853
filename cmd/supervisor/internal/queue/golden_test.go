package queue

import (
	"flag"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

var update = flag.Bool("update", false, "rewrite golden files")

var noon = time.Date(2026, 5, 4, 12, 0, 0, 250_000_000, time.Local)

// quiet is a queue in which nothing is wrong.
func quiet(name string) health.Figures {
	return health.Figures{
		Name: name, DropsKnown: name != "admin",
		Observation: health.Observation{
			At: time.Minute, Sample: health.Sample{Depth: 3, Limit: 128, Listening: true},
			Head: 4 * time.Millisecond, HeadKnown: true, Arrivals: 512.4,
		},
		SojournP99: 8 * time.Millisecond, SojournKnown: true,
		Generations: []health.GenerationFigures{{Generation: 2, Accepted: 1040, AcceptsPerSecond: 511.6, Active: 12}},
	}
}

// troubled is a queue in which much is wrong.
func troubled(name string) health.Figures {
	f := quiet(name)
	f.Observation.Depth, f.Observation.Drops, f.Observation.Arrivals = 97, 40, 4100
	f.Observation.Head = 40 * time.Millisecond
	f.Drops, f.DropsPerSecond = 12, 3.4
	f.Growing, f.FullIn = true, 60*time.Millisecond
	f.SojournP99 = 64 * time.Millisecond
	f.Generations = append(f.Generations, health.GenerationFigures{Generation: 3, Accepted: 7, AcceptsPerSecond: -1, Active: 7})
	return f
}

func figures() []health.Figures {
	down := health.Figures{Name: "down", DropsKnown: true, Observation: health.Observation{At: time.Minute, Arrivals: -1}}
	full := quiet("full")
	full.Observation.Depth, full.Observation.HeadKnown, full.Observation.Arrivals = 129, false, -1
	full.SojournKnown, full.Generations = false, nil
	full.Limits.Off = true
	file := quiet("admin")
	file.Observation.Sample, file.Observation.Arrivals = health.Sample{Limit: 4096, Listening: true}, 0
	file.Generations = nil
	return []health.Figures{quiet("http"), troubled("https"), full, down, file, {Name: "unseen"}}
}

func statuses() []upgrade.ListenerStatus {
	return []upgrade.ListenerStatus{
		{Name: "http", Network: "tcp4", Address: "127.0.0.1:8080"},
		{Name: "https", Network: "tcp", Address: "[::]:8443"},
		{Name: "full", Network: "tcp4", Address: "127.0.0.1:1"},
		{Name: "down", Network: "tcp4", Address: "127.0.0.1:2"},
		{Name: "admin", Network: "unix", Address: "/run/web/admin.sock"},
		{Name: "unseen", Network: "tcp4", Address: "127.0.0.1:3"},
		{Name: "dns", Network: "udp4", Address: "127.0.0.1:53"},
	}
}

func snapshot() Snapshot {
	return NewSnapshot("web", noon, figures(), statuses(), &health.Counters{ListenOverflows: 3, ListenDrops: 5, SyncookiesSent: 1, PassiveOpens: 12_345_678})
}
