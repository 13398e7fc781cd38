package engine_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/apdu/secret"
	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/engine"
	"mcim/tpm/policy"
	"mcim/tpm/tpmtest"
)

// bus keeps what was on the bus.
type bus struct{ exchanges []tpm.Exchange }

func (b *bus) tap(e tpm.Exchange) { b.exchanges = append(b.exchanges, e) }

func (b *bus) names() []string {
	var names []string
	for _, e := range b.exchanges {
		names = append(names, e.Name)
	}
	return names
}

// approved makes a counter and the policy of the TPM as it is.
func approved(t testing.TB, m *tpm.TPM) policy.MCIM {
	t.Helper()
	index, err := m.NVIndex(0)
	if err != nil {
		t.Fatal(err)
	}
	public := policy.CounterPublic(index)
	public.Attributes.Written = false
	if _, err := (tpm2.NVDefineSpace{AuthHandle: m.Owner(tpm.Integrity), PublicInfo: tpm2.New2B(public)}).Execute(m); err != nil {
		t.Fatal(err)
	}
	increment(t, m, index)
	platform, err := policy.ReadPlatform(m, 0, 2, 4, 7, 8, 9, 14)
	if err != nil {
		t.Fatal(err)
	}
	return policy.MCIM{Platform: platform, EpochIndex: index, Epoch: 1, Command: tpm2.TPMCCEncryptDecrypt2}
}

func increment(t testing.TB, m *tpm.TPM, index tpm2.TPMHandle) {
	t.Helper()
	_, name, err := m.NVPublic(index)
	if err != nil {
		t.Fatal(err)
	}
	h := tpm2.NamedHandle{Handle: index, Name: name}
	if _, err := (tpm2.NVIncrement{AuthHandle: h, NVIndex: h}).Execute(m); err != nil {
		t.Fatal(err)
	}
}

// load puts K into the TPM as an object of its own, which is what is left of an
// MCIM key after import and load.
func load(t testing.TB, m *tpm.TPM, k []byte, p policy.MCIM) engine.Key {
	t.Helper()
	digest, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, sha256.Size)
	unique := sha256.Sum256(append(slices.Clone(seed), k...))
	public := tpm2.TPMTPublic{
		Type: tpm2.TPMAlgSymCipher, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{Decrypt: true, NoDA: true},
		AuthPolicy:       tpm2.TPM2BDigest{Buffer: digest[:]},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: tpm2.TPMTSymDefObject{
			Algorithm: tpm2.TPMAlgAES,
			KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
			Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
		}}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgSymCipher, &tpm2.TPM2BDigest{Buffer: unique[:]}),
	}
	rsp, err := tpm2.LoadExternal{
		InPrivate: tpm2.New2B(tpm2.TPMTSensitive{
			SensitiveType: tpm2.TPMAlgSymCipher,
			SeedValue:     tpm2.TPM2BDigest{Buffer: seed},
			Sensitive:     tpm2.NewTPMUSensitiveComposite(tpm2.TPMAlgSymCipher, &tpm2.TPM2BSymKey{Buffer: k}),
		}),
		InPublic:  tpm2.New2B(public),
		Hierarchy: tpm2.TPMRHNull,
	}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
	return engine.Key{Handle: rsp.ObjectHandle, Name: rsp.Name, Policy: p}
}

func newCFB(t testing.TB, m *tpm.TPM, key engine.Key) *engine.CFB {
	t.Helper()
	c, err := engine.NewCFB(m, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, tpm.ErrGone) {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func random(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func soft(t testing.TB, k []byte) aka.Block {
	t.Helper()
	b, err := aka.NewAES(secret.New(k))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSameBlocksAsSoftware(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	k := random(t, 16)
	c := newCFB(t, m, load(t, m, k, approved(t, m)))
	for _, blocks := range []int{0, 1, 2, 5, 62, 63, 64, 126, 130} {
		in := random(t, 16*blocks)
		got, want := make([]byte, len(in)), make([]byte, len(in))
		if err := c.Encrypt(got, in); err != nil {
			t.Fatalf("%d blocks: %v", blocks, err)
		}
		if err := soft(t, k).Encrypt(want, in); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d blocks differ", blocks)
		}
	}
	for _, bad := range [][2]int{{15, 15}, {16, 32}, {32, 16}, {0, 16}} {
		if err := c.Encrypt(make([]byte, bad[0]), make([]byte, bad[1])); err == nil {
			t.Errorf("%d bytes into %d: no error", bad[1], bad[0])
		}
	}
}

type vector struct {
	Set int
	In  struct{ K, OP, RAND, SQN, AMF string }
	Out struct {
		OPc, RES, CK, IK, AK string
		MACA                 string `json:"MAC_A"`
		MACS                 string `json:"MAC_S"`
		AKStar               string `json:"AK_star"`
	}
	Derived struct {
		AUTN   string
		Resync struct {
			SQNMS string `json:"SQN_MS"`
			AUTS  string
		}
	}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("../../card/aka/testdata/milenage.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Sets []vector }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Sets) != 20 {
		t.Fatalf("%d sets, want 20", len(file.Sets))
	}
	return file.Sets
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMilenageSets(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	p := approved(t, m)
	for _, v := range vectors(t) {
		key := load(t, m, unhex(t, v.In.K), p)
		c := newCFB(t, m, key)
		milenage, err := aka.NewMilenage(c, secret.New(unhex(t, v.Out.OPc)))
		if err != nil {
			t.Fatal(err)
		}
		rand, sqn := [16]byte(unhex(t, v.In.RAND)), aka.SQNFromBytes([6]byte(unhex(t, v.In.SQN)))
		macA, macS, err := milenage.F1(rand, sqn, [2]byte(unhex(t, v.In.AMF)))
		if err != nil {
			t.Fatalf("set %d: %v", v.Set, err)
		}
		o, err := milenage.F2345(rand)
		if err != nil {
			t.Fatalf("set %d: %v", v.Set, err)
		}
		got := []string{hex.EncodeToString(macA[:]), hex.EncodeToString(macS[:]), hex.EncodeToString(o.RES.Bytes()),
			hex.EncodeToString(o.CK[:]), hex.EncodeToString(o.IK[:]), hex.EncodeToString(o.AK[:]), hex.EncodeToString(o.AKStar[:])}
		want := []string{v.Out.MACA, v.Out.MACS, v.Out.RES, v.Out.CK, v.Out.IK, v.Out.AK, v.Out.AKStar}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("set %d (-want +got):\n%s", v.Set, d)
		}
		ms := aka.SQNFromBytes([6]byte(unhex(t, v.Derived.Resync.SQNMS)))
		var array aka.SQNArray // without limits
		array.Last[ms.IND()] = ms
		usim := aka.NewUSIM(milenage, array, nil)
		if r, err := usim.Authenticate(rand, [16]byte(unhex(t, v.Derived.AUTN))); err != nil || hex.EncodeToString(r.RES.Bytes()) != v.Out.RES {
			t.Errorf("set %d: USIM %x %v", v.Set, r.RES, err)
		}
		if err := errors.Join(c.Close(), m.Flush(key.Handle)); err != nil {
			t.Fatal(err)
		}
	}
}

// challenge makes challenges that the USIM accepts.
func challenge(t testing.TB, k []byte) (usim func(aka.Block) *aka.USIM, next func() aka.Vector) {
	t.Helper()
	opc := secret.New(random(t, 16))
	home, err := aka.NewMilenage(soft(t, k), opc)
	if err != nil {
		t.Fatal(err)
	}
	subscriber := aka.NewSubscriber(home, 0, [2]byte{0x80}, nil)
	usim = func(b aka.Block) *aka.USIM {
		m, err := aka.NewMilenage(b, opc)
		if err != nil {
			t.Fatal(err)
		}
		return aka.NewUSIM(m, aka.NewSQNArray(0), nil)
	}
	return usim, func() aka.Vector {
		v, err := subscriber.Next([16]byte(random(t, 16)))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestTwelveCommandsPerAKA(t *testing.T) {
	t.Parallel()
	var b bus
	m := tpmtest.OpenWith(t, tpm.Options{Tap: b.tap})
	k := random(t, 16)
	usimOver, next := challenge(t, k)
	usim := usimOver(newCFB(t, m, load(t, m, k, approved(t, m))))
	call := []string{"PolicyPCR", "PolicyNV", "PolicyCommandCode", "EncryptDecrypt2"}
	want := append([]string{"StartAuthSession"}, slices.Concat(call, call, call)...)
	for range 3 {
		v := next()
		b.exchanges = nil
		r, err := usim.Authenticate(v.RAND, v.AUTN)
		if err != nil || r.RES != v.XRES || r.CK != v.CK || r.IK != v.IK {
			t.Fatalf("AKA: %v", err)
		}
		if d := cmp.Diff(want, b.names()); d != "" {
			t.Errorf("commands (-want +got):\n%s", d)
		}
		want = want[len(want)-12:] // the session is kept
	}
}

// recorder notes every block that the algorithm encrypts.
type recorder struct {
	aka.Block
	blocks [][]byte
}

func (r *recorder) Encrypt(dst, src []byte) error {
	if err := r.Block.Encrypt(dst, src); err != nil {
		return err
	}
	for i := 0; i < len(src); i += aka.BlockSize {
		r.blocks = append(r.blocks, slices.Clone(src[i:i+aka.BlockSize]), slices.Clone(dst[i:i+aka.BlockSize]))
	}
	return nil
}

func TestNoBlockIsOnTheBus(t *testing.T) {
	t.Parallel()
	var b bus
	m := tpmtest.OpenWith(t, tpm.Options{Tap: b.tap})
	k := random(t, 16)
	usimOver, next := challenge(t, k)
	key := load(t, m, k, approved(t, m))
	b.exchanges = nil
	r := &recorder{Block: newCFB(t, m, key)}
	usim := usimOver(r)
	for range 10 {
		v := next()
		if _, err := usim.Authenticate(v.RAND, v.AUTN); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.blocks) != 10*2*7 {
		t.Fatalf("%d blocks recorded", len(r.blocks))
	}
	for _, block := range append(r.blocks, k) {
		// Half a block tells enough, and the XOR of an input with E_K of another
		// is what the plain answer would be.
		for _, e := range b.exchanges {
			for _, half := range [][]byte{block[:8], block[8:]} {
				if bytes.Contains(e.Request, half) || bytes.Contains(e.Response, half) {
					t.Fatalf("a block is readable in %s", e.Name)
				}
			}
		}
	}
}

func TestPolicyRefusalAndRecovery(t *testing.T) {
	t.Parallel()
	m := tpmtest.Open(t)
	k := random(t, 16)
	p := approved(t, m)
	key := load(t, m, k, p)
	c := newCFB(t, m, key)
	block := make([]byte, 16)
	if err := c.Encrypt(block, random(t, 16)); err != nil {
		t.Fatal(err)
	}
	// The policy of another command, honestly run, does not open the key.
	other := key
	other.Policy.Command = tpm2.TPMCCUnseal
	wrong := newCFB(t, m, other)
	if err := wrong.Encrypt(block, random(t, 16)); !errors.Is(err, policy.ErrRefused) {
		t.Errorf("policy of another command: %v", err)
	}
	// After a refusal the engine still works: no digest half done is left.
	other.Policy.Command = tpm2.TPMCCEncryptDecrypt2
	if err := c.Encrypt(block, random(t, 16)); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
	extend(t, m, 7)
	for range 2 {
		out := make([]byte, 16)
		if err := c.Encrypt(out, random(t, 16)); !errors.Is(err, policy.ErrRefused) || !bytes.Equal(out, make([]byte, 16)) {
			t.Errorf("wrong platform: %v", err)
		}
	}
	platform, err := policy.ReadPlatform(m, p.Platform.List()...)
	if err != nil {
		t.Fatal(err)
	}
	p.Platform = platform
	key = load(t, m, k, p)
	c = newCFB(t, m, key)
	if err := c.Encrypt(block, random(t, 16)); err != nil {
		t.Fatal(err)
	}
	increment(t, m, p.EpochIndex)
	if err := c.Encrypt(block, random(t, 16)); !errors.Is(err, policy.ErrRefused) {
		t.Errorf("epoch over: %v", err)
	}
}

func extend(t testing.TB, m *tpm.TPM, pcr int) {
	t.Helper()
	_, err := tpm2.PCRExtend{
		PCRHandle: tpm2.AuthHandle{Handle: tpm2.TPMHandle(pcr), Auth: tpm2.PasswordAuth(nil)},
		Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
	}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
}

// meddler extends a PCR outside of the policy right before each of the next
// EncryptDecrypt2 commands, as the kernel's IMA does at any moment.
type meddler struct {
	transport.TPM
	times int
}

func (m *meddler) Send(command []byte) ([]byte, error) {
	if m.times > 0 && tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCEncryptDecrypt2 {
		m.times--
		_, err := tpm2.PCRExtend{
			PCRHandle: tpm2.AuthHandle{Handle: 13, Auth: tpm2.PasswordAuth(nil)},
			Digests:   tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: make([]byte, 32)}}},
		}.Execute(m.TPM)
		if err != nil {
			return nil, err
		}
	}
	return m.TPM.Send(command)
}

func TestExtendBetweenPolicyAndUse(t *testing.T) {
	t.Parallel()
	var between *meddler
	m := tpmtest.OpenWith(t, tpm.Options{Wrap: func(raw transport.TPM) transport.TPM {
		between = &meddler{TPM: raw}
		return between
	}})
	k := random(t, 16)
	c := newCFB(t, m, load(t, m, k, approved(t, m)))
	in, got, want := random(t, 32), make([]byte, 32), make([]byte, 32)
	if err := soft(t, k).Encrypt(want, in); err != nil {
		t.Fatal(err)
	}
	between.times = 1
	if err := c.Encrypt(got, in); err != nil || !bytes.Equal(got, want) {
		t.Errorf("one extend in between: %v", err)
	}
	between.times = 2
	if err := c.Encrypt(got, in); !errors.Is(err, tpm2.TPMRCPCRChanged) {
		t.Errorf("an extend each time: %v", err)
	}
}

func BenchmarkAKA(b *testing.B) {
	m := tpmtest.Open(b)
	k := random(b, 16)
	usimOver, next := challenge(b, k)
	usim := usimOver(newCFB(b, m, load(b, m, k, approved(b, m))))
	challenges := make([]aka.Vector, 0, b.N)
	for range b.N {
		challenges = append(challenges, next())
	}
	before := m.Commands()
	b.ResetTimer()
	for _, v := range challenges {
		if _, err := usim.Authenticate(v.RAND, v.AUTN); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "AKA/s")
	b.ReportMetric(float64(m.Commands()-before)/float64(b.N), "TPM-commands/AKA")
}
