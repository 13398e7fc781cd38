package ident_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/apdu/secret"
	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/tpmtest"
)

func create(t testing.TB, m *tpm.TPM, opts ident.Options) *ident.TRE {
	t.Helper()
	tre, err := ident.CreateTRE(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	return tre
}

func TestVerifyEK(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	if _, err := m.EK(); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("EK before the check: %v", err)
	}
	other := tpmtest.Trust(t, tpmtest.OtherDir(t))
	if _, err := ident.VerifyEK(m, other); !errors.Is(err, ident.ErrChain) {
		t.Errorf("EK of another maker: %v", err)
	}
	if _, err := m.EK(); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("EK is pinned after a failed check: %v", err)
	}
	info, err := ident.VerifyEK(m, tpmtest.Trust(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if info.Maker != "id:00001014" || info.Model != "swtpm" || info.Version == "" {
		t.Errorf("TPM is %+v", info)
	}
	if _, err := m.EK(); err != nil {
		t.Error(err)
	}
	late := tpmtest.Trust(t, dir)
	late.At = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := ident.VerifyEK(m, late); !errors.Is(err, ident.ErrChain) {
		t.Errorf("EK before its validity: %v", err)
	}
}

func TestBothEKs(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	eks, err := m.EKs()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, ek := range eks {
		types = append(types, ek.Type)
		if _, err := tpmtest.Trust(t, dir).Check(ek.Certificate, tpm2.Marshal(ek.Public)); err != nil {
			t.Errorf("%s: %v", ek.Type, err)
		}
		// Low and high range: each has its policy.
		m.PinEK(ek)
		tre := create(t, m, ident.Options{})
		want := []byte("to be or not to be, in 32 bytes.")
		cred, err := ident.MakeCredential(tpm2.Marshal(ek.Public), tre.AK.Bytes(), secret.New(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := tre.Activate(cred)
		if err != nil {
			t.Fatalf("%s: %v", ek.Type, err)
		}
		if !bytes.Equal(got.Reveal(), want) {
			t.Errorf("%s: another secret came out", ek.Type)
		}
	}
	if diff := cmp.Diff([]string{"ECC P-384", "RSA-2048"}, types); diff != "" {
		t.Error(diff)
	}
	if _, err := tpmtest.Trust(t, dir).Check(eks[0].Certificate, tpm2.Marshal(eks[1].Public)); !errors.Is(err, ident.ErrEKMismatch) {
		t.Errorf("certificate of another EK: %v", err)
	}
}

func TestActivateRefuses(t *testing.T) {
	t.Parallel()
	m, other := tpmtest.Open(t), tpmtest.OpenOther(t)
	tre, otherTRE := create(t, m, ident.Options{}), create(t, other, ident.Options{})
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	value := secret.New([]byte("secret"))
	wrongAK, err := ident.MakeCredential(tpm2.Marshal(ek.Public), otherTRE.AK.Bytes(), value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tre.Activate(wrongAK); !errors.Is(err, tpm2.TPMRCIntegrity) {
		t.Errorf("credential for another AK: %v", err)
	}
	right, err := ident.MakeCredential(tpm2.Marshal(ek.Public), tre.AK.Bytes(), value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := otherTRE.Activate(right); err == nil {
		t.Error("another TPM opened the credential")
	}
	changed := right
	changed.Blob = bytes.Clone(right.Blob)
	changed.Blob[len(changed.Blob)-1] ^= 1
	if _, err := tre.Activate(changed); !errors.Is(err, tpm2.TPMRCIntegrity) {
		t.Errorf("changed credential: %v", err)
	}
	if _, err := tre.Activate(right); err != nil {
		t.Errorf("after refusals: %v", err)
	}
	for name, value := range map[string]secret.Bytes{"empty": {}, "long": secret.New(make([]byte, 33))} {
		if _, err := ident.MakeCredential(tpm2.Marshal(ek.Public), tre.AK.Bytes(), value); err == nil {
			t.Errorf("%s secret was taken", name)
		}
	}
	if _, err := ident.MakeCredential([]byte{1}, tre.AK.Bytes(), value); !errors.Is(err, tpm.ErrStructure) {
		t.Errorf("EK of one byte: %v", err)
	}
	if _, err := ident.MakeCredential(tpm2.Marshal(ek.Public), nil, value); !errors.Is(err, tpm.ErrStructure) {
		t.Errorf("no AK: %v", err)
	}
}

func TestCreateTREAgainAndOpen(t *testing.T) {
	t.Parallel()
	dir := tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	if _, err := ident.OpenTRE(m, ident.Options{}); !errors.Is(err, tpm.ErrNotClaimed) {
		t.Errorf("before the claim: %v", err)
	}
	if err := m.Claim(); err != nil {
		t.Fatal(err)
	}
	if _, err := ident.CreateTRE(m, ident.Options{}); !errors.Is(err, tpm.ErrNotPinned) {
		t.Errorf("before an EK is pinned: %v", err)
	}
	if _, err := ident.VerifyEK(m, tpmtest.Trust(t, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := ident.OpenTRE(m, ident.Options{}); !errors.Is(err, ident.ErrIncomplete) {
		t.Errorf("before the TRE was made: %v", err)
	}
	tre := create(t, m, ident.Options{})
	ek, err := m.EK()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = tpmtest.OpenDir(t, dir, tpm.Options{EKPin: ek.Pin(), Claimed: true})
	same, err := ident.OpenTRE(m, ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	again := create(t, m, ident.Options{})
	for _, k := range [][3]ident.Key{{tre.AK, same.AK, again.AK}, {tre.SRK, same.SRK, again.SRK}, {tre.Key, same.Key, again.Key}, {tre.DEK, same.DEK, again.DEK}} {
		if !bytes.Equal(k[0].Name.Buffer, k[1].Name.Buffer) || !bytes.Equal(k[0].Name.Buffer, k[2].Name.Buffer) || k[0].Handle != k[1].Handle {
			t.Errorf("key at %#x changed", k[0].Handle)
		}
	}
}

// TestCreateTRECut ends the run after each number of commands and starts again.
func TestCreateTRECut(t *testing.T) {
	t.Parallel()
	var cut *cutter
	dir := tpmtest.Dir(t)
	first := tpmtest.Open(t) // every folder holds the same TPM
	ek, err := first.EK()
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		m := tpmtest.OpenDir(t, dir, tpm.Options{Claimed: true, EKPin: ek.Pin(),
			Wrap: func(in transport.TPM) transport.TPM { cut = &cutter{TPM: in, left: -1}; return cut }})
		cut.left = n
		_, err := ident.CreateTRE(m, ident.Options{})
		cut.left = -1
		if err == nil && n == 0 {
			t.Error("done without a command")
		}
		if err == nil {
			create(t, m, ident.Options{})
			_ = m.Close()
			break
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if n%2 == 1 { // from nothing again; else go on where it stopped
			dir = tpmtest.Dir(t)
		}
	}
}

var errCut = errors.New("cut")

// cutter lets a number of commands through; -1: all.
type cutter struct {
	transport.TPM
	left int
}

func (c *cutter) Send(b []byte) ([]byte, error) {
	if c.left == 0 {
		return nil, errCut
	}
	if c.left > 0 {
		c.left--
	}
	return c.TPM.Send(b)
}

func TestSignerInTLS(t *testing.T) {
	t.Parallel()
	tre := create(t, tpmtest.Open(t), ident.Options{})
	key, err := tre.Signer()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "TRE"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"tre"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	here, there := net.Pipe()
	server := tls.Server(there, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	client := tls.Client(here, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "tre"})
	done := make(chan error)
	go func() { done <- server.HandshakeContext(context.Background()) }()
	if err := client.HandshakeContext(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSignerRefuses(t *testing.T) {
	t.Parallel()
	tre := create(t, tpmtest.Open(t), ident.Options{})
	key, err := tre.Signer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := key.Sign(nil, make([]byte, 48), crypto.SHA384); !errors.Is(err, ident.ErrDigest) {
		t.Errorf("SHA-384: %v", err)
	}
	if _, err := key.Sign(nil, make([]byte, 31), crypto.SHA256); !errors.Is(err, ident.ErrDigest) {
		t.Errorf("short digest: %v", err)
	}
}

func TestDEKOpensHPKE(t *testing.T) {
	t.Parallel()
	tre := create(t, tpmtest.Open(t), ident.Options{})
	exchanger, err := tre.Exchanger()
	if err != nil {
		t.Fatal(err)
	}
	private, err := hpke.NewDHKEMPrivateKey(exchanger)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // a shared secret with leading zeros comes once in 256
		sealed, err := hpke.Seal(private.PublicKey(), hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("info"), []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := hpke.Open(private, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("info"), sealed)
		if err != nil || string(body) != "body" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	far, err := ecdh.P384().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchanger.ECDH(far.PublicKey()); !errors.Is(err, ident.ErrCurve) {
		t.Errorf("P-384: %v", err)
	}
}

func TestDEKUnderPolicy(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	selection := tpm2.TPMLPCRSelection{PCRSelections: []tpm2.TPMSPCRSelection{{Hash: tpm2.TPMAlgSHA256, PCRSelect: tpm2.PCClientCompatible.PCRs(14)}}}
	zero := sha256.Sum256(make([]byte, 32))
	now := tpm2.PolicyPCR{PcrDigest: tpm2.TPM2BDigest{Buffer: zero[:]}, Pcrs: selection}
	calc, err := tpm2.NewPolicyCalculator(tpm2.TPMAlgSHA256)
	if err != nil {
		t.Fatal(err)
	}
	if err := now.Update(calc); err != nil {
		t.Fatal(err)
	}
	opts := ident.Options{DEKPolicy: calc.Hash().Digest, DEKRun: func(t transport.TPM, s tpm2.TPMISHPolicy, _ tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicyPCR{PolicySession: s, Pcrs: selection}.Execute(t)
		return err
	}}
	plain := create(t, m, ident.Options{})
	tre := create(t, m, opts) // another policy: another DEK
	if bytes.Equal(plain.DEK.Name.Buffer, tre.DEK.Name.Buffer) || !bytes.Equal(plain.Key.Name.Buffer, tre.Key.Name.Buffer) {
		t.Error("only the DEK should change with its policy")
	}
	exchanger, err := tre.Exchanger()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	z, err := exchanger.ECDH(peer.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	if want, err := peer.ECDH(exchanger.PublicKey()); err != nil || !bytes.Equal(z, want) {
		t.Errorf("shared secrets differ (%v)", err)
	}
	_, err = tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{Handle: 14, Auth: tpm2.PasswordAuth(nil)},
		Digests: tpm2.TPMLDigestValues{Digests: []tpm2.TPMTHA{{HashAlg: tpm2.TPMAlgSHA256, Digest: zero[:]}}}}.Execute(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchanger.ECDH(peer.PublicKey()); !errors.Is(err, tpm2.TPMRCPolicyFail) {
		t.Errorf("in another state: %v", err)
	}
}

func TestCertification(t *testing.T) {
	t.Parallel()
	tre, other := create(t, tpmtest.Open(t), ident.Options{}), create(t, tpmtest.OpenOther(t), ident.Options{})
	nonce := []byte("nonce of the authority")
	good, err := tre.Certify(tre.SRK, nonce)
	if err != nil {
		t.Fatal(err)
	}
	pub, name, err := ident.VerifyCertification(tre.AK.Bytes(), nonce, good)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(name.Buffer, tre.SRK.Name.Buffer) || pub.Type != tpm2.TPMAlgECC {
		t.Error("another key was certified")
	}
	for _, k := range []ident.Key{tre.Key, tre.DEK} {
		c, err := tre.Certify(k, nonce)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ident.VerifyCertification(tre.AK.Bytes(), nonce, c); err != nil {
			t.Error(err)
		}
	}
	// The TRE key signs anything: its word is worth nothing here.
	forged := good
	signer, err := tre.Signer()
	if err != nil {
		t.Fatal(err)
	}
	forged.Signature = signAs(t, signer, good.Attest)
	for _, c := range []struct {
		name  string
		ak    []byte
		nonce []byte
		c     ident.Certification
		want  error
	}{
		{"another nonce", tre.AK.Bytes(), []byte("another nonce"), good, ident.ErrFreshness},
		{"another AK", other.AK.Bytes(), nonce, good, ident.ErrSignature},
		{"another key", tre.AK.Bytes(), nonce, ident.Certification{Public: tre.DEK.Bytes(), Attest: good.Attest, Signature: good.Signature}, ident.ErrOtherKey},
		{"no AK but an unrestricted key", tre.Key.Bytes(), nonce, forged, ident.ErrAK},
		{"signed by the TRE key", tre.AK.Bytes(), nonce, forged, ident.ErrSignature},
		{"changed", tre.AK.Bytes(), nonce, ident.Certification{Public: good.Public, Attest: flip(good.Attest), Signature: good.Signature}, ident.ErrSignature},
		{"without signature", tre.AK.Bytes(), nonce, ident.Certification{Public: good.Public, Attest: good.Attest}, ident.ErrSignature},
		{"cut key", tre.AK.Bytes(), nonce, ident.Certification{Public: good.Public[:20], Attest: good.Attest, Signature: good.Signature}, tpm.ErrStructure},
		{"longer key", tre.AK.Bytes(), nonce, ident.Certification{Public: append(bytes.Clone(good.Public), 0), Attest: good.Attest, Signature: good.Signature}, tpm.ErrStructure},
	} {
		if _, _, err := ident.VerifyCertification(c.ak, c.nonce, c.c); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := ident.VerifyAttest(tre.AK.Bytes(), tpm2.TPMSTAttestQuote, nonce, good.Attest, good.Signature); !errors.Is(err, ident.ErrNotAttested) {
		t.Errorf("certification as a quote: %v", err)
	}
}

// TestMagic shows why AK keys are restricted: a key that signs anything would
// sign this.
func TestMagic(t *testing.T) {
	t.Parallel()
	ak, public := softwareAK(t)
	bad := []byte("\xffTCX and so on")
	if _, err := ident.VerifyAttest(public, tpm2.TPMSTAttestCertify, nil, bad, signAs(t, ak, bad)); !errors.Is(err, ident.ErrNotAttested) {
		t.Errorf("without magic: %v", err)
	}
	cut := []byte("\xffTCG")
	if _, err := ident.VerifyAttest(public, tpm2.TPMSTAttestCertify, nil, cut, signAs(t, ak, cut)); !errors.Is(err, tpm.ErrStructure) {
		t.Errorf("cut after the magic: %v", err)
	}
}

// softwareAK is a key outside of any TPM whose public area claims to be an AK:
// what credential activation exists to refuse.
func softwareAK(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub := akPublic()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pub.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: b[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: b[33:]}})
	return key, tpm2.Marshal(pub)
}

func akPublic() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{Type: tpm2.TPMAlgECC, NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256})},
			CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}}),
	}
}

func TestCheckAK(t *testing.T) {
	t.Parallel()
	good, public := softwareAK(t)
	_ = good
	if _, err := ident.CheckAK(public); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*tpm2.TPMTPublic){
		"fixedTPM":            func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedTPM = false },
		"fixedParent":         func(p *tpm2.TPMTPublic) { p.ObjectAttributes.FixedParent = false },
		"sensitiveDataOrigin": func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SensitiveDataOrigin = false },
		"restricted":          func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false },
		"sign is clear":       func(p *tpm2.TPMTPublic) { p.ObjectAttributes.SignEncrypt = false },
		"decrypt":             func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Decrypt = true },
		"x509sign":            func(p *tpm2.TPMTPublic) { p.ObjectAttributes.X509Sign = true },
		"its name":            func(p *tpm2.TPMTPublic) { p.NameAlg = tpm2.TPMAlgSHA1 },
		"ECDSA": func(p *tpm2.TPMTPublic) {
			p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
				Scheme: tpm2.TPMTECCScheme{Scheme: tpm2.TPMAlgECDSA,
					Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA1})},
				CurveID: tpm2.TPMECCNistP256, KDF: tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull}})
		},
	} {
		pub, err := tpm.Decode[tpm2.TPMTPublic](public)
		if err != nil {
			t.Fatal(err)
		}
		spoil(pub)
		if _, err := ident.CheckAK(tpm2.Marshal(*pub)); !errors.Is(err, ident.ErrAK) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	off, err := tpm.Decode[tpm2.TPMTPublic](public)
	if err != nil {
		t.Fatal(err)
	}
	off.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{X: tpm2.TPM2BECCParameter{Buffer: []byte{1}}, Y: tpm2.TPM2BECCParameter{Buffer: []byte{1}}})
	if _, err := ident.CheckAK(tpm2.Marshal(*off)); !errors.Is(err, ident.ErrCurve) {
		t.Errorf("point off the curve: %v", err)
	}
	if _, err := ident.CheckAK(tpm2.Marshal(tpm2.RSAEKTemplate)); !errors.Is(err, ident.ErrAK) {
		t.Errorf("EK as AK: %v", err)
	}
}

// ekCert makes an EK certificate of its own maker, spoiled by change.
func ekCert(t *testing.T, key crypto.PublicKey, change func(*x509.Certificate)) ([]byte, ident.Trust) {
	t.Helper()
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maker"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	if root, err = x509.ParseCertificate(rootDER); err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageKeyAgreement, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}},
		ExtraExtensions: []pkix.Extension{san(t, "maker", "model", "version")}}
	change(leaf)
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key, ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return der, ident.Trust{Roots: roots, At: time.Now()}
}

func san(t *testing.T, values ...string) pkix.Extension {
	t.Helper()
	var rdns pkix.RDNSequence
	for i, v := range values {
		rdns = append(rdns, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: v}})
	}
	name, err := asn1.Marshal(rdns)
	if err != nil {
		t.Fatal(err)
	}
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: value}
}

func TestEKProfile(t *testing.T) {
	t.Parallel()
	key, public := softwareAK(t) // any P-256 key
	der, trust := ekCert(t, key.Public(), func(*x509.Certificate) {})
	info, err := trust.Check(append(slices.Clone(der), 0xFF, 0xFF), public)
	if err != nil {
		t.Fatal(err)
	}
	if info.Maker != "maker" || info.Model != "model" || info.Version != "version" {
		t.Errorf("%+v", info)
	}
	for name, spoil := range map[string]func(*x509.Certificate){
		"a CA":             func(c *x509.Certificate) { c.IsCA = true },
		"no constraints":   func(c *x509.Certificate) { c.BasicConstraintsValid = false },
		"usage":            func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"no usage":         func(c *x509.Certificate) { c.KeyUsage = 0 },
		"other EKU":        func(c *x509.Certificate) { c.UnknownExtKeyUsage[0] = asn1.ObjectIdentifier{2, 23, 133, 8, 3} },
		"no EKU":           func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil },
		"no SAN":           func(c *x509.Certificate) { c.ExtraExtensions = nil },
		"no version":       func(c *x509.Certificate) { c.ExtraExtensions[0] = san(t, "maker", "model") },
		"SAN is not ASN.1": func(c *x509.Certificate) { c.ExtraExtensions = nil; c.DNSNames = []string{"tpm"} },
	} {
		der, trust := ekCert(t, key.Public(), spoil)
		if _, err := trust.Check(der, public); !errors.Is(err, ident.ErrProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.Check(append(slices.Clone(der), 1), public); !errors.Is(err, ident.ErrCertificate) {
		t.Errorf("something behind: %v", err)
	}
	if _, err := trust.Check(der[:len(der)-1], public); !errors.Is(err, ident.ErrCertificate) {
		t.Errorf("cut: %v", err)
	}
	if _, err := trust.Check(nil, public); !errors.Is(err, ident.ErrCertificate) {
		t.Errorf("empty: %v", err)
	}
	unknown, _ := ekCert(t, key.Public(), func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
	})
	if _, err := trust.Check(unknown, public); !errors.Is(err, ident.ErrChain) {
		t.Errorf("unknown critical extension: %v", err)
	}
}

func signAs(t *testing.T, key crypto.Signer, message []byte) []byte {
	t.Helper()
	digest := sha256.Sum256(message)
	der, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	return tpm2.Marshal(tpm2.TPMTSignature{SigAlg: tpm2.TPMAlgECDSA, Signature: tpm2.NewTPMUSignature(tpm2.TPMAlgECDSA, &tpm2.TPMSSignatureECC{
		Hash: tpm2.TPMAlgSHA256, SignatureR: tpm2.TPM2BECCParameter{Buffer: rs.R.Bytes()}, SignatureS: tpm2.TPM2BECCParameter{Buffer: rs.S.Bytes()}})})
}

func flip(b []byte) []byte {
	c := bytes.Clone(b)
	c[len(c)/2] ^= 1
	return c
}

func FuzzIdent(f *testing.F) {
	f.Add(tpm2.Marshal(akPublic()))
	f.Add(tpm2.Marshal(tpm2.RSAEKTemplate))
	f.Add(tpm2.Marshal(tpm2.ECCEKTemplate))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ident.CheckAK(b)
		_, _ = ident.Trust{Roots: x509.NewCertPool()}.Check(b, b)
		_, _ = ident.MakeCredential(b, b, secret.New([]byte{1}))
		_, _ = ident.VerifyAttest(tpm2.Marshal(akPublic()), tpm2.TPMSTAttestCertify, b, b, b)
		if v, err := tpm.Decode[tpm2.TPMSAttest](b); err == nil && !bytes.Equal(tpm2.Marshal(*v), b) {
			t.Error("decoded attestation encodes to something else")
		}
		if v, err := tpm.Decode[tpm2.TPMTSignature](b); err == nil && !bytes.Equal(tpm2.Marshal(*v), b) {
			t.Error("decoded signature encodes to something else")
		}
	})
}

func BenchmarkSign(b *testing.B) {
	m := tpmtest.Open(b)
	tre := create(b, m, ident.Options{})
	key, err := tre.Signer()
	if err != nil {
		b.Fatal(err)
	}
	before := m.Commands()
	for b.Loop() {
		if _, err := key.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(m.Commands()-before)/float64(b.N), "commands/op")
}
