// Package figures shows to a person what traffic to a service came to: a table
// of the traffic and one of what was done to the service meanwhile, a live line
// before that, and a record of the accept queue.
//
// It guarantees that a figure that is not known is shown as "-", never as zero,
// and that lines fit into 79 columns. What is shown is made by pure functions;
// only Screen touches a terminal.
package figures

import (
	"fmt"
	"runtime"

	"example.com/supervisor/internal/load"
	"golang.org/x/sys/unix"
)

// Machine is where it ran.
type Machine struct {
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Arch   string `json:"arch"`
}

// ThisMachine is the one that this process runs on.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Kernel: "unknown", Go: runtime.Version(), Arch: runtime.GOARCH}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Sysname[:]) + " " + unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// String is for example "2 cores, Linux 6.12.0, go1.26.8 amd64".
func (m Machine) String() string {
	return fmt.Sprintf("%d cores, %s, %s %s", m.Cores, m.Kernel, m.Go, m.Arch)
}

// Traffic is what one kind of traffic came to, for people: Answered is
// load.TrafficReport.OK.
type Traffic struct {
	Name       string       `json:"name"`
	Pattern    load.Pattern `json:"pattern"`
	Requests   uint64       `json:"requests"`
	Answered   uint64       `json:"answered"`
	Failed     uint64       `json:"failed"`
	Unfinished uint64       `json:"unfinished"`
	// Resent counts how often a request was sent again because the server said
	// by HTTP/2 that it had not processed it.
	Resent uint64 `json:"resent,omitempty"`
	// Connections were established.
	Connections uint64               `json:"connections"`
	Failures    []load.FailureReport `json:"failures,omitempty"`
	// Steady has the latencies of the requests that no upgrade had an
	// influence on, AfterUpgrade of the others.
	Steady       load.Latency `json:"steady"`
	AfterUpgrade load.Latency `json:"after_upgrade"`
}

// TrafficOf takes the kinds of traffic out of a report.
func TrafficOf(report load.Report) []Traffic {
	all := []Traffic{}
	for _, t := range report.Traffic {
		all = append(all, Traffic{
			Name: t.Name, Pattern: t.Pattern, Requests: t.Requests, Answered: t.OK, Failed: t.Failed, Unfinished: t.Unfinished,
			Resent: t.Resent, Connections: t.Connections, Failures: t.Failures, Steady: t.Steady, AfterUpgrade: t.AfterEvent,
		})
	}
	return all
}
