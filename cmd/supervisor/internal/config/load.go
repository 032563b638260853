package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
)

// A SettingError says which setting cannot be used, and where it was said.
type SettingError struct {
	// Place is FILE:LINE:COLUMN for what a file says, else empty.
	Place string
	// Key is the setting, or the unknown key.
	Key string
	Err error
}

// Error begins with the place, or with the flag.
func (e *SettingError) Error() string {
	if e.Place != "" {
		return fmt.Sprintf("%s: %s: %v", e.Place, e.Key, e.Err)
	}
	if e.Key == programKey {
		return e.Err.Error()
	}
	return fmt.Sprintf("--%s: %v", e.Key, e.Err)
}

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

const (
	programKey = "program"
	// maxFile is the size of the largest configuration file, in bytes.
	maxFile = 1 << 20
)

// Load returns the settings of a command line: those of the file, if there is
// one, and over them the flags of fs that were given and the program. flags
// are the settings to which fs is bound by AddFlags. Everything wrong is in
// the error, joined, each a *SettingError.
func Load(file string, flags Config, fs *pflag.FlagSet, program []string) (Config, error) {
	c := Default()
	c.Activated, c.Resumes = flags.Activated, flags.Resumes
	said := places{}
	if file != "" {
		doc, err := read(file)
		if err != nil {
			return Config{}, fmt.Errorf("cannot read the configuration: %w", err)
		}
		if said, err = decode(file, doc, &c); err != nil {
			return Config{}, err
		}
	}
	c.override(flags, func(name string) bool {
		if fs.Changed(name) {
			delete(said, name)
			return true
		}
		return false
	})
	if len(program) > 0 {
		c.Program = program
		delete(said, programKey)
	}
	if err := c.checkGiven(func(key string) bool { return said[key] != "" || fs.Changed(key) }); err != nil {
		return c, locate(err, said)
	}
	return c, locate(c.Validate(), said)
}

// read returns the content of a configuration file. Whatever else may be at its
// path it does not wait for, and does not read without end.
func read(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	doc, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(doc) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	return doc, err
}

// override copies the settings of from that were given to c.
func (c *Config) override(from Config, given func(name string) bool) {
	to, source := reflect.ValueOf(c).Elem(), reflect.ValueOf(from)
	for i := range to.NumField() {
		if given(to.Type().Field(i).Tag.Get("toml")) {
			to.Field(i).Set(source.Field(i))
		}
	}
}

// places tells where in a file a key was given a value.
type places map[string]string

// locate adds to each error of err the place where the setting was said.
func locate(err error, said places) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	for _, err := range joined.Unwrap() {
		var setting *SettingError
		if errors.As(err, &setting) {
			setting.Place = said[setting.Key]
		}
	}
	return err
}

// keys are the keys of the file with the fields that they set.
func keys() map[string]reflect.Type {
	known := map[string]reflect.Type{}
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("toml"); key != "-" { // that is no setting
			known[key] = t.Field(i).Type
		}
	}
	return known
}

// similar returns the known key that was probably meant, or "".
func similar(key string) string {
	key = strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	if _, ok := keys()[key]; ok {
		return key
	}
	return ""
}
