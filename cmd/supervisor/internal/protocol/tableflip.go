package protocol

import (
	"net"
	"slices"
	"strings"

	"example.com/supervisor/fdpass"
)

// An Alias is a name under which a tableflip program may ask for a listener:
// kind, network and address.
type Alias struct {
	Listener int // its place among the listeners
	Name     [3]string
}

// Aliases are the names under which tableflip programs may ask for the
// listeners. A program finds what it inherits by the very words that it would
// open it with (upg.Listen), so that these have to be guessed: written is the
// address of each listener as the configuration has it, which is certain; then
// come the ways in which the address of the socket may be written. What the
// program does not ask for it closes when it is ready.
func Aliases(ls []fdpass.Listener, written []string) []Alias {
	var all []Alias
	add := func(i int, network, address string) {
		name := [3]string{kindOf(network), network, address}
		if !slices.ContainsFunc(all, func(a Alias) bool { return a.Name == name }) {
			all = append(all, Alias{i, name})
		}
	}
	for i, l := range ls { // what is certain wins
		for _, network := range networksOf(l.Network) {
			add(i, network, written[i])
			add(i, network, l.Address)
		}
	}
	for i, l := range ls {
		for _, network := range networksOf(l.Network) {
			for _, address := range synonyms(l) {
				add(i, network, address)
			}
		}
	}
	return all
}

func kindOf(network string) string {
	if strings.HasPrefix(network, "udp") || network == "unixgram" {
		return "packet"
	}
	return "listener"
}

// networksOf are the names that package net has for the network of a socket.
func networksOf(network string) []string {
	if family := strings.TrimRight(network, "46"); family != network {
		return []string{family, network}
	}
	return []string{network}
}

// synonyms are other ways to write the address of a socket.
func synonyms(l fdpass.Listener) []string {
	host, port, err := net.SplitHostPort(l.Address)
	ip := net.ParseIP(host)
	switch {
	case err != nil || ip == nil || strings.HasPrefix(l.Network, "unix"):
		return nil
	case ip.IsUnspecified():
		return []string{":" + port}
	case ip.IsLoopback():
		return []string{"localhost:" + port}
	}
	return nil
}
