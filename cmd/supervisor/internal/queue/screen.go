package queue

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A Screen is a terminal that shows one picture after the other in the same
// place, on the terminal's alternate screen: what was there before is there
// again after Leave. It changes no mode of the terminal's line discipline, so
// that a process that is killed leaves nothing worse than a hidden cursor. It
// is not for concurrent use.
type Screen struct {
	out   io.Writer
	size  func() (width, height int)
	color bool
	ascii bool
}

// Escape sequences as in xterm's ctlseqs: the alternate screen, no cursor, no
// wrapping of what is too long.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	eraseLine   = "\x1b[K"
	eraseBelow  = "\x1b[J"
	plainStyle  = "\x1b[0m"
)

// NewScreen returns the screen behind out, which it borrows; nil if out is no
// terminal, or one that has no such screen.
func NewScreen(out io.Writer, getenv func(string) string) *Screen {
	file, ok := out.(*os.File)
	if !ok || getenv("TERM") == "dumb" || getenv("TERM") == "" {
		return nil
	}
	fd := int(file.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	size := func() (width, height int) {
		width, height, err := term.GetSize(fd)
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	return &Screen{out: out, size: size, color: getenv("NO_COLOR") == "", ascii: !isUTF8(getenv)}
}

// isUTF8 tells whether the locale says so (locale(7)).
func isUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return false
}

// Enter begins; Leave must follow, whatever happens.
func (s *Screen) Enter() { fmt.Fprint(s.out, enterScreen) }

// Leave shows again what was there before.
func (s *Screen) Leave() { fmt.Fprint(s.out, leaveScreen) }

// Show shows p with its history, and above it a note, if there is one, that is
// about the picture as a whole.
func (s *Screen) Show(p Picture, history *History, note string) {
	width, height := s.size()
	lines := Lines(p, Look{Width: width, History: history, ASCII: s.ascii})
	if note != "" {
		lines[1] = Line{clip(note, width), Alarm}
	}
	_, _ = io.WriteString(s.out, s.frame(cutLines(lines, width, height), height)) // a terminal that is gone ends us by SIGHUP
}

// cutLines makes lines fit a height and says how many do not.
func cutLines(lines []Line, width, height int) []Line {
	if len(lines) <= height {
		return lines
	}
	shown := max(height-1, 0)
	more := fmt.Sprintf("... %d lines more; make the window higher", len(lines)-shown)
	return append(lines[:shown:shown], Line{clip(more, width), Faint})
}

// frame draws lines from the top of the screen, and nothing below them.
func (s *Screen) frame(lines []Line, height int) string {
	var text strings.Builder
	text.WriteString(home)
	for i, l := range lines {
		if i > 0 {
			text.WriteString("\r\n")
		}
		text.WriteString(eraseLine + s.styled(l))
	}
	if len(lines) < height {
		text.WriteString("\r\n" + eraseBelow)
	}
	return text.String()
}

func (s *Screen) styled(l Line) string {
	code := map[Style]string{Heading: "\x1b[1m", Alarm: "\x1b[1;31m", Faint: "\x1b[2m"}[l.Style]
	if code == "" || !s.color || l.Text == "" {
		return l.Text
	}
	return code + l.Text + plainStyle
}
