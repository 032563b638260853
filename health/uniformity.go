package health

// Uniformity tells how evenly the connections wait in the queues of an
// SO_REUSEPORT group: 1 if all queues are alike, 1/n if one of n has them all
// (Jain's fairness index). Queues that are all empty are alike.
func Uniformity(depths []uint64) float64 {
	var sum, squares float64
	for _, d := range depths {
		x := float64(d)
		sum += x
		squares += x * x
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(depths)) * squares)
}
