package coverage

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lastRule is the number of rules that the protocol has.
const lastRule = 33

// citation is a comment that cites rules, and the code that it speaks of.
type citation struct {
	rules []int
	// file is the path of the source file from the root, with slashes.
	file string
	line int
	// name is the function that the code is in, or the declaration that the comment is at.
	name string
	// code are the parts of the file that the comment speaks of: the statement that it stands at, the
	// function that it documents, or the methods of the type. Empty: it speaks of no code.
	code []codeRange
}

// position in a file, as cover profiles give it.
type position struct{ line, column int }

func (p position) before(q position) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

type codeRange struct{ from, to position }

var (
	rulesWord   = regexp.MustCompile(`\b[Rr]ules?\s+(\d+(?:(?:,\s*(?:and\s+)?|\s+and\s+|\s+to\s+)\d+)*)`)
	rulesNumber = regexp.MustCompile(`(to\s+)?(\d+)`)
)

// citedRules lists the rules that a comment cites, in order, each once. "Rules 24 to 28" are five.
func citedRules(comment string) []int {
	var out []int
	for _, words := range rulesWord.FindAllStringSubmatch(comment, -1) {
		last := 0
		for _, m := range rulesNumber.FindAllStringSubmatch(words[1], -1) {
			n, err := strconv.Atoi(m[2])
			if err != nil || n < 1 || n > lastRule {
				continue
			}
			from := n
			if m[1] != "" && last > 0 {
				from = last + 1
			}
			for last = from; last < n; last++ {
				out = append(out, last)
			}
			out = append(out, n)
			last = n
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// citations reads the source files of packages, tests excepted; directories are relative to root.
func citations(root string, dirs []string) ([]citation, error) {
	var out []citation
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(root, filepath.FromSlash(dir)))
		if err != nil {
			return nil, err
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
				f, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(dir), name), nil, parser.ParseComments)
				if err != nil {
					return nil, fmt.Errorf("coverage: %w", err)
				}
				files = append(files, f)
			}
		}
		methods := methodsOf(fset, files)
		for _, f := range files {
			r := reader{fset: fset, file: f, methods: methods}
			for _, c := range r.citations() {
				c.file = dir + "/" + filepath.Base(fset.Position(f.Pos()).Filename)
				out = append(out, c)
			}
		}
	}
	return out, nil
}

// fileRange is a range in a named file: methods may stand in another file than their type.
type fileRange struct {
	file string
	codeRange
}

// methodsOf gives the bodies of the methods of each type.
func methodsOf(fset *token.FileSet, files []*ast.File) map[string][]fileRange {
	out := make(map[string][]fileRange)
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Body != nil {
				name := receiver(fn)
				out[name] = append(out[name], fileRange{fset.Position(fn.Pos()).Filename, span(fset, fn.Body)})
			}
		}
	}
	return out
}

// receiver is the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func at(fset *token.FileSet, p token.Pos) position {
	x := fset.Position(p)
	return position{x.Line, x.Column}
}

func span(fset *token.FileSet, n ast.Node) codeRange {
	return codeRange{at(fset, n.Pos()), at(fset, n.End())}
}

// reader finds what the comments of one file speak of.
type reader struct {
	fset    *token.FileSet
	file    *ast.File
	methods map[string][]fileRange
}

func (r *reader) citations() []citation {
	var out []citation
	for _, group := range r.file.Comments {
		rules := citedRules(group.Text())
		if len(rules) == 0 {
			continue
		}
		c := citation{rules: rules, line: r.fset.Position(group.Pos()).Line}
		r.subject(group, &c)
		out = append(out, c)
	}
	return out
}

// subject finds the code that a comment speaks of.
func (r *reader) subject(group *ast.CommentGroup, c *citation) {
	for _, d := range r.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			switch {
			case d.Body == nil:
			case d.Doc == group:
				c.name, c.code = funcName(d), []codeRange{span(r.fset, d.Body)}
				return
			case d.Body.Pos() <= group.Pos() && group.End() <= d.Body.End():
				c.name, c.code = funcName(d), []codeRange{r.statement(d.Body, group)}
				return
			}
		case *ast.GenDecl:
			if c.name == "" && (d.Doc == group || d.Pos() <= group.Pos() && group.Pos() <= d.End()+1 || r.sameLine(d.End(), group.Pos())) {
				r.declared(d, group, c)
			}
		}
	}
}

func (r *reader) sameLine(a, b token.Pos) bool {
	return r.fset.Position(a).Line == r.fset.Position(b).Line
}

// declared: what documents a type speaks of its methods in this file; what stands at a field, a
// constant or a variable speaks of no code.
func (r *reader) declared(d *ast.GenDecl, group *ast.CommentGroup, c *citation) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if d.Doc == group && len(d.Specs) == 1 || s.Doc == group {
				c.name = s.Name.Name
				for _, m := range r.methods[s.Name.Name] {
					if m.file == r.fset.Position(r.file.Pos()).Filename {
						c.code = append(c.code, m.codeRange)
					}
				}
			} else if s.Pos() <= group.Pos() && (group.End() <= s.End() || r.sameLine(s.End(), group.Pos())) {
				c.name = s.Name.Name
			}
		case *ast.ValueSpec:
			if c.name == "" || s.Pos() <= group.End() {
				c.name = s.Names[0].Name
			}
		}
	}
}

func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	return receiver(fn) + "." + fn.Name.Name
}

// statement finds the statement that a comment within a function stands at: the one that it ends the
// line of, else the next one in the same block, else the block itself.
func (r *reader) statement(body *ast.BlockStmt, group *ast.CommentGroup) codeRange {
	var block ast.Node = body
	var list []ast.Stmt
	ast.Inspect(body, func(n ast.Node) bool {
		if n == nil || n.Pos() > group.Pos() || n.End() < group.End() {
			return false
		}
		switch n := n.(type) {
		case *ast.BlockStmt:
			block, list = n, n.List
		case *ast.CaseClause:
			block, list = n, n.Body
		case *ast.CommClause:
			block, list = n, n.Body
		}
		return true
	})
	line := r.fset.Position(group.Pos()).Line
	for _, s := range list {
		if s.Pos() < group.Pos() && (r.fset.Position(s.End()).Line == line || r.fset.Position(s.Pos()).Line == line) {
			return span(r.fset, s)
		}
	}
	for _, s := range list {
		if s.Pos() > group.End() {
			return span(r.fset, s)
		}
	}
	return span(r.fset, block)
}
