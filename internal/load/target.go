package load

type target struct{ network, address, host string }

func parseTarget(s string) (target, error) { return target{}, nil }
