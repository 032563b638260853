package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// update rewrites golden files and what scripts expect.
var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with the file testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (rewrite it with -update); got:\n%s\nwant:\n%s", path, got, want)
	}
}
