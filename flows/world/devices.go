package world

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/pcsc"
	"mcim/card/trace"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// deviceState is what the lab remembers of the machine's TPM and UICC.
type deviceState struct {
	URI      string  `cbor:"uri"`      // of a TPM that the caller named
	Roots    []byte  `cbor:"ek_roots"` // PEM: the TPM makers that were named with it
	BootLog  string  `cbor:"boot_log"` // that was named with it
	Register uint    `cbor:"register"` // the PCR of the TRE
	Card     string  `cbor:"card"`     // URI of a card that the caller named
	Home     string  `cbor:"home"`     // PLMN of SHO-A
	Claimed  bool    `cbor:"claimed"`  // the range in the TPM is ours
	Range    handles `cbor:"range"`
	EKPin    []byte  `cbor:"ek_pin"` // nil before it was verified
}

// handles is a tpm.Range.
type handles struct {
	NV              uint32 `cbor:"nv"`
	NVCount         int    `cbor:"nv_count"`
	Persistent      uint32 `cbor:"persistent"`
	PersistentCount int    `cbor:"persistent_count"`
}

const deviceStates store.Bucket[deviceState] = "device"

// AbsoluteURI makes the path in a device's URI one that means the same wherever the
// lab is opened from. What is no path stays as it is: a reader's name, a card
// model's name, and a URI that Open will refuse.
func AbsoluteURI(uri string) (string, error) {
	scheme, path, _ := strings.Cut(uri, ":")
	_, unknown := model.ByName(path)
	isPath := scheme == "emul" && unknown != nil || slices.Contains([]string{string(tpm.KindDevice), string(tpm.KindSWTPM), string(tpm.KindUnix)}, scheme)
	if !isPath || path == "" {
		return uri, nil
	}
	path, err := filepath.Abs(path)
	return scheme + ":" + path, err
}

// absolute makes the paths absolute that the lab remembers.
func (c *Config) absolute() (err error) {
	for _, uri := range []*string{&c.TPM, &c.Card} {
		if *uri, err = AbsoluteURI(*uri); err != nil {
			return err
		}
	}
	if c.BootLog != "" {
		c.BootLog, err = filepath.Abs(c.BootLog)
	}
	return err
}

// deadline bounds each call of a card in a reader.
const deadline = 10 * time.Second

// cardImage is the file of the lab's own card.
const cardImage = "card.img"

// openCard opens the machine's UICC: the one that the caller named, or the
// software UICC of the lab, behind a private pcscd unless it is to stay in this
// process.
func (w *World) openCard(ctx context.Context) error {
	if w.config.Card != "" {
		return w.useCard(device.Open(ctx, w.config.Card, deadline))
	}
	if _, err := os.Stat(w.lab.Path(cardImage)); err != nil {
		return fmt.Errorf("the lab's card: %w", err)
	}
	if w.config.InProcess {
		return w.useCard(device.Open(ctx, "emul:"+w.lab.Path(cardImage), deadline))
	}
	soft, err := emul.Open(w.lab.Path(cardImage), nil)
	if err != nil {
		return err
	}
	w.later(soft.Close)
	if w.Played, err = device.PlayPrivate(ctx, "", soft); err != nil {
		return err
	}
	w.later(func() error { w.Played.Close(); return nil })
	if err := pcsc.UseSocket(w.Played.Socket); err != nil {
		return err
	}
	return w.useCard(device.Open(ctx, "pcsc:0", deadline))
}

// useCard makes c the machine's, with the tap in front of it.
func (w *World) useCard(c *device.Card, err error) error {
	if err != nil {
		return err
	}
	w.later(c.Close)
	w.Device, w.tapped = c, w.tapCard(c)
	return nil
}

// LinkError says that what the tap saw and what the virtual reader saw are not the
// same: the counts of the run are not those of the card.
type LinkError struct {
	TapAPDUs, TapBytes       uint64
	ReaderAPDUs, ReaderBytes uint64
}

// Error gives both counts.
func (e *LinkError) Error() string {
	return fmt.Sprintf("the tap counts %d APDUs of %d bytes, the virtual reader %d of %d: something reached the card past the tap, or not at all; let no other program use this pcscd, and run again",
		e.TapAPDUs, e.TapBytes, e.ReaderAPDUs, e.ReaderBytes)
}

// CheckLink compares what the Meter has heard of the card since its last Reset with
// what the virtual reader has counted by itself; the error is a *LinkError. Both
// count the same: pcscd asks for power, reset and ATR by other messages of the
// reader than APDUs, and sends none of its own. Without a virtual reader of the
// lab's there is nothing to compare.
func (w *World) CheckLink() error {
	if w.Played == nil {
		return nil
	}
	tap, reader := w.Meter.Total(), w.Played.Stats()
	e := &LinkError{tap.APDUs, tap.LinkBytes, uint64(reader.APDUs), uint64(reader.Bytes)}
	if e.TapAPDUs != e.ReaderAPDUs || e.TapBytes != e.ReaderBytes {
		return e
	}
	return nil
}

// makeCard makes the image of the lab's own card: one that its operator, SHO-A,
// has personalised and the supplier puts into the machine.
func (w *World) makeCard() error {
	if w.config.Profile != nil || w.config.Card != "" {
		w.profile = w.config.Profile
		return nil
	}
	p, err := emul.RandomProfile("usim")
	if err != nil {
		return err
	}
	w.profile = &p
	c, err := emul.Open(w.lab.Path(cardImage), &p)
	if err != nil {
		return err
	}
	return c.Close()
}

// cardPLMN is the network of the card while Create runs; empty otherwise.
func (w *World) cardPLMN() string {
	if w.profile == nil {
		return ""
	}
	return PLMN(*w.profile)
}

// PLMN is MCC and MNC of a profile's IMSI.
func PLMN(p emul.Profile) string {
	return p.IMSI[:min(len(p.IMSI), 3+max(p.MNCLength, 2))]
}

// CheckCard says whether a card with that profile can be one of SHO-A.
func CheckCard(p emul.Profile) error {
	if len(p.IMSI) != 15 {
		return fmt.Errorf("its IMSI has %d digits, and must have 15", len(p.IMSI))
	}
	if p.Algorithm != "" && p.Algorithm != model.Milenage {
		return fmt.Errorf("its algorithm is %s, and the lab's authentication centres have milenage", p.Algorithm)
	}
	for role, plmn := range testPLMNs {
		if role != SHOA && strings.HasPrefix(p.IMSI, plmn) {
			return fmt.Errorf("its IMSI is of the PLMN %s, which is that of %s in the lab", plmn, role)
		}
	}
	return nil
}

// openTPM opens the machine's TPM: its EK verified and pinned, our range of
// handles claimed, its boot measured.
func (w *World) openTPM(ctx context.Context) error {
	known, err := w.device(ctx)
	if err != nil {
		return err
	}
	if asked := w.config.TPMOptions.Register; known.Claimed && asked != 0 && asked != known.Register {
		return fmt.Errorf("%w: the lab's TRE has PCR %d, and keeps it: leave --register out, or make another lab", ErrRegister, known.Register)
	}
	if w.TPM, err = tpm.Open(ctx, w.tpmURI(known), w.tpmOptions(known)); err != nil {
		return err
	}
	w.later(w.TPM.Close)
	if err := measure.CheckRegister(w.TPM.Register()); err != nil {
		return err
	}
	if w.trust, err = w.makers(known.Roots); err != nil {
		return err
	}
	if known.EKPin == nil {
		if err := w.adoptTPM(ctx); err != nil {
			return err
		}
	}
	return w.measureBoot(cmp.Or(w.config.BootLog, known.BootLog))
}

// tpmURI is the TPM that the caller names, the lab's, or a swtpm in the lab.
func (w *World) tpmURI(known deviceState) string {
	return cmp.Or(w.config.TPM, known.URI, "swtpm:"+w.lab.Path("tpm"))
}

// tpmOptions are the caller's, with what the lab knows of its TPM.
func (w *World) tpmOptions(known deviceState) tpm.Options {
	o := w.config.TPMOptions
	o.Tap, o.Admit = w.tapTPM, w.config.Spent.admitTPM
	if known.Claimed {
		o.EKPin, o.Claimed, o.Range, o.Register = known.EKPin, true, known.Range.tpm(), known.Register
	}
	return o
}

// adoptTPM claims the range of handles in a TPM that the lab sees for the first
// time, and verifies and pins its EK. What is ours is noted before anything is put
// there, so that Remove finds it.
func (w *World) adoptTPM(ctx context.Context) error {
	if err := w.TPM.Claim(); err != nil {
		return err
	}
	r := w.TPM.Range()
	known := deviceState{
		URI: w.config.TPM, BootLog: w.config.BootLog, Register: w.TPM.Register(),
		Card: w.config.Card, Home: w.plmns[SHOA], Claimed: true,
		Range: handles{uint32(r.NV), r.NVCount, uint32(r.Persistent), r.PersistentCount},
	}
	if w.config.EKRoots != "" {
		var err error
		if known.Roots, err = os.ReadFile(w.config.EKRoots); err != nil {
			return err
		}
	}
	if err := w.remember(ctx, known); err != nil {
		return err
	}
	if _, err := ident.VerifyEK(w.TPM, w.trust); err != nil {
		return err
	}
	ek, err := w.TPM.EK()
	if err != nil {
		return err
	}
	known.EKPin = ek.Pin()
	return w.remember(ctx, known)
}

// device is what the lab remembers of its TPM and its card.
func (w *World) device(ctx context.Context) (deviceState, error) {
	known, err := deviceStates.Get(ctx, w.stores[wire.MachineRole(w.serial)], "tpm")
	if errors.Is(err, store.ErrNotFound) {
		return deviceState{}, nil
	}
	return known, err
}

func (w *World) remember(ctx context.Context, known deviceState) error {
	return deviceStates.Put(ctx, w.stores[wire.MachineRole(w.serial)], "tpm", known)
}

func (h handles) tpm() tpm.Range {
	return tpm.Range{NV: tpm2.TPMHandle(h.NV), NVCount: h.NVCount, Persistent: tpm2.TPMHandle(h.Persistent), PersistentCount: h.PersistentCount}
}

// makers is which makers' TPMs the supplier takes: those of the caller's file, those
// that the lab knows, or the local CA of a swtpm.
func (w *World) makers(known []byte) (ident.Trust, error) {
	t := ident.Trust{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), At: time.Now()}
	if w.config.EKRoots != "" {
		text, err := os.ReadFile(w.config.EKRoots)
		if err != nil {
			return t, err
		}
		return t, addRoots(&t, w.config.EKRoots, text)
	}
	if len(known) > 0 {
		return t, addRoots(&t, "the lab", known)
	}
	if w.TPM.Kind != tpm.KindSWTPM {
		return t, errors.New("which TPM makers are trusted? name a PEM file with their root certificates by --ek-roots FILE")
	}
	dir, found := strings.CutPrefix(w.config.TPM, "swtpm:")
	if !found {
		dir = w.lab.Path("tpm")
	}
	roots, between, err := tpm.LocalCA(dir)
	if err != nil {
		return t, err
	}
	for _, c := range roots {
		t.Roots.AddCert(c)
	}
	for _, c := range between {
		t.Intermediates.AddCert(c)
	}
	return t, nil
}

// addRoots takes self-signed certificates as roots, others as what lies between.
func addRoots(t *ident.Trust, name string, text []byte) error {
	found := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		found++
		if slices.Equal(c.RawIssuer, c.RawSubject) {
			t.Roots.AddCert(c)
		} else {
			t.Intermediates.AddCert(c)
		}
	}
	if found == 0 {
		return fmt.Errorf("%s holds no PEM certificate", name)
	}
	return nil
}

// TPMSink takes TPM commands; trace.Writer is one.
type TPMSink interface {
	WriteTPM(trace.TPMExchange) error
}

// tapCard is the tap in front of the reader, and the bound in front of that. What
// the card's model says of key files, and the keys that the lab knows, is taken out
// of what the sinks get.
func (w *World) tapCard(c card.Card) card.Card {
	return bounded{trace.Tap(c, trace.Options{Sensitive: trace.KeyFiles()}, w.config.Sinks...), w.config.Spent}
}

// tapTPM is the tap in front of the TPM.
func (w *World) tapTPM(x tpm.Exchange) {
	e := trace.TPMExchange{
		Time: x.Time, Name: x.Name, RequestBytes: len(x.Request), ResponseBytes: len(x.Response), RC: uint32(x.RC), Duration: x.Duration,
	}
	for _, s := range w.config.Sinks {
		if t, ok := s.(TPMSink); ok {
			_ = t.WriteTPM(e) // who reads the trace asks Writer.Err
		}
	}
}
