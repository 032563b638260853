package fdpass

// Sizes in bytes of what surrounds the elements of a packet, rounded up.
const (
	headSize     = 128
	listenerSize = 96 // field names, a cookie of 20 digits, the longest network
	bodySize     = MaxPacket - headSize
)

// batchesOf splits listeners so that each batch fits a packet, in bytes and in
// descriptors. It may count a few bytes too many, never too few.
func batchesOf(ls []Listener) [][]Listener {
	return split(ls, MaxBatch, func(l Listener) int {
		return listenerSize + jsonSize(l.Name) + jsonSize(l.Address)
	})
}

// Split makes messages of s that each fit a packet. The figures of a listener
// replace its former ones, so that the parts can be sent one after the other.
func (s Stats) Split() []Stats {
	var parts []Stats
	for _, ls := range split(s.Listeners, MaxListeners, statsSize) {
		parts = append(parts, Stats{Listeners: ls, Program: s.Program})
	}
	if parts == nil {
		parts = []Stats{s}
	}
	return parts
}

// statsFields is all of a listener's statistics that is no name and no number.
const statsFields = len(`{"name":,"accepted":,"active":,"unknown":true,"oldest_ms":,"durations":[],"answered":,"sojourn":[]},`)

// statsSize counts rather than to make what would be made again to be sent.
func statsSize(l ListenerStats) int {
	n := statsFields + jsonSize(l.Name) + digits(l.Accepted) + digits(l.Answered)
	for _, signed := range []int64{l.Active, l.OldestMS} {
		n += len("-") + digits(uint64(max(signed, -signed)))
	}
	for _, counts := range [][]uint64{l.Durations, l.Sojourn} {
		for _, count := range counts {
			n += digits(count) + len(",")
		}
	}
	return n
}

// digits is how long a number is.
func digits(n uint64) int {
	length := 1
	for ; n >= 10; n /= 10 {
		length++
	}
	return length
}

func split[T any](all []T, most int, size func(T) int) [][]T {
	var parts [][]T
	start, used := 0, 0
	for i, one := range all {
		n := size(one)
		if i > start && (i-start == most || used+n > bodySize) {
			parts = append(parts, all[start:i])
			start, used = i, 0
		}
		used += n
	}
	if start < len(all) {
		parts = append(parts, all[start:])
	}
	return parts
}

// jsonSize is the length of a string in JSON, or a little more.
func jsonSize(s string) int {
	n := 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n += 2
		case c < 0x20 || c >= 0x7f:
			n += 6
		default:
			n++
		}
	}
	return n
}
