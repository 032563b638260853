package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"example.com/supervisor/upgrade"
)

const (
	// firstPause is how long the client waits before it tries again to reach
	// the next supervisor; each pause is longer than the one before, up to
	// longestPause.
	firstPause   = 20 * time.Millisecond
	longestPause = time.Second
	// startsApart is by how much the beginning of a request may differ, as two
	// lines tell it: for the same request, by what the wall clock was set.
	startsApart = 2 * time.Second
)

// noteLost is what the client says when it begins to wait.
const noteLost = "the supervisor was killed; waiting for the next one to tell the verdict"

// errNobody is why the client does not wait any longer.
var errNobody = errors.New("no other one has answered")

// A follower follows one request to its report, from one supervisor to the next
// one if need be.
type follower struct {
	c       *Client
	kind    upgrade.Kind
	each    func(raw []byte, l Line)
	request uint64    // 0 until it is known
	started time.Time // of the request; zero until it is known
	broken  bool      // the stream ended without a word
	next    bool      // it is not the supervisor that was asked at first
}

// Attempt asks for an upgrade or a rollback, calls each for every line of the
// answer, as received and as decoded, and returns the report. If the supervisor
// is lost after the number of the request was told, and Reconnect says so, each
// is called with a note, and the next supervisor is asked. ErrLost in the error
// means that the request was sent and its outcome is not known.
func (c *Client) Attempt(ctx context.Context, kind upgrade.Kind, r upgrade.Request, each func(raw []byte, l Line)) (upgrade.Report, error) {
	response, err := c.do(ctx, http.MethodPost, "/v1/"+string(kind), r)
	if err != nil {
		return upgrade.Report{}, err
	}
	f := &follower{c: c, kind: kind, each: each}
	report, err := f.read(response.Body)
	for f.broken && ctx.Err() == nil && f.request != 0 && c.Reconnect > 0 {
		f.note(noteLost)
		report, err = f.rejoin(ctx)
	}
	return report, err
}

// read reads a stream to its end and closes it.
func (f *follower) read(body io.ReadCloser) (upgrade.Report, error) {
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var line Line
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil && lines.Err() != nil {
			break // it is the beginning of a line
		} else if err != nil {
			return upgrade.Report{}, fmt.Errorf("%w: it sent a line that is not JSON: %w", ErrLost, err)
		}
		if err := f.check(line); err != nil {
			return upgrade.Report{}, err
		}
		f.each(lines.Bytes(), line)
		if line.Report != nil {
			return *line.Report, nil
		}
		if line.Error != "" {
			return upgrade.Report{}, fmt.Errorf("%w: %s", ErrLost, line.Error)
		}
	}
	f.broken = !errors.Is(lines.Err(), bufio.ErrTooLong)
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return upgrade.Report{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	return upgrade.Report{}, ErrLost
}

// check takes the request's number and beginning from its first line, and says
// whether a later one is of the same: the numbers of a supervisor that knows
// nothing of the one before it begin anew.
func (f *follower) check(l Line) error {
	var request uint64
	var started time.Time
	switch {
	case l.Step != nil:
		request = l.Step.Request
		started = l.Step.Time.Add(-time.Duration(l.Step.ElapsedSeconds * float64(time.Second)))
	case l.Report != nil:
		request, started = l.Report.Request, l.Report.Started
	default:
		return nil
	}
	if f.request == 0 {
		f.request, f.started = request, started
		return nil
	}
	another := request != f.request || l.Report != nil && l.Report.Kind != f.kind || started.Sub(f.started).Abs() > startsApart
	if f.next && another {
		return fmt.Errorf("%w, and the next one tells of another request %d", ErrLost, request)
	}
	return nil
}

func (f *follower) note(text string) {
	line := Line{Note: text}
	raw, err := json.Marshal(line)
	if err != nil {
		return // a string is JSON
	}
	f.each(raw, line)
}

// rejoin waits for the next supervisor and follows the request there.
func (f *follower) rejoin(ctx context.Context) (upgrade.Report, error) {
	f.broken = false
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	patience := time.AfterFunc(f.c.Reconnect, func() { giveUp(errNobody) })
	defer patience.Stop()
	why := errors.New("none was seen")
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		response, err := f.c.do(ctx, http.MethodGet, fmt.Sprintf("/v1/requests/%d?wait=true", f.request), nil)
		switch {
		case err == nil && patience.Stop():
			f.next = true
			return f.read(response.Body)
		case err == nil:
			response.Body.Close()
		case final(err): // it is no answer to the attempt itself, as a RefusedError would be
			return upgrade.Report{}, fmt.Errorf("%w, and the next one cannot tell it: %v", ErrLost, err)
		case ctx.Err() == nil:
			why = err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return upgrade.Report{}, fmt.Errorf("%w; %w within %v: %w", ErrLost, context.Cause(ctx), f.c.Reconnect, why)
		}
	}
}

// final tells that asking again will not help: the supervisor has answered, and
// not that it cannot tell yet.
func final(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Status != http.StatusServiceUnavailable
}
