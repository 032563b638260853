package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// decode reads the TOML document doc, which was read from file, into c and
// tells where each key was given its value.
func decode(file string, doc []byte, c *Config) (places, error) {
	f := fileReader{name: file, known: keys(), said: places{}}
	f.parser.Reset(doc)
	for f.parser.NextExpression() {
		f.expression(f.parser.Expression())
	}
	// A syntax error ends the walk and is found again by the decoder, which
	// words it.
	if len(f.wrong) > 0 {
		return nil, errors.Join(f.wrong...)
	}
	err := toml.NewDecoder(bytes.NewReader(doc)).DisallowUnknownFields().Decode(c)
	if err != nil {
		return nil, f.explain(err)
	}
	return f.said, nil
}

// fileReader walks over a document to find what the decoder does not tell
// well: the place of each key, and types in the words of the file.
type fileReader struct {
	name   string
	parser unstable.Parser
	known  map[string]reflect.Type
	said   places
	wrong  []error
}

func (f *fileReader) expression(e *unstable.Node) {
	if e.Kind == unstable.Comment {
		return
	}
	key, place := f.key(e)
	if e.Kind != unstable.KeyValue {
		f.complain(place, "["+key+"]", errors.New("there are no tables; write the keys one per line as in settle = \"1s\""))
		return
	}
	t, ok := f.known[key]
	if !ok {
		err := errors.New("unknown key")
		if known := similar(key); known != "" {
			err = fmt.Errorf("unknown key; did you mean %s?", known)
		}
		f.complain(place, key, err)
		return
	}
	f.said[key] = place
	if err := fits(t, e.Value()); err != nil {
		f.complain(place, key, err)
	}
}

// key returns the dotted key of e and its place.
func (f *fileReader) key(e *unstable.Node) (key, place string) {
	var parts []string
	it := e.Key()
	for it.Next() {
		node := it.Node()
		if place == "" {
			start := f.parser.Shape(node.Raw).Start
			place = fmt.Sprintf("%s:%d:%d", f.name, start.Line, start.Column)
		}
		parts = append(parts, string(node.Data))
	}
	return strings.Join(parts, "."), place
}

func (f *fileReader) complain(place, key string, err error) {
	f.wrong = append(f.wrong, &SettingError{Place: place, Key: key, Err: err})
}

// fits reports how value is not what a field of type t takes.
func fits(t reflect.Type, value *unstable.Node) error {
	switch {
	case t == reflect.TypeFor[Duration]():
		if value.Kind != unstable.String {
			return fmt.Errorf("must be a duration in quotes, such as \"5s\", not %s", kindName(value.Kind))
		}
		return new(Duration).UnmarshalText(value.Data)
	case t.Kind() == reflect.String:
		return wants(value, unstable.String, "a string in quotes")
	case t.Kind() == reflect.Bool:
		return wants(value, unstable.Bool, "true or false")
	case t.Kind() == reflect.Int:
		return wants(value, unstable.Integer, "a whole number")
	}
	if err := wants(value, unstable.Array, "a list of strings"); err != nil {
		return err
	}
	for it := value.Children(); it.Next(); {
		if err := wants(it.Node(), unstable.String, "a list of strings only"); err != nil {
			return err
		}
	}
	return nil
}

func wants(value *unstable.Node, kind unstable.Kind, words string) error {
	if value.Kind == kind || value.Kind == unstable.Comment {
		return nil
	}
	return fmt.Errorf("must be %s, not %s", words, kindName(value.Kind))
}

func kindName(k unstable.Kind) string {
	switch k {
	case unstable.String:
		return "a string"
	case unstable.Bool:
		return "a boolean"
	case unstable.Integer:
		return "an integer"
	case unstable.Float:
		return "a float"
	case unstable.Array:
		return "a list"
	case unstable.InlineTable:
		return "a table"
	}
	return "a date or time"
}

// explain puts the decoder's error into a *SettingError or, where it has no
// key, an error that begins with the place.
func (f *fileReader) explain(err error) error {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) && len(missing.Errors) > 0 {
		err = &missing.Errors[0]
	}
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	row, column := at.Position()
	place := fmt.Sprintf("%s:%d:%d", f.name, row, column)
	text := errors.New(strings.TrimPrefix(at.Error(), "toml: "))
	if key := strings.Join(at.Key(), "."); key != "" {
		return &SettingError{Place: place, Key: key, Err: text}
	}
	return fmt.Errorf("%s: %w", place, text)
}
