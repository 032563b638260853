package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.com/supervisor/upgrade"
)

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]State{"empty": {}, "busy": sample()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decode(data)
			if err != nil {
				t.Fatal(err)
			}
			want := s
			want.Version, want.Reads = 1, 1
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if header, _, _ := bytes.Cut(data, []byte("\n")); !strings.HasPrefix(string(header), "supervisor-state 1 ") {
				t.Errorf("begins with %q", header)
			}
		})
	}
}

// What is handed over has to be a state that upgrade takes.
func TestSampleIsRestored(t *testing.T) {
	t.Parallel()
	if _, err := upgrade.RestoreMachine(upgrade.Policy{}, sample().Supervisor.Machine); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	whole, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if _, err := Decode(whole[:n]); !errors.Is(err, ErrTruncated) {
			t.Fatalf("of the first %d bytes of %d: %v", n, len(whole), err)
		}
	}
	for n := range whole {
		spoilt := bytes.Clone(whole)
		spoilt[n] ^= 0x04
		if _, err := Decode(spoilt); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", n)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data []byte
		want error
		text string
	}{
		"nothing":            {nil, ErrTruncated, "cannot read the state: the state is truncated"},
		"something else":     {[]byte("[Unit]\n"), ErrCorrupt, `does not begin with "supervisor-state"`},
		"no end of a line":   {bytes.Repeat([]byte("supervisor-state "), 100), ErrCorrupt, "does not begin"},
		"a word too many":    {[]byte("supervisor-state 1 2 3 4\n"), ErrCorrupt, "its header has 5 words"},
		"no number":          {[]byte("supervisor-state one 2 3\n"), ErrCorrupt, `version "one"`},
		"a huge length":      {[]byte("supervisor-state 1 99999999999999 00\n"), ErrCorrupt, `length "99999999999999"`},
		"a negative length":  {[]byte("supervisor-state 1 -1 00\n"), ErrCorrupt, `length "-1"`},
		"another checksum":   {[]byte("supervisor-state 1 2 00\n{}"), ErrCorrupt, "its checksum is another one"},
		"something after it": {append(written(1, `{"version":1}`), '\n'), ErrCorrupt, "1 bytes follow its end"},
		"no JSON":            {written(1, `hello`), ErrCorrupt, "invalid character"},
		"two states":         {written(1, `{"version":1}{}`), ErrCorrupt, "something follows it"},
		"two versions":       {written(1, `{"version":2}`), ErrCorrupt, "of version 2 and its header of 1"},
		"an unknown field":   {written(1, `{"version":1,"colour":"red"}`), ErrCorrupt, `unknown field "colour"`},
		"a wrong type":       {written(1, `{"version":1,"boot":7}`), ErrCorrupt, "cannot unmarshal number"},
		"descriptor 1":       {written(1, `{"version":1,"control_fd":1}`), ErrCorrupt, "descriptor 1 cannot be that of the control socket"},
		"one for two":        {written(1, `{"version":1,"control_fd":5,"lock_fd":5}`), ErrCorrupt, "descriptor 5 is that of the control socket and of the run directory"},
		"two of a name":      {written(1, `{"version":1,"listeners":[{"name":"a"},{"name":"a"}]}`), ErrCorrupt, `a listener is called "a"`},
		"a stream of none":   {written(1, `{"version":1,"streams":[{"fd":5,"kind":"tea"}]}`), ErrCorrupt, `a stream of kind "tea"`},
		"a verdict of none":  {written(1, `{"version":1,"streams":[{"fd":5,"kind":"verdict"}]}`), ErrCorrupt, "waits for request 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Decode(test.data)
			if !errors.Is(err, test.want) || !strings.Contains(fmt.Sprint(err), test.text) {
				t.Errorf("got %v, want %q", err, test.text)
			}
		})
	}
}

func TestVersionsThatAreRead(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		version int
		text    string
		want    string // "" if it is read
	}{
		"the previous, of which there is none":  {0, `{"version":0}`, "of version 0, and this binary reads versions 1 to 2"},
		"this":                                  {1, `{"version":1,"reads":1}`, ""},
		"the next, which says so":               {2, `{"version":2,"reads":1,"boot":"b","mood":"good","supervisor":{"weather":[1]}}`, ""},
		"the next, which does not":              {2, `{"version":2,"reads":2,"boot":["in another form"]}`, "it wants one of version 2"},
		"the next, which says nonsense":         {2, `{"version":2,"reads":0}`, "readers of version 0 understand it"},
		"the one after it":                      {3, `{"version":3,"reads":1}`, "of version 3, and this binary reads versions 1 to 2"},
		"the next, spoilt where this one looks": {2, `{"version":2,"reads":1,"boot":7}`, "cannot unmarshal"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Decode(written(test.version, test.text))
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
				return
			}
			if err != nil || s.Version != test.version {
				t.Errorf("got version %d, %v", s.Version, err)
			}
		})
	}
}

func TestVersionErrorCanBeInspected(t *testing.T) {
	t.Parallel()
	_, err := Decode(written(7, `{}`))
	if v, ok := errors.AsType[*VersionError](err); !ok || v.Version != 7 {
		t.Errorf("got %v", err)
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Lock = s.Control
	if _, err := Encode(s); err == nil || !strings.Contains(err.Error(), "descriptor 7 is that of the control socket and of the run directory") {
		t.Errorf("got %v", err)
	}
	s = State{Metrics: json.RawMessage(`"` + strings.Repeat("x", maxSize) + `"`)}
	if _, err := Encode(s); err == nil || !strings.Contains(err.Error(), "is the limit") {
		t.Errorf("got %v", err)
	}
}

func TestDescriptorsAreAll(t *testing.T) {
	t.Parallel()
	if got, want := sample().Descriptors(), []int{7, 8, 9, 5, 6, 21, 22, 23, 10, 11}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAnotherBootIsTold(t *testing.T) {
	t.Parallel()
	boot, err := ThisBoot()
	if err != nil || len(boot) != 36 {
		t.Fatalf("got %q, %v", boot, err)
	}
	if err := (State{Boot: boot}).SameBoot(boot); err != nil {
		t.Error(err)
	}
	if err := sample().SameBoot(boot); err == nil || !strings.Contains(err.Error(), "before the system was booted") {
		t.Errorf("got %v", err)
	}
}

// FuzzDecode decodes anything, framed as a state or not. What is accepted can be
// written again, and is the same then.
func FuzzDecode(f *testing.F) {
	small := sample() // or else the fuzzer spends its time on making it so
	small.Supervisor.Reports, small.Supervisor.Generations = nil, small.Supervisor.Generations[:1]
	small.Supervisor.Machine.Draining, small.Supervisor.Timers = nil, nil
	whole, err := Encode(small)
	if err != nil {
		f.Fatal(err)
	}
	_, text, _ := bytes.Cut(whole, []byte("\n"))
	f.Add(whole, 0)
	f.Add(text, 1)
	f.Add([]byte(`{"version":2,"reads":1,"new":1}`), 2)
	f.Add([]byte(`{"version":1,"metrics": { "a" : "<\u2028>" } }`), 1)
	f.Fuzz(func(t *testing.T, data []byte, version int) {
		if version != 0 {
			data = written(version, string(data))
		}
		s, err := Decode(data)
		if err != nil {
			return
		}
		once, err := Encode(s)
		if err != nil {
			t.Fatalf("was read and cannot be written: %v", err)
		}
		again, err := Decode(once)
		if err != nil {
			t.Fatalf("was written and cannot be read: %v", err)
		}
		twice, err := Encode(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("was written as\n%s\nand then as\n%s\n%v", once, twice, err)
		}
	})
}
