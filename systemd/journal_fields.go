package systemd

import (
	"encoding"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// maxFieldName is the length of the longest name of a field, in bytes
// (journal_field_valid in systemd's journal-file.c).
const maxFieldName = 64

// A field is one of a journal entry (systemd.journal-fields(7)).
type field struct{ name, value string }

// fields are those of one entry, each name once.
type fields []field

// set adds a field, or gives one that is there another value.
func (fs *fields) set(name, value string) {
	i := slices.IndexFunc(*fs, func(f field) bool { return f.name == name })
	if i < 0 {
		*fs = append(*fs, field{name, value})
		return
	}
	(*fs)[i].value = value
}

// add adds an attribute, or each of a group of them.
func (fs *fields) add(groups []string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			groups = append(slices.Clip(groups), a.Key)
		}
		for _, a := range value.Group() {
			fs.add(groups, a)
		}
		return
	}
	if name := fieldName(groups, a.Key); name != "" {
		fs.set(name, fieldValue(value))
	}
}

// fieldName makes a name that the journal takes of an attribute's key and its
// groups. It is empty where there is no key.
func fieldName(groups []string, key string) string {
	if key == "" {
		return ""
	}
	if len(groups) == 0 && key == messageID {
		return "MESSAGE_ID"
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, strings.Join(append(slices.Clip(groups), key), "_"))
	if isReserved(name) {
		name = "SUPERVISOR_" + name
	}
	return name[:min(len(name), maxFieldName)]
}

// isReserved reports whether a name means something to the journal, or is one
// that it drops: it takes none that begins with a digit, and keeps those that
// begin with an underscore for itself.
func isReserved(name string) bool {
	if name[0] == '_' || name[0] >= '0' && name[0] <= '9' {
		return true
	}
	switch name {
	case "MESSAGE", "MESSAGE_ID", "PRIORITY", "ERRNO", "DOCUMENTATION", "TID",
		"INVOCATION_ID", "USER_INVOCATION_ID", "UNIT", "USER_UNIT":
		return true
	}
	return slices.ContainsFunc([]string{"CODE_", "SYSLOG_", "OBJECT_", "COREDUMP_"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// fieldValue writes a value as slog.TextHandler does, without its quotes.
func fieldValue(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		return anyValue(v.Any())
	}
	return v.String()
}

func anyValue(v any) (text string) {
	defer func() {
		if p := recover(); p != nil { // a method of a nil pointer, most likely
			text = fmt.Sprintf("!PANIC: %v", p)
		}
	}()
	switch v := v.(type) {
	case encoding.TextMarshaler:
		data, err := v.MarshalText()
		if err != nil {
			return "!ERROR: " + err.Error()
		}
		return string(data)
	case []byte:
		return string(v)
	}
	return fmt.Sprintf("%+v", v)
}

// encode writes the fields as the journal's native protocol has them
// (systemd.io/JOURNAL_NATIVE_PROTOCOL): a line each, or the length first where a
// value has lines itself.
func (fs fields) encode() []byte {
	var data []byte
	for _, f := range fs {
		data = append(data, f.name...)
		if strings.Contains(f.value, "\n") {
			data = append(data, '\n')
			data = binary.LittleEndian.AppendUint64(data, uint64(len(f.value)))
		} else {
			data = append(data, '=')
		}
		data = append(data, f.value...)
		data = append(data, '\n')
	}
	return data
}
