package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds a manifest or config file.
const maxFileBytes = 1 << 20

// maxReported bounds how many mistakes of one file an error names.
const maxReported = 3

// readFile returns the content of a file that is not absurdly large.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxFileBytes)
	}
	return data, nil
}

// decode reads one YAML document into out, which holds the defaults. Unknown and
// repeated keys are refused. Errors name the file and the line, in one line.
func decode(name string, data []byte, out any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(out); err != nil {
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %s; %s", name, describe(err), doFile)
		}
		what := "the file is empty"
		if len(bytes.TrimSpace(data)) > 0 {
			what = "the file has nothing but comments"
		}
		return fmt.Errorf("%s: %s; %s", name, what, doFile)
	}
	var rest yaml.Node
	if err := dec.Decode(&rest); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one YAML document in the file; %s", name, doFile)
	}
	return nil
}

// doFile says what to do about a file that cannot be understood.
const doFile = "correct it, or put it back as it was made or sent"

// describe words an error of the YAML library for somebody who wrote the file.
func describe(err error) string {
	var te *yaml.TypeError
	if !errors.As(err, &te) {
		// The parser's own words are for those who write parsers: it is the place that helps.
		if line := syntaxLine.FindString(err.Error()); line != "" {
			return line + ": this is not YAML"
		}
		return "this is not YAML, or not text"
	}
	lines := make([]string, 0, len(te.Errors))
	for _, s := range te.Errors {
		if len(lines) == maxReported {
			lines = append(lines, fmt.Sprintf("and %d more", len(te.Errors)-maxReported))
			break
		}
		lines = append(lines, reword(s))
	}
	return strings.Join(lines, "; ")
}

var (
	unknownKey = regexp.MustCompile(`field (\S+) not found in type \S+`)
	syntaxLine = regexp.MustCompile(`line \d+`)
	wrongKind  = regexp.MustCompile("cannot unmarshal !!(\\w+)(?: `(.*)`)? into (\\S+)")
)

func reword(s string) string {
	s = unknownKey.ReplaceAllString(s, `unknown key "$1" (docs/configuration.md lists all)`)
	return wrongKind.ReplaceAllStringFunc(s, func(m string) string {
		p := wrongKind.FindStringSubmatch(m)
		found := "a " + map[string]string{"seq": "list", "map": "mapping", "str": "text", "int": "number"}[p[1]]
		if p[2] != "" {
			found = fmt.Sprintf("%q", p[2])
		} else if found == "a " {
			found = "this"
		}
		return found + " is not " + kindName(p[3])
	})
}

func kindName(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "map["), strings.HasPrefix(goType, "config."):
		return "a mapping of keys to values"
	case strings.Contains(goType, "int"):
		return "a whole number in range"
	case goType == "bool":
		return "true or false"
	}
	return "a text"
}

// scalarError reports a bad value in the way in which the library reports its
// own, so that all mistakes of a file are gathered.
func scalarError(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, args...)}}
}

// encode writes v below a heading of comment lines.
func encode(heading string, v any) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(heading) {
		b.WriteString("# " + line)
	}
	b.WriteByte('\n')
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	// The types of this package always encode; a failure is a mistake in them.
	if err := enc.Encode(v); err != nil {
		panic("config: " + err.Error())
	}
	if err := enc.Close(); err != nil {
		panic("config: " + err.Error())
	}
	return b.Bytes()
}
