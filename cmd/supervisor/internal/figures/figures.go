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

	"example.com/supervisor/internal/load"
	"example.com/supervisor/upgrade"
)

// Counts are what became of requests:
// Requests = Answered + Failed + Unfinished.
type Counts struct {
	Requests uint64 `json:"requests"`
	Answered uint64 `json:"answered"`
	Failed   uint64 `json:"failed"`
	// Unfinished requests had no answer when the run was cut short.
	Unfinished uint64 `json:"unfinished"`
}

// CountsOf takes those of all traffic out of a report.
func CountsOf(r load.Report) Counts {
	return Counts{Requests: r.Requests, Answered: r.OK, Failed: r.Failed, Unfinished: r.Unfinished}
}

// Problems says in words what with the counts is not as it should be; kinds
// are the failures by kind.
func (c Counts) Problems(kinds map[load.FailureKind]uint64) []string {
	var problems []string
	if c.Failed > 0 {
		problems = append(problems, fmt.Sprintf("%s failed: %s", Requests(c.Failed), ByKind(kinds)))
	}
	if c.Unfinished > 0 {
		problems = append(problems, fmt.Sprintf("%s had no answer at the end", Requests(c.Unfinished)))
	}
	if c.Answered+c.Failed+c.Unfinished != c.Requests {
		problems = append(problems, fmt.Sprintf("%d answered, %d failed and %d unfinished do not make %s", c.Answered, c.Failed, c.Unfinished, Requests(c.Requests)))
	}
	return problems
}

// Silent says in words of which kinds of traffic no request was answered.
func Silent(traffic []Traffic) []string {
	var problems []string
	for _, t := range traffic {
		if t.Answered == 0 {
			problems = append(problems, fmt.Sprintf("no request of %q was answered: nothing is shown", t.Name))
		}
	}
	return problems
}

// An Aftermath is what was seen of one thing that was done to the service.
type Aftermath struct {
	// QueueMaxDepth, QueueMaxSojournMS and QueueDrops are what the accept queues
	// did until it was done: the most connections that waited, the longest that
	// one was seen to wait, and the packets dropped. Nil if nobody knows.
	QueueMaxDepth     *uint32  `json:"queue_max_depth"`
	QueueMaxSojournMS *float64 `json:"queue_max_sojourn_ms"`
	QueueDrops        *uint64  `json:"queue_drops"`
	// Failed counts the requests that failed after it, and After has the
	// latencies of the open loops.
	Failed uint64       `json:"failed"`
	After  load.Latency `json:"after"`
}

// Account fills in what wanted accept queues did: of several the most, and the
// drops of all.
func (a *Aftermath) Account(queues []upgrade.QueueAccount, wanted Wanted) {
	a.QueueMaxDepth, a.QueueMaxSojournMS, a.QueueDrops = account(queues, wanted)
}

// Take fills in what its clients saw.
func (a *Aftermath) Take(e load.EventReport) { a.Failed, a.After = e.Failed, e.After }

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
