package mcim

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/aka"
	"mcim/tpm/policy"
)

// eccPublic is a public area with a point that no TPM made.
func eccPublic(t testing.TB, template tpm2.TPMTPublic) []byte {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw := key.PublicKey().Bytes()
	template.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: raw[1:33]}, Y: tpm2.TPM2BECCParameter{Buffer: raw[33:]},
	})
	return tpm2.Marshal(template)
}

// samples are an encoding of each kind.
func samples(t testing.TB) [][]byte {
	t.Helper()
	target := Target{
		SRK: eccPublic(t, tpm2.ECCSRKTemplate), DEK: eccPublic(t, tpm2.ECCSRKTemplate),
		Slot: 1, EpochIndex: 0x01800F04, Epoch: 3,
	}
	order := Order{
		ID: "p", Issuer: issuer, Sequence: 1, NotBefore: today, NotAfter: today, Build: build,
		Platform: policy.Platform{PCRs: 0x80}, Placement: InTRE,
	}
	var list [][]byte
	for _, order.Placement = range []Placement{InTRE, InUICC} {
		p, err := Build(newSigner(t), target, order, newSubscription(t))
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	st, sub, array := newState(), newSubscription(t), aka.NewSQNArray(0x20)
	st.Slots[1] = &slot{State: Active, Sequence: 7, Pending: &[32]byte{1}, MCIM: &content{ID: "p", Placement: InTRE, Body: sub.body()}}
	for _, v := range []any{st, newState(), blob{Public: []byte{1}}, sub.body()} {
		b, err := encode(v)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, b)
	}
	return append(list, encodeSQN(&array))
}

// decoders give the encoding of what they decoded.
func decoders() []func([]byte) ([]byte, error) {
	return []func([]byte) ([]byte, error){
		func(b []byte) ([]byte, error) {
			p, err := ParsePackage(b)
			if err != nil {
				return nil, err
			}
			if _, err := p.KeyName(); err != nil {
				return nil, err
			}
			return p.Bytes()
		},
		func(b []byte) ([]byte, error) {
			s, err := parseState(b)
			if err != nil {
				return nil, err
			}
			return encode(s)
		},
		func(b []byte) ([]byte, error) {
			var v blob
			if err := decode(b, &v); err != nil {
				return nil, err
			}
			return encode(v)
		},
		func(b []byte) ([]byte, error) {
			var v body
			if err := decode(b, &v); err != nil {
				return nil, err
			}
			if err := v.check(); err != nil {
				return nil, err
			}
			return encode(v.subscription().body())
		},
		func(b []byte) ([]byte, error) {
			a, err := decodeSQN(b)
			if err != nil {
				return nil, err
			}
			return encodeSQN(a), nil
		},
	}
}

// FuzzMCIM: no decoder panics, and each takes only what its encoder gives.
func FuzzMCIM(f *testing.F) {
	for _, b := range samples(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, decode := range decoders() {
			again, err := decode(b)
			if err == nil && !bytes.Equal(again, b) {
				t.Errorf("decoder %d: %x became %x", i, b, again)
			}
		}
	})
}

func TestEverySampleDecodesOnce(t *testing.T) {
	t.Parallel()
	for n, b := range samples(t) {
		taken := 0
		for _, decode := range decoders() {
			if again, err := decode(b); err == nil && bytes.Equal(again, b) {
				taken++
			}
		}
		if taken != 1 {
			t.Errorf("sample %d: %d decoders take it", n, taken)
		}
	}
}

func TestStateThatCannotBe(t *testing.T) {
	t.Parallel()
	mcim := func() *content { return &content{Placement: InTRE, Body: newSubscription(t).body()} }
	for name, change := range map[string]func(*state){
		"version":             func(s *state) { s.Version = 2 },
		"slot missing":        func(s *state) { s.Slots[1] = nil },
		"active without MCIM": func(s *state) { s.Slots[1].State = Active },
		"empty with MCIM":     func(s *state) { s.Slots[1].MCIM = mcim() },
		"unknown state":       func(s *state) { s.Slots[1] = &slot{State: 9, MCIM: mcim()} },
		"without body":        func(s *state) { s.Slots[1] = &slot{State: Active, MCIM: &content{}} },
		"two active": func(s *state) {
			s.Slots[1], s.Slots[2] = &slot{State: Active, MCIM: mcim()}, &slot{State: Active, MCIM: mcim()}
		},
		"with a short OPc": func(s *state) { c := mcim(); c.Body.OPc = c.Body.OPc[1:]; s.Slots[1] = &slot{State: Active, MCIM: c} },
	} {
		s := newState()
		change(s)
		b, err := encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseState(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
