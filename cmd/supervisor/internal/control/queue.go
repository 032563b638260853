package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/config"
	"example.com/supervisor/cmd/supervisor/internal/queue"
)

const (
	// maxWatchers is how many may watch the queues at the same time.
	maxWatchers = 16
	// restFactor bounds the share of a core that one watcher costs: making a
	// line takes at most one part in so many of the time.
	restFactor = 5
)

var errTooManyWatch = fmt.Errorf("%d clients watch the queues already; end one of them, or ask without watch", maxWatchers)

// queue answers with one snapshot, or with a stream of them.
func (s *Server) queue(w http.ResponseWriter, r *http.Request) {
	interval, watch, err := watchInterval(r.URL.RawQuery)
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, err)
	case s.cfg.Queue == nil:
		refuse(w, http.StatusServiceUnavailable, errors.New("this supervisor does not look at its accept queues"))
	case watch:
		s.watchQueue(w, r, interval)
	default:
		answer(w, http.StatusOK, s.cfg.Queue.Snapshot())
	}
}

// watchInterval reads the query: nothing, or watch with an interval.
func watchInterval(query string) (interval time.Duration, watch bool, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return 0, false, fmt.Errorf("cannot read the query: %w", err)
	}
	for name := range values {
		if name != "watch" {
			return 0, false, fmt.Errorf("unknown parameter %q; known is watch", name)
		}
	}
	given, watch := values["watch"]
	switch {
	case len(given) > 1:
		return 0, false, errors.New("watch: is given twice")
	case !watch, given[0] == "":
		return queue.DefaultInterval, watch, nil
	}
	var d config.Duration
	if err := d.Set(given[0]); err != nil {
		return 0, false, fmt.Errorf("watch: %w", err)
	}
	if err := queue.CheckInterval(time.Duration(d)); err != nil {
		return 0, false, fmt.Errorf("watch: %w", err)
	}
	return time.Duration(d), true, nil
}

// watchQueue answers with a stream of snapshots.
func (s *Server) watchQueue(w http.ResponseWriter, r *http.Request, interval time.Duration) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
	default:
		refuse(w, http.StatusTooManyRequests, errTooManyWatch)
		return
	}
	s.stream(w, r, Carried{Kind: KindQueue, Interval: interval}, s.snapshots)
}

// resumeWatch goes on with a stream of snapshots.
func (s *Server) resumeWatch(ctx context.Context, st *stream) {
	select {
	case s.watchers <- struct{}{}:
		defer func() { <-s.watchers }()
		s.snapshots(ctx, st)
	case <-ctx.Done():
	case <-s.ending.Done():
		st.last(nil)
	}
}

// snapshots sends a snapshot per interval until ctx is done, or the supervisor
// ends.
func (s *Server) snapshots(ctx context.Context, st *stream) {
	if s.cfg.Queue == nil { // it is another process that had one
		st.last(nil)
		return
	}
	snapshots := s.cfg.Queue.Stream()
	defer snapshots.Close()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ending.Done():
			st.last(nil)
			return
		case <-next.C:
		}
		began := time.Now()
		st.send(snapshots.Next())
		spent := time.Since(began)
		next.Reset(max(st.order.Interval-spent, (restFactor-1)*spent))
	}
}

// errMidway tells that a stream of snapshots ended in the middle.
var errMidway = errors.New("the supervisor was lost: it ended the connection without a word")

// Queue asks for one snapshot of the accept queues.
func (c *Client) Queue(ctx context.Context) (queue.Snapshot, error) {
	var s queue.Snapshot
	return s, c.get(ctx, "/v1/queue", &s)
}

// WatchQueue calls each for every snapshot, as received and as decoded, until
// the supervisor ends, and then returns nil. The text is each's own.
func (c *Client) WatchQueue(ctx context.Context, interval time.Duration, each func(raw []byte, s queue.Snapshot) error) error {
	response, err := c.do(ctx, http.MethodGet, "/v1/queue?watch="+interval.String(), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var s queue.Snapshot
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil && lines.Err() != nil {
			break // it is the beginning of a line
		} else if err != nil {
			return fmt.Errorf("cannot understand the supervisor's answer to /v1/queue: %w", err)
		}
		if err := each(slices.Clone(lines.Bytes()), s); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errMidway
	default:
		return err
	}
}
