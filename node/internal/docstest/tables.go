// Package docstest reads what the documentation states, for tests that compare it
// with the code.
package docstest

import (
	"bufio"
	"os"
	"regexp"
	"strings"
	"testing"
)

var row = regexp.MustCompile("^\\| `([^`]+)` \\| (.*?) \\| (.*?) \\| (.*?) \\|$")

// Tables returns the defaults in the tables of a Markdown file, by section and key. A
// row is | `key` | default | unit | meaning |; one without a unit or a meaning fails the test.
func Tables(t testing.TB, path string) map[string]map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tables := map[string]map[string]string{}
	section := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "## "); ok {
			section = name
			tables[section] = map[string]string{}
		}
		m := row.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if strings.TrimSpace(m[3]) == "" || strings.TrimSpace(m[4]) == "" {
			t.Errorf("%s: %s has no unit or no meaning", path, m[1])
		}
		if _, twice := tables[section][m[1]]; twice {
			t.Errorf("%s: %s stands twice", path, m[1])
		}
		tables[section][m[1]] = strings.Trim(m[2], "`")
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return tables
}
