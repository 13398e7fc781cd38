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

// stamp is what git says of the source. The Makefile sets it when it links; a build
// without git leaves it empty.
var stamp string

// version is the stamp, else the module's version as go install knows it.
func version() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(stamp, info)
}

// versionOf is the version of a program with that stamp and build information,
// which may be nil.
func versionOf(stamp string, info *debug.BuildInfo) string {
	if stamp != "" {
		return stamp
	}
	if info != nil && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "unversioned"
}
