package control

import (
	"context"
	"fmt"
	"net/http"

	"example.com/supervisor/upgrade"
)

// An attempt is Upgrade or Rollback of a Supervisor.
type attempt func(context.Context, upgrade.Request, func(upgrade.Step)) (upgrade.Report, error)

// A waiter waits for a report, and passes the steps until then on.
type waiter func(ctx context.Context, progress func(upgrade.Step)) (upgrade.Report, error)

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
	s.stream(w, r, Carried{Kind: KindVerdict}, func(ctx context.Context, st *stream) {
		s.report(ctx, st, func(ctx context.Context, progress func(upgrade.Step)) (upgrade.Report, error) {
			return try(ctx, request, progress)
		})
	})
}

// report sends the steps, and at the end the report or why there is none. If
// ctx is done it is silent: there is nobody to tell, or another process goes on.
func (s *Server) report(ctx context.Context, st *stream, wait waiter) {
	report, err := wait(ctx, func(step upgrade.Step) {
		st.send(Line{Step: &step})
		s.guests.know(st, step.Request)
	})
	switch {
	case err == nil:
		st.last(Line{Report: new(report.Shown())})
	case ctx.Err() == nil:
		st.last(Line{Error: fmt.Sprintf("the verdict is not known: %v", err)})
	}
}

// await waits for the report of a request that was made before.
func (s *Server) await(request uint64) waiter {
	return func(ctx context.Context, progress func(upgrade.Step)) (upgrade.Report, error) {
		return s.cfg.Supervisor.Await(ctx, request, progress)
	}
}

// complete takes the directory and the environment of a new program from what
// runs now, where the request does not give them.
func (s *Server) complete(ctx context.Context, r *upgrade.Request) error {
	if r.Program == nil || len(r.Program.Command) == 0 || r.Program.Dir != "" && r.Program.Env != nil {
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
