package upgrade

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// maxSegments and maxNotes bound what is read of a file to find its build
	// id: a file says of itself how much there is.
	maxSegments = 256
	maxNotes    = 64 << 10
	// shownID is how much of a note's build id is kept, in characters: enough to
	// tell builds apart, and the beginning of what readelf -n shows.
	shownID = 16
)

// The types of notes that hold a build id (elf(5), and cmd/internal/buildid of
// the Go toolchain).
const (
	gnuBuildID = 3
	goBuildID  = 4
)

// buildID tells builds apart: what the Go toolchain wrote into the binary, or
// else the build id of an ELF file; "" for others, such as scripts.
func buildID(path string) string {
	if id := goBuild(path); id != "" {
		return id
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	id, err := noteID(f)
	if err != nil {
		return ""
	}
	return id
}

// goBuild is the version-control revision of a Go binary, or else its module
// version.
func goBuild(path string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+dirty"
			}
		}
	}
	if revision != "" {
		return revision + modified
	}
	if v := info.Main.Version; v != "(devel)" {
		return v
	}
	return ""
}

// noteID finds the build id in the notes of an ELF file: that of the GNU linker,
// or else that of Go's. Package debug/elf would read as many headers, and as
// large ones, as the file says that it has; here all of that is bounded.
func noteID(file io.ReaderAt) (string, error) {
	segments, order, err := noteSegments(file)
	if err != nil {
		return "", err
	}
	other := ""
	for _, s := range segments {
		text := make([]byte, min(s.size, maxNotes))
		n, err := file.ReadAt(text, s.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the notes of an ELF file: %w", err)
		}
		gnu, golang := idsIn(text[:n], order)
		if gnu != "" {
			return gnu, nil
		}
		if other == "" {
			other = golang
		}
	}
	return other, nil
}

// A segment is where notes are in a file.
type segment struct{ offset, size int64 }

var errNoELF = errors.New("it is no ELF file")

// noteSegments reads the program headers (elf(5)) and returns those of notes.
func noteSegments(file io.ReaderAt) ([]segment, binary.ByteOrder, error) {
	head := make([]byte, 64) // of a 64-bit file; that of a 32-bit one has 52
	if n, err := file.ReadAt(head, 0); n < 52 {
		return nil, nil, errors.Join(errNoELF, err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	var table int64
	var each, count uint16
	wide := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64
	switch {
	case string(head[:4]) != elf.ELFMAG:
		return nil, nil, errNoELF
	case wide:
		table, each, count = int64(order.Uint64(head[32:])), order.Uint16(head[54:]), order.Uint16(head[56:])
	default:
		table, each, count = int64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	}
	least := uint16(32)
	if wide {
		least = 56
	}
	if each < least || table < 0 {
		return nil, nil, errNoELF
	}
	var notes []segment
	header := make([]byte, least)
	for i := range min(int64(count), maxSegments) {
		if _, err := file.ReadAt(header, table+i*int64(each)); err != nil {
			break // what it says of the rest is not so
		}
		if elf.ProgType(order.Uint32(header)) != elf.PT_NOTE {
			continue
		}
		s := segment{int64(order.Uint32(header[4:])), int64(order.Uint32(header[16:]))}
		if wide {
			s = segment{int64(order.Uint64(header[8:])), int64(order.Uint64(header[32:]))}
		}
		if s.offset >= 0 && s.size > 0 {
			notes = append(notes, s)
		}
	}
	return notes, order, nil
}

// idsIn reads notes one after the other: three words, the sizes of the name and
// of the description and the type, and both padded to four bytes (elf(5)).
func idsIn(notes []byte, order binary.ByteOrder) (gnu, golang string) {
	for len(notes) >= 12 {
		nameSize, size, kind := order.Uint32(notes), order.Uint32(notes[4:]), order.Uint32(notes[8:])
		notes = notes[12:]
		name, rest, ok := cutPadded(notes, nameSize)
		if !ok {
			return gnu, golang
		}
		text, rest, ok := cutPadded(rest, size)
		if !ok {
			return gnu, golang
		}
		switch {
		case string(name) == "GNU\x00" && kind == gnuBuildID && gnu == "":
			gnu = cutID(hex.EncodeToString(text[:min(len(text), shownID)]))
		case string(name) == "Go\x00\x00" && kind == goBuildID && golang == "":
			golang = contentOf(text)
		}
		notes = rest
	}
	return gnu, golang
}

// cutPadded cuts size bytes off, and what pads them.
func cutPadded(text []byte, size uint32) (part, rest []byte, ok bool) {
	if int64(size) > int64(len(text)) {
		return nil, nil, false
	}
	padded := min((int64(size)+3)&^3, int64(len(text)))
	return text[:size], text[padded:], true
}

// contentOf is the last part of the build id of the Go toolchain, which is that of
// the binary's content. What is not printable is no build id.
func contentOf(text []byte) string {
	last := text[bytes.LastIndexByte(text, '/')+1:]
	if bytes.ContainsFunc(last, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return cutID(strings.Clone(string(last)))
}

func cutID(id string) string { return id[:min(len(id), shownID)] }
