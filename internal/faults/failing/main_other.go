//go:build !linux

package main

func main() { panic("it fails in the ways of Linux only") }
