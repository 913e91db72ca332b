package baluarte_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsTranslated: a page in Portuguese has the programs, the figures and the parts of the English one, and each page
// names the other. What is added to one is missing in the other otherwise.
func TestDocsTranslated(t *testing.T) {
	translated := 0
	for _, file := range docFiles(t) {
		english := strings.Replace(file, ".pt-BR.md", ".md", 1)
		if english == file {
			continue
		}
		translated++
		a, b := partsOf(t, english), partsOf(t, file)
		for name, n := range a.count {
			if b.count[name] != n {
				t.Errorf("%s has %d %s, %s has %d: bring the translation up to date", english, n, name, file, b.count[name])
			}
		}
		equal(t, file+": programs", b.programs, a.programs)
		equal(t, file+": figures", b.figures, a.figures)
		if !strings.Contains(a.text, "]("+filepath.Base(file)+")") || !strings.Contains(b.text, "]("+filepath.Base(english)+")") {
			t.Errorf("%s and %s do not name each other", english, file)
		}
	}
	if translated < 5 {
		t.Errorf("only %d pages are translated", translated)
	}
}

// The words for what the protocol and the services have are the same on all pages in Portuguese: mudança de visão (view
// change), lock, lease, requisição, alteração.
var otherWords = regexp.MustCompile(`(?i)\btravas?\b|\bconcess(ão|ões)|troca de (view|visão)|\bpedidos?\b|\bmudanças?`)

// TestOneWordForEach: no page in Portuguese has another word for them.
func TestOneWordForEach(t *testing.T) {
	for _, file := range docFiles(t) {
		if !strings.HasSuffix(file, ".pt-BR.md") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			n++
			if word := otherWord(line); word != "" {
				t.Errorf("%s:%d: %q: see the words above this test", file, n, word)
			}
		}
	}
	for line, want := range map[string]bool{"uma trava": true, "as travas.": true, "uma mudança de visão (view change)": false, "a última mudança, 0": true,
		"mudança de uma chave": true, "concessões": true, "os pedidos": true, "o que se pede": false} {
		if (otherWord(line) != "") != want {
			t.Errorf("%q: %v", line, !want)
		}
	}
}

func otherWord(line string) string {
	return otherWords.FindString(strings.ReplaceAll(line, "mudança de visão", ""))
}

// parts are what a page and its translation have alike.
type parts struct {
	text              string
	programs, figures []string
	count             map[string]int
}

var figure = regexp.MustCompile(`\d[\d.,]*\d`) // of one digit may be a word in the other language

func partsOf(t *testing.T, file string) parts {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := parts{text: string(text), count: map[string]int{}}
	all := fences(t, file)
	p.count["fences"] = len(all)
	for _, f := range all {
		if strings.HasPrefix(f.info, "go ") {
			p.programs = append(p.programs, f.info, f.text)
		}
	}
	inFence, measured := false, false
	for line := range strings.Lines(p.text) {
		switch {
		case strings.HasPrefix(line, "```"):
			inFence = !inFence
		case inFence:
		case strings.HasPrefix(line, "#"):
			p.count["headings"]++
		case strings.HasPrefix(line, "- "):
			p.count["entries of lists"]++
		case strings.HasPrefix(line, "|"):
			p.count["rows of tables"]++
		case strings.HasPrefix(line, "<!-- figures:"):
			measured = !measured
		}
		if measured {
			for _, f := range figure.FindAllString(line, -1) {
				p.figures = append(p.figures, strings.NewReplacer(".", "", ",", "").Replace(f))
			}
		}
	}
	return p
}

// link is one of a document to another file; what stands between backquotes is none.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks: each link of a document leads to a file that is there, and to a heading that it has.
func TestLinks(t *testing.T) {
	strip := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	anchors := func(file string) map[string]bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
				out[strings.ReplaceAll(strip.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")] = true
			}
		}
		return out
	}
	links := 0
	for _, file := range append(docFiles(t), "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		prose := regexp.MustCompile("(?s)```.*?\n```").ReplaceAllString(string(text), "")
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(prose, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := file
			if path != "" {
				to = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", file, m[1])
			} else if anchor != "" && strings.HasSuffix(to, ".md") && !anchors(to)[anchor] {
				t.Errorf("%s: %s has no heading for %s", file, to, anchor)
			}
		}
	}
	if links < 40 {
		t.Errorf("only %d links: the test does not see them", links)
	}
}
