package figures

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"example.com/supervisor/internal/load"
)

// Grouped writes 1234567 as 1,234,567.
func Grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Requests is for example "1 request" or "1,000 requests".
func Requests(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return Grouped(n) + " requests"
}

// ByKind is for example "eof 1, reset 3".
func ByKind(kinds map[load.FailureKind]uint64) string {
	if len(kinds) == 0 {
		return "none"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, kinds[kind]))
	}
	return strings.Join(parts, ", ")
}

// Progress is a live line about a run, and doing what is done meanwhile.
func Progress(now load.Progress, doing string) string {
	text := fmt.Sprintf("%7.1f s  %s, %d failed, p99 %s ms", now.ElapsedSeconds, Requests(now.Requests), now.Failed, significant(now.Traffic[0].Recent.P99MS))
	if doing != "" {
		text += "  " + doing
	}
	return text
}

// significant writes a number of milliseconds so that it is short.
func significant(ms float64) string {
	switch {
	case ms < 9.995:
		return fmt.Sprintf("%.2f", ms)
	case ms < 99.95:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}
