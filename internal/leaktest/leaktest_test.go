package leaktest

import (
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestWhatIsLeftOpenIsFound(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	before := Open()
	if left := Since(before, nil); len(left) > 0 {
		t.Errorf("nothing was opened, and %v is found", left)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if left := Since(before, nil); len(left) != 1 || !strings.HasSuffix(left[0], " -> "+os.DevNull) {
		t.Errorf("%s was opened, and %v is found", os.DevNull, left)
	}
	if left := Since(before, func(target string) bool { return target != os.DevNull }); len(left) > 0 {
		t.Errorf("what does not count is found: %v", left)
	}
}
