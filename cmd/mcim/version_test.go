package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	t.Parallel()
	module := func(version string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: version}} }
	for _, tt := range []struct {
		stamp string
		info  *debug.BuildInfo
		want  string
	}{
		{"v1.0-3-gabcdef", module("v0.9.0"), "v1.0-3-gabcdef"},
		{"", module("v0.9.0"), "v0.9.0"},
		{"", module("(devel)"), "unversioned"},
		{"", module(""), "unversioned"},
		{"", nil, "unversioned"},
	} {
		if got := versionOf(tt.stamp, tt.info); got != tt.want {
			t.Errorf("stamp %q, %+v: %s, want %s", tt.stamp, tt.info, got, tt.want)
		}
	}
}

// TestMakeStamps: make links in what git says, and nothing where there is no clone.
func TestMakeStamps(t *testing.T) {
	t.Parallel()
	tree := t.TempDir()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "Makefile"), makefile, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := stampOfMake(t, tree); got != "" {
		t.Errorf("no clone: stamp %q", got)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "t"}, {"tag", "v1.2"}} {
		if out, err := exec.Command("git", append([]string{"-C", tree}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	if got := stampOfMake(t, tree); got != "v1.2" {
		t.Errorf("stamp %q, want v1.2", got)
	}
	if stamp != "" { // the variable that make names
		t.Errorf("stamp of a build without make: %q", stamp)
	}
}

// stampOfMake is the value that `make build` would give to main.stamp.
func stampOfMake(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("make", "-n", "-C", dir, "build").CombinedOutput()
	found := regexp.MustCompile(`go build -ldflags '-X main\.stamp=(.*)' -o mcim \./cmd/mcim`).FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(found[1])
}
