// Package python is an example of a child in another language: echo.py
// implements docs/protocol.md with nothing but Python's standard library. The
// tests of this package run it, and the smallest child of that document too.
package python
