package pva_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"mcim/flows/flowtest"
	"mcim/flows/pva"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
	"mcim/tpm/attest"
	"mcim/tpm/measure"
)

const machine = "m2me/1"

// world is a PVA among scripted parties, with a TRE in software.
type world struct {
	*wiretest.Lab
	tre               *flowtest.TRE
	sho, ro, supplier *wire.Node
}

func newWorld(t *testing.T, change func(*pva.Config)) *world {
	w := &world{Lab: wiretest.New(t), tre: flowtest.NewTRE(t)}
	s, err := store.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := pva.Config{NodeConfig: w.Config("pva"), Store: s, Supplier: "supplier", RO: "ro"}
	if change != nil {
		change(&c)
	}
	p := pva.New(c)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	w.sho, w.ro, w.supplier = w.Script("sho-a", nil), w.Script("ro", nil), w.Script("supplier", nil)
	if err := w.supply(w.supplier, w.tre.Platform(machine)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) supply(by *wire.Node, p wire.Platform) error {
	if p.Made.IsZero() {
		p.Made = w.Now()
	}
	signed, err := wire.SignAs(by.Identity, wire.TypePlatform, p)
	if err != nil {
		w.T.Fatal(err)
	}
	_, err = wire.Ask(w.T.Context(), by.Contacts, "pva", wire.PathPlatform, wire.PlatformMessage{Signed: signed})
	return err
}

func (w *world) open() wire.Validation {
	w.T.Helper()
	v, err := wire.Ask(w.T.Context(), w.sho.Contacts, "pva", wire.PathOpen, wire.OpenRequest{Machine: machine, Purpose: "order"})
	if err != nil {
		w.T.Fatal(err)
	}
	return v
}

var exporter = bytes.Repeat([]byte{7}, 32)

func request(v wire.Validation) attest.Request {
	return attest.Request{Nonce: v.Nonce, Exporter: exporter, Purpose: "order"}
}

// appraise hands evidence to the PVA and verifies the verdict.
func (w *world) appraise(v wire.Validation, evidence []byte) (wire.Verdict, error) {
	answer, err := wire.Ask(wire.At(w.T.Context(), "P5c.5"), w.ro.Contacts, "pva", wire.PathAppraise,
		wire.AppraiseRequest{Validation: v.Validation, Exporter: exporter, Evidence: evidence})
	if err != nil {
		return wire.Verdict{}, err
	}
	verdict, _, err := answer.Signed.VerifyFrom(w.sho.Identity, "pva", wire.TypeVerdict)
	return verdict, err
}

func TestRightEvidenceGivesPositiveVerdictOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	v := w.open()
	evidence := w.tre.Evidence(request(v), measure.CannedBoot(), flowtest.Counters{Reset: 1, Clock: 5})
	first, err := w.appraise(v, evidence)
	if err != nil || !first.Pass || len(first.Failed) != 0 {
		t.Fatalf("verdict %+v, %v", first, err)
	}
	if first.Machine != machine || first.Requester != "sho-a" || first.Purpose != "order" || first.Validation != v.Validation {
		t.Errorf("verdict %+v", first)
	}
	if again, err := w.appraise(v, evidence); err != nil || again.Made != first.Made {
		t.Errorf("the same evidence again: %+v, %v", again, err)
	}
	other := w.tre.Evidence(request(v), measure.CannedBoot(), flowtest.Counters{Reset: 1, Clock: 6})
	_, err = w.appraise(v, other)
	wiretest.Refused(t, err, wire.ErrRefused, "P5c.6")
	if got := w.Begun(); !slices.Equal(got, []string{"P5c.6", "P5c.7", "P5c.8"}) {
		t.Errorf("steps %v", got)
	}
}

func TestWrongEvidenceGivesNegativeVerdict(t *testing.T) {
	t.Parallel()
	now := flowtest.Counters{Reset: 2, Clock: 100}
	changed := measure.CannedBoot()
	changed.Add(4, measure.EVSeparator, []byte{0, 0, 0, 0})
	for name, c := range map[string]struct {
		evidence func(*world, wire.Validation) []byte
		failed   string
	}{
		"another boot": {func(w *world, v wire.Validation) []byte {
			return w.tre.Evidence(request(v), changed, now)
		}, "PCR 4"},
		"another nonce": {func(w *world, _ wire.Validation) []byte {
			return w.tre.Evidence(attest.Request{Nonce: make([]byte, 32), Exporter: exporter, Purpose: "order"}, measure.CannedBoot(), now)
		}, "freshness"},
		"another TLS session": {func(w *world, v wire.Validation) []byte {
			return w.tre.Evidence(attest.Request{Nonce: v.Nonce, Exporter: make([]byte, 32), Purpose: "order"}, measure.CannedBoot(), now)
		}, "freshness"},
		"another purpose": {func(w *world, v wire.Validation) []byte {
			return w.tre.Evidence(attest.Request{Nonce: v.Nonce, Exporter: exporter, Purpose: "other"}, measure.CannedBoot(), now)
		}, "freshness"},
		"another TRE": {func(w *world, v wire.Validation) []byte {
			return flowtest.NewTRE(w.T).Evidence(request(v), measure.CannedBoot(), now)
		}, "signature"},
		"no evidence": {func(*world, wire.Validation) []byte { return []byte{0} }, "statement"},
		"a TPM that has gone back": {func(w *world, v wire.Validation) []byte {
			return w.tre.Evidence(request(v), measure.CannedBoot(), flowtest.Counters{Reset: 1, Clock: 200})
		}, "counters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			v := w.open()
			if verdict, err := w.appraise(v, w.tre.Evidence(request(v), measure.CannedBoot(), now)); err != nil || !verdict.Pass {
				t.Fatalf("before: %+v, %v", verdict, err)
			}
			v = w.open()
			verdict, err := w.appraise(v, c.evidence(w, v))
			if err != nil || verdict.Pass || len(verdict.Failed) == 0 || !strings.Contains(verdict.Failed[0], c.failed) {
				t.Errorf("verdict %+v, %v; want it to name %q", verdict, err, c.failed)
			}
		})
	}
}

func TestNonceExpiresAndMustHaveBeenAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	v := w.open()
	evidence := w.tre.Evidence(request(v), measure.CannedBoot(), flowtest.Counters{})
	w.Pass(6 * time.Minute)
	_, err := w.appraise(v, evidence)
	wiretest.Refused(t, err, wire.ErrRefused, "P5c.6")
	_, err = w.appraise(wire.Validation{Validation: "x"}, evidence)
	wiretest.Refused(t, err, wire.ErrRefused, "P5c.6")
	_, err = wire.Ask(t.Context(), w.sho.Contacts, "pva", wire.PathOpen, wire.OpenRequest{Machine: "m2me/2", Purpose: "order"})
	wiretest.Refused(t, err, wire.ErrRefused, "P5c.1")
	_, err = wire.Ask(t.Context(), w.ro.Contacts, "pva", wire.PathOpen, wire.OpenRequest{Machine: machine, Purpose: "order"})
	wiretest.Refused(t, err, wire.ErrRefused, "")
}

func TestStatementIsTakenFromItsSupplierAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := w.tre.Platform("m2me/2")
	for name, c := range map[string]struct {
		by     *wire.Node
		change func(*wire.Platform)
	}{
		"another supplier": {w.Script("supplier-b", nil), func(*wire.Platform) {}},
		"an operator":      {w.sho, func(*wire.Platform) {}},
		"no AK":            {w.supplier, func(p *wire.Platform) { p.AK = p.DEK }},
		"no reference":     {w.supplier, func(p *wire.Platform) { p.Reference = nil }},
	} {
		p := good
		c.change(&p)
		if err := w.supply(c.by, p); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := w.supply(w.supplier, good); err != nil {
		t.Error(err)
	}
	good.Made = w.Now().Add(-time.Hour)
	wiretest.Refused(t, w.supply(w.supplier, good), wire.ErrConflict, "P1.8")
	record := func(name string) error {
		_, err := wire.Ask(t.Context(), w.ro.Contacts, "pva", wire.PathRecord, wire.MachineRequest{Machine: name})
		return err
	}
	if err := record("m2me/2"); err != nil {
		t.Error(err)
	}
	wiretest.Refused(t, record("m2me/3"), wire.ErrNotFound, "")
}

func TestAppraiseNothingPassesEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *pva.Config) { c.AppraiseNothing = true })
	if verdict, err := w.appraise(w.open(), []byte{0}); err != nil || !verdict.Pass {
		t.Errorf("verdict %+v, %v", verdict, err)
	}
}
