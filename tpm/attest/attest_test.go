package attest_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/attest"
	"mcim/tpm/ident"
	"mcim/tpm/measure"
	"mcim/tpm/tpmtest"
)

// machine is a TRE after a canned boot, with its log.
type machine struct {
	tpm *tpm.TPM
	tre *ident.TRE
	log measure.Log
}

func newMachine(t testing.TB, m *tpm.TPM) machine {
	t.Helper()
	tre, err := ident.CreateTRE(m, ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return machine{m, tre, measure.CannedBoot()}
}

func random(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func newRequest(t testing.TB) attest.Request {
	t.Helper()
	return attest.Request{Nonce: random(t), Exporter: random(t), Purpose: "order 1"}
}

func quoted(tre *ident.TRE, r attest.Request, log []byte) (attest.Evidence, error) {
	e, err := attest.Measure(tre, r.PCRs, log)
	if err != nil {
		return e, err
	}
	return e.Quoted(tre, r)
}

func (m machine) collect(t testing.TB, r attest.Request) attest.Evidence {
	t.Helper()
	e, err := quoted(m.tre, r, m.log.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := attest.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Fatal(diff)
	}
	return back
}

func (m machine) verifier() attest.Verifier {
	return attest.Verifier{AK: m.tre.AK.Bytes(), Reference: measure.Derive("build 1", measure.CannedBoot(), attest.DefaultPCRs()...)}
}

func TestAffirming(t *testing.T) {
	t.Parallel()
	m := newMachine(t, tpmtest.Open(t))
	r := newRequest(t)
	v := m.verifier().Appraise(m.collect(t, r), r)
	if v.Tier != attest.Affirming || v.Err() != nil {
		t.Fatal(v.Err())
	}
	if v.Counters.Reset == 0 || v.Firmware == 0 {
		t.Errorf("%+v: obfuscated, or not there", v)
	}
	r.PCRs = []int{14, 0, 7, 1, 3, 5, 1} // more than eight in another test; any order
	verifier := m.verifier()
	verifier.Reference = measure.Derive("build 1", m.log, r.PCRs...)
	if v := verifier.Appraise(m.collect(t, r), r); v.Tier != attest.Affirming {
		t.Error(v.Err())
	}
	r.PCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15}
	verifier.Reference = measure.Derive("build 1", m.log, r.PCRs...)
	if v := verifier.Appraise(m.collect(t, r), r); v.Tier != attest.Affirming {
		t.Error(v.Err())
	}
}

// TestRefusals has one case for each lie that evidence can tell.
func TestRefusals(t *testing.T) {
	t.Parallel()
	m, other := newMachine(t, tpmtest.Open(t)), newMachine(t, tpmtest.OpenOther(t))
	r := newRequest(t)
	good := m.collect(t, r)
	for _, c := range []struct {
		name  string
		lie   func(v *attest.Verifier, e *attest.Evidence, r *attest.Request)
		check attest.Check
		pcr   int
	}{
		{"old nonce", func(_ *attest.Verifier, _ *attest.Evidence, r *attest.Request) { r.Nonce = random(t) }, attest.CheckFreshness, -1},
		{"another TLS session", func(_ *attest.Verifier, _ *attest.Evidence, r *attest.Request) { r.Exporter = random(t) }, attest.CheckFreshness, -1},
		{"another purpose", func(_ *attest.Verifier, _ *attest.Evidence, r *attest.Request) { r.Purpose = "order 2" }, attest.CheckFreshness, -1},
		{"short nonce", func(_ *attest.Verifier, _ *attest.Evidence, r *attest.Request) { r.Nonce = r.Nonce[:31] }, attest.CheckFreshness, -1},
		{"AK of another TPM", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) { v.AK = other.tre.AK.Bytes() }, attest.CheckSignature, -1},
		{"quote of another TPM", func(_ *attest.Verifier, e *attest.Evidence, r *attest.Request) { *e = other.collect(t, *r) }, attest.CheckSignature, -1},
		{"a key that is no AK", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) { v.AK = m.tre.Key.Bytes() }, attest.CheckSignature, -1},
		{"changed quote", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { e.Quote = flip(e.Quote) }, attest.CheckSignature, -1},
		{"no signature", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { e.Signature = nil }, attest.CheckSignature, -1},
		{"certification as quote", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { certify(t, m, e) }, attest.CheckStatement, -1},
		{"PCR missing in the quote", func(_ *attest.Verifier, e *attest.Evidence, r *attest.Request) {
			less := *r
			less.PCRs = []int{0, 2, 4, 7, 8, 14}
			*e = m.collect(t, less)
		}, attest.CheckSelection, 9},
		{"another bank", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { wrongBank(t, m, e) }, attest.CheckSelection, -1},
		{"altered PCR value", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			e.PCRs = slices.Clone(e.PCRs)
			e.PCRs[3].Value[0] ^= 1
		}, attest.CheckValues, -1},
		{"PCR value left out", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { e.PCRs = e.PCRs[1:] }, attest.CheckValues, -1},
		{"PCR values renamed", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			e.PCRs = slices.Clone(e.PCRs)
			e.PCRs[0].PCR = 1
		}, attest.CheckValues, -1},
		{"no log", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { e.Log = nil }, attest.CheckLog, -1},
		{"truncated log", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			short := measure.CannedBoot()
			short.Events = short.Events[:len(short.Events)-1]
			e.Log = short.Bytes()
		}, attest.CheckLog, 14},
		{"log cut in an event", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) { e.Log = e.Log[:len(e.Log)-3] }, attest.CheckLog, -1},
		{"event added to the log", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			long := measure.CannedBoot()
			long.Add(7, measure.EVAction, []byte("never measured"))
			e.Log = long.Bytes()
		}, attest.CheckLog, 7},
		{"data of an event changed", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			e.Log = bytes.Replace(e.Log, []byte("m\x00c\x00i\x00m\x00 \x00f"), []byte("e\x00v\x00i\x00l\x00 \x00f"), 1)
		}, attest.CheckData, 0},
		{"type of an event changed", func(_ *attest.Verifier, e *attest.Evidence, _ *attest.Request) {
			forged := measure.CannedBoot()
			forged.Events[0].Type = 0x7777
			e.Log = forged.Bytes()
		}, attest.CheckData, 0},
		{"no reference value", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) {
			v.Reference = measure.Derive("build 1", measure.CannedBoot(), 0, 2, 4, 7, 8, 9)
		}, attest.CheckReference, 14},
		{"another build", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) { v.Reference = otherBuild(8) }, attest.CheckReference, 8},
		{"a build with more events", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) {
			log := measure.CannedBoot()
			log.Add(9, measure.EVAction, []byte("one more module"))
			v.Reference = measure.Derive("build 2", log, attest.DefaultPCRs()...)
		}, attest.CheckReference, 9},
		{"another locality", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) {
			v.Reference.PCRs[0].Locality = 3
		}, attest.CheckReference, 0},
		{"reset count went back", func(v *attest.Verifier, _ *attest.Evidence, _ *attest.Request) {
			v.Last = &attest.Counters{Reset: 1 << 30}
		}, attest.CheckCounters, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, e, r := m.verifier(), good, r
			c.lie(&v, &e, &r)
			got := v.Appraise(e, r)
			if got.Tier != attest.Contraindicated || len(got.Failed) == 0 || got.Failed[0].Check != c.check || got.Failed[0].PCR != c.pcr {
				t.Errorf("tier %v, %v", got.Tier, got.Failed)
			}
			if got.Err() == nil || !strings.Contains(got.Err().Error(), string(c.check)) {
				t.Errorf("error: %v", got.Err())
			}
		})
	}
	if v := m.verifier().Appraise(good, r); v.Tier != attest.Affirming {
		t.Errorf("after all lies: %v", v.Err())
	}
}

func certify(t *testing.T, m machine, e *attest.Evidence) {
	t.Helper()
	quote, err := tpm.Decode[tpm2.TPMSAttest](e.Quote)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.tre.Certify(m.tre.SRK, quote.ExtraData.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	e.Quote, e.Signature = c.Attest, c.Signature
}

// wrongBank quotes PCRs of a bank that the TPM does not have.
func wrongBank(t *testing.T, m machine, e *attest.Evidence) {
	t.Helper()
	quote, err := tpm.Decode[tpm2.TPMSAttest](e.Quote)
	if err != nil {
		t.Fatal(err)
	}
	s := measure.Selection(attest.DefaultPCRs()...)
	s.PCRSelections[0].Hash = tpm2.TPMAlgSHA1
	if e.Quote, e.Signature, err = m.tre.Quote(quote.ExtraData.Buffer, s); err != nil {
		t.Fatal(err)
	}
}

func otherBuild(pcr int) measure.Reference {
	log := measure.CannedBoot()
	i := slices.IndexFunc(log.Events, func(e measure.Event) bool { return e.PCR == pcr })
	log.Events[i].Digest[0] ^= 1
	return measure.Derive("build 2", log, attest.DefaultPCRs()...)
}

func flip(b []byte) []byte {
	c := bytes.Clone(b)
	c[len(c)/2] ^= 1
	return c
}

// TestEachPCR changes the machine, one PCR at a time: no false pass, and no
// false failure in a PCR that does not count.
func TestEachPCR(t *testing.T) {
	t.Parallel()
	for _, pcr := range append(attest.DefaultPCRs(), 1, 3, 5) {
		m := newMachine(t, tpmtest.OpenBlank(t))
		i := slices.IndexFunc(m.log.Events, func(e measure.Event) bool { return e.PCR == pcr })
		m.log.Events[i].Type, m.log.Events[i].Data = measure.EVIPL, nil
		m.log.Events[i].Digest[0] ^= 1
		if err := measure.Extend(m.tpm, m.log); err != nil {
			t.Fatal(err)
		}
		r := newRequest(t)
		v := m.verifier().Appraise(m.collect(t, r), r)
		if !slices.Contains(attest.DefaultPCRs(), pcr) {
			if v.Tier != attest.Affirming {
				t.Errorf("PCR %d does not count: %v", pcr, v.Err())
			}
			continue
		}
		if v.Tier != attest.Contraindicated || len(v.Failed) != 1 || v.Failed[0].Check != attest.CheckReference || v.Failed[0].PCR != pcr || v.Failed[0].Event != i {
			t.Errorf("PCR %d: %v", pcr, v.Failed)
		}
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	m := newMachine(t, tpmtest.Open(t))
	r := newRequest(t)
	e := m.collect(t, r)
	now := m.verifier().Appraise(e, r).Counters
	for _, c := range []struct {
		name string
		last attest.Counters
		ok   bool
	}{
		{"the same", now, true},
		{"first time", attest.Counters{}, true},
		{"one reset less", attest.Counters{Reset: now.Reset - 1, Restart: 7, Clock: now.Clock}, true},
		{"one reset more", attest.Counters{Reset: now.Reset + 1}, false},
		{"one restart more", attest.Counters{Reset: now.Reset, Restart: now.Restart + 1}, false},
		{"later clock", attest.Counters{Reset: now.Reset, Restart: now.Restart, Clock: now.Clock + 1}, false},
		{"later clock before a reset", attest.Counters{Reset: now.Reset - 1, Clock: now.Clock + 1}, true},
	} {
		v := m.verifier()
		v.Last = &c.last
		got := v.Appraise(e, r)
		if (got.Tier == attest.Affirming) != c.ok {
			t.Errorf("%s: %v, %v (now %+v)", c.name, got.Tier, got.Failed, now)
		}
	}
}

// TestCountersOverRestart: a TPM that ended in order, and one that was killed,
// go on; an older copy of the state does not.
func TestCountersOverRestart(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	var last *attest.Counters
	for range 3 {
		m := tpmtest.OpenDir(t, dir, tpm.Options{Claimed: true})
		if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
			t.Fatal(err)
		}
		if err := measure.Extend(m, measure.CannedBoot()); err != nil {
			t.Fatal(err)
		}
		one := newMachine(t, m)
		r := newRequest(t)
		v := one.verifier()
		v.Last = last
		got := v.Appraise(one.collect(t, r), r)
		if got.Tier != attest.Affirming {
			t.Fatal(got.Err())
		}
		if last != nil && got.Counters.Reset <= last.Reset {
			t.Errorf("%+v after %+v", got.Counters, *last)
		}
		last = &got.Counters
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	old := newMachine(t, tpmtest.Open(t)) // the state before all that
	r := newRequest(t)
	v := old.verifier()
	v.Last = last
	if got := v.Appraise(old.collect(t, r), r); got.Tier != attest.Contraindicated || got.Failed[0].Check != attest.CheckCounters {
		t.Errorf("older copy of the TPM: %v", got.Failed)
	}
}

func TestQuotedRefuses(t *testing.T) {
	t.Parallel()
	m := newMachine(t, tpmtest.Open(t))
	r := newRequest(t)
	r.Exporter = nil
	if _, err := quoted(m.tre, r, nil); !errors.Is(err, attest.ErrRequest) {
		t.Errorf("no exporter: %v", err)
	}
	r = newRequest(t)
	r.PCRs = []int{24}
	if _, err := quoted(m.tre, r, nil); err == nil {
		t.Error("PCR 24 was quoted")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good, err := attest.Evidence{AK: []byte{1}, PCRs: []attest.PCRValue{{PCR: 1}}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := attest.Parse(good); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "text": {0x61, 'x'},
		"unknown field": {0xA1, 0x09, 0x40}, "endless": {0xBF, 0xFF}} {
		if _, err := attest.Parse(b); !errors.Is(err, attest.ErrEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v := attest.Verifier{}.Appraise(attest.Evidence{}, attest.Request{})
	if v.Tier != attest.Contraindicated {
		t.Errorf("nothing at all: %v", v.Tier)
	}
	if s := []string{attest.None.String(), attest.Affirming.String(), attest.Contraindicated.String(), attest.Tier(32).String()}; !slices.Equal(s, []string{"none", "affirming", "contraindicated", "tier 32"}) {
		t.Error(s)
	}
}

// FuzzAttest begins with evidence that a key in software made: no process of the
// fuzzer needs a TPM. The verifier would affirm it.
func FuzzAttest(f *testing.F) {
	e, verifier, r := softwareEvidence(f)
	if v := verifier.Appraise(e, r); v.Tier != attest.Affirming {
		f.Fatal(v.Err())
	}
	b, err := e.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := attest.Parse(b)
		if err != nil {
			return
		}
		if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Error("evidence encodes to something else")
		}
		_ = verifier.Appraise(e, r)
	})
}

func softwareEvidence(t testing.TB) (attest.Evidence, attest.Verifier, attest.Request) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ak := tpm2.TPMTPublic{Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, Restricted: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: point[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: point[33:]}})}
	r := attest.Request{Nonce: make([]byte, 32), Exporter: make([]byte, 32)}
	log := measure.CannedBoot()
	e := attest.Evidence{AK: []byte("name"), Log: log.Bytes()}
	values := sha256.New()
	for _, pcr := range attest.DefaultPCRs() {
		v := log.Replay()[pcr]
		e.PCRs = append(e.PCRs, attest.PCRValue{PCR: pcr, Value: v})
		values.Write(v[:])
	}
	challenge := sha256.Sum256(append([]byte("tre-attest/1"), make([]byte, 64)...))
	e.Quote = tpm2.Marshal(tpm2.TPMSAttest{Magic: tpm2.TPMGeneratedValue, Type: tpm2.TPMSTAttestQuote, ExtraData: tpm2.TPM2BData{Buffer: challenge[:]},
		Attested: tpm2.NewTPMUAttest(tpm2.TPMSTAttestQuote, &tpm2.TPMSQuoteInfo{
			PCRSelect: measure.Selection(attest.DefaultPCRs()...), PCRDigest: tpm2.TPM2BDigest{Buffer: values.Sum(nil)}})})
	digest := sha256.Sum256(e.Quote)
	rr, ss, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	e.Signature = tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash: tpm2.TPMAlgSHA256, SignatureR: tpm2.TPM2BECCParameter{Buffer: rr.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: ss.Bytes()}})})
	return e, attest.Verifier{AK: tpm2.Marshal(ak), Reference: measure.Derive("b", log, attest.DefaultPCRs()...)}, r
}

func BenchmarkQuoted(b *testing.B) {
	m := newMachine(b, tpmtest.Open(b))
	r := newRequest(b)
	log := m.log.Bytes()
	before := m.tpm.Commands()
	for b.Loop() {
		if _, err := quoted(m.tre, r, log); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.tpm.Commands()-before)/float64(b.N), "commands/op")
}

func BenchmarkAppraise(b *testing.B) {
	m := newMachine(b, tpmtest.Open(b))
	r := newRequest(b)
	e, v := m.collect(b, r), m.verifier()
	for b.Loop() {
		if got := v.Appraise(e, r); got.Tier != attest.Affirming {
			b.Fatal(got.Err())
		}
	}
}
