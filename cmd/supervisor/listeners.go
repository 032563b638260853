package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"example.com/supervisor/cmd/supervisor/internal/handover"
	"example.com/supervisor/cmd/supervisor/internal/protocol"
	"example.com/supervisor/fdpass"
	"example.com/supervisor/internal/listen"
	"example.com/supervisor/upgrade"
	"golang.org/x/sys/unix"
)

// errShutDown tells of a listener that cannot be made to listen again where it
// did.
var errShutDown = errors.New("the listener was shut down by a generation; restart the supervisor")

// errClosed tells that the supervisor has given its listeners up.
var errClosed = errors.New("the listeners are closed: the supervisor is stopping")

// listeners are the sockets that generations are handed, those of each release.
// All who hold a socket share its state, so that a generation can spoil it for the
// others; audit puts that right. The methods may be called concurrently.
type listeners struct {
	log *slog.Logger
	// nudge asks for an audit soon.
	nudge chan struct{}
	users users
	// first are the specs of those that there were at the start, which is what a
	// release has that does not say.
	first []string

	mu      sync.Mutex // held while descriptors are used
	held    []*heldListener
	lent    int             // handoffs under way
	parting []*heldListener // are closed when no handoff is under way
	closed  bool
	stay    bool // the files of Unix sockets, when the sockets are closed
}

// A heldListener is one of the listeners. The descriptor is that of the socket.
type heldListener struct {
	fdpass.Listener
	spec   string // as upgrade.Program.Listen has it
	socket *listen.Socket
	at     unix.Sockaddr // its address; nil if that is not known
	state  listenerState
}

// listenerState is what the audit remembers of a listener.
type listenerState struct {
	limit     uint32 // of its accept queue, as listen(2) gave it at first; 0 if that is not known
	deferring bool   // TCP_DEFER_ACCEPT was warned of
	complaint string // the latest error, which is logged once
}

// holdListeners takes the sockets. If they cannot be used, they are given up.
func holdListeners(sources []source, log *slog.Logger) (*listeners, error) {
	h := &listeners{log: log, nudge: make(chan struct{}, 1)}
	if err := h.add(sources); err != nil {
		return nil, err
	}
	for _, l := range h.held {
		h.first = append(h.first, l.spec)
	}
	return h, nil
}

// add takes the sockets. If they cannot be used, they are given up, and all is as
// it was.
func (h *listeners) add(sources []source) error {
	var added []*heldListener
	for _, s := range sources {
		l, err := fdpass.Describe(s.socket.Name, s.socket.FD)
		if err != nil {
			err = fmt.Errorf("cannot use listener %s: %w", s.socket.Name, err)
			for _, s := range sources {
				err = errors.Join(err, s.giveUp())
			}
			return err
		}
		l.Kept = s.kept
		h.log.Info("listens", "listener", l.Name, "network", l.Network, "address", l.Address)
		held := &heldListener{Listener: l, spec: s.socket.Spec.String(), socket: s.socket}
		if held.at, err = unix.Getsockname(l.FD); err != nil {
			h.log.Warn("cannot tell the address of a listener; its port could not be taken again", "listener", l.Name, "error", err)
		}
		h.noteLimit(held, s.socket.Backlog)
		added = append(added, held)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		for _, s := range sources {
			_ = s.giveUp()
		}
		return errClosed
	}
	h.held = append(h.held, added...)
	return nil
}

// retain takes those out that are not wanted any more, and returns them: the
// caller parts with them when nobody looks at them any more. What the
// service manager holds stays, for it listens all the same.
func (h *listeners) retain(wanted func(spec string) bool) (gone []*heldListener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.held = slices.DeleteFunc(h.held, func(l *heldListener) bool {
		if l.Kept || wanted(l.spec) {
			return false
		}
		gone = append(gone, l)
		return true
	})
	return gone
}

// part closes what retain has taken out, and removes the files of Unix sockets:
// when no handoff is under way, whose descriptors would mean something else.
func (h *listeners) part(gone []*heldListener) {
	for _, l := range gone {
		h.log.Info("listens no more", "listener", l.Name, "network", l.Network, "address", l.Address)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parting = append(h.parting, gone...)
	h.closeParting()
}

func (h *listeners) closeParting() {
	if h.lent > 0 {
		return
	}
	for _, l := range h.parting {
		if err := l.socket.Close(); err != nil {
			h.log.Error("cannot close a listener", "listener", l.Name, "error", err)
		}
	}
	h.parting = nil
}

// specsOf are the specs of the listeners of a release.
func (h *listeners) specsOf(r upgrade.Release) []string {
	if r.Listen == nil {
		return h.first
	}
	return r.Listen
}

// list is what they are now. The descriptors are borrowed.
func (h *listeners) list() []heldListener {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]heldListener, len(h.held))
	for i, l := range h.held {
		all[i] = *l
	}
	return all
}

// all are they as generations know them. The descriptors are borrowed.
func (h *listeners) all() []fdpass.Listener {
	list := h.list()
	all := make([]fdpass.Listener, len(list))
	for i, l := range list {
		all[i] = l.Listener
	}
	return all
}

// adopt adds generations that run already, with O_NONBLOCK as they have it.
func (h *listeners) adopt(all []upgrade.ProcessState) {
	for _, g := range all {
		p, err := protocol.Parse(g.Release.Protocol)
		h.users.add(g.Generation, err == nil && p.Blocking, h.specsOf(g.Release))
	}
}

// lend sees to the listeners of a release before they are handed to a generation.
// Their descriptors stay open until back is called.
func (h *listeners) lend(generation int, r upgrade.Release) (all []fdpass.Listener, back func(), err error) {
	p, err := protocol.Parse(r.Protocol)
	if err != nil {
		return nil, nil, err
	}
	specs := h.specsOf(r)
	h.users.add(generation, p.Blocking, specs)
	if err := h.audit(); err != nil {
		return nil, nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errClosed
	}
	held := make(map[string]*heldListener, len(h.held))
	for _, l := range slices.Backward(h.held) { // the first, if there are several
		held[l.spec] = l
	}
	unmet := false
	for _, spec := range specs {
		l := held[spec]
		if l == nil {
			return nil, nil, fmt.Errorf("listener %s is not open", spec)
		}
		mode := h.users.mode(spec, generation)
		unmet = unmet || mode == nonBlocking && p.Blocking
		if mode == blocking {
			if err := unix.SetNonblock(l.FD, false); err != nil {
				return nil, nil, fmt.Errorf("listener %s cannot be made blocking: %w", l.Name, err)
			}
		}
		all = append(all, l.Listener)
	}
	if unmet {
		h.log.Warn("the listeners do not block, for the sake of a generation that runs beside this one; a program that waits in accept(2) may fail",
			"generation", generation, "protocol", r.Protocol)
	}
	h.lent++
	return all, sync.OnceFunc(h.takeBack), nil
}

func (h *listeners) takeBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lent--
	h.closeParting()
}

// left is what the next supervisor has to know of the listeners. Descriptors are
// lent.
func (h *listeners) left() []handover.Listener {
	list := h.list()
	all := make([]handover.Listener, len(list))
	for i, l := range list {
		all[i] = handover.Listener{
			Name: l.Name, Network: l.Network, Address: l.Address, Cookie: uint64(l.Cookie), FD: l.FD, Kept: l.Kept, Spec: l.spec,
		}
		if file := l.socket.File(); file != (listen.FileID{}) {
			all[i].File = &handover.FileIdentity{Dev: file.Dev, Ino: file.Ino}
		}
	}
	return all
}

// status is what the status shows of the listeners.
func (h *listeners) status() []upgrade.ListenerStatus {
	all := h.all()
	shown := make([]upgrade.ListenerStatus, len(all))
	for i, l := range all {
		shown[i] = upgrade.ListenerStatus{Name: l.Name, Network: l.Network, Address: l.Address}
	}
	return shown
}

// close closes the sockets; further calls return the same error. It does
// nothing to no listeners at all.
func (h *listeners) close() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	var errs []error
	for _, l := range slices.Concat(h.held, h.parting) {
		if h.stay {
			errs = append(errs, l.socket.Leave())
		} else {
			errs = append(errs, l.socket.Close())
		}
	}
	return errors.Join(errs...)
}

// keepFiles has the files of Unix sockets stay when these are closed: somebody
// else holds the sockets for the next supervisor, and clients wait there.
func (h *listeners) keepFiles() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stay = true
}

// hasFiles reports whether there is a file to be kept.
func (h *listeners) hasFiles() bool {
	return slices.ContainsFunc(h.list(), func(l heldListener) bool { return l.socket.File() != listen.FileID{} })
}
