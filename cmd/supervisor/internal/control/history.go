package control

import (
	"context"
	"net/http"

	"example.com/supervisor/cmd/supervisor/internal/history"
)

// told is the answer to GET /v1/history, oldest first.
type told struct {
	History []history.Entry `json:"history"`
}

func (s *Server) history(w http.ResponseWriter, _ *http.Request) {
	all := []history.Entry{}
	if s.cfg.History != nil {
		all = append(all, s.cfg.History()...)
	}
	answer(w, http.StatusOK, told{all})
}

// History asks what became of earlier releases, oldest first.
func (c *Client) History(ctx context.Context) ([]history.Entry, error) {
	var t told
	return t.History, c.get(ctx, "/v1/history", &t)
}
