package hwtest

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"mcim/card/device"
	"mcim/card/vpcd"
	"mcim/tpm"
)

// Machine says what Diagnose looks at. The zero value is this machine, for runs
// in software.
type Machine struct {
	// Card is the URI of the card to run on. For a card in a reader (pcsc:) the
	// PC/SC service, the permission, the reader and the card are required, and
	// what makes virtual readers is not.
	Card string
	// TPM is the URI of the TPM to run on. For device: and unix: that TPM is
	// required, and swtpm is not.
	TPM string

	// Where things are, for machines that have them elsewhere.
	PCSCD      string // program; default "pcscd"
	Driver     string // of the virtual reader; default vpcd.DriverPath
	CCIDDriver string // of USB readers; default where Debian's libccid puts it
	Device     string // TPM that is looked for when none is named; default /dev/tpmrm0
}

// State is the outcome of a Check.
type State string

// States of a check.
const (
	OK   State = "ok"
	Warn State = "warn" // not there, and not required
	Fail State = "fail" // required, and not there
)

// Check is one thing that was looked at.
type Check struct {
	Name     string `json:"name"`
	State    State  `json:"state"`
	Required bool   `json:"required"`
	Found    string `json:"found"`         // what is there, or the cause of the trouble
	Fix      string `json:"fix,omitempty"` // what to do, where the state is not ok
}

// Names of the checks, in their order.
const (
	CheckLibrary    = "PC/SC library"
	CheckPCSCD      = "pcscd"
	CheckDriver     = "virtual reader"
	CheckService    = "PC/SC service"
	CheckPermission = "permission"
	CheckReader     = "reader"
	CheckCard       = "card"
	CheckSWTPM      = "swtpm"
	CheckSWTPMSetup = "swtpm_setup"
	CheckTPM        = "TPM"
)

// Diagnosis is the outcome of all checks.
type Diagnosis struct {
	Checks []Check `json:"checks"`
	// Ready: everything is there that a run on the named hardware needs.
	Ready bool `json:"ready"`
}

// Diagnose looks whether the machine has what the procedures need, and tells how
// to get what it lacks. It changes nothing: at most it opens the named card and
// TPM and asks what they are. It fails with device.ErrURI or tpm.ErrURI.
func Diagnose(ctx context.Context, m Machine) (Diagnosis, error) {
	d := doctor{Machine: m}
	if err := d.complete(); err != nil {
		return Diagnosis{}, err
	}
	d.library()
	d.programPCSCD(ctx)
	d.driver()
	d.pcsc(ctx)
	d.swtpm(ctx)
	d.tpm(ctx)
	ready := true
	for _, c := range d.checks {
		ready = ready && c.State != Fail
	}
	return Diagnosis{Checks: d.checks, Ready: ready}, nil
}

// doctor collects checks.
type doctor struct {
	Machine
	checks []Check

	reader bool // a card in a reader is named
	chip   bool // a TPM that is not to be started is named
}

func (d *doctor) complete() error {
	if d.Card != "" {
		if err := device.Check(d.Card); err != nil {
			return err
		}
	}
	d.reader = strings.HasPrefix(d.Card, "pcsc:")
	kind, path, _ := strings.Cut(d.TPM, ":")
	switch tpm.Kind(kind) {
	case tpm.KindDevice, tpm.KindUnix:
		d.chip = true
	case tpm.KindSWTPM, "":
	default:
		return fmt.Errorf("%q: %w", d.TPM, tpm.ErrURI)
	}
	if d.TPM != "" && path == "" {
		return fmt.Errorf("%q: %w", d.TPM, tpm.ErrURI)
	}
	d.PCSCD = cmp.Or(d.PCSCD, "pcscd")
	d.Driver = cmp.Or(d.Driver, vpcd.DriverPath)
	d.CCIDDriver = cmp.Or(d.CCIDDriver, "/usr/lib/pcsc/drivers/ifd-ccid.bundle")
	d.Device = cmp.Or(d.Device, "/dev/tpmrm0")
	return nil
}

// ok adds a check of something that is there.
func (d *doctor) ok(name string, required bool, found string) {
	d.checks = append(d.checks, Check{name, OK, required, found, ""})
}

// lacking adds a check of something that is not there.
func (d *doctor) lacking(name string, required bool, found, fix string) {
	state := Warn
	if required {
		state = Fail
	}
	d.checks = append(d.checks, Check{name, state, required, found, fix})
}
