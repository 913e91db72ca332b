package baluarte_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/baluarte-bft/baluarte"

// goFile is a parsed source file of this module.
type goFile struct {
	path  string // slash-separated, from the root
	dir   string
	test  bool
	file  *ast.File
	fset  *token.FileSet
	lines int
}

// sources parses every Go file of the module.
func sources(t *testing.T) []goFile {
	t.Helper()
	var out []goFile
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata" || d.Name() == "cluster") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		slash := filepath.ToSlash(path)
		dir := filepath.ToSlash(filepath.Dir(path))
		out = append(out, goFile{slash, dir, strings.HasSuffix(slash, "_test.go"), f, fset, fset.File(f.Pos()).LineCount()})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d Go files found: the test does not see the tree", len(out))
	}
	return out
}

func imports(f goFile) []string {
	var out []string
	for _, s := range f.file.Imports {
		p, _ := strconv.Unquote(s.Path.Value)
		out = append(out, p)
	}
	return out
}

func under(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// local gives the directory of an import of this module, or "".
func local(imp string) string {
	if dir, ok := strings.CutPrefix(imp, module+"/"); ok {
		return dir
	}
	return ""
}

// TestImportArrows keeps the house of DESIGN.md: crypto ← bft ← {node, sim} ← bench ← cmd.
func TestImportArrows(t *testing.T) {
	allowed := map[string][]string{
		"crypto": {},
		"bft":    {"crypto", "bft"},
		"node":   {"crypto", "bft", "node"},
		"sim":    {"crypto", "bft", "sim", "node/app"},
		"bench":  {"crypto", "bft", "node", "sim", "bench"},
		"cmd":    {"crypto", "bft", "node", "sim", "bench", "cmd"},
	}
	for _, f := range sources(t) {
		top, _, _ := strings.Cut(f.dir, "/")
		for _, imp := range imports(f) {
			if strings.Contains(imp, "libp2p") && !under(f.dir, "node") {
				t.Errorf("%s imports %s: go-libp2p belongs to node alone", f.path, imp)
			}
			dir := local(imp)
			if dir == "" || f.test {
				continue
			}
			ok := allowed[top] == nil || slices.ContainsFunc(allowed[top], func(a string) bool { return under(dir, a) })
			if under(f.dir, "node/app") && !under(dir, "node/app") && !under(dir, "bft") && !under(dir, "crypto") {
				ok = false // the services run in the simulator too
			}
			if under(f.dir, "bft") && under(dir, "bft") && !under(f.dir, "bft/exec") && dir == "bft/exec" {
				ok = false
			}
			if !ok {
				t.Errorf("%s imports %s: that arrow points the wrong way", f.path, imp)
			}
		}
	}
}

// TestCoreIsPure keeps goroutines, channels, locks, clocks, randomness, I/O and logs out of bft.
func TestCoreIsPure(t *testing.T) {
	std := []string{"bytes", "container/list", "encoding/binary", "errors", "fmt", "math", "math/bits", "slices", "sort", "strings", "strconv", "cmp", "maps",
		"bufio", "unicode/utf8", "iter", "container/heap"}
	for _, f := range sources(t) {
		if f.test || !under(f.dir, "bft") || f.dir == "bft/bftpb" {
			continue
		}
		for _, imp := range imports(f) {
			if local(imp) != "" || slices.Contains(std, imp) || f.dir == "bft/exec" && (imp == "io" || imp == "context" || imp == "math/rand/v2" || imp == "time") {
				continue
			}
			t.Errorf("%s imports %s: the core is a function of its inputs", f.path, imp)
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s: goroutine or channel in the core", f.fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				if id, ok := x.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Sleep", "NewTimer", "NewTicker", "Tick"}, x.Sel.Name) {
					t.Errorf("%s: clock in the core", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}

// TestFilesAndFunctionsFitAScreen keeps files near 600 lines and functions near 70.
func TestFilesAndFunctionsFitAScreen(t *testing.T) {
	for _, f := range sources(t) {
		if strings.HasSuffix(f.path, ".pb.go") || f.test {
			continue
		}
		if f.lines > 650 {
			t.Errorf("%s has %d lines", f.path, f.lines)
		}
		for _, d := range f.file.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
				if n > 75 {
					t.Errorf("%s: %s has %d lines", f.path, fn.Name.Name, n)
				}
			}
		}
	}
}

// TestNoTestIsSkipped: a test that is skipped hides something.
func TestNoTestIsSkipped(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.file, func(n ast.Node) bool {
			if x, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, x.Sel.Name) {
				if id, ok := x.X.(*ast.Ident); ok && (id.Name == "t" || id.Name == "b" || id.Name == "tb") {
					t.Errorf("%s: skipped test", f.fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}
