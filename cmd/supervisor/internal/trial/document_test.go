package trial

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"example.com/supervisor/cmd/supervisor/internal/figures"
)

func TestEveryFieldOfTheResultIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../../docs/load.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{Result{}, Attempt{}, figures.Traffic{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/load.md does not tell of %T.%s, %s", v, field.Name, name)
			}
		}
	}
}
