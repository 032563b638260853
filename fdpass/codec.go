package fdpass

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// encode makes the packet of a message: one JSON object, "type" first.
func encode(m Message) ([]byte, error) {
	if t, ok := m.(tidier); ok {
		m = t.tidy()
	}
	if err := m.validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(`{"type":"` + m.kind() + `"`)
	head := b.Len()
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return nil, err
	}
	data := join(b.Bytes(), head)
	if len(data) > MaxPacket {
		return nil, fmt.Errorf("it needs %d bytes and a packet holds %d", len(data), MaxPacket)
	}
	return data, nil
}

// join makes one object of data[:head], an object without its closing brace,
// and data[head:], a whole object.
func join(data []byte, head int) []byte {
	data = bytes.TrimRight(data, "\n")
	if string(data[head:]) == "{}" {
		return append(data[:head], '}')
	}
	data[head] = ','
	return data
}

// decode reads a packet. Its error is a *MessageError.
func decode(data []byte) (Message, error) {
	kind, err := kindOf(data)
	if err != nil {
		return nil, &MessageError{Err: err}
	}
	m, err := decodeKind(kind, data)
	if err != nil {
		return nil, &MessageError{Type: kind, Err: inWords(err)}
	}
	if err := m.validate(); err != nil {
		return nil, &MessageError{Type: kind, Err: err}
	}
	if t, ok := m.(tidier); ok {
		m = t.tidy()
	}
	return m, nil
}

func kindOf(data []byte) (string, error) {
	if len(data) == 0 {
		return "", errors.New("the packet is empty")
	}
	if !utf8.Valid(data) {
		return "", errors.New("the packet is not valid UTF-8")
	}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return "", errors.New("the packet is not a JSON object")
	}
	var head struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return "", inWords(err)
	}
	switch {
	case head.Type == nil:
		return "", errors.New("the object has no type")
	case len(*head.Type) > MaxName:
		return "", fmt.Errorf("the type is longer than %d bytes", MaxName)
	}
	return *head.Type, nil
}

// inWords replaces the words of encoding/json about Go types, which mean
// nothing to whoever wrote the peer.
func inWords(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the packet is not JSON: %w", err)
	}
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	want := "of another type"
	switch wrong.Type.Kind() {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		want = "an integer in range"
		if wrong.Type == reflect.TypeFor[Cookie]() {
			want = "a string of decimal digits"
		}
	case reflect.String:
		want = "a string"
	case reflect.Bool:
		want = "true or false"
	case reflect.Slice:
		want = "an array"
	case reflect.Struct:
		want = "an object"
	}
	return fmt.Errorf("field %q must be %s, not %s", wrong.Field, want, wrong.Value)
}

// MarshalText writes the decimal digits.
func (c Cookie) MarshalText() ([]byte, error) {
	return strconv.AppendUint(nil, uint64(c), 10), nil
}

// UnmarshalText reads decimal digits.
func (c *Cookie) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return &json.UnmarshalTypeError{
			Value: fmt.Sprintf("%.40q", text), Type: reflect.TypeFor[Cookie](), Field: "cookie"}
	}
	*c = Cookie(n)
	return nil
}

// A tidier is a message with words for people in it. They end in terminals and
// logs, so control characters go; and a reason that is too long is cut on its
// way out, because half of it is better than none.
type tidier interface{ tidy() Message }

func (m Failed) tidy() Message { return Failed{Reason: tidyReason(m.Reason)} }
func (m Error) tidy() Message  { return Error{tidyReason(m.Reason), m.Dismissed} }

func tidyReason(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= MaxReason {
		return s
	}
	const mark = " ..."
	return strings.ToValidUTF8(s[:MaxReason-len(mark)], "") + mark
}
