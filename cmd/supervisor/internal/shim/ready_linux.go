package shim

import (
	"time"

	"example.com/supervisor/cmd/supervisor/internal/protocol"
)

// watchReady has the program's being ready noticed, unless it says so itself.
func (s *shim) watchReady(p *program) {
	switch s.cfg.Ready.By {
	case protocol.Probe: // the supervisor sees for itself
		s.becomeReady()
	case protocol.Time:
		timer := time.AfterFunc(s.cfg.Ready.After, func() { s.tellSelf(word{ready: true}) })
		p.hold(func() error {
			timer.Stop()
			return nil
		})
	}
}
