// Package scale has no code but tests: how the supervisor takes a million requests,
// ten thousand upgrades, a thousand listeners and tens of thousands of open
// connections. Short forms run with all tests; the long ones are make million,
// endurance and scale, which write docs/scale.md.
package scale
