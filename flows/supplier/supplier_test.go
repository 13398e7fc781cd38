package supplier_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"mcim/apdu/secret"
	"mcim/flows/flowtest"
	"mcim/flows/store"
	"mcim/flows/supplier"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// world is a supplier with a scripted RO and PVA, and a machine on its bench.
type world struct {
	*wiretest.Lab
	supplier *supplier.Supplier
	store    *store.Store
	maker    *flowtest.Maker
	tre      *flowtest.TRE
	bench    *wire.Node
	batches  []string
	platform wire.Platform
}

func newWorld(t *testing.T) *world {
	w := &world{Lab: wiretest.New(t), tre: flowtest.NewTRE(t)}
	w.maker = flowtest.NewMaker(t, w.Now())
	var err error
	if w.store, err = store.Open(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.Script("ro", func(s *wire.Server) { wire.PathPCIDBatch.Handle(s, []string{"supplier"}, w.batch) })
	w.Script("pva", func(s *wire.Server) { wire.PathPlatform.Handle(s, []string{"supplier"}, w.takePlatform) })
	ca, err := w.CA.Sub("factory", []string{wire.KindMachine, wire.KindAK}, w.Now())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.maker.Cert)
	w.supplier = supplier.New(supplier.Config{
		NodeConfig: w.Config("supplier"), Store: w.store, CA: ca, RO: "ro", PVA: "pva",
		Trust: ident.Trust{Roots: roots}, Build: "b1", Batch: 2,
	})
	if err := w.supplier.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.supplier.Close() })
	w.bench = w.Script(wire.FactoryRole("1"), nil)
	return w
}

// batch gives identities whose K is their last digit.
func (w *world) batch(_ context.Context, _ wire.Peer, req wire.BatchRequest) (wire.Batch, error) {
	var list []wire.PCID
	for n := range req.Count {
		digit := byte(2*len(w.batches) + n)
		list = append(list, wire.PCID{ID: "99970000000000" + string('0'+digit), ICCID: "8999970000000000000", K: bytes.Repeat([]byte{digit}, 16), OPc: make([]byte, 16), SQN: make([]byte, 6)})
	}
	w.batches = append(w.batches, req.Batch)
	plain, err := wire.Marshal(list)
	if err != nil {
		return wire.Batch{}, err
	}
	to, err := ecdh.P256().NewPublicKey(req.HPKE)
	if err != nil {
		return wire.Batch{}, err
	}
	sealed, err := wire.Seal(to, wire.PurposeBatch, secret.New(plain))
	return wire.Batch{Sealed: sealed, Expires: w.Now().Add(time.Hour)}, err
}

func (w *world) takePlatform(_ context.Context, _ wire.Peer, req wire.PlatformMessage) (_ wire.Empty, err error) {
	w.platform, _, err = req.Signed.VerifyFrom(w.bench.Identity, "supplier", wire.TypePlatform)
	return wire.Empty{}, err
}

func (w *world) enrol(req wire.EnrolRequest) (wire.EnrolAnswer, error) {
	return wire.Ask(wire.At(w.T.Context(), "P1.5"), w.bench.Contacts, "supplier", wire.PathEnrol, req)
}

// challenge enrols the machine; the credential's secret is read from the
// supplier's store, since only a TPM can open it.
func (w *world) challenge() (nonce, activated []byte) {
	w.T.Helper()
	answer, err := w.enrol(w.tre.Enrolment("1", w.maker))
	if err != nil {
		w.T.Fatal(err)
	}
	value, err := store.Secrets("credential").Get(w.T.Context(), w.store, "1")
	if err != nil {
		w.T.Fatal(err)
	}
	return answer.Nonce, value.Reveal()
}

func (w *world) prove(req wire.ProveRequest) (wire.ProveAnswer, error) {
	return wire.Ask(wire.At(w.T.Context(), "P1.6"), w.bench.Contacts, "supplier", wire.PathProve, req)
}

func (w *world) supplied(receipt []byte) error {
	_, err := wire.Ask(wire.At(w.T.Context(), "P1.7"), w.bench.Contacts, "supplier", wire.PathSupplied, wire.SuppliedRequest{Serial: "1", Receipt: receipt})
	return err
}

func TestMachineIsSupplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.supplier.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	adm := make([]byte, 8)
	_, _ = rand.Read(adm)
	card := supplier.Card{ICCID: "8900101000000000018", PIN1: secret.New([]byte("1234\xff\xff\xff\xff")), ADM1: secret.New(adm)}
	if err := w.supplier.PutCard(t.Context(), "m2me/1", card); err != nil {
		t.Fatal(err)
	}
	var first wire.ProveAnswer
	for n := range 2 { // the second time as after a cut
		nonce, activated := w.challenge()
		put, err := w.prove(w.tre.Prove("1", nonce, activated, measure.CannedBoot()))
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			first = put
		}
		if !bytes.Equal(put.PCID.Public, first.PCID.Public) || !bytes.Equal(put.Certificate, first.Certificate) {
			t.Error("the same machine got something else the second time")
		}
		if err := w.supplied(w.tre.Injected(put.PCID, nonce)); err != nil {
			t.Fatal(err)
		}
	}
	w.checkPut(first, adm)
	if w.platform.Machine != "m2me/1" || w.platform.Build != "b1" || len(w.platform.Slots) != 3 || len(w.batches) != 1 {
		t.Errorf("platform %+v, batches %v", w.platform, w.batches)
	}
	for _, bucket := range []store.Secrets{"pcid-k", "pcid-opc"} {
		if _, err := bucket.Get(t.Context(), w.store, "999700000000000"); err == nil {
			t.Errorf("the supplier keeps %s", bucket)
		}
	}
}

// checkPut checks what was put into the machine.
func (w *world) checkPut(put wire.ProveAnswer, adm []byte) {
	w.T.Helper()
	cert, err := x509.ParseCertificate(put.Certificate)
	if err != nil {
		w.T.Fatal(err)
	}
	if role, err := wire.RoleOf(cert); err != nil || role != "m2me/1" || !w.tre.TREKey().Equal(cert.PublicKey) {
		w.T.Errorf("platform certificate of %s, %v", role, err)
	}
	pcid, err := wire.Unmarshal[wire.PCID](w.tre.Open(wire.PurposePCID, put.PCID.Sealed))
	if err != nil || pcid.ID != "999700000000000" || len(pcid.K) != 0 {
		w.T.Errorf("PCID %s with K of %d bytes, %v", pcid.ID, len(pcid.K), err)
	}
	card, err := wire.Unmarshal[wire.CardSecrets](w.tre.Open(wire.PurposeCard, put.Card))
	if err != nil || !bytes.Equal(card.ADM1, adm) || card.ICCID != "8900101000000000018" {
		w.T.Errorf("card %s, %v", card.ICCID, err)
	}
}

func TestClaimToBeTREIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger := flowtest.NewMaker(t, w.Now())
	for name, change := range map[string]func(*wire.EnrolRequest){
		"an untrusted maker": func(r *wire.EnrolRequest) { *r = w.tre.Enrolment("1", stranger) },
		"no certificate":     func(r *wire.EnrolRequest) { r.EKCerts = nil },
		"another EK":         func(r *wire.EnrolRequest) { r.EK = flowtest.NewTRE(t).Enrolment("1", w.maker).EK },
		"an AK that is none": func(r *wire.EnrolRequest) { r.AK = w.tre.Platform("").DEK },
		"no AK":              func(r *wire.EnrolRequest) { r.AK = nil },
	} {
		req := w.tre.Enrolment("1", w.maker)
		change(&req)
		if _, err := w.enrol(req); err == nil {
			t.Errorf("%s: enrolled", name)
		} else {
			wiretest.Refused(t, err, wire.ErrRefused, "P1.5")
		}
	}
	_, err := w.enrol(w.tre.Enrolment("2", w.maker))
	wiretest.Refused(t, err, wire.ErrRefused, "")
}

func TestProofOfKeysIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.supplier.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.prove(wire.ProveRequest{Serial: "1"})
	wiretest.Refused(t, err, wire.ErrRefused, "P1.6")
	other := flowtest.NewTRE(t)
	forged := measure.CannedBoot()
	for i, e := range forged.Events {
		if e.Type == measure.EVSeparator {
			forged.Events[i].Data = []byte{1, 2, 3, 4}
		}
	}
	for name, change := range map[string]func(r *wire.ProveRequest, nonce []byte){
		"the wrong secret":       func(r *wire.ProveRequest, _ []byte) { r.Activated[0] ^= 1 },
		"an SRK elsewhere":       func(r *wire.ProveRequest, n []byte) { r.SRK = other.Prove("1", n, nil, measure.CannedBoot()).SRK },
		"an old certification":   func(r *wire.ProveRequest, _ []byte) { r.DEK = w.tre.Certify(r.DEK.Public, make([]byte, 32)) },
		"the DEK for the SRK":    func(r *wire.ProveRequest, _ []byte) { r.SRK = r.DEK },
		"the SRK for the DEK":    func(r *wire.ProveRequest, _ []byte) { r.DEK = r.SRK },
		"the AK for the TRE key": func(r *wire.ProveRequest, n []byte) { r.TREKey = w.tre.Certify(w.tre.Platform("").AK, n) },
		"a slot less":            func(r *wire.ProveRequest, _ []byte) { r.Slots = r.Slots[:2] },
		"another epoch":          func(r *wire.ProveRequest, _ []byte) { r.Slots[0].Epoch++ },
		"no proof of an epoch":   func(r *wire.ProveRequest, _ []byte) { r.Slots[1].Proof = nil },
		"no log":                 func(r *wire.ProveRequest, _ []byte) { r.Log = nil },
		"a forged log":           func(r *wire.ProveRequest, _ []byte) { r.Log = forged.Bytes() },
	} {
		nonce, activated := w.challenge()
		req := w.tre.Prove("1", nonce, activated, measure.CannedBoot())
		change(&req, nonce)
		if _, err := w.prove(req); err == nil {
			t.Errorf("%s: proven", name)
		} else {
			wiretest.Refused(t, err, wire.ErrRefused, "P1.6")
		}
	}
}

func TestReceiptOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wiretest.Refused(t, w.supplied(nil), wire.ErrRefused, "P1.7")
	if err := w.supplier.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	nonce, activated := w.challenge()
	put, err := w.prove(w.tre.Prove("1", nonce, activated, measure.CannedBoot()))
	if err != nil {
		t.Fatal(err)
	}
	wiretest.Refused(t, w.supplied(w.tre.Injected(put.PCID, make([]byte, 32))), wire.ErrRefused, "P1.7")
	wiretest.Refused(t, w.supplied(flowtest.NewTRE(t).Injected(put.PCID, nonce)), wire.ErrRefused, "P1.7")
	in := put.PCID
	in.Public = w.tre.Platform("").SRK
	wiretest.Refused(t, w.supplied(w.tre.Injected(in, nonce)), wire.ErrRefused, "P1.7")
	if w.platform.Machine != "" {
		t.Error("the PVA heard of a machine without receipt")
	}
}

func TestSerialNumberBelongsToOneTRE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nonce, activated := w.challenge()
	_, err := w.prove(w.tre.Prove("1", nonce, activated, measure.CannedBoot()))
	wiretest.Refused(t, err, wire.ErrUnavailable, "P1.7") // no identity was ordered
	if err := w.supplier.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.prove(w.tre.Prove("1", nonce, activated, measure.CannedBoot())); err != nil {
		t.Fatal(err)
	}
	_, err = w.enrol(flowtest.NewTRE(t).Enrolment("1", w.maker))
	wiretest.Refused(t, err, wire.ErrConflict, "P1.5")
}

func TestBatchIsOrderedWhenNoneIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 2 {
		if err := w.supplier.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.Pass(2 * time.Hour)
	if err := w.supplier.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.batches) != 2 || w.batches[0] == w.batches[1] {
		t.Errorf("batches %v", w.batches)
	}
	if err := w.supplier.PutCard(t.Context(), "m2me/1", supplier.Card{}); err == nil {
		t.Error("a card without codes was taken")
	}
}
