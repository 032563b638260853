package fdpass

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what a message may carry, beside those of its packet.
const (
	// MaxName is the length of the longest listener or service name, in bytes.
	MaxName = 255
	// MaxReason is the length of the longest reason, in bytes. Send cuts what
	// is longer; Receive refuses it.
	MaxReason = 4096
	// MaxDurations is the number of elements of a histogram at most.
	MaxDurations = 64
	// MaxID is the largest id and the largest count of a message: the largest
	// integer that every JSON reader keeps exactly.
	MaxID = 1<<53 - 1

	minToken = 16
	maxToken = 128
	// maxSocketPath is the length of sun_path without its last zero (unix(7)).
	maxSocketPath = 107

	maxAddress      = 512
	maxCapabilities = 32
	maxGeneration   = math.MaxInt32
	// maxMillis keeps every number of milliseconds within a time.Duration.
	maxMillis = int64(math.MaxInt64 / time.Millisecond)
)

// validate leaves the other fields of a foreign version alone, so that Offer
// can answer with the version instead of with a detail.
func (m Hello) validate() error {
	switch {
	case m.Protocol < 1:
		return errors.New("protocol must be 1 or more")
	case m.Protocol != Protocol:
		return nil
	}
	return errors.Join(checkPID(m.PID), checkCapabilities(m.Capabilities), checkText("library", m.Library))
}

// validate leaves the other fields of a foreign version alone, like that of
// Hello.
func (m Rejoin) validate() error {
	switch {
	case m.Protocol < 1:
		return errors.New("protocol must be 1 or more")
	case m.Protocol != Protocol:
		return nil
	}
	return errors.Join(
		checkPID(m.PID),
		checkService(m.Service, m.Generation),
		checkListenerCount(m.Listeners),
		checkToken(m.Token),
		checkCapabilities(m.Capabilities),
		checkText("library", m.Library),
	)
}

func (m Welcome) validate() error {
	switch {
	case m.Protocol < 1:
		return errors.New("protocol must be 1 or more")
	case m.Protocol != Protocol:
		return nil
	}
	return errors.Join(
		checkService(m.Service, m.Generation),
		checkListenerCount(m.Listeners),
		checkMillis("stats_ms", m.StatsMS),
		checkMillis("ready_ms", m.ReadyMS),
		checkRendezvous(m.Rendezvous, m.Token),
	)
}

func checkPID(pid int) error {
	if pid < 1 || pid > math.MaxInt32 {
		return fmt.Errorf("pid cannot be %d", pid)
	}
	return nil
}

func checkService(name string, generation int) error {
	if name == "" {
		return errors.New("service is missing")
	}
	if generation < 1 || generation > maxGeneration {
		return fmt.Errorf("generation cannot be %d", generation)
	}
	return checkText("service", name)
}

func checkListenerCount(n int) error {
	if n < 0 || n > MaxListeners {
		return fmt.Errorf("listeners must be from 0 to %d, not %d", MaxListeners, n)
	}
	return nil
}

func checkCapabilities(all []string) error {
	if len(all) > maxCapabilities {
		return fmt.Errorf("more than %d capabilities", maxCapabilities)
	}
	for _, c := range all {
		if err := checkName(c); err != nil {
			return fmt.Errorf("capability %q: %w", c, err)
		}
	}
	return nil
}

// checkRendezvous also reports one of the two without the other.
func checkRendezvous(path, token string) error {
	switch {
	case path == "" && token == "":
		return nil
	case path == "":
		return errors.New("a token comes without a rendezvous")
	case !strings.HasPrefix(path, "/"):
		return errors.New("rendezvous must be an absolute path")
	case len(path) > maxSocketPath:
		return fmt.Errorf("rendezvous is longer than %d bytes", maxSocketPath)
	}
	return errors.Join(checkText("rendezvous", path), checkToken(token))
}

// checkToken does not repeat the token: it is a secret.
func checkToken(s string) error {
	notHex := func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) }
	if len(s) < minToken || len(s) > maxToken || strings.ContainsFunc(s, notHex) {
		return fmt.Errorf("token must be from %d to %d hexadecimal digits", minToken, maxToken)
	}
	return nil
}

func (m Listeners) validate() error {
	switch {
	case m.Of < 1 || m.Of > MaxListeners:
		return fmt.Errorf("of must be from 1 to %d, not %d", MaxListeners, m.Of)
	case m.Batch < 1 || m.Batch > m.Of:
		return fmt.Errorf("batch must be from 1 to %d, not %d", m.Of, m.Batch)
	case len(m.Listeners) < 1 || len(m.Listeners) > MaxBatch:
		return fmt.Errorf("a batch must carry from 1 to %d listeners, not %d", MaxBatch, len(m.Listeners))
	}
	return checkListeners(m.Listeners)
}

func (m Received) validate() error {
	switch {
	case m.Batch < 1 || m.Batch > MaxListeners:
		return fmt.Errorf("batch must be from 1 to %d, not %d", MaxListeners, m.Batch)
	case m.Count < 0 || m.Count > MaxBatch:
		return fmt.Errorf("count must be from 0 to %d, not %d", MaxBatch, m.Count)
	case len(m.Cookies) > MaxBatch:
		return fmt.Errorf("more than %d cookies", MaxBatch)
	}
	return nil
}

func (Ready) validate() error    { return nil }
func (m Failed) validate() error { return checkReason(m.Reason) }
func (m Pause) validate() error  { return checkID(m.ID) }
func (m Resume) validate() error { return checkID(m.ID) }

func (m Drain) validate() error {
	return errors.Join(checkID(m.ID), checkMillis("deadline_ms", m.DeadlineMS))
}

func (m Paused) validate() error {
	return errors.Join(checkID(m.ID), checkCount("accepted", m.Accepted))
}

func (m Resumed) validate() error { return checkID(m.ID) }
func (m Hold) validate() error    { return nil }

func (m Drained) validate() error {
	if m.Cut < 0 {
		return fmt.Errorf("cut cannot be %d", m.Cut)
	}
	return errors.Join(checkID(m.ID), checkCount("accepted", m.Accepted))
}

func (m Stats) validate() error {
	if len(m.Listeners) > MaxListeners {
		return fmt.Errorf("more than %d listeners", MaxListeners)
	}
	if m.Program != 0 {
		if err := checkPID(m.Program); err != nil {
			return fmt.Errorf("program: %w", err)
		}
	}
	return checkEach(m.Listeners, func(l ListenerStats) string { return l.Name }, ListenerStats.validate)
}

func (l ListenerStats) validate() error {
	if l.Active < 0 || l.Active > MaxID {
		return fmt.Errorf("active cannot be %d", l.Active)
	}
	return errors.Join(
		checkName(l.Name),
		checkCount("accepted", l.Accepted),
		checkCount("answered", l.Answered),
		checkMillis("oldest_ms", l.OldestMS),
		checkHistogram("durations", l.Durations),
		checkHistogram("sojourn", l.Sojourn),
	)
}

func (m Error) validate() error { return checkReason(m.Reason) }

func (l Listener) validate() error {
	if err := checkName(l.Name); err != nil {
		return err
	}
	switch {
	case !slices.Contains(networks(), l.Network):
		return fmt.Errorf("network %q is not known", l.Network)
	case l.Address == "":
		return errors.New("address is missing")
	case len(l.Address) > maxAddress:
		return fmt.Errorf("address is longer than %d bytes", maxAddress)
	case l.Cookie == 0:
		return errors.New("cookie is missing")
	}
	return nil
}

// networks are the values that Listener.Network may have.
func networks() []string {
	return []string{"tcp", "tcp4", "tcp6", "unix", "unixpacket", "unixgram", "udp", "udp4", "udp6"}
}

func checkListeners(ls []Listener) error {
	return checkEach(ls, func(l Listener) string { return l.Name }, Listener.validate)
}

// checkEach also reports a name that is given twice.
func checkEach[T any](all []T, name func(T) string, check func(T) error) error {
	seen := make(map[string]struct{}, len(all))
	for _, one := range all {
		if err := check(one); err != nil {
			return fmt.Errorf("listener %q: %w", name(one), err)
		}
		if _, twice := seen[name(one)]; twice {
			return fmt.Errorf("listener %q is named twice", name(one))
		}
		seen[name(one)] = struct{}{}
	}
	return nil
}

// checkName keeps names fit for a command line, a log and an environment.
func checkName(s string) error {
	switch {
	case s == "":
		return errors.New("name is missing")
	case len(s) > MaxName:
		return fmt.Errorf("name is longer than %d bytes", MaxName)
	case !utf8.ValidString(s):
		return errors.New("name is not valid UTF-8")
	}
	for _, r := range s {
		if r == '=' || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return fmt.Errorf("name must be printable, without spaces and '=', so not %q", r)
		}
	}
	return nil
}

func checkText(field, s string) error {
	if len(s) > MaxName {
		return fmt.Errorf("%s is longer than %d bytes", field, MaxName)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s must be printable", field)
	}
	return nil
}

func checkReason(s string) error {
	if len(s) > MaxReason {
		return fmt.Errorf("reason is longer than %d bytes", MaxReason)
	}
	return nil
}

func checkID(id uint64) error {
	if id == 0 || id > MaxID {
		return fmt.Errorf("id must be from 1 to %d, not %d", uint64(MaxID), id)
	}
	return nil
}

func checkCount(field string, n uint64) error {
	if n > MaxID {
		return fmt.Errorf("%s must be %d at most, not %d", field, uint64(MaxID), n)
	}
	return nil
}

func checkHistogram(field string, counts []uint64) error {
	if len(counts) > MaxDurations {
		return fmt.Errorf("%s has more than %d elements", field, MaxDurations)
	}
	for _, n := range counts {
		if err := checkCount("an element of "+field, n); err != nil {
			return err
		}
	}
	return nil
}

func checkMillis(field string, ms int64) error {
	if ms < 0 || ms > maxMillis {
		return fmt.Errorf("%s must be from 0 to %d, not %d", field, maxMillis, ms)
	}
	return nil
}
