package wire

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/veraison/go-cose"

	"mcim/apdu/secret"
)

func TestSigned(t *testing.T) {
	t.Parallel()
	ca := must(NewCA("test lab", time.Now()))
	sho, ro := must(ca.Identity("sho-a", time.Now())), must(ca.Identity("ro", time.Now()))
	stranger := must(must(NewCA("another lab", time.Now())).Identity("sho-a", time.Now()))
	want := ask{"x", 7}
	bare := must(Sign(sho.Signer, "order", want))
	named := must(SignAs(sho, "order", want))

	got, err := bare.Verify(sho.Certificate.PublicKey, "order")
	if err != nil || got != want {
		t.Errorf("bare: got %v %v", got, err)
	}
	got, signer, err := named.VerifyFrom(ro, "sho", "order")
	if err != nil || got != want || signer != "sho-a" {
		t.Errorf("named: got %v %q %v", got, signer, err)
	}

	changed := func(i int) Signed[ask] {
		c := bytes.Clone(named)
		c[(len(c)+i)%len(c)] ^= 1
		return c
	}
	verify := func(m Signed[ask], role, typ string) error {
		_, _, err := m.VerifyFrom(ro, role, typ)
		return err
	}
	for name, err := range map[string]error{
		"another type":             verify(named, "sho", "verdict"),
		"a longer type":            verify(named, "sho", "orders"),
		"another role":             verify(named, "sho-b", "order"),
		"another CA":               verify(must(SignAs(stranger, "order", want)), "sho", "order"),
		"no certificate":           verify(bare, "sho", "order"),
		"signature changed":        verify(changed(-1), "sho", "order"),
		"payload changed":          verify(changed(-70), "sho", "order"),
		"empty":                    verify(nil, "sho", "order"),
		"cut":                      verify(named[:len(named)-1], "sho", "order"),
		"bytes after":              verify(append(bytes.Clone(named), 0), "sho", "order"),
		"a key that did not sign":  second(bare.Verify(ro.Certificate.PublicKey, "order")),
		"no key":                   second(bare.Verify(nil, "order")),
		"unprotected header":       second(unprotected(t, bare).Verify(sho.Certificate.PublicKey, "order")),
		"untagged":                 verify(named[1:], "sho", "order"),
		"length of length changed": verify(append(Signed[ask]{0xd2, 0x98, 0x04}, named[2:]...), "sho", "order"),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
	type other struct {
		Name string `cbor:"name"`
	}
	if _, err := Signed[other](bare).Verify(sho.Certificate.PublicKey, "order"); !errors.Is(err, ErrMalformed) {
		t.Errorf("payload of another kind: got %v, want ErrMalformed", err)
	}
	if _, err := Sign(sho.Signer, " ", want); err == nil {
		t.Error("signed with a type that is no media type")
	}
}

func second[T any](_ T, err error) error { return err }

func unprotected(t *testing.T, b Signed[ask]) Signed[ask] {
	t.Helper()
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(b); err != nil {
		t.Fatal(err)
	}
	m.Headers.Unprotected[int64(4)] = []byte("kid")
	m.Headers.RawUnprotected = nil
	return must(m.MarshalCBOR())
}

func TestBox(t *testing.T) {
	t.Parallel()
	ca := must(NewCA("test lab", time.Now()))
	icf, other := must(ca.Identity("ro", time.Now())), must(ca.Identity("supplier", time.Now()))
	key := icf.Box.PublicKey()
	plain := make([]byte, 48)
	_, _ = rand.Read(plain)
	sealed, err := Seal(key, "pcid-batch", secret.New(plain))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plain[:16]) {
		t.Error("the plaintext is in the message")
	}
	got, err := Open(icf.Box, "pcid-batch", sealed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, got.Reveal()); diff != "" {
		t.Error(diff)
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, err := range map[string]error{
		"another key":     second(Open(other.Box, "pcid-batch", sealed)),
		"another purpose": second(Open(icf.Box, "pcid", sealed)),
		"changed":         second(Open(icf.Box, "pcid-batch", changed)),
		"cut":             second(Open(icf.Box, "pcid-batch", sealed[:40])),
		"empty":           second(Open(icf.Box, "pcid-batch", nil)),
	} {
		if !errors.Is(err, ErrBox) {
			t.Errorf("%s: got %v, want ErrBox", name, err)
		}
	}
	x := must(ecdh.X25519().GenerateKey(rand.Reader))
	if _, err := Open(x, "pcid-batch", sealed); !errors.Is(err, ErrBox) {
		t.Errorf("a key on another curve: got %v", err)
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	type inner struct {
		K secret.Bytes `cbor:"k"`
	}
	if _, err := Marshal(struct{ A []inner }{[]inner{{secret.New([]byte{1})}}}); err == nil {
		t.Error("a secret was encoded")
	}
	in := map[string]any{"b": uint64(1), "a": "x"}
	b := must(Marshal(in))
	if want := "\xa2\x61a\x61x\x61b\x01"; string(b) != want {
		t.Errorf("got %x, want %x", b, want)
	}
}

func TestErrorForm(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "plain", "a\nb", "\x1b[31mred", string(make([]byte, 2000)), "\xff\xfe", "ünïcode"} {
		e := Refuse("P6.8", "%s", text)
		got, err := Unmarshal[*Error](must(Marshal(e)))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got.Error() != e.Error() {
			t.Errorf("%q: got %q, want %q", text, got, e)
		}
	}
	for name, form := range map[string]errorForm{
		"control character": {Code: CodeRefused, Text: "\x1b[2J"},
		"unknown code":      {Code: "fine"},
		"line end in role":  {Code: CodeRefused, Role: "a\nb"},
	} {
		if _, err := Unmarshal[*Error](must(encMode.Marshal(form))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got, want := (&Error{Code: CodeRefused, Role: "ro", Step: "P6.8", Text: "old"}).Error(), "ro refused at P6.8: old"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzWire feeds every decoder; what is accepted must encode to the same bytes.
func FuzzWire(f *testing.F) {
	ca := must(NewCA("test lab", time.Now()))
	id := must(ca.Identity("sho-a", time.Now()))
	f.Add(must(Marshal(ask{"x", 1})))
	f.Add(must(Marshal(reply{"x", []byte{1}, time.Unix(1, 2)})))
	f.Add(must(Marshal(Refuse("P6.8", "no"))))
	f.Add([]byte(must(Sign(id.Signer, "ask", ask{"x", 1}))))
	f.Add([]byte(must(SignAs(id, "ask", ask{"x", 1}))))
	f.Add(must(Seal(id.Box.PublicKey(), "fuzz", secret.New([]byte("x")))))
	f.Add(certPEM(id.Certificate))
	f.Fuzz(func(t *testing.T, b []byte) {
		roundTrip[ask](t, b)
		roundTrip[reply](t, b)
		roundTrip[*Error](t, b)
		roundTrip[map[string]any](t, b)
		if m, err := parseSigned(b, "ask"); err == nil && !bytes.Equal(must(m.MarshalCBOR()), b) {
			t.Errorf("%x is another form of a signed message", b)
		}
		_, _, _ = Signed[ask](b).VerifyFrom(id, "sho", "ask")
		_, _ = Open(id.Box, "fuzz", b)
		_, _ = parseKey(b)
		if certs, err := parseCerts(b); err == nil {
			for _, c := range certs {
				_, _ = RoleOf(c)
			}
		}
		_ = CheckRole(string(b))
	})
}

func roundTrip[T any](t *testing.T, b []byte) {
	t.Helper()
	v, err := Unmarshal[T](b)
	if err != nil {
		return
	}
	if again, err := Marshal(v); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x decodes to %v, which encodes to %x (%v)", b, v, again, err)
	}
}
