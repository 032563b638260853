package queue

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A column of a table.
type column struct {
	title string
	// rank is how dispensable it is: on a narrow screen those of the highest
	// rank go first; one of rank 0 stays.
	rank int
	// left: it is aligned to the left, and its cells are shortened in the middle
	// when all else is in vain.
	left bool
	// least is its width in a stream of rows, whose cells are not known yet.
	least int
}

// A row is one queue.
type row struct {
	key     string
	cells   []string
	depth   *uint32 // for the history
	trouble []Trouble
	notes   []string // what else there is to say below it
}

// A table is what all pictures have.
type table struct {
	columns []column
	rows    []row
}

const (
	gap = "  "
	// longLeft is how wide a column aligned to the left may be where there is
	// not enough room for all of them, leastLeft how narrow it may become.
	longLeft  = 24
	leastLeft = 8
)

// widths are those of the columns with all rows in sight.
func (t table) widths() []int {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r.cells[i]))
		}
	}
	return widths
}

// fit makes all at most width characters wide: it shortens long addresses
// first, then leaves out columns, then shortens what is left.
func (t table) fit(width int) (keep []int, widths []int) {
	widths = t.widths()
	for i := range t.columns {
		keep = append(keep, i)
	}
	t.narrow(keep, widths, width, longLeft)
	for t.over(keep, widths, width) > 0 {
		worst := slices.MaxFunc(keep, func(a, b int) int { return t.columns[a].rank - t.columns[b].rank })
		if t.columns[worst].rank == 0 {
			break
		}
		keep = slices.DeleteFunc(keep, func(i int) bool { return i == worst })
	}
	t.narrow(keep, widths, width, leastLeft)
	for _, i := range keep { // room that a column left behind
		if room := -t.over(keep, widths, width); room > 0 {
			widths[i] = min(widths[i]+room, t.widths()[i])
		}
	}
	return keep, widths
}

// over is by how much the columns are too wide.
func (t table) over(keep, widths []int, width int) int {
	sum := len(gap)*(len(keep)-1) - width
	for _, i := range keep {
		sum += widths[i]
	}
	return sum
}

// narrow takes from the columns aligned to the left, down to least.
func (t table) narrow(keep, widths []int, width, least int) {
	for _, i := range keep {
		if over := t.over(keep, widths, width); over > 0 && t.columns[i].left {
			widths[i] = max(widths[i]-over, min(widths[i], least))
		}
	}
}

// text writes the cells of one row.
func (t table) text(cells []string, keep, widths []int) string {
	var line strings.Builder
	for n, i := range keep {
		if n > 0 {
			line.WriteString(gap)
		}
		cell := cells[i]
		if t.columns[i].left {
			cell = clipMiddle(cell, widths[i])
		}
		pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
		if t.columns[i].left {
			line.WriteString(cell + pad)
		} else {
			line.WriteString(pad + cell)
		}
	}
	return strings.TrimRight(line.String(), " ")
}

func (t table) titles() []string {
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	return titles
}
