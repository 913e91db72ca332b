package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestArgumentsWithAMinus(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.Bool("json", false, "")
	flags.Int("places", 0, "")
	flags.String("trace", "", "")
	flags.Lookup("trace").NoOptDefVal = "auto"
	for words, want := range map[string]string{
		"-3+5":               "--|-3+5",
		"--3":                "--|--3",
		"-(1) --json":        "--json|--|-(1)",
		"--json -.5":         "--json|--|-.5",
		"3 - 5":              "--|3|-|5",
		"-x -h --places":     "-x|-h|--places",
		"1 --places":         "--places",
		"1 --places -5 -6":   "--places|-5|--|1|-6",
		"1 --places=-5 -6":   "--places=-5|--|1|-6",
		"--trace -5":         "--trace|--|-5",
		"--nosuch -5":        "--nosuch|--|-5",
		"-1 -- -2 --json":    "--|-1|-2|--json",
		"--json -1 -- -- -2": "--json|--|-1|--|-2",
		"−1 1-2":             "--|−1|1-2",
		"---":                "--|---",
		"--json --places 3":  "--json|--places|3",
	} {
		given := strings.Fields(words)
		if got := strings.Join(flagsFirst(flags, given), "|"); got != want {
			t.Errorf("%s: %q, want %q", words, got, want)
		}
		if !slices.Equal(given, strings.Fields(words)) {
			t.Errorf("%s: the arguments were changed to %q", words, given)
		}
	}
}

// TestPointAt: the caret is below the character, whatever surrounds it.
func TestPointAt(t *testing.T) {
	long := strings.Repeat("1", 100)
	for _, c := range []struct {
		expression string
		position   int
	}{
		{"1+x", 3}, {"x", 1}, {"", 1}, {"1+", 3}, {"2×x", 3}, {"2×\xff", 3}, {"1+\x00\n", 3}, {"x" + long, 1}, {long, 101}, {long + "x", 101}, {long + "x" + long, 101},
	} {
		lines := strings.Split(pointAt(c.expression, c.position), "\n")
		if len(lines) != 3 || lines[2] != "" || len([]rune(lines[0])) > 70 {
			t.Errorf("%q: %q", c.expression, lines)
			continue
		}
		shown, caret := []rune(lines[0]+" "), strings.IndexByte(lines[1], '^')
		want := ' ' // after the end
		if at := []rune(c.expression); c.position <= len(at) {
			want = at[c.position-1]
		}
		if want < ' ' {
			want = '\uFFFD'
		}
		if shown[caret] != want {
			t.Errorf("%q: the caret of character %d is below %q", c.expression, c.position, shown[caret])
		}
	}
}
