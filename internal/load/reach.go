package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// Reach tries once whether the server of each Traffic can be spoken to: that
// somebody listens, that the TLS handshake succeeds where there is one, and that
// the server speaks HTTP/2 where it should. No request is sent. The error
// says which target cannot be reached, why, and what to look at.
func (c Config) Reach(ctx context.Context) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("cannot start load: %w", err)
	}
	c = c.withDefaults()
	tried := map[string]bool{}
	for _, t := range c.Traffic {
		key := fmt.Sprintf("%s %t", t.Target, t.HTTP2)
		if tried[key] {
			continue
		}
		tried[key] = true
		if err := c.reach(ctx, t); err != nil {
			return fmt.Errorf("cannot reach %s: %w%s", t.Target, err, advice(err))
		}
	}
	return nil
}

func (c Config) reach(ctx context.Context, t Traffic) error {
	to, err := parseTarget(t.Target)
	if err == nil {
		to, err = to.resolve(ctx)
	}
	if err != nil {
		return err
	}
	l, deadline := newLoop(t, c, to, &generations{}), time.Now().Add(c.Timeout)
	if t.HTTP2 {
		m, err := l.multiplex(ctx, deadline)
		if err != nil {
			return err
		}
		defer m.close()
		return m.greeted(deadline)
	}
	conn, id, err := l.dialer.connect(ctx, deadline)
	if err != nil {
		return err
	}
	return l.dialer.release(conn, id)
}

// advice is what to try about a target that cannot be reached.
func advice(err error) string {
	var untrusted *tls.CertificateVerificationError
	switch kind := classify(err); {
	case errors.Is(err, errNoHTTP2):
		return " (is HTTP/2 turned on there, to http:// with prior knowledge? keep-alive clients speak HTTP/1.1)"
	case errors.As(err, &untrusted):
		return " (is its certificate of an authority that is known here, and for this name?)"
	case kind == Refused:
		return " (nobody listens there: is the service up, and is this its address?)"
	case kind == Timeout:
		return " (no answer: does it accept, and is a firewall in between?)"
	case kind == TLS:
		return " (is it https there?)"
	}
	return ""
}
