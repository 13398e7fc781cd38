package hwtest

import (
	"context"
	"encoding/hex"
	"fmt"
	"runtime"
	"strings"

	"mcim/card"
	"mcim/card/model"
	"mcim/card/vpcd"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm"
)

// environment is what a lab stands on, as its devices tell.
func environment(ctx context.Context, w *world.World, c world.Config) (report.Environment, error) {
	e := report.Environment{
		Reader: w.Device.Reader, Driver: w.Device.Driver, Card: cardName(c), TPM: tpmName(c),
		Machine: fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU()),
	}
	if e.Reader == "" {
		e.Reader = "none: the card is in this process"
	}
	atr, err := w.Device.Reset(ctx)
	if err != nil {
		return e, fmt.Errorf("%w: start the run again", w.Played.Cause(err))
	}
	e.ATR = hex.EncodeToString(atr)
	if m, err := model.Find(atr); err == nil {
		e.Card += ", model " + m.Name
	}
	pcscd, driver := vpcd.Versions(ctx)
	e.PCSCD = pcscd
	if virtual(w) {
		e.Driver = strings.TrimSpace("vsmartcard-vpcd " + driver)
	}
	info, err := w.TPM.Info()
	if err != nil {
		return e, err
	}
	e.TPMMaker, e.TPMFirmware = strings.TrimSpace(info.Maker+" "+info.Model), info.Firmware
	e.NotProven = notProven(w)
	return e, nil
}

func cardName(c world.Config) string {
	if c.Card == "" {
		return "software UICC"
	}
	return c.Card
}

func tpmName(c world.Config) string {
	if c.TPM == "" {
		return "swtpm"
	}
	return c.TPM
}

// virtual says whether the card's reader is one of vsmartcard, as its name tells.
func virtual(w *world.World) bool {
	return strings.Contains(strings.ToLower(w.Device.Reader), "virtual")
}

// notProven is what the devices of a run cannot show, whatever its verdicts say.
func notProven(w *world.World) []string {
	var list []string
	if !w.Device.Real || virtual(w) {
		list = append(list,
			"that a physical UICC does the same: the card is a software UICC",
			"electrical interface, T=0 procedure bytes and timing of a physical reader: the reader is a virtual one")
	}
	if w.TPM.Kind == tpm.KindSWTPM {
		list = append(list,
			"that hardware protects the keys of the TRE: swtpm is software, its EK certificate comes from a CA on this machine",
			"that the machine boots as measured: the boot is a canned one, replayed into the PCRs")
	}
	if w.TPM.Kind == tpm.KindUnix {
		list = append(list, "what stands behind the TPM's socket")
	}
	return append(list,
		"radio access and a core network: the visited network is a role on loopback",
		"that roles in different hands keep apart: all run on this machine, each with its own key and store")
}

// describe is the card's model and ICCID, by reading alone.
func describe(ctx context.Context, c card.Card) (atr []byte, iccid string, err error) {
	s := card.NewSession(c, card.Options{})
	if atr, err = s.Reset(ctx); err != nil {
		return nil, "", err
	}
	iccid, err = s.ICCID(ctx)
	return atr, iccid, err
}
