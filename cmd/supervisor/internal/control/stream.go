package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"example.com/supervisor/upgrade"
)

// attempt is Upgrade or Rollback of a Supervisor.
type attempt func(context.Context, upgrade.Request, func(upgrade.Step)) (upgrade.Report, error)

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	s.attempt(w, r, upgrade.KindUpgrade, s.cfg.Supervisor.Upgrade)
}

func (s *Server) rollback(w http.ResponseWriter, r *http.Request) {
	s.attempt(w, r, upgrade.KindRollback, s.cfg.Supervisor.Rollback)
}

func (s *Server) attempt(w http.ResponseWriter, r *http.Request, kind upgrade.Kind, try attempt) {
	var request upgrade.Request
	err := readBody(w, r, func() (err error) {
		request, err = decodeRequest(r.Body, kind)
		return err
	})
	if err != nil {
		return
	}
	if err := s.complete(r.Context(), &request); err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("cannot tell what runs now: %w", err))
		return
	}
	out := newStream(w)
	report, err := try(r.Context(), request, func(step upgrade.Step) { out.send(Line{Step: &step}) })
	if err != nil {
		out.send(Line{Error: fmt.Sprintf("the verdict is not known: %v", err)})
		return
	}
	out.send(Line{Report: &report})
}

// complete takes the directory and the environment of a new program from what
// runs now, where the request does not give them.
func (s *Server) complete(ctx context.Context, r *upgrade.Request) error {
	if r.Program == nil || r.Program.Dir != "" && r.Program.Env != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	status, err := s.cfg.Supervisor.Status(ctx)
	if err != nil || status.Release == nil {
		return err
	}
	if r.Program.Dir == "" {
		r.Program.Dir = status.Release.Dir
	}
	if r.Program.Env == nil {
		r.Program.Env = status.Release.Env
	}
	return nil
}

// stream sends lines as they come.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// newStream sends the header at once, so that the caller knows that its
// request was taken.
func newStream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	s := &stream{w, http.NewResponseController(w)}
	s.flush()
	return s
}

// send writes v as one line. A caller that does not take it in time is cut off, and
// its request's context ends.
func (s *stream) send(v any) {
	line, err := json.Marshal(v)
	if err != nil { // a value of ours that is not JSON
		line = []byte(`{"error":"cannot encode the answer"}`)
	}
	_, _ = s.w.Write(append(line, '\n'))
	s.flush()
}

func (s *stream) flush() {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	_ = s.control.Flush()
	_ = s.control.SetWriteDeadline(time.Time{})
}
