package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestReadme: mcim takes each command line of README.md and make each target, every
// flag is explained there, and the text fits a terminal.
func TestReadme(t *testing.T) {
	t.Parallel()
	text := readFile(t, "../../README.md")
	for _, line := range tooWide(text) {
		if !strings.HasPrefix(line, "|") {
			t.Errorf("too wide: %s", line)
		}
	}
	var commands []string
	for _, found := range regexp.MustCompile(`(?m)^    (?:\S+ )*?(?:\./)?mcim (\w[^#\n]*)`).FindAllStringSubmatch(strings.ReplaceAll(text, " \\\n     ", ""), -1) {
		commands = append(commands, strings.TrimSpace(found[1]))
	}
	if len(commands) < 15 {
		t.Errorf("only %d command lines: %q", len(commands), commands)
	}
	for _, command := range commands {
		words := regexp.MustCompile(`'[^']*'|\S+`).FindAllString(command, -1)
		if _, err := newParser(t).Parse(words); err != nil {
			t.Errorf("mcim %s: %v", command, err)
		}
	}
	for _, leaf := range newParser(t).Model.Leaves(false) {
		for _, flag := range leaf.Flags {
			if !strings.Contains(text, "--"+flag.Name) {
				t.Errorf("%s --%s is not in README.md", leaf.FullPath(), flag.Name)
			}
		}
		if !slices.ContainsFunc(commands, func(c string) bool { return strings.HasPrefix("mcim "+c, leaf.FullPath()) }) && leaf.Name != "version" {
			t.Errorf("no line of README.md shows %s", leaf.FullPath())
		}
	}
	makefile := readFile(t, "../../Makefile")
	for _, found := range regexp.MustCompile(`make ([a-z]+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(makefile, "\n"+found[1]+": ") {
			t.Errorf("make %s is no target", found[1])
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
