package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
)

const (
	// answerTimeout is how long the supervisor may take to begin its answer.
	answerTimeout = 15 * time.Second
	// maxLine is the length of the longest line of a stream, in bytes.
	maxLine = 16 << 20
)

// ErrLost tells that the connection ended before the answer did.
var ErrLost = errors.New("the supervisor ended the connection before the verdict")

// A RefusedError is an answer that is not a success.
type RefusedError struct {
	Status int
	Reason string
}

// Error is the supervisor's own reason.
func (e *RefusedError) Error() string { return e.Reason }

// A Client talks to the supervisor behind one control socket. Its methods may
// be called concurrently.
type Client struct {
	// Reconnect is how long Attempt waits for the next supervisor when the one
	// that it has asked is lost. 0 means that it does not. It is set before use.
	Reconnect time.Duration

	socket string
	http   *http.Client
	peer   atomic.Int64
}

// NewClient returns a client of the socket; nothing is connected yet.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http = &http.Client{Transport: &http.Transport{
		ResponseHeaderTimeout: answerTimeout,
		DisableKeepAlives:     true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, err
			}
			if peer, err := rundir.PeerOf(conn); err == nil {
				c.peer.Store(int64(peer.PID))
			}
			return conn, nil
		},
	}}
	return c
}

// PID is the supervisor's, once an answer has come; 0 before, or where its pid
// means nothing here.
func (c *Client) PID() int { return int(c.peer.Load()) }

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (upgrade.Status, error) {
	var status upgrade.Status
	return status, c.get(ctx, "/v1/status", &status)
}

// Version asks what the supervisor is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var version Version
	return version, c.get(ctx, "/v1/version", &version)
}

func (c *Client) get(ctx context.Context, path string, v any) error {
	response, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(v); err != nil {
		return fmt.Errorf("cannot understand the supervisor's answer to %s: %w", path, err)
	}
	return nil
}

// Stop asks the supervisor to stop and returns when every generation has ended
// and it has said so.
func (c *Client) Stop(ctx context.Context, now bool) error {
	response, err := c.patient().do(ctx, http.MethodPost, "/v1/stop", StopRequest{Now: now})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Reexec asks for another binary in the supervisor's place, or with "" for the
// one that runs, and returns when that answers. A RefusedError means that nothing
// has happened, ErrLost that it is not known.
func (c *Client) Reexec(ctx context.Context, binary string) (Replaced, error) {
	response, err := c.patient().do(ctx, http.MethodPost, "/v1/reexec", ReexecRequest{Binary: binary})
	if err != nil {
		return Replaced{}, err
	}
	defer response.Body.Close()
	var done replaced
	if err := json.NewDecoder(response.Body).Decode(&done); err != nil {
		return Replaced{}, fmt.Errorf("%w: cannot understand its answer to /v1/reexec: %w", ErrLost, err)
	}
	return done.Reexec, nil
}

// patient returns a client for answers that take as long as they take.
func (c *Client) patient() *Client {
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 0
	return &Client{socket: c.socket, http: &http.Client{Transport: transport}}
}

// do sends one request and returns an answer that is a success.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.explain(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	return nil, refusal(response)
}

func refusal(r *http.Response) error {
	var f failure
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&f); err != nil || f.Error == "" {
		f.Error = "the supervisor answered " + r.Status
	}
	return &RefusedError{r.StatusCode, f.Error}
}

// explain says what may be done about a supervisor that does not answer.
func (c *Client) explain(err error) error {
	info, missing := os.Stat(c.socket)
	switch {
	case missing == nil && info.Mode().Type() != os.ModeSocket:
		return fmt.Errorf("cannot connect to %s: it is no socket; the control socket is %s in the run directory of the service", c.socket, rundir.ControlSocket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot connect to %s: no supervisor is running there, but the socket is left: %s", c.socket, rundir.Orphans)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("cannot connect to %s: no supervisor is running there", c.socket)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("cannot connect to %s: %w; try as root or as the user that runs it", c.socket, os.ErrPermission)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w (%s)", ErrLost, c.socket)
	}
	return fmt.Errorf("cannot talk to the supervisor at %s: %w", c.socket, err)
}
