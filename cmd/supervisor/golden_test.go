package main

import "flag"

// update rewrites golden files and what scripts expect.
var update = flag.Bool("update", false, "rewrite golden files")
