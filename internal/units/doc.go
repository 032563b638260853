// Package units has the tests that hold the units, those in systemd/ and those
// that "supervisor unit" prints, to what real systemds say of them.
package units
