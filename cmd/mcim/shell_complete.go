package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"mcim/apdu/ef"
	reporting "mcim/hwtest/report"
)

// complete is the answer to Tab: the word before the cursor is completed as far as it is
// clear, and where nothing more is, the choices are shown.
func (s *shell) complete(w io.Writer, line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := strings.LastIndexByte(line[:pos], ' ') + 1
	word := line[start:pos]
	choices := s.choices(strings.Fields(line[:start]), word)
	if len(choices) == 0 {
		return line, pos, true
	}
	longer := common(choices)
	switch {
	case len(choices) == 1:
		longer += " "
	case len(longer) <= len(word):
		_, _ = fmt.Fprint(w, reporting.Hang("  ", strings.Join(choices, "  ")))
		return line, pos, true
	}
	return line[:start] + longer + line[pos:], start + len(longer), true
}

// choices are the words that begin with word and may stand behind the others.
func (s *shell) choices(before []string, word string) []string {
	g, err := s.grammar(console{out: io.Discard, talk: io.Discard})
	if err != nil {
		return nil
	}
	node, flag := g.Model.Node, (*kong.Flag)(nil)
	for _, w := range before {
		flag = nil
		if i := slices.IndexFunc(node.Flags, func(f *kong.Flag) bool { return "--"+f.Name == w && !f.IsBool() }); i >= 0 {
			flag = node.Flags[i]
		}
		if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == w }); i >= 0 {
			node = node.Children[i]
		}
	}
	var all []string
	switch {
	case flag != nil:
		all = values(flag.Value)
	case strings.HasPrefix(word, "-"):
		for _, f := range node.Flags {
			all = append(all, "--"+f.Name)
		}
	case len(node.Children) > 0:
		for _, n := range node.Children {
			all = append(all, n.Name)
		}
	case node.Name == "select":
		all = s.files(word)
	case node.Name == "help":
		for _, n := range g.Model.Children {
			all = append(all, n.Name)
		}
	case len(node.Positional) > 0:
		all = values(node.Positional[0])
	}
	return slices.DeleteFunc(all, func(c string) bool { return !begins(c, word) })
}

// values are those of a flag or argument that has a list of them.
func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(v.EnumSlice(), func(e string) bool { return e == "" })
}

// files are the directories, and for a word with / the paths of all files: else the names
// of those in the current directory or, where none of them begins so, of all.
func (s *shell) files(word string) []string {
	var paths, near, all, dirs []string
	here := s.reader.Place().Dir
	for _, f := range ef.Files() {
		paths = append(paths, f.Path())
		if f.Dir == here {
			near = append(near, f.Name)
		}
		if !slices.Contains(all, f.Name) {
			all = append(all, f.Name)
		}
	}
	for _, d := range directories() {
		dirs = append(dirs, string(d))
	}
	switch {
	case strings.Contains(word, "/"):
		return append(paths, dirs...)
	case slices.ContainsFunc(near, func(name string) bool { return begins(name, word) }):
		return append(near, dirs...)
	}
	return append(all, dirs...)
}

// begins tells that a name begins with a word, in upper or lower case.
func begins(name, word string) bool {
	return len(name) >= len(word) && strings.EqualFold(name[:len(word)], word)
}

// common is how far all words are the same, upper and lower case aside.
func common(words []string) string {
	same := words[0]
	for _, w := range words[1:] {
		n := 0
		for n < min(len(same), len(w)) && strings.EqualFold(same[n:n+1], w[n:n+1]) {
			n++
		}
		same = same[:n]
	}
	return same
}
