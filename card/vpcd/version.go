package vpcd

import (
	"context"
	"os/exec"
	"strings"

	"mcim/card/proc"
)

// Versions tells which pcscd and which virtual reader driver are installed, as
// "1.9.9" and "3.3+dfsg-2"; empty where that cannot be found out.
func Versions(ctx context.Context) (pcscd, driver string) {
	if path, err := proc.Find("pcscd", "pcscd"); err == nil {
		out, _ := exec.CommandContext(ctx, path, "--version").Output()
		line, _, _ := strings.Cut(string(out), "\n")
		if v, ok := strings.CutPrefix(line, "pcsc-lite version "); ok {
			pcscd = strings.TrimSuffix(v, ".")
		}
	}
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", "vsmartcard-vpcd").Output()
	if err == nil {
		driver = string(out)
	}
	return pcscd, driver
}
