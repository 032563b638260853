// Package control is the conversation between a running supervisor and those
// who want something of it: HTTP with JSON over a Unix socket, both ends.
// docs/control-api.md describes it for other clients.
//
// It guarantees that only root and the supervisor's own user are answered,
// whatever the mode of the socket; that a request is done as it says or
// refused with the reason; and that the end of a stream without a report is
// seen as what it is, an unknown verdict.
package control

import (
	"context"

	"example.com/supervisor/upgrade"
)

// Supervisor is what the control socket needs of *upgrade.Supervisor.
type Supervisor interface {
	// Upgrade and Rollback call progress for each step, from the calling
	// goroutine, and return the verdict. An error means that the verdict is not
	// known; if ctx is done the upgrade goes on.
	Upgrade(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error)
	Rollback(ctx context.Context, r upgrade.Request, progress func(upgrade.Step)) (upgrade.Report, error)
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
