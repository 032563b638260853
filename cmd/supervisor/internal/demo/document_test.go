package demo

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/figures"
	"example.com/supervisor/internal/load"
)

func TestEveryFieldOfTheResultIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/demo.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Result{}, load.Machine{}, Settings{}, figures.Traffic{}, Upgrade{}, figures.QueuePoint{}, load.Latency{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/demo.md does not tell of %T.%s, %s", v, field.Name, name)
			}
		}
	}
}
