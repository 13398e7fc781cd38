package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// order is the import direction of the six folders: each may import itself and
// what stands before it.
var order = []string{"apdu", "card", "tpm", "flows", "hwtest", "cmd"}

// TestImportDirection holds every package, tests included, to the order, and
// keeps roles from knowing each other; the test of a role may set up others from
// the outside (package role_test).
func TestImportDirection(t *testing.T) {
	out, err := exec.Command("go", "list", "-f",
		`{{.ImportPath}}: {{join .Imports " "}} {{join .TestImports " "}} ;{{join .XTestImports " "}}`, "mcim/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(line, ":")
		from := folder(t, pkg)
		packages++
		inside, outside, _ := strings.Cut(imports, ";")
		for imp := range strings.FieldsSeq(inside) {
			if role(pkg) != "" && (imp == "mcim/flows" || role(imp) != "" && role(imp) != role(pkg)) {
				t.Errorf("%s imports %s: a role knows the others only by their messages (flows/wire)", pkg, imp)
			}
		}
		for imp := range strings.FieldsSeq(inside + " " + outside) {
			if strings.HasPrefix(imp, "mcim/") && folder(t, imp) > from {
				t.Errorf("%s imports %s: imports go %s only", pkg, imp, strings.Join(order, " <- "))
			}
			if imp == "github.com/ebfe/scard" && pkg != "mcim/card/pcsc" {
				t.Errorf("%s imports ebfe/scard: only card/pcsc may", pkg)
			}
		}
	}
	if packages < 10 {
		t.Fatalf("only %d packages seen", packages)
	}
}

// TestPackageComments: each package says in its doc.go what it is.
func TestPackageComments(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{.Dir}}", "mcim/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if err != nil || !bytes.HasPrefix(b, []byte("// Package "+filepath.Base(pkg)+" ")) && !bytes.HasPrefix(b, []byte("// Command "+filepath.Base(pkg)+" ")) {
			t.Errorf("%s: no package comment in doc.go: %v", pkg, err)
		}
	}
}

// folder is the place of a package's top-level folder in order.
func folder(t *testing.T, pkg string) int {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimPrefix(pkg, "mcim/"), "/")
	i := slices.Index(order, name)
	if i < 0 {
		t.Fatalf("%s is in none of the folders %v", pkg, order)
	}
	return i
}

// role names the role that a package implements, or is empty.
func role(pkg string) string {
	name, found := strings.CutPrefix(pkg, "mcim/flows/")
	if found && slices.Contains([]string{"supplier", "ro", "vno", "sho", "pva", "subscriber", "m2me"}, name) {
		return name
	}
	return ""
}
