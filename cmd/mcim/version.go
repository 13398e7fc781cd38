package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"mcim/card/pcsc"
)

type versionCmd struct{}

// Help is the long help text.
func (versionCmd) Help() string {
	return `What to name in a report of a fault. The report of a run has it in its environment, too.

Examples:
  mcim version
  mcim version --json`
}

// versions is the output.
type versions struct {
	MCIM string `json:"mcim"`
	Go   string `json:"go"`
	PCSC string `json:"pcsc_library"`
}

// Run prints the versions.
func (versionCmd) Run(con console) error {
	v := versions{MCIM: version(), Go: runtime.Version(), PCSC: pcsc.LibraryVersion()}
	return con.print(v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "mcim %s, %s, PC/SC library %s\n", v.MCIM, v.Go, cmp.Or(v.PCSC, "none: built without cgo"))
		return err
	})
}

// version is the module's version, or the commit that the program was built of.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "unversioned"
}
