package coverage

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// block is a basic block of a cover profile.
type block struct {
	codeRange
	count uint64
}

// profile are the blocks of each file, by its path from the root of the module.
type profile map[string][]block

// readProfile reads the text form of a cover profile. The files of other modules are left out.
func readProfile(r io.Reader, module string) (profile, error) {
	p := make(profile)
	lines := bufio.NewScanner(r)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "mode: ") {
		return nil, fmt.Errorf("coverage: a cover profile begins with its mode, not with %q", lines.Text())
	}
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ".go:")
		var b block
		var statements int
		_, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from.line, &b.from.column, &b.to.line, &b.to.column, &statements, &b.count)
		if !ok || err != nil {
			return nil, fmt.Errorf("coverage: the cover profile has a line that is none: %q", lines.Text())
		}
		if name, ok := strings.CutPrefix(file+".go", module+"/"); ok {
			p[name] = append(p[name], b)
		}
	}
	for _, blocks := range p {
		slices.SortFunc(blocks, func(a, b block) int {
			if a.from.before(b.from) {
				return -1
			}
			return 1
		})
	}
	return p, lines.Err()
}

// within lists the blocks that are, or begin, in a part of a file, and the one that the part
// begins in: a statement needs not begin a block of its own.
func (p profile) within(file string, code codeRange) []block {
	var out []block
	for _, b := range p[file] {
		starts := !b.from.before(code.from) && b.from.before(code.to)
		holds := !code.from.before(b.from) && code.from.before(b.to)
		if starts || holds {
			out = append(out, b)
		}
	}
	return out
}
