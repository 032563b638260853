package health

import (
	"math"
	"time"
)

const (
	// growthPoints are kept; growthLeast of them are used however old they are.
	growthPoints = 64
	growthLeast  = 5
	// growthSteps is how often the depth must have risen, and no step may be
	// more than two thirds of the whole. One burst is one step, or two.
	growthSteps = 3
	// growthTime is how long it must have taken at the least since the queue
	// was as good as empty, a 16th as deep as it is. A burst takes less.
	growthTime    = 5 * time.Millisecond
	growthDefault = 50 * time.Millisecond
)

// Growth estimates how fast a queue grows and when it will be full: by least
// squares over the observations since the queue was last half as deep as it
// is, so that fast growth is noticed at once and slow growth is not mistaken
// for it. A queue grows only if it rose in several steps and has not been
// deeper since; a burst that is being taken does not.
//
// The zero value is ready. Observing allocates nothing.
type Growth struct {
	// Window is how far back it looks, but for the last few observations, which
	// it always uses. Default 50 ms. Observations closer together than a 64th
	// of it count as one.
	Window time.Duration

	points [growthPoints]growthPoint // a ring
	next   int
	count  int
}

type growthPoint struct {
	at    time.Duration
	depth uint32
}

// Observe takes one depth; at does not go back.
func (g *Growth) Observe(at time.Duration, depth uint32) {
	if g.count > 0 && at-g.back(0).at < g.window()/growthPoints {
		return
	}
	g.points[g.next] = growthPoint{at, depth}
	g.next = (g.next + 1) % growthPoints
	g.count = min(g.count+1, growthPoints)
}

// PerSecond is by how many connections a second the queue grows; ok is false
// if it does not, or not yet surely.
func (g *Growth) PerSecond() (rate float64, ok bool) {
	n := g.rise()
	if n == 0 {
		return 0, false
	}
	rate = g.slope(n)
	return rate, rate > 0
}

// FullIn is when the queue will have no room for the next connection, growing
// as it does; ok is false if it does not grow.
func (g *Growth) FullIn(s Sample) (in time.Duration, ok bool) {
	rate, ok := g.PerSecond()
	if !ok {
		return 0, false
	}
	return atRate(s.Room(), rate), true
}

// rise returns how many points, the latest included, are the present rise; 0
// if there is none. It goes back to where the queue was half as deep, and
// further if that was not several steps ago.
func (g *Growth) rise() int {
	if g.count == 0 {
		return 0
	}
	now := g.back(0)
	steps, widest, n := 0, uint32(0), 1
	for ; n < g.count; n++ {
		p, later := g.back(n), g.back(n-1)
		half := later.depth <= now.depth/2
		if half && (steps >= growthSteps || p.depth > later.depth) || n >= growthLeast && now.at-p.at > g.window() {
			break
		}
		if p.depth > now.depth {
			return 0
		}
		if p.depth < later.depth {
			steps, widest = steps+1, max(widest, later.depth-p.depth)
		}
	}
	total := now.depth - g.back(n-1).depth
	if steps < growthSteps || uint64(widest)*3 > uint64(total)*2 || g.sudden() {
		return 0
	}
	return n
}

// sudden reports whether the queue was as good as empty a moment ago.
func (g *Growth) sudden() bool {
	now := g.back(0)
	for i := 1; i < g.count; i++ {
		p := g.back(i)
		if now.at-p.at >= growthTime {
			return false
		}
		if p.depth <= now.depth/16 {
			return true
		}
	}
	return false
}

// slope is that of the line through the last n points with the least squares,
// per second.
func (g *Growth) slope(n int) float64 {
	origin := g.back(0)
	var sx, sy, sxx, sxy float64
	for i := range n {
		p := g.back(i)
		x, y := (p.at - origin.at).Seconds(), float64(p.depth)-float64(origin.depth)
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	rate := (float64(n)*sxy - sx*sy) / (float64(n)*sxx - sx*sx)
	if math.IsNaN(rate) || math.IsInf(rate, 0) {
		return 0
	}
	return rate
}

// back returns the i-th point before the latest.
func (g *Growth) back(i int) growthPoint {
	return g.points[(g.next-1-i+2*growthPoints)%growthPoints]
}

func (g *Growth) window() time.Duration {
	if g.Window > 0 {
		return g.Window
	}
	return growthDefault
}

// atRate is how long it takes until n have come, rate of them each second.
func atRate(n uint32, rate float64) time.Duration {
	return time.Duration(min(float64(n)/rate, maxHeadroom.Seconds()) * float64(time.Second))
}
