package queue

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// unknown stands for a figure that is not known.
const unknown = "-"

// cell writes a figure, if it is known.
func cell[T any](v *T, write func(T) string) string {
	if v == nil {
		return unknown
	}
	return write(*v)
}

// span writes seconds as in 4ms, 0.4ms, 1.2s, 45s, 12m, 3h: at most six
// characters, and what is below a tenth of a millisecond as less than that.
func span(s float64) string {
	switch ms := s * 1000; {
	case ms <= 0:
		return "0ms"
	case ms < 0.1:
		return "<0.1ms"
	case ms < 9.95:
		return short(ms, 1) + "ms"
	case ms < 999.5:
		return short(ms, 0) + "ms"
	case s < 9.95:
		return short(s, 1) + "s"
	case s < 99.5:
		return short(s, 0) + "s"
	case s < 99.5*60:
		return short(s/60, 0) + "m"
	}
	return short(s/3600, 0) + "h"
}

// short writes v with so many decimals at most.
func short(v float64, decimals int) string {
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	return strings.TrimSuffix(text, ".0")
}

// below writes an upper bound.
func below(s float64) string { return "<" + span(s) }

// frequency writes a number per second.
func frequency(r float64) string {
	switch {
	case r > 0 && r < 0.05:
		return "<0.1"
	case r < 9.95:
		return short(r, 1)
	case r < 99_999.5:
		return short(r, 0)
	case r < 999_500:
		return short(r/1000, 0) + "k"
	}
	return short(r/1e6, 1) + "M"
}

// amount writes a counter in at most seven characters.
func amount(n uint64) string {
	switch {
	case n < 10_000_000:
		return strconv.FormatUint(n, 10)
	case n < 1_000_000_000:
		return short(float64(n)/1e6, 1) + "M"
	}
	return short(float64(n)/1e9, 1) + "G"
}

func count32(n uint32) string { return amount(uint64(n)) }

// percent writes a fraction.
func percent(f float64) string {
	if f > 0 && f < 0.01 {
		return "<1%"
	}
	return fmt.Sprintf("%.0f%%", f*100)
}

// printable replaces what could do something to a terminal: an abstract Unix
// address is any bytes that its maker likes.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.ToValidUTF8(text, "?"))
}

// clip shortens text to a width in characters, at its end.
func clip(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(width, 0)])
}

// clipMiddle shortens text to a width and keeps both ends, because addresses
// differ at either.
func clipMiddle(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	if width < 5 {
		return clip(text, width)
	}
	tail := (width - 3) * 2 / 3
	return string(runes[:width-3-tail]) + "..." + string(runes[len(runes)-tail:])
}
