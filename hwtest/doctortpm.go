package hwtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"mcim/card/proc"
	"mcim/tpm"
)

// swtpm checks the programs that a TPM in software is made of.
func (d *doctor) swtpm(ctx context.Context) {
	d.program(ctx, CheckSWTPM, "swtpm", "swtpm", !d.chip)
	if _, err := proc.Find("swtpm_localca", "swtpm-tools"); err != nil {
		d.lacking(CheckSWTPMSetup, !d.chip, "not installed, or not whole: no swtpm_localca", "as root: apt-get install swtpm-tools")
		return
	}
	d.program(ctx, CheckSWTPMSetup, "swtpm_setup", "swtpm-tools", !d.chip)
}

// tpm checks the TPM that was named, or the one of the machine.
func (d *doctor) tpm(ctx context.Context) {
	uri, required := d.TPM, d.chip
	if strings.HasPrefix(uri, string(tpm.KindSWTPM)+":") {
		d.ok(CheckTPM, false, uri+" is started when it is used")
		return
	}
	if uri == "" {
		if _, err := os.Stat(d.Device); errors.Is(err, os.ErrNotExist) {
			d.lacking(CheckTPM, false, "none at "+d.Device+", swtpm is used",
				"none for runs in software; else switch it on in the firmware setup")
			return
		}
		uri = string(tpm.KindDevice) + ":" + d.Device
	}
	t, err := tpm.Open(ctx, uri, tpm.Options{Foreign: true})
	if err != nil {
		found, fix := tpmTrouble(uri, err)
		d.lacking(CheckTPM, required, found, fix)
		return
	}
	defer func() { _ = t.Close() }()
	info, err := t.Info()
	switch missing := info.Missing(); {
	case err != nil:
		d.lacking(CheckTPM, required, fmt.Sprintf("%s does not answer as a TPM 2.0: %v", uri, err), "check that it is a TPM 2.0 and that nothing else uses it")
	case len(missing) > 0:
		d.lacking(CheckTPM, required, fmt.Sprintf("%s lacks %s", describeTPM(uri, info), strings.Join(missing, ", ")),
			"update its firmware, or run on swtpm")
	default:
		d.ok(CheckTPM, required, describeTPM(uri, info))
	}
}

func describeTPM(uri string, i tpm.Info) string {
	return fmt.Sprintf("%s: %s %s, firmware %s, TPM %s", uri, i.Maker, i.Model, i.Firmware, i.Spec)
}

// tpmTrouble tells why a TPM cannot be opened.
func tpmTrouble(uri string, err error) (found, fix string) {
	switch {
	case errors.Is(err, tpm.ErrPermission):
		return account() + " may not open " + uri, joinGroup(strings.TrimPrefix(uri, string(tpm.KindDevice)+":"))
	case errors.Is(err, tpm.ErrNoTPM):
		return noTPM(uri)
	default:
		return err.Error(), "check the path; /dev/tpmrm0 can be shared, /dev/tpm0 not"
	}
}

// noTPM tells what is there in place of a TPM.
func noTPM(uri string) (found, fix string) {
	kind, path, _ := strings.Cut(uri, ":")
	_, err := os.Stat(path)
	switch {
	case tpm.Kind(kind) == tpm.KindUnix:
		return "none at " + uri, "start what is to listen there, as swtpm socket --tpm2 --server type=unixio,path=" + path + " does, or check the path"
	case err == nil:
		return "none at " + uri + ": that file is no device", "name the device of the TPM: ls /dev/tpmrm* shows what there is"
	default:
		return "none at " + uri, "switch it on in the firmware setup; ls /dev/tpm* shows what there is"
	}
}

// joinGroup is the command that lets this user open a device: to become a member
// of its group.
func joinGroup(path string) string {
	group, name := "tss", "USER"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if fi, err := os.Stat(path); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			if st.Gid == 0 || fi.Mode()&0o060 != 0o060 {
				return "its group may not open it: run as root, or, as root: chgrp tss " + path + " && chmod 660 " + path
			}
			if g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid))); err == nil {
				group = g.Name
			}
		}
	}
	return fmt.Sprintf("as root: usermod -aG %s %s; then log in again", group, name)
}
