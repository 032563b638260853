// Package control is the conversation between a running supervisor and those
// who want something of it: HTTP with JSON over a Unix socket, both ends.
// docs/control-api.md describes it for other clients.
//
// It guarantees that only root and the supervisor's own user are answered,
// whatever the mode of the socket; that a request is done as it says or
// refused with the reason; that the end of a stream without a report is
// seen as what it is, an unknown verdict; and that a stream goes on, without a
// byte lost or doubled, where another binary takes the supervisor's place.
package control

import (
	"context"
	"time"

	"example.com/supervisor/upgrade"
)

// Supervisor is what the control socket needs of *upgrade.Supervisor.
type Supervisor interface {
	// Upgrade and Rollback call progress for each step, from the calling
	// goroutine, and return the verdict. An error means that the verdict is not
	// known; if ctx is done the upgrade goes on.
	Upgrade(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error)
	Rollback(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error)
	// Await waits for the report of a request that was made before, by
	// whomever, and calls progress for the steps from now on, from the calling
	// goroutine. The error is upgrade.ErrUnknownRequest if nothing is known of
	// the request.
	Await(ctx context.Context, request uint64, progress func(upgrade.Step)) (upgrade.Report, error)
	// Stop drains, or kills if now is set, and returns when all has ended.
	Stop(ctx context.Context, now bool) error
	Status(ctx context.Context) (upgrade.Status, error)
}

// Line is one line of the stream that answers an upgrade or a rollback: a
// step, or at the end the report, or the reason why there is none.
type Line struct {
	Step   *upgrade.Step   `json:"step,omitempty"`
	Report *upgrade.Report `json:"report,omitempty"`
	Error  string          `json:"error,omitempty"`
	// Note is never sent: the client says by it what has become of the stream.
	Note string `json:"note,omitempty"`
}

// Replaced tells that another binary has taken a supervisor's place: the answer
// to POST /v1/reexec, given by the new one.
type Replaced struct {
	From Version `json:"from"`
	To   Version `json:"to"`
	// Seconds is the time from the request to this answer, by the wall clock.
	Seconds float64 `json:"seconds"`
}

// Version says what runs: the answer to GET /v1/version.
type Version struct {
	// Service and PID are those of a running supervisor; empty when a command
	// tells of itself.
	Service string `json:"service,omitempty"`
	PID     int    `json:"pid,omitempty"`
	// Version is the module's version, Revision that of the source.
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Protocol is the version of the protocol spoken with generations.
	Protocol int `json:"protocol"`
}

// StopRequest is the body of POST /v1/stop.
type StopRequest struct {
	// Now kills every generation instead of draining it.
	Now bool `json:"now,omitempty"`
}

// ReexecRequest is the body of POST /v1/reexec.
type ReexecRequest struct {
	// Binary is the absolute path of the binary to go on with; "" means the one
	// that runs, found anew.
	Binary string `json:"binary,omitempty"`
}

// A Carried is one answer under way that is carried over into the binary that
// takes the supervisor's place.
type Carried struct {
	Kind Kind `json:"kind"`
	// Descriptor is a duplicate of the connection's. It is close-on-exec.
	Descriptor int `json:"descriptor"`
	// Chunked tells that the body is sent in chunks; else it ends with the
	// connection.
	Chunked bool `json:"chunked,omitempty"`
	// Request is the number of the request that is waited for.
	Request uint64 `json:"request,omitempty"`
	// Interval is that of a stream of snapshots.
	Interval time.Duration `json:"interval_ns,omitempty"`
	// Since is when the replacement was asked for, and From what is replaced.
	Since time.Time `json:"since,omitzero"`
	From  *Version  `json:"from,omitempty"`
}

// A Kind is what a carried answer is about.
type Kind string

const (
	// KindVerdict is a stream that ends with the report of a request.
	KindVerdict Kind = "verdict"
	// KindQueue is a stream of snapshots of the accept queues.
	KindQueue Kind = "queue"
	// KindReexec is the one who asked for the replacement.
	KindReexec Kind = "reexec"
)

// pending is the body of GET /v1/requests/N while there is no report.
type pending struct {
	Request uint64 `json:"request"`
	Running bool   `json:"running"`
}

// replaced is the body of POST /v1/reexec.
type replaced struct {
	Reexec Replaced `json:"reexec"`
}

// failure is the body of every answer that is not a success.
type failure struct {
	Error string `json:"error"`
}

// healthy is the body of GET /healthz, and stopped of POST /v1/stop.
type healthy struct {
	Status           string `json:"status"`
	ActiveGeneration int    `json:"active_generation"`
}

type stopped struct {
	Stopped bool `json:"stopped"`
}
