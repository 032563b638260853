package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// A stream is an answer of many lines, on a connection of its own. It is not
// left to net/http, so that it can go on in another process. Its methods are
// called by one goroutine, but for leave.
type stream struct {
	conn  net.Conn
	order Carried                 // what it is about; the number is the guests'
	leave context.CancelCauseFunc // the guests'; ends the round
	ended bool                    // all has been said
}

// stream takes the connection over from net/http, sends the header at once, so
// that the caller knows that its request was taken, and answers to the end. If
// that is not possible it answers the request.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, order Carried, answer answerer) {
	conn := takeOver(w)
	if conn == nil {
		return
	}
	order.Chunked = r.ProtoAtLeast(1, 1)
	st := &stream{conn: conn, order: order}
	_ = st.write(st.header()) // a caller that went away is noticed later
	s.answerStream(s.guests.enter(st), st, answer)
}

// takeOver takes the connection over from net/http. If that is not possible it
// answers the request and returns nil.
func takeOver(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("cannot answer on this connection: %w", err))
		return nil
	}
	return conn
}

// header is what net/http would send, but that the connection ends with the
// answer (RFC 9112, sections 7.1 and 9.6).
func (st *stream) header() []byte {
	version, body := "1.0", ""
	if st.order.Chunked {
		version, body = "1.1", "Transfer-Encoding: chunked\r\n"
	}
	return fmt.Appendf(nil, "HTTP/%s 200 OK\r\nContent-Type: application/x-ndjson\r\nDate: %s\r\nConnection: close\r\n%s\r\n",
		version, time.Now().UTC().Format(http.TimeFormat), body)
}

// carriable: another process could go on with it as it is.
func (st *stream) carriable() bool {
	return st.order.Kind == KindQueue || st.order.Kind == KindVerdict && st.order.Request != 0
}

// send writes v as one line. A caller that does not take it in time is cut off,
// and the round ends.
func (st *stream) send(v any) {
	if st.write(st.line(v)) != nil {
		st.leave(errGone)
	}
}

// last writes v as the last line; nil is none.
func (st *stream) last(v any) {
	var text []byte
	if v != nil {
		text = st.line(v)
	}
	if st.order.Chunked {
		text = append(text, "0\r\n\r\n"...)
	}
	st.ended = true
	_ = st.write(text) // it is over in any case
}

// line is v as a line, and in a chunk if need be.
func (st *stream) line(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil { // a value of ours that is not JSON
		line = []byte(`{"error":"cannot encode the answer"}`)
	}
	line = append(line, '\n')
	if !st.order.Chunked {
		return line
	}
	return fmt.Appendf(nil, "%x\r\n%s\r\n", len(line), line)
}

func (st *stream) write(text []byte) error {
	if err := st.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := st.conn.Write(text)
	return err
}

// watch ends the round when the client goes away. stop ends the watch, after
// which nothing reads.
func (st *stream) watch() (stop func()) {
	leave := st.leave
	var reading sync.WaitGroup
	reading.Go(func() {
		for text := make([]byte, 512); ; { // what a client has to say besides is not heeded
			if _, err := st.conn.Read(text); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					leave(errGone)
				}
				return
			}
		}
	})
	return func() {
		_ = st.conn.SetReadDeadline(time.Unix(1, 0)) // of a connection that is closed, reading has ended
		reading.Wait()
		_ = st.conn.SetReadDeadline(time.Time{})
	}
}

// An answerer says what there is to say on a stream until ctx is done, or all
// is said.
type answerer func(ctx context.Context, st *stream)

// answerStream answers st, which has entered with ctx, to its end, or until it is
// carried over. It takes the connection.
func (s *Server) answerStream(ctx context.Context, st *stream, answer answerer) {
	for {
		stop := st.watch()
		answer(ctx, st)
		stop()
		if st.ended || !errors.Is(context.Cause(ctx), errCarried) {
			_ = st.conn.Close() // there is nobody to tell
			s.guests.part(st, nil, nil)
			return
		}
		carried, err := st.carry()
		if err == nil {
			_ = st.conn.Close() // the duplicate goes on
			s.guests.part(st, &carried, nil)
			return
		}
		s.guests.part(st, nil, err)
		ctx, answer = s.guests.enter(st), s.resumed
	}
}
