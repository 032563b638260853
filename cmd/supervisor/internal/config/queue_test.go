package config

import (
	"strings"
	"testing"
	"time"

	"example.com/supervisor/health"
)

func TestDefaultsAreThoseOfTheLimits(t *testing.T) {
	t.Parallel()
	if got, want := Default().Limits("http"), (health.Limits{}).WithDefaults(); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestLimitsOfAListener(t *testing.T) {
	t.Parallel()
	c, err := load(write(t, `
program = ["sh"]
listen = ["http=tcp://127.0.0.1:0", "admin=unix://@a", "slow=tcp://127.0.0.1:0"]
queue-target = "8ms"
queue = ["slow:target=1s,interval=2s,headroom=3s,reaction=4s", "admin:off", "http:reaction=70ms"]
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	common := health.Limits{Target: 8 * time.Millisecond}.WithDefaults()
	http, off := common, common
	http.Reaction, off.Off = 70*time.Millisecond, true
	for name, want := range map[string]health.Limits{
		"http":  http,
		"admin": off,
		"other": common,
		"slow":  {Target: time.Second, Interval: 2 * time.Second, Headroom: 3 * time.Second, Reaction: 4 * time.Second},
	} {
		if got := c.Limits(name); got != want {
			t.Errorf("%s: got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestStarSwitchesOffWhatIsNotNamed(t *testing.T) {
	t.Parallel()
	c, err := load("", []string{"--listen=http=tcp://:0", "--listen=admin=unix://@a", "--queue=*:off", "--queue=http:target=1ms"}, "sh")
	if err != nil {
		t.Fatal(err)
	}
	if l := c.Limits("http"); l.Off || l.Target != time.Millisecond {
		t.Errorf("http: got %+v, want it judged by its own target", l)
	}
	if l := c.Limits("admin"); !l.Off {
		t.Errorf("admin: got %+v, want it off", l)
	}
}

func TestErrorsOfQueueNameTheEntry(t *testing.T) {
	t.Parallel()
	const form = "is not of the form LISTENER:off or LISTENER:key=value, for example http:target=10ms,interval=200ms"
	for flags, want := range map[string]string{
		"--queue=http":                           `--queue: "http" ` + form,
		"--queue=":                               `--queue: "" ` + form,
		"--queue=:off":                           `--queue: ":off" ` + form,
		"--queue=http:":                          `--queue: "http:" ` + form,
		"--queue=http:depth=3":                   `--queue: "http:depth=3": unknown key "depth"; known are target, interval, headroom and reaction`,
		"--queue=http:target":                    `--queue: "http:target": target has no value; write target=10ms`,
		"--queue=http:target=5":                  `--queue: "http:target=5": target: "5" is not a duration such as 5s, 100ms or 1m30s`,
		"--queue=http:target=0s":                 `--queue: "http:target=0s": target: must be more than 0: 0s`,
		"--queue=http:target=-1s":                `--queue: "http:target=-1s": target: must be more than 0: -1s`,
		"--queue=http:target=1ms,target=1ms":     `--queue: "http:target=1ms,target=1ms": target is given twice`,
		"--queue=http:target=1ms,":               `--queue: "http:target=1ms,": unknown key ""`,
		"--queue=http:target=1ms,off":            `--queue: "http:target=1ms,off": off stands alone`,
		"--queue=http:target=1s":                 `--queue: "http:target=1s": target: must be less than interval: 1s, 100ms`,
		"--queue=*:target=1ms":                   `--queue: "*:target=1ms": of all listeners only off can be said here; set the others by queue-target, queue-interval, queue-headroom and queue-reaction`,
		"--queue=web:off":                        `--queue: "web:off": there is no listener "web"; there are http`,
		"--queue=http:off --queue=http:target=s": `--queue: "http:target=s": target: "s" is not a duration`,
		"--queue=http:off --queue=http:off":      `--queue: "http:off": listener http is named twice; say all of it in one entry`,
		"--listen=a=udp://:0 --queue=a:off":      `--queue: "a:off": listener a has no accept queue: udp knows no connections`,
		"--queue-target=100ms":                   "--queue-target: must be less than queue-interval: 100ms, 100ms",
		"--queue-interval=0s":                    "--queue-interval: must be more than 0: 0s",
		"--queue-headroom=-1s":                   "--queue-headroom: must be more than 0: -1s",
		"--queue-reaction=0s":                    "--queue-reaction: must be more than 0: 0s",
	} {
		_, err := load(write(t, minimal), strings.Fields(flags))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", flags, err, want)
		}
	}
}

func FuzzQueue(f *testing.F) {
	for _, entry := range []string{
		"http:off", "*:off", "http:target=5ms", "a:target=1s,interval=2s,headroom=3s,reaction=4s",
		"*:target=1s", "a:off,target=1s", "a::target=1s", "a:target==1s", "a:target=1e400s", ":", "a:,",
	} {
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		rule, err := parseQueue(entry)
		if err != nil {
			if rule != (queueRule{}) || err.Error() == "" {
				t.Errorf("%q: error %q with %+v", entry, err, rule)
			}
			return
		}
		l := rule.limits
		said := l.Target > 0 || l.Interval > 0 || l.Headroom > 0 || l.Reaction > 0
		if rule.listener == "" || l.Off == said || min(l.Target, l.Interval, l.Headroom, l.Reaction) < 0 {
			t.Errorf("%q: accepted as %+v", entry, rule)
		}
		if over := rule.over(Default().commonLimits()); !over.Off && min(over.Target, over.Interval, over.Headroom, over.Reaction) <= 0 {
			t.Errorf("%q: judged by %+v", entry, over)
		}
	})
}
