package upgrade

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildIDOfAnELFFile: of a C program, that of its linker; a file without one
// and a script have none.
func TestBuildIDOfAnELFFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compile := func(name, id string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if out, err := exec.Command("gcc", "-Wl,--build-id="+id, "-o", path, source).CombinedOutput(); err != nil {
			t.Skipf("no C compiler that could build one: %v\n%s", err, out)
		}
		return path
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		compile("long", "0x0123456789abcdef0123456789abcdef01234567"): "0123456789abcdef",
		compile("short", "0xabcd"):                                    "abcd",
		compile("without", "none"):                                    "",
		script:                                                        "",
		filepath.Join(dir, "missing"):                                 "",
	} {
		if got := buildID(path); got != want {
			t.Errorf("%s: got %q, want %q", filepath.Base(path), got, want)
		}
	}
}

// TestBuildIDOfAGoFile: where the toolchain knows neither revision nor version,
// the content tells builds apart.
func TestBuildIDOfAGoFile(t *testing.T) {
	t.Parallel()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	id, err := noteID(f)
	if err != nil || id == "" || len(id) > shownID {
		t.Errorf("got %q, %v", id, err)
	}
}

func note(name string, kind uint32, text string) []byte {
	pad := func(s string) string { return s + strings.Repeat("\x00", (4-len(s)%4)%4) }
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(name)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(b, pad(name)+pad(text)...)
}

func TestNotes(t *testing.T) {
	t.Parallel()
	abi := note("GNU\x00", 1, "0123456789abcdef")
	golang := note("Go\x00\x00", goBuildID, "action/content")
	for name, c := range map[string]struct {
		notes       []byte
		gnu, golang string
	}{
		"nothing":           {nil, "", ""},
		"behind another":    {append(abi, note("GNU\x00", gnuBuildID, "\x01\x02")...), "0102", ""},
		"both":              {append(golang, note("GNU\x00", gnuBuildID, "\xff")...), "ff", "content"},
		"not printable":     {note("Go\x00\x00", goBuildID, "a/\x1b[31m"), "", ""},
		"another's":         {note("BSD\x00", gnuBuildID, "\x01"), "", ""},
		"longer than it is": {append(golang, 4, 0, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0, 'G', 'N', 'U', 0), "", "content"},
	} {
		if gnu, golang := idsIn(c.notes, binary.LittleEndian); gnu != c.gnu || golang != c.golang {
			t.Errorf("%s: got %q, %q; want %q, %q", name, gnu, golang, c.gnu, c.golang)
		}
	}
}

// FuzzNoteID: whatever is in a file, its build id is short and printable.
func FuzzNoteID(f *testing.F) {
	head := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 57)...)
	binary.LittleEndian.PutUint64(head[32:], 64)
	binary.LittleEndian.PutUint16(head[54:], 56)
	binary.LittleEndian.PutUint16(head[56:], 1)
	program := make([]byte, 56)
	notes := note("GNU\x00", gnuBuildID, "0123456789abcdef")
	binary.LittleEndian.PutUint32(program, 4)
	binary.LittleEndian.PutUint64(program[8:], 120)
	binary.LittleEndian.PutUint64(program[32:], uint64(len(notes)))
	f.Add(bytes.Join([][]byte{head, program, notes}, nil))
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		id, err := noteID(bytes.NewReader(file))
		if len(id) > shownID || err != nil && id != "" || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("got %q, %v", id, err)
		}
	})
}
