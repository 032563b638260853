package main

import (
	"context"
	"slices"

	"example.com/supervisor/health"
	"example.com/supervisor/upgrade"
)

// observed is a supervisor whose status tells of the accept queues as well, and
// which parts with others before it stops.
type observed struct {
	*upgrade.Supervisor
	figures func() []health.Figures             // nil: the queues are not looked at
	part    func(ctx context.Context, now bool) // nil: there is nothing to do
	trouble func() error                        // nil: there is none
}

// Stop drains, or kills if now is set, and returns when all has ended.
func (o observed) Stop(ctx context.Context, now bool) error {
	if o.part != nil {
		o.part(ctx, now)
	}
	return o.Supervisor.Stop(ctx, now)
}

// Status returns a picture of the present moment.
func (o observed) Status(ctx context.Context) (upgrade.Status, error) {
	st, err := o.Supervisor.Status(ctx)
	if err != nil {
		return st, err
	}
	if o.trouble != nil {
		if err := o.trouble(); err != nil {
			st.Trouble = err.Error()
		}
	}
	if o.figures == nil {
		return st, nil
	}
	return withQueues(st, o.figures()), nil
}

// withQueues returns st with what is known of the accept queues. It does not
// change what st points to.
func withQueues(st upgrade.Status, figures []health.Figures) upgrade.Status {
	st.Listeners = slices.Clone(st.Listeners)
	for i := range st.Listeners {
		l := &st.Listeners[i]
		if j := slices.IndexFunc(figures, func(f health.Figures) bool { return f.Name == l.Name }); j >= 0 {
			l.Queue = queueStatus(figures[j])
		}
	}
	return st
}

// queueStatus is what is known of f in the words of package upgrade.
func queueStatus(f health.Figures) *upgrade.QueueStatus {
	o := f.Observation
	q := &upgrade.QueueStatus{Depth: o.Depth, Limit: o.Limit}
	if f.DropsKnown {
		q.Drops = &f.Drops
	}
	if d, ok := f.Oldest(); ok {
		q.OldestSeconds = new(d.Seconds())
	}
	if o.Arrivals >= 0 {
		q.ArrivalsPerSecond = new(o.Arrivals)
	}
	if headroom, ok := o.Headroom(); ok {
		q.HeadroomSeconds = new(headroom.Seconds())
	}
	return q
}
