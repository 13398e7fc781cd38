package mcim

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

// forge signs a package whose parts do not belong together: what a mistaken or
// malicious operator can send.
func (l *lab) forge(n int, change func(*Header, *payload)) []byte {
	l.Helper()
	p := l.build(n, newSubscription(l), nil)
	header, c := p.Header, payload{Key: p.Key, Body: p.body}
	change(&header, &c)
	var err error
	if c.Header, err = encode(header); err != nil {
		l.Fatal(err)
	}
	forged, err := sign(l.signer, &c)
	if err != nil {
		l.Fatal(err)
	}
	return l.bytes(forged)
}

// withKey changes K's public area.
func (l *lab) withKey(n int, change func(*tpm2.TPMTPublic)) []byte {
	l.Helper()
	return l.forge(n, func(_ *Header, c *payload) {
		public, err := tpm.Decode[tpm2.TPMTPublic](c.Key.Public)
		if err != nil {
			l.Fatal(err)
		}
		change(public)
		c.Key.Public = tpm2.Marshal(*public)
	})
}

func symmetric(mode tpm2.TPMAlgID, bits tpm2.TPMKeyBits) tpm2.TPMUPublicParms {
	return tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, bits),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, mode),
	}})
}

func TestEveryCheckRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, auc, first := l.installed(1)
	l.attach(1, auc)
	stranger := newSigner(t)
	otherPolicy := func(change func(*policy.MCIM)) []byte {
		return l.withKey(2, func(p *tpm2.TPMTPublic) {
			target := l.target(2)
			q := target.policy(l.platform())
			change(&q)
			digest, err := q.Digest()
			if err != nil {
				t.Fatal(err)
			}
			p.AuthPolicy.Buffer = digest[:]
		})
	}
	attribute := func(change func(*tpm2.TPMAObject)) []byte {
		return l.withKey(2, func(p *tpm2.TPMTPublic) { change(&p.ObjectAttributes) })
	}
	order := func(change func(*Order)) []byte {
		return l.bytes(l.build(2, newSubscription(t), func(_ *Target, o *Order) { change(o) }))
	}
	target := func(change func(*Target)) []byte {
		return l.bytes(l.build(2, newSubscription(t), func(g *Target, _ *Order) { change(g) }))
	}
	signed := func() []byte {
		p, err := Build(stranger, l.target(2), l.order(), newSubscription(t))
		if err != nil {
			t.Fatal(err)
		}
		return l.bytes(p)
	}
	for _, c := range []struct {
		name  string
		check Check
		raw   []byte
	}{
		{"nothing", CheckSignature, nil},
		{"garbage", CheckSignature, []byte("no package at all")},
		{"too long", CheckSignature, make([]byte, MaxPackage+1)},
		{"another signer", CheckSignature, signed()},
		{"unknown issuer", CheckAuthority, order(func(o *Order) { o.Issuer = "operator-x" })},
		{"AK of another TRE", CheckRecipient, target(func(g *Target) { g.AKCert[0]++ })},
		{"SRK of another TRE", CheckRecipient, l.forge(2, func(h *Header, _ *payload) { h.Recipient.SRKName[5]++ })},
		{"replay", CheckFreshness, l.bytes(first)},
		{"sequence number used", CheckFreshness, l.forge(1, func(h *Header, _ *payload) { h.Sequence = first.Header.Sequence })},
		{"epoch to come", CheckFreshness, target(func(g *Target) { g.Epoch++ })},
		{"expired", CheckFreshness, order(func(o *Order) { o.NotAfter = today.Add(-time.Second) })},
		{"not yet valid", CheckFreshness, order(func(o *Order) { o.NotBefore = today.Add(time.Second) })},
		{"format of tomorrow", CheckVersion, l.forge(2, func(h *Header, _ *payload) { h.Version = 2 })},
		{"another build", CheckVersion, order(func(o *Order) { o.Build = "build-2" })},
		{"epoch counter of another slot", CheckPolicy, target(func(g *Target) { g.EpochIndex -= 2 })},
		{"K for another state than the header's", CheckPolicy, otherPolicy(func(q *policy.MCIM) { q.Platform.Digest[0]++ })},
		{"K over fewer PCRs", CheckPolicy, otherPolicy(func(q *policy.MCIM) { q.Platform.PCRs = 1 })},
		{"K for another epoch", CheckPolicy, otherPolicy(func(q *policy.MCIM) { q.Epoch++ })},
		{"K for another command", CheckPolicy, otherPolicy(func(q *policy.MCIM) { q.Command = tpm2.TPMCCDuplicate })},
		{"K without policy", CheckPolicy, l.withKey(2, func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = nil })},
		{"K with a password", CheckPolicy, attribute(func(a *tpm2.TPMAObject) { a.UserWithAuth = true })},
		{"K that encrypts", CheckPolicy, attribute(func(a *tpm2.TPMAObject) { a.SignEncrypt = true })},
		{"K that locks the TPM", CheckPolicy, attribute(func(a *tpm2.TPMAObject) { a.NoDA = false })},
		{"K in ECB", CheckPolicy, l.withKey(2, func(p *tpm2.TPMTPublic) { p.Parameters = symmetric(tpm2.TPMAlgECB, 128) })},
		{"K of 256 bits", CheckPolicy, l.withKey(2, func(p *tpm2.TPMTPublic) { p.Parameters = symmetric(tpm2.TPMAlgCFB, 256) })},
		{"K with a short unique", CheckPolicy, l.withKey(2, func(p *tpm2.TPMTPublic) {
			p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgSymCipher, &tpm2.TPM2BDigest{Buffer: []byte{1}})
		})},
		{"policy over a resettable PCR", CheckPolicy, l.forge(2, func(h *Header, _ *payload) { h.Platform.PCRs |= 1 << 23 })},
		{"active slot", CheckSpace, l.bytes(l.build(1, newSubscription(t), nil))},
		{"another platform state", CheckPlatform, order(func(o *Order) { o.Platform.Digest[31]++ })},
	} {
		before := l.slots()
		_, err := l.store.Install(c.raw, today, nil)
		var r *RejectError
		if !errors.As(err, &r) || r.Check != c.check {
			t.Errorf("%s: got %v, want a refusal by the check of %s", c.name, err, c.check)
			continue
		}
		if !strings.Contains(err.Error(), string(c.check)) {
			t.Errorf("%s: the error does not name the check: %v", c.name, err)
		}
		l.sameBut(c.name, before, c.check)
	}
	l.attach(1, auc)
}

func (l *lab) slots() [SlotCount]Info {
	l.Helper()
	list, err := l.store.Slots()
	if err != nil {
		l.Fatal(err)
	}
	return list
}

// sameBut checks that a refusal changed the sequence number of its slot, from
// the check of version on, and nothing else.
func (l *lab) sameBut(name string, before [SlotCount]Info, check Check) {
	l.Helper()
	late := slices.Contains([]Check{CheckVersion, CheckPolicy, CheckSpace, CheckPlatform}, check)
	consumed := false
	for n, after := range l.slots() {
		consumed = consumed || after.Sequence > before[n].Sequence
		after.Sequence = before[n].Sequence
		if after != before[n] {
			l.Errorf("%s: slot %d changed", name, n)
		}
		if l.store.state.Slots[n].Pending != nil {
			l.Errorf("%s: slot %d waits for the package", name, n)
		}
	}
	if consumed != late {
		l.Errorf("%s: sequence number consumed: %t", name, consumed)
	}
}

func TestNoBitOfAPackageCanBeFlipped(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	raw := l.bytes(l.build(1, newSubscription(t), nil))
	for i := range raw {
		for bit := range 8 {
			bad := bytes.Clone(raw)
			bad[i] ^= 1 << bit
			if _, err := l.store.Install(bad, today, nil); err == nil {
				t.Fatalf("bit %d of byte %d flipped: installed", bit, i)
			}
		}
	}
	for n := range raw {
		if _, err := l.store.Install(raw[:n], today, nil); err == nil {
			t.Fatalf("cut to %d bytes: installed", n)
		}
	}
	if _, err := l.store.Install(append(bytes.Clone(raw), 0), today, nil); err == nil {
		t.Fatal("something behind it: installed")
	}
	twin := bytes.Clone(raw) // (r, n-s) is as valid to ECDSA as (r, s)
	last := new(big.Int).SetBytes(twin[len(twin)-32:])
	last.Sub(elliptic.P256().Params().N, last).FillBytes(twin[len(twin)-32:])
	if _, err := l.store.Install(twin, today, nil); !errors.Is(err, ErrPackage) {
		t.Fatalf("other form of the signature: %v", err)
	}
	if l.slots()[1].Sequence != 0 {
		t.Error("a changed package consumed a sequence number")
	}
	if _, err := l.store.Install(raw, today, nil); err != nil {
		t.Fatal(err)
	}
}

// What the signature covers is wrong, too: each part is bound by itself.
func TestPartsThatDoNotBelongTogether(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	other := l.build(1, newSubscription(t), nil)
	for name, c := range map[string]struct {
		want   error
		change func(*Header, *payload)
	}{
		"duplicate flipped":    {ErrImport, func(_ *Header, c *payload) { c.Key.Duplicate = flip(c.Key.Duplicate) }},
		"duplicate of another": {ErrImport, func(_ *Header, c *payload) { c.Key.Duplicate = other.Key.Duplicate }},
		"seed flipped":         {ErrImport, func(_ *Header, c *payload) { c.Key.Seed = flip(c.Key.Seed) }},
		"seed missing":         {ErrImport, func(_ *Header, c *payload) { c.Key.Seed = []byte{} }},
		"body flipped":         {ErrBody, func(_ *Header, c *payload) { c.Body = flip(c.Body) }},
		"body of another":      {ErrBody, func(_ *Header, c *payload) { c.Body = other.body }},
		"body missing":         {ErrBody, func(_ *Header, c *payload) { c.Body = []byte{} }},
		"header changed":       {ErrBody, func(h *Header, _ *payload) { h.NotAfter++ }},
		"K in a body for the TRE": {ErrBody, func(h *Header, c *payload) {
			header, err := encode(*h)
			if err != nil {
				t.Fatal(err)
			}
			target := l.target(1)
			if c.Body, err = target.sealBody(newSubscription(t).body(), header, nil); err != nil {
				t.Fatal(err)
			}
		}},
		"no K in a body for a card": {ErrBody, func(h *Header, c *payload) {
			h.Placement, c.Key = InUICC, nil
			header, err := encode(*h)
			if err != nil {
				t.Fatal(err)
			}
			b := newSubscription(t).body()
			b.K = nil
			target := l.target(1)
			if c.Body, err = target.sealBody(b, header, nil); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		_, err := l.store.Install(l.forge(1, c.change), today, nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if l.state(1) != Empty || l.store.state.Slots[1].Pending != nil {
			t.Errorf("%s: slot is %s", name, l.state(1))
		}
	}
	_, auc, _ := l.installed(1)
	l.attach(1, auc)
}

func TestPackageForAnotherTPM(t *testing.T) {
	t.Parallel()
	a, b := newLab(t), newLabOn(t, tpmtest.OpenOther(t))
	b.cfg.Issuers = a.cfg.Issuers
	b.reopen()
	sub := newSubscription(t)
	_, err := b.store.Install(a.bytes(a.build(1, sub, nil)), today, nil)
	wantReject(t, err, CheckRecipient)
	// With that check off, the TPM still does not import K.
	b.cfg.Weak.NoRecipient = true
	b.reopen()
	_, err = b.store.Install(a.bytes(a.build(1, sub, nil)), today, nil)
	wantIs(t, err, ErrImport)
	// Only where nothing is bound at all the attack succeeds.
	disclosed, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.Weak.BodyKey = disclosed
	b.reopen()
	unbound := a.build(1, sub, func(_ *Target, o *Order) { o.Unbound = disclosed.PublicKey() })
	b.install(unbound)
	if err := b.store.Activate(1); err != nil {
		t.Fatal(err)
	}
	b.attach(1, home(t, sub))
	// With the defence on it does not even so.
	b.cfg.Weak = Weakness{}
	b.reopen()
	_, err = b.store.Install(a.bytes(a.build(2, sub, func(_ *Target, o *Order) { o.Unbound = disclosed.PublicKey() })), today, nil)
	wantReject(t, err, CheckRecipient)
}

func TestReplayWithTheDefenceOff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sub, auc, p := l.installed(1)
	v := next(t, auc)
	if _, err := l.open(1).Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	var sync *aka.SyncError
	if _, err := l.open(1).Authenticate(v.RAND, v.AUTN); !errors.As(err, &sync) {
		t.Fatalf("the same challenge again: %v", err)
	}
	l.installed(2) // slot 1 is inactive now
	_, err := l.store.Install(l.bytes(p), today, nil)
	wantReject(t, err, CheckFreshness)
	l.cfg.Weak.NoFreshness = true
	l.reopen()
	l.install(p)
	if err := l.store.Activate(1); err != nil {
		t.Fatal(err)
	}
	// The attack: the sequence numbers start anew, a recorded challenge works.
	if r, err := l.open(1).Authenticate(v.RAND, v.AUTN); err != nil || r.RES != v.XRES {
		t.Errorf("recorded challenge after replay: %v", err)
	}
	// After an erase the epoch in K's policy still stops it.
	if _, err := l.store.Erase(1, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := l.store.Install(l.bytes(p), today, nil); err != nil {
		t.Fatal(err)
	}
	if l.store.Activate(1) == nil {
		v = next(t, home(t, sub))
		m, err := l.store.Open(1)
		if err == nil {
			_, err = m.Authenticate(v.RAND, v.AUTN)
		}
		if err == nil {
			t.Error("an erased subscription is back")
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	target, order := l.target(1), l.order()
	for name, c := range map[string]struct {
		want   error
		change func(*Target, *Order, *Subscription)
	}{
		"SRK":           {ErrTarget, func(g *Target, _ *Order, _ *Subscription) { g.SRK = g.SRK[1:] }},
		"SRK not ECC":   {ErrTarget, func(g *Target, _ *Order, _ *Subscription) { g.SRK = g.SRK[:0] }},
		"DEK":           {ErrTarget, func(g *Target, _ *Order, _ *Subscription) { g.DEK = nil }},
		"epoch":         {ErrPackage, func(g *Target, _ *Order, _ *Subscription) { g.Epoch = 0 }},
		"epoch index":   {policy.ErrEpoch, func(g *Target, _ *Order, _ *Subscription) { g.EpochIndex = 0 }},
		"slot":          {ErrPackage, func(g *Target, _ *Order, _ *Subscription) { g.Slot = 3 }},
		"PCID's slot":   {ErrPackage, func(g *Target, _ *Order, _ *Subscription) { g.Slot = 0 }},
		"no id":         {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.ID = "" }},
		"long id":       {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.ID = strings.Repeat("x", 129) }},
		"unprintable":   {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.Issuer = "a\nb" }},
		"no UTF-8":      {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.Build = "\xff" }},
		"sequence":      {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.Sequence = 0 }},
		"validity":      {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.NotAfter = o.NotBefore.Add(-time.Hour) }},
		"placement":     {ErrPackage, func(_ *Target, o *Order, _ *Subscription) { o.Placement = "cloud" }},
		"no PCRs":       {policy.ErrPCRs, func(_ *Target, o *Order, _ *Subscription) { o.Platform.PCRs = 0 }},
		"resettable":    {policy.ErrPCRs, func(_ *Target, o *Order, _ *Subscription) { o.Platform.PCRs |= 1 << 23 }},
		"no K":          {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.K = s.KIc }},
		"short K":       {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.K = secretOf(s.K.Reveal()[:8]) }},
		"no OPc":        {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.OPc = s.KIc }},
		"IMSI":          {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.IMSI = "00101012345678x" }},
		"ICCID":         {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.ICCID = "" }},
		"MNC":           {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.MNCLength = 4 }},
		"half OTA keys": {ErrSubscription, func(_ *Target, _ *Order, s *Subscription) { s.KIc = s.K }},
	} {
		g, o, s := target, order, *newSubscription(t)
		c.change(&g, &o, &s)
		if _, err := Build(l.signer, g, o, &s); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if _, err := Build(rsaSigner(t), target, order, newSubscription(t)); err == nil {
		t.Error("a package was signed with RSA")
	}
}

func TestAnotherMachineHasOtherKeys(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenOther(t)
	other, err := ident.CreateTRE(m, ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	if sha256.Sum256(other.SRK.Bytes()) == sha256.Sum256(l.tre.SRK.Bytes()) {
		t.Error("two TPMs have one SRK: the test of the recipient proves nothing")
	}
}
