package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"example.com/supervisor/upgrade"
)

// probeTimeout is how long a report that is there may take to be had. What
// takes longer is under way.
const probeTimeout = 250 * time.Millisecond

// requests answers with the report of a request that was made before, or with a
// stream like that of an upgrade.
func (s *Server) requests(w http.ResponseWriter, r *http.Request) {
	number, wait, err := askedRequest(r.PathValue("number"), r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	early, report, err := s.probe(r.Context(), number)
	switch {
	case errors.Is(err, upgrade.ErrUnknownRequest):
		refuse(w, http.StatusNotFound, fmt.Errorf("nothing is known of request %d: there was none of this number, or it is not one of the latest", number))
	case err != nil && !errors.Is(err, context.DeadlineExceeded):
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("cannot tell of request %d: %w", number, err))
	case wait:
		s.waitRequest(w, r, number, early)
	case err != nil:
		answer(w, http.StatusAccepted, pending{number, true})
	default:
		answer(w, http.StatusOK, report.Shown())
	}
}

// askedRequest reads the number and the query: nothing, or wait.
func askedRequest(word, query string) (number uint64, wait bool, err error) {
	number, err = strconv.ParseUint(word, 10, 64)
	if err != nil || number == 0 {
		return 0, false, fmt.Errorf("%q is not the number of a request", word)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return 0, false, fmt.Errorf("cannot read the query: %w", err)
	}
	for name, given := range values {
		switch {
		case name != "wait":
			return 0, false, fmt.Errorf("unknown parameter %q; known is wait", name)
		case len(given) > 1:
			return 0, false, errors.New("wait: is given twice")
		}
		if wait, err = strconv.ParseBool(given[0]); err != nil {
			return 0, false, fmt.Errorf("wait: must be true or false: %q", given[0])
		}
	}
	return number, wait, nil
}

// probe returns the report of a request if it is there. Of one that is under
// way the error is context.DeadlineExceeded, and steps that have come meanwhile
// are returned.
func (s *Server) probe(ctx context.Context, number uint64) (early []upgrade.Step, report upgrade.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	report, err = s.cfg.Supervisor.Await(ctx, number, func(step upgrade.Step) { early = append(early, step) })
	return early, report, err
}

// waitRequest answers with a stream that begins with the steps that are early.
func (s *Server) waitRequest(w http.ResponseWriter, r *http.Request, number uint64, early []upgrade.Step) {
	s.stream(w, r, Carried{Kind: KindVerdict, Request: number}, func(ctx context.Context, st *stream) {
		for _, step := range early {
			st.send(Line{Step: &step})
		}
		s.report(ctx, st, s.await(number))
	})
}
