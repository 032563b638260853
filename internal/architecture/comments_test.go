package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExportedIsDocumented wants a comment on all that other packages can name.
// The comment of a group speaks for its members.
func TestExportedIsDocumented(t *testing.T) {
	t.Parallel()
	for _, f := range goFiles(t) {
		name := filepath.Join(root, f.pkg, f.name)
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, bare := range undocumented(parsed) {
			t.Errorf("%s/%s: %s has no comment", f.pkg, f.name, bare)
		}
	}
}

// TestPackagesSayWhatTheyAre wants a comment on every package.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, f := range goFiles(t) {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, f.pkg, f.name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		said[f.pkg] = said[f.pkg] || parsed.Doc != nil
	}
	for pkg, is := range said {
		if !is {
			t.Errorf("no file of %s has a comment on the package", pkg)
		}
	}
}

func undocumented(f *ast.File) []string {
	var bare []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && receiverIsExported(d) && !slices.Contains(conventional, d.Name.Name) {
				bare = append(bare, d.Name.Name)
			}
		case *ast.GenDecl:
			if d.Doc == nil && d.Tok != token.IMPORT {
				bare = append(bare, undocumentedSpecs(d)...)
			}
		}
	}
	return bare
}

// conventional are methods whose name says what the standard library has them do.
var conventional = []string{"Error", "Unwrap", "Is", "String", "Close"}

func receiverIsExported(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	id, ok := t.(*ast.Ident)
	return !ok || id.IsExported()
}

func undocumentedSpecs(d *ast.GenDecl) []string {
	var bare []string
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Doc == nil && s.Comment == nil && s.Name.IsExported() {
				bare = append(bare, s.Name.Name)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if s.Doc == nil && s.Comment == nil && n.IsExported() {
					bare = append(bare, n.Name)
				}
			}
		}
	}
	return bare
}

func TestUndocumentedIsFound(t *testing.T) {
	t.Parallel()
	const source = `package x
func Bare() {}
func bare() {}
// Told does.
func Told() {}
func (t *T) Method() {}
func (t *T) Error() string { return "" }
func (t t) Hidden() {}
type T struct{}
// Group of two.
type (
	A int
	B int
)
const (
	C = 1
	D = 2 // is said
	e = 3
)
`
	parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(undocumented(parsed), " ")
	if want := "Bare Method T C"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}
