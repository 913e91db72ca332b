package mutants

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/baluarte-bft/baluarte/sim/internal/gocmd"
)

func all(t *testing.T) []*Mutant {
	t.Helper()
	ms, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(ms) < 13 {
		t.Fatalf("only %d mutants: the patches are not all embedded", len(ms))
	}
	return ms
}

// source is a package of the tree as go list describes it.
type source struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// listing has the packages that mutants change and all that they import, compiled.
func listing(t *testing.T, root string, dirs []string) map[string]*source {
	t.Helper()
	args := []string{"list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles"}
	for _, d := range dirs {
		args = append(args, "./"+d)
	}
	out, err := gocmd.Run(t.Context(), root, args...)
	if err != nil {
		t.Fatal(err)
	}
	list := make(map[string]*source)
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var s source
		if err := d.Decode(&s); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list[s.ImportPath] = &s
	}
}

// TestEveryPatchFitsAndCompiles: a stale patch shows nothing. The changed package is only parsed
// and type-checked, against what its imports were compiled to, which takes a moment.
func TestEveryPatchFitsAndCompiles(t *testing.T) {
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	changed := make(map[*Mutant]map[string][]byte)
	var dirs []string
	for _, m := range all(t) {
		if changed[m], err = m.apply(root); err != nil {
			t.Error(err)
		}
		for name := range changed[m] {
			if d := path.Dir(name); !slices.Contains(dirs, d) {
				dirs = append(dirs, d)
			}
		}
	}
	list := listing(t, root, dirs)
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) { return os.Open(list[p].Export) })
	parsed := make(map[string]*ast.File)
	for _, m := range all(t) {
		files, err := m.apply(root)
		if err != nil {
			continue // reported above
		}
		done := make(map[string]bool)
		for name := range files {
			if d := path.Dir(name); !done[d] {
				done[d] = true
				typeCheck(t, m, list[gocmd.Module+"/"+d], d, files, fset, imports, parsed)
			}
		}
	}
}

// typeCheck checks package p with some files changed. parsed has the files as they are in the tree.
func typeCheck(t *testing.T, m *Mutant, p *source, dir string, files map[string][]byte, fset *token.FileSet, imports types.Importer, parsed map[string]*ast.File) {
	t.Helper()
	var whole []*ast.File
	for _, name := range p.GoFiles {
		content, isChanged := files[path.Join(dir, name)]
		f := parsed[path.Join(dir, name)]
		if isChanged || f == nil {
			var src any
			if isChanged {
				src = content
			}
			var err error
			if f, err = parser.ParseFile(fset, filepath.Join(p.Dir, name), src, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", m.File, err)
				return
			}
			if !isChanged {
				parsed[path.Join(dir, name)] = f
			}
		}
		whole = append(whole, f)
	}
	conf := types.Config{Importer: imports, Error: func(err error) { t.Errorf("%s: %v", m.File, err) }}
	_, _ = conf.Check(p.ImportPath, fset, whole, nil) // its errors were reported one by one
}

const tree = `package p

func a() int {
	return 1
}

func b() int {
	return 2
}
`

const patch = `# b gives one too many.
# Breaks: rule 0: b gives
# two.
# Notices: nobody.
diff --git a/p/p.go b/p/p.go
--- a/p/p.go
+++ b/p/p.go
@@ -6,4 +6,4 @@
 
 func b() int {
-	return 2
+	return 3
 }
`

func treeWith(t *testing.T, content string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "p"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "p", "p.go"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestHeadOfAPatch(t *testing.T) {
	m, err := parse("01-b-gives-three.patch", []byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "b-gives-three" || m.Title != "b gives one too many." || m.Breaks != "rule 0: b gives two." || m.Notices != "nobody." {
		t.Errorf("read %+v", m)
	}
}

// TestPatchesMoveWithTheCode: lines that come and go elsewhere in a file leave a patch fitting,
// a change of the lines that it needs does not.
func TestPatchesMoveWithTheCode(t *testing.T) {
	m, err := parse("01-b-gives-three.patch", []byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(tree, "return 2", "return 3", 1)
	const more = "\n// One more.\nvar c = 1\n"
	for name, at := range map[string][2]string{
		"as written": {tree, want},
		"lines above": {strings.Replace(tree, "package p\n", "package p\n"+more, 1),
			strings.Replace(want, "package p\n", "package p\n"+more, 1)},
		"lines below": {tree + more, want + more},
	} {
		got, err := m.apply(treeWith(t, at[0]))
		if err != nil || string(got["p/p.go"]) != at[1] {
			t.Errorf("%s: %v, %s", name, err, got["p/p.go"])
		}
	}
	for name, content := range map[string]string{
		"changed":  strings.Replace(tree, "return 2", "return 1 + 1", 1),
		"renamed":  strings.Replace(tree, "b()", "d()", 1),
		"twice":    tree + "\nfunc b() int {\n\treturn 2\n}\n",
		"no lines": "",
	} {
		if got, err := m.apply(treeWith(t, content)); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v, %s", name, err, got["p/p.go"])
		}
	}
	if _, err := m.apply(t.TempDir()); !errors.Is(err, ErrStale) {
		t.Errorf("without the file: %v", err)
	}
}

func TestPatchesThatAreNone(t *testing.T) {
	for name, x := range map[string]struct{ file, text, want string }{
		"name":     {"b.patch", patch, "must be named"},
		"no diff":  {"01-b.patch", "# x\n# Breaks: y\n# Notices: z\n", "no diff"},
		"no head":  {"01-b.patch", patch[strings.Index(patch, "diff"):], "the head"},
		"half":     {"01-b.patch", strings.Replace(patch, "# Notices: nobody.\n", "", 1), "the head"},
		"prose":    {"01-b.patch", "x\n" + patch, "does not begin with #"},
		"new file": {"01-b.patch", strings.Replace(patch, "--- a/p/p.go\n", "new file mode 100644\n--- /dev/null\n", 1), ""},
	} {
		_, err := parse(x.file, []byte(x.text))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	same := fstest.MapFS{"d/01-b.patch": {Data: []byte(patch)}, "d/02-b.patch": {Data: []byte(patch)}}
	if _, err := load(same, "d"); err == nil || !strings.Contains(err.Error(), "same name") {
		t.Errorf("two of one name: %v", err)
	}
}

func TestChoose(t *testing.T) {
	ms := all(t)
	if got, err := Choose(ms, nil); err != nil || len(got) != len(ms) {
		t.Errorf("no names: %d, %v", len(got), err)
	}
	got, err := Choose(ms, []string{ms[3].Name, ms[1].File, strings.TrimSuffix(ms[1].File, ".patch")})
	if err != nil || !slices.Equal(got, []*Mutant{ms[3], ms[1]}) {
		t.Errorf("three names of two: %v, %v", got, err)
	}
	if _, err := Choose(ms, []string{"nonesuch"}); err == nil || !strings.Contains(err.Error(), "bftsim mutants --list") {
		t.Errorf("a wrong name: %v", err)
	}
}

func TestMedian(t *testing.T) {
	for _, x := range []struct {
		counts []uint64
		tries  int
		want   uint64
		ok     bool
	}{
		{nil, 1, 0, false}, {[]uint64{7}, 1, 7, true}, {[]uint64{9, 1, 5}, 3, 5, true},
		{[]uint64{9, 1}, 3, 9, true}, {[]uint64{1}, 3, 0, false}, {[]uint64{4, 2}, 2, 2, true},
	} {
		if got, ok := median(x.counts, x.tries); got != x.want || ok != x.ok {
			t.Errorf("median of %v in %d tries is %d, %v", x.counts, x.tries, got, ok)
		}
	}
}

func TestWhatIsRead(t *testing.T) {
	f, err := verdict([]byte(`{"outcome":"failed","failed":{"options":{"seed":17},"failure":{"oracle":"S1","at":"2.31s"}},"census":{}}`))
	if err != nil || f == nil || *f != (failure{17, "S1"}) {
		t.Errorf("a failure: %+v, %v", f, err)
	}
	if f, err := verdict([]byte(`{"outcome":"ok","census":{}}`)); err != nil || f != nil {
		t.Errorf("none: %+v, %v", f, err)
	}
	for _, bad := range []string{"", "{}", `{"outcome":"failed"}`} {
		if f, err := verdict([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, f)
		}
	}
	const events = `{"Action":"pass","Package":"x/bft","Test":"TestA"}
{"Action":"fail","Package":"` + gocmd.Module + `/bft","Test":"TestChaos"}
{"Action":"fail","Package":"` + gocmd.Module + `/bft/exec","Test":"TestRule1/n=4"}
{"Action":"fail","Package":"` + gocmd.Module + `/bft/exec","Test":"TestRule1"}
{"Action":"fail","Package":"` + gocmd.Module + `/bft/exec"}
`
	want := []testName{{gocmd.Module + "/bft/exec", "TestRule1"}, {gocmd.Module + "/bft", "TestChaos"}}
	if got := failedTests([]byte(events)); !slices.Equal(got, want) {
		t.Errorf("the failed tests are %v", got)
	}
	if got := want[0].String(); got != "TestRule1 (bft/exec)" {
		t.Errorf("a test is printed as %q", got)
	}
	if got := failedTests([]byte(`{"Action":"fail","Package":"x"}`)); len(got) != 0 {
		t.Errorf("a package that does not build is read as tests %v", got)
	}
	if got := oracles([]string{"S6", "S1", "S1"}); got != "S1, S6" {
		t.Errorf("oracles are listed as %q", got)
	}
}

// TestAMutantIsNoticed runs the whole of it, on the mutant that is noticed soonest. The number of seeds bounds it, not time:
// building a mutant takes as long as the machine is busy.
func TestAMutantIsNoticed(t *testing.T) {
	ms, err := Choose(all(t), []string{"vote-before-sync"})
	if err != nil {
		t.Fatal(err)
	}
	root, err := Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	r, err := Run(t.Context(), Options{Root: root, Mutants: ms, First: 1, Last: 2, Repeat: 1, Jobs: 1,
		Progress: func(_ int, name, step string) { steps = append(steps, name+": "+step) }})
	if err != nil {
		t.Fatal(err)
	}
	m := r.Mutants[0]
	if !m.Killed || m.By != "D2" || m.SeedsMedian == nil || *m.SeedsMedian > 2 || m.Error != "" {
		t.Errorf("%+v", m)
	}
	if len(steps) != 4 || steps[0] != "without a patch: build" {
		t.Errorf("steps %q", steps)
	}
}
