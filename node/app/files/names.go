package files

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxName is the length of the longest name, in bytes.
const MaxName = 255

// CheckName says what is wrong with the name of a file, or nil. A name is one to MaxName bytes of
// UTF-8, in parts that slashes separate: no part is empty, "." or "..", none begins or ends with a
// space, and there is no backslash, control character or character that cannot be seen. So a
// name never leads out of a directory below which somebody writes it, and two names that look alike
// to a reader of a listing are not told apart by what is invisible.
//
// The rules are spelled out: the tables of package unicode change with Go's releases, and all
// replicas must judge alike.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is needed")
	case len(name) > MaxName:
		return fmt.Errorf("the name has %d bytes: at most %d are possible", len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8", name)
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("the name %q begins with a slash: leave it out", name)
	}
	for _, r := range name {
		if r == '\\' {
			return fmt.Errorf("the name %q has a backslash: separate parts by slashes", name)
		}
		if invisible(r) {
			return fmt.Errorf("the name %q has the character %U, which cannot be seen", name, r)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return fmt.Errorf("the name %q has an empty part: one slash between two parts, none at the end", name)
		case part == "." || part == "..":
			return fmt.Errorf("the name %q has the part %q", name, part)
		case strings.HasPrefix(part, " ") || strings.HasSuffix(part, " "):
			return fmt.Errorf("the name %q has a part that begins or ends with a space", name)
		}
	}
	return nil
}

// invisible: controls, and what changes the direction of text, joins, or has no width.
func invisible(r rune) bool {
	for _, span := range [...][2]rune{{0, 0x1f}, {0x7f, 0xa0}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180e, 0x180e}, {0x200b, 0x200f},
		{0x2028, 0x202f}, {0x2060, 0x206f}, {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffd}, {0xe0000, 0xe0fff}} {
		if r >= span[0] && r <= span[1] {
			return true
		}
	}
	return false
}
