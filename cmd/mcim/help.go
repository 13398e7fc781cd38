package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	reporting "mcim/hwtest/report"
)

const help = `Remote provisioning and change of subscription (3GPP TR 33.812) on real hardware:
UICCs in PC/SC readers and a TPM 2.0, or a software UICC behind a private pcscd and swtpm.

Exit codes: 0 pass, 1 a check failed, 2 usage (bad flag or file), 3 environment
(reader, card, pcscd, TPM, lab). With --json an error is {"error": TEXT, "exit": CODE} on
standard output, with the part of the result that there is in "result".`

// printHelp is the help of a command: its text as it is written, which kong would
// join and wrap with the examples in it, then flags and commands as kong lists them.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node
	}
	usage := strings.TrimSuffix(reporting.Hang("Usage: ", usageLine(ctx.Model, node)), "\n")
	paragraphs := []string{usage, node.Help}
	if node.Detail != "" {
		paragraphs = append(paragraphs, node.Detail)
	}
	if _, err := fmt.Fprintln(ctx.Stdout, strings.Join(paragraphs, "\n\n")); err != nil {
		return err
	}
	node.Help, node.Detail, options.NoAppSummary = "", "", true
	return kong.DefaultHelpPrinter(options, ctx)
}

// usageLine is how a command is called, with its arguments and the flags that it must
// have: those of which one is enough stand as alternatives.
func usageLine(app *kong.Application, node *kong.Node) string {
	words := []string{app.Name}
	if node.Type == kong.CommandNode {
		words = []string{node.FullPath()}
	}
	either := map[string][]string{}
	var groups []string
	for _, f := range node.Flags {
		switch {
		case f.Required && len(f.Xor) > 0:
			group := f.Xor[0]
			if len(either[group]) == 0 {
				groups = append(groups, group)
			}
			either[group] = append(either[group], f.Summary())
		case f.Required:
			words = append(words, f.Summary())
		}
	}
	for _, p := range node.Positional {
		words = append(words, p.Summary())
	}
	for _, group := range groups {
		words = append(words, "("+strings.Join(either[group], " | ")+")")
	}
	if len(node.Children) > 0 {
		words = append(words, "<command>")
	}
	return strings.Join(append(words, "[flags]"), " ")
}
