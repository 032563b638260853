package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/supervisor/health"
	"example.com/supervisor/internal/listen"
)

// everyOther stands for all listeners that no other entry of queue names.
const everyOther = "*"

// A queueRule is one entry of queue: what is said of one listener's queue. The
// zero fields of limits were not said.
type queueRule struct {
	listener string
	limits   health.Limits
}

// Limits are the thresholds by which the accept queue of a listener is judged.
// They are those of a valid Config.
func (c Config) Limits(listener string) health.Limits {
	limits := c.commonLimits()
	rules := make([]queueRule, 0, len(c.Queue))
	for _, entry := range c.Queue {
		rule, _ := parseQueue(entry) // checked by Validate
		rules = append(rules, rule)
	}
	i := slices.IndexFunc(rules, func(r queueRule) bool { return r.listener == listener })
	if i < 0 {
		i = slices.IndexFunc(rules, func(r queueRule) bool { return r.listener == everyOther })
	}
	if i < 0 {
		return limits
	}
	return rules[i].over(limits)
}

// commonLimits are those of a listener of which nothing else is said.
func (c Config) commonLimits() health.Limits {
	return health.Limits{
		Target:   time.Duration(c.QueueTarget),
		Interval: time.Duration(c.QueueInterval),
		Headroom: time.Duration(c.QueueHeadroom),
		Reaction: time.Duration(c.QueueReaction),
	}
}

// over returns common with what r says instead.
func (r queueRule) over(common health.Limits) health.Limits {
	set := func(d *time.Duration, said time.Duration) {
		if said > 0 {
			*d = said
		}
	}
	common.Off = r.limits.Off
	set(&common.Target, r.limits.Target)
	set(&common.Interval, r.limits.Interval)
	set(&common.Headroom, r.limits.Headroom)
	set(&common.Reaction, r.limits.Reaction)
	return common
}

// parseQueue reads LISTENER:off or LISTENER:key=value[,key=value].
func parseQueue(entry string) (queueRule, error) {
	name, said, ok := strings.Cut(entry, ":")
	if !ok || name == "" || said == "" {
		return queueRule{}, fmt.Errorf("%q is not of the form LISTENER:off or LISTENER:key=value, for example http:target=10ms,interval=200ms", entry)
	}
	rule := queueRule{listener: name}
	if said == "off" {
		rule.limits.Off = true
		return rule, nil
	}
	if name == everyOther {
		return queueRule{}, fmt.Errorf("%q: of all listeners only off can be said here; set the others by queue-target, queue-interval, queue-headroom and queue-reaction", entry)
	}
	for pair := range strings.SplitSeq(said, ",") {
		if err := rule.set(pair); err != nil {
			return queueRule{}, fmt.Errorf("%q: %w", entry, err)
		}
	}
	return rule, nil
}

// set takes one key=value.
func (r *queueRule) set(pair string) error {
	key, value, ok := strings.Cut(pair, "=")
	known := map[string]*time.Duration{
		"target": &r.limits.Target, "interval": &r.limits.Interval,
		"headroom": &r.limits.Headroom, "reaction": &r.limits.Reaction,
	}
	field := known[key]
	switch {
	case !ok && key == "off":
		return errors.New("off stands alone")
	case field == nil:
		return fmt.Errorf("unknown key %q; known are target, interval, headroom and reaction", key)
	case !ok:
		return fmt.Errorf("%s has no value; write %s=10ms", key, key)
	case *field != 0:
		return fmt.Errorf("%s is given twice", key)
	}
	var d Duration
	if err := d.UnmarshalText([]byte(value)); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err := atLeast(d, 1); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	*field = time.Duration(d)
	return nil
}

// checkQueue looks at the entries of queue, one by one and together with the
// listeners that they name.
func (c Config) checkQueue() error {
	specs, err := listen.ParseSpecs(c.Listen)
	if err != nil {
		specs = nil // checkListen says it; the names are not known
	}
	seen := map[string]bool{}
	for _, entry := range c.Queue {
		rule, err := parseQueue(entry)
		if err != nil {
			return err
		}
		if seen[rule.listener] {
			return fmt.Errorf("%q: listener %s is named twice; say all of it in one entry", entry, rule.listener)
		}
		seen[rule.listener] = true
		if err := hasQueue(rule.listener, specs); err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		if err := checkTarget(rule.over(c.commonLimits()), "interval"); err != nil {
			return fmt.Errorf("%q: target: %w", entry, err)
		}
	}
	return nil
}

// hasQueue reports why name cannot be a listener whose queue is judged.
func hasQueue(name string, specs []listen.Spec) error {
	if len(specs) == 0 || name == everyOther {
		return nil
	}
	i := slices.IndexFunc(specs, func(s listen.Spec) bool { return s.Name == name })
	if i < 0 {
		names := make([]string, len(specs))
		for i, s := range specs {
			names[i] = s.Name
		}
		return fmt.Errorf("there is no listener %q; there are %s", name, strings.Join(names, ", "))
	}
	if network := specs[i].Network; strings.HasPrefix(network, "udp") || network == "unixgram" {
		return fmt.Errorf("listener %s has no accept queue: %s knows no connections", name, network)
	}
	return nil
}

// checkTarget refuses a target that no queue could miss for an interval.
func checkTarget(l health.Limits, interval string) error {
	if l.Off || l.Target <= 0 || l.Interval <= 0 || l.Target < l.Interval {
		return nil
	}
	return fmt.Errorf("must be less than %s: %v, %v", interval, l.Target, l.Interval)
}
