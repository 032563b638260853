package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/supervisor/cmd/supervisor/internal/history"
	"example.com/supervisor/cmd/supervisor/internal/queue"
	"example.com/supervisor/cmd/supervisor/internal/rundir"
	"example.com/supervisor/upgrade"
)

const (
	headerTimeout = 5 * time.Second  // to send a request's header
	bodyTimeout   = 10 * time.Second // to send its body
	writeTimeout  = 10 * time.Second // to take one line of the answer
	statusTimeout = 5 * time.Second  // for the supervisor to tell its status
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
)

// ServerConfig says what a Server answers for. All but Queue, History,
// Reexec and PeerOf is required.
type ServerConfig struct {
	Supervisor Supervisor
	Version    Version
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Queue shows the accept queues. Without it GET /v1/queue is refused.
	Queue *queue.View
	// History is what became of earlier releases; without it there is none.
	History func() []history.Entry
	Logger  *slog.Logger
	// Reexec has the binary at an absolute path, or with "" the one that runs,
	// take this supervisor's place, with what Carry gives. It returns only if
	// that did not happen, as if nothing had been tried (see Uncarry), with the
	// reason. It is called by one goroutine at a time. Without it, every
	// replacement is refused.
	Reexec func(ctx context.Context, binary string) error
	// PeerOf tells who has connected. Default rundir.PeerOf.
	PeerOf func(net.Conn) (rundir.Peer, error)
}

// A Server answers on the control socket. Its methods may be called
// concurrently, but Carry and Uncarry.
type Server struct {
	cfg       ServerConfig
	http      *http.Server
	door      atomic.Pointer[door] // nil until Serve is called
	guests    *guests
	going     sync.WaitGroup  // streams that another handler has begun
	replacing sync.Mutex      // held while Reexec runs
	watchers  chan struct{}   // has room for those who may watch the queues
	ending    context.Context // is done when Shutdown begins
}

// NewServer returns a server that answers once Serve is called.
func NewServer(cfg ServerConfig) *Server {
	if cfg.PeerOf == nil {
		cfg.PeerOf = rundir.PeerOf
	}
	ending, end := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, guests: newGuests(), watchers: make(chan struct{}, maxWatchers), ending: ending}
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, s.identify(c))
		},
		ConnState: s.guests.visit,
	}
	s.http.RegisterOnShutdown(end)
	return s
}

// Serve answers on l, which it takes, until Shutdown; then it returns nil. l
// must heed a deadline, as a *net.UnixListener does.
func (s *Server) Serve(l net.Listener) error {
	d, err := newDoor(l)
	if err != nil {
		return errors.Join(fmt.Errorf("cannot serve the control socket: %w", err), l.Close())
	}
	s.door.Store(d)
	if err := s.http.Serve(d); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve the control socket: %w", err)
	}
	return nil
}

// Shutdown takes no more requests, ends those that watch the queues, and waits
// for the others under way until ctx is done, when it cuts them. After Carry it
// ends nothing that was carried.
func (s *Server) Shutdown(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // nothing but closed connections can come of it
	}
	s.guests.end(ctx)
	s.going.Wait()
}

func (s *Server) routes() http.Handler {
	type route map[string]http.HandlerFunc // by method
	mux := http.NewServeMux()
	for path, r := range map[string]route{
		"/v1/status":            {http.MethodGet: s.status},
		"/v1/version":           {http.MethodGet: s.version},
		"/v1/queue":             {http.MethodGet: s.queue},
		"/v1/history":           {http.MethodGet: s.history},
		"/v1/requests/{number}": {http.MethodGet: s.requests},
		"/v1/upgrade":           {http.MethodPost: s.upgrade},
		"/v1/rollback":          {http.MethodPost: s.rollback},
		"/v1/reexec":            {http.MethodPost: s.reexec},
		"/v1/stop":              {http.MethodPost: s.stop},
		"/metrics":              {http.MethodGet: s.cfg.Metrics.ServeHTTP},
		"/healthz":              {http.MethodGet: s.health},
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, request *http.Request) {
			if handle, ok := r[request.Method]; ok {
				handle(w, request)
				return
			}
			for method := range r {
				w.Header().Set("Allow", method)
			}
			refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("%s does not answer %s", request.URL.Path, request.Method))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, fmt.Errorf("there is no %s; see docs/control-api.md", r.URL.Path))
	})
	return s.admit(s.allow(http.MaxBytesHandler(mux, maxBody)))
}

// admit does nothing for those who come after Carry has brought the server to
// rest, on connections that are about to end. They see that nothing was done.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.guests.resting() {
			panic(http.ErrAbortHandler) // ends the connection, in silence
		}
		next.ServeHTTP(w, r)
	})
}

// peerKey is the key of a connection's peer in the context of its requests.
type peerKey struct{}

type identity struct {
	peer rundir.Peer
	err  error
}

func (s *Server) identify(c net.Conn) identity {
	peer, err := s.cfg.PeerOf(c)
	return identity{peer, err}
}

// allow lets the requests of root and of our own user pass.
func (s *Server) allow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := r.Context().Value(peerKey{}).(identity)
		if who.err != nil || who.peer.PID == 0 || !allowed(who.peer.UID, os.Geteuid()) {
			log := s.cfg.Logger
			if who.err != nil {
				log = log.With("error", who.err)
			}
			log.Warn("refused a control request", "path", r.URL.Path, "peer_pid", who.peer.PID, "peer_uid", who.peer.UID)
			if who.err == nil && who.peer.PID == 0 { // nor is its uid one that means anything here
				refuse(w, http.StatusForbidden, errors.New("the supervisor does not see who asks, which is in another pid namespace; try where it runs, as inside its container"))
				return
			}
			refuse(w, http.StatusForbidden, fmt.Errorf("uid %d may not control this supervisor; try as root or as uid %d", who.peer.UID, os.Geteuid()))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func allowed(uid, own int) bool { return uid == 0 || uid == own }

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	status, err := s.cfg.Supervisor.Status(ctx)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("cannot tell the status: %w", err))
		return
	}
	answer(w, http.StatusOK, status.Shown())
}

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, s.cfg.Version)
}

// health says whether an active generation is there to accept.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
	defer cancel()
	status, err := s.cfg.Supervisor.Status(ctx)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, fmt.Errorf("cannot tell the status: %w", err))
		return
	}
	for _, g := range status.Generations {
		if g.Role == upgrade.RoleActive && g.Ready != nil {
			answer(w, http.StatusOK, healthy{"ok", g.Generation})
			return
		}
	}
	refuse(w, http.StatusServiceUnavailable, errors.New("no generation is active and ready"))
}

func (s *Server) stop(w http.ResponseWriter, r *http.Request) {
	var request StopRequest
	if err := readBody(w, r, func() error { return decodeBody(r.Body, &request) }); err != nil {
		return
	}
	who, _ := r.Context().Value(peerKey{}).(identity)
	s.cfg.Logger.Info("is told to stop over the control socket", "peer_uid", who.peer.UID, "peer_pid", who.peer.PID, "at_once", request.Now)
	// A caller that goes away has asked all the same.
	if err := s.cfg.Supervisor.Stop(context.WithoutCancel(r.Context()), request.Now); err != nil {
		refuse(w, http.StatusInternalServerError, fmt.Errorf("cannot stop: %w", err))
		return
	}
	answer(w, http.StatusOK, stopped{true})
}

// readBody runs decode with a deadline for the body's arrival, and answers the
// request if the body cannot be used.
func readBody(w http.ResponseWriter, r *http.Request, decode func() error) error {
	control := http.NewResponseController(w)
	// A connection without deadlines is one of a test.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	err := decode()
	_ = control.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes", tooLarge.Limit))
	case err != nil:
		refuse(w, http.StatusBadRequest, err)
	}
	return err
}

// answer sends v as the whole answer.
func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a value of ours that is not JSON
		status, body = http.StatusInternalServerError, []byte(`{"error":"cannot encode the answer"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a caller that went away needs no answer
}

func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, failure{err.Error()})
}
