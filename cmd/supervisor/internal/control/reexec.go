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
	"path/filepath"
	"strings"
	"time"
)

// maxPath is the length of the longest path of a file, in bytes, without its
// terminating NUL (PATH_MAX, limits.h).
const maxPath = 4095

// reexec has the supervisor replaced. Who asks is answered by the new one, or
// told why nothing has happened.
func (s *Server) reexec(w http.ResponseWriter, r *http.Request) {
	var request ReexecRequest
	err := readBody(w, r, func() (err error) {
		request, err = decodeReexec(r.Body)
		return err
	})
	switch {
	case err != nil:
		return
	case s.cfg.Reexec == nil:
		refuse(w, http.StatusConflict, errors.New("this supervisor cannot be replaced in place"))
		return
	case !s.replacing.TryLock():
		refuse(w, http.StatusConflict, errors.New("the supervisor is being replaced already"))
		return
	}
	defer s.replacing.Unlock()
	// A caller that goes away has asked all the same.
	ctx := context.WithoutCancel(r.Context())
	conn := takeOver(w)
	if conn == nil {
		return
	}
	version := s.cfg.Version
	st := &stream{conn: conn, order: Carried{Kind: KindReexec, Since: time.Now(), From: &version}}
	s.guests.enter(st)
	defer s.guests.part(st, nil, nil)
	if err = s.cfg.Reexec(ctx, request.Binary); err == nil {
		err = errors.New("cannot tell why the supervisor was not replaced")
	}
	answerOn(conn, http.StatusConflict, failure{err.Error()})
}

// decodeReexec reads the body of POST /v1/reexec. An empty body is the zero
// request.
func decodeReexec(body io.Reader) (ReexecRequest, error) {
	var r ReexecRequest
	if err := decodeBody(body, &r); err != nil {
		return ReexecRequest{}, err
	}
	switch {
	case r.Binary == "":
	case strings.ContainsRune(r.Binary, 0):
		return ReexecRequest{}, fmt.Errorf("binary: %q contains a NUL byte", r.Binary)
	case len(r.Binary) > maxPath:
		return ReexecRequest{}, fmt.Errorf("binary: has %d bytes, more than %d", len(r.Binary), maxPath)
	case !filepath.IsAbs(r.Binary):
		return ReexecRequest{}, fmt.Errorf("binary: %q is a relative path; give an absolute one", r.Binary)
	}
	return r, nil
}

// answerOn sends v as the whole answer on a connection that was taken over from
// net/http, and closes it.
func answerOn(conn net.Conn, status int, v any) {
	defer conn.Close()
	body, err := json.Marshal(v)
	if err != nil { // a value of ours that is not JSON
		status, body = http.StatusInternalServerError, []byte(`{"error":"cannot encode the answer"}`)
	}
	body = append(body, '\n')
	response := http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"application/json"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
		Close:         true,
	}
	var text bytes.Buffer // written at once, for a supervisor that is killed meanwhile
	_ = response.Write(&text)
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // of a closed connection, as is what follows
	_, _ = conn.Write(text.Bytes())                         // a caller that went away needs no answer
}
