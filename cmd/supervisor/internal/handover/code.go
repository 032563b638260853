package handover

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	// magic begins the header, which is one line:
	// supervisor-state VERSION LENGTH SHA256, of the JSON that follows.
	magic = "supervisor-state"
	// maxHeader is the length of the longest header.
	maxHeader = 128
	// maxSize is the size of the largest state. A large one has some 100 KiB.
	maxSize = 16 << 20
)

// ErrTruncated tells that a part of the state is missing.
var ErrTruncated = errors.New("the state is truncated")

// ErrCorrupt tells that the state is not what was written.
var ErrCorrupt = errors.New("the state is corrupt")

// VersionError tells that the state is of a version that this binary does not
// read.
type VersionError struct {
	// Version is that of the state, Reads what it says of its readers; 0 where
	// that was not looked at.
	Version, Reads int
}

// Error names both sides' versions.
func (e *VersionError) Error() string {
	text := fmt.Sprintf("the state is of version %d, and this binary reads versions %d to %d", e.Version, oldestRead, newestRead)
	if e.Reads > 0 {
		text += fmt.Sprintf(" where that says that a reader of version %d will do; it wants one of version %d", Version, e.Reads)
	}
	return text
}

// Encode returns s in the present version's form.
func Encode(s State) ([]byte, error) {
	s.Version, s.Reads = Version, oldestReader
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("cannot write the state: %w", err)
	}
	var body bytes.Buffer
	body.Grow(64 << 10)
	body.Write(make([]byte, maxHeader)) // replaced by the header, once that is known
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("cannot write the state: %w", err)
	}
	text := body.Bytes()[maxHeader:]
	if len(text) > maxSize {
		return nil, fmt.Errorf("cannot write the state: it has %d bytes, and %d is the limit", len(text), maxSize)
	}
	header := fmt.Sprintf("%s %d %d %x\n", magic, Version, len(text), sha256.Sum256(text))
	whole := body.Bytes()[maxHeader-len(header):]
	copy(whole, header)
	return whole, nil
}

// Decode reads what Encode of this version, the previous or the next one wrote.
// Its errors wrap ErrTruncated, ErrCorrupt or a *VersionError.
func Decode(data []byte) (State, error) {
	s, err := decode(data)
	if err != nil {
		return State{}, fmt.Errorf("cannot read the state: %w", err)
	}
	return s, nil
}

func decode(data []byte) (State, error) {
	version, text, err := open(data)
	if err != nil {
		return State{}, err
	}
	if version < oldestRead || version > newestRead {
		return State{}, &VersionError{Version: version}
	}
	var s State
	d := json.NewDecoder(bytes.NewReader(text))
	if version <= Version { // what a later one adds is ignored
		d.DisallowUnknownFields()
	} else if err := fits(text); err != nil {
		return State{}, err
	}
	if err := d.Decode(&s); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return State{}, fmt.Errorf("%w: something follows it", ErrCorrupt)
	}
	if s.Version != version {
		return State{}, fmt.Errorf("%w: it says to be of version %d and its header of %d", ErrCorrupt, s.Version, version)
	}
	if err := s.validate(); err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

// fits says whether the state of a later version may be read by this one. It is
// asked before the rest is looked at, which may have another form.
func fits(text []byte) error {
	var s struct {
		Version int `json:"version"`
		Reads   int `json:"reads"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if s.Reads < oldestRead {
		return fmt.Errorf("%w: it says that readers of version %d understand it", ErrCorrupt, s.Reads)
	}
	if s.Reads > Version {
		return &VersionError{Version: s.Version, Reads: s.Reads}
	}
	return nil
}

// open takes the header off and checks that what follows is what it says.
func open(data []byte) (version int, text []byte, err error) {
	line, text, whole := bytes.Cut(data, []byte("\n"))
	switch {
	case !whole && len(data) < maxHeader && strings.HasPrefix(magic+" ", string(data[:min(len(data), len(magic)+1)])):
		return 0, nil, ErrTruncated
	case !whole, len(line) >= maxHeader, !bytes.HasPrefix(line, []byte(magic+" ")):
		return 0, nil, fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, magic)
	}
	words := strings.Split(string(line), " ")
	if len(words) != 4 {
		return 0, nil, fmt.Errorf("%w: its header has %d words in place of 4", ErrCorrupt, len(words))
	}
	version, err = strconv.Atoi(words[1])
	length, lengthErr := strconv.ParseUint(words[2], 10, 63)
	if err != nil || version < 0 || lengthErr != nil || length > maxSize {
		return 0, nil, fmt.Errorf("%w: its header gives version %q and length %q", ErrCorrupt, words[1], words[2])
	}
	switch sum := sha256.Sum256(text); {
	case uint64(len(text)) < length:
		return 0, nil, fmt.Errorf("%w: %d bytes of %d are there", ErrTruncated, len(text), length)
	case uint64(len(text)) > length:
		return 0, nil, fmt.Errorf("%w: %d bytes follow its end", ErrCorrupt, uint64(len(text))-length)
	case hex.EncodeToString(sum[:]) != words[3]:
		return 0, nil, fmt.Errorf("%w: its checksum is another one", ErrCorrupt)
	}
	return version, text, nil
}
