package aka

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mcim/apdu/secret"
)

// pair is a Subscriber and a USIM that share fresh keys.
func pair(t testing.TB, start SQN) (*Subscriber, *USIM) {
	t.Helper()
	var k, opc [16]byte
	for _, b := range [][]byte{k[:], opc[:]} {
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	m := milenage(t, k[:], opc[:])
	return NewSubscriber(m, start, [2]byte{0x80, 0}, nil), NewUSIM(m, NewSQNArray(start), nil)
}

func challenge(t testing.TB) (r [16]byte) {
	t.Helper()
	if _, err := rand.Read(r[:]); err != nil {
		t.Fatal(err)
	}
	return r
}

func mustSQN(t testing.TB, seq uint64, ind int) SQN {
	t.Helper()
	s, err := NewSQN(seq, ind)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBothEndsAgree(t *testing.T) {
	t.Parallel()
	home, u := pair(t, mustSQN(t, 1000, 3))
	for i := range 70 { // more than twice round the array
		v, err := home.Next(challenge(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.Authenticate(v.RAND, v.AUTN)
		if err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		if got != (Result{v.XRES, v.CK, v.IK}) {
			t.Fatalf("run %d: USIM and network differ", i)
		}
	}
	if h := u.sqn.Highest(); h != home.SQN() {
		t.Errorf("SQN_MS %s, SQN_HE %s", h, home.SQN())
	}
}

// TestOldVectorOfAnotherIND: vectors that reach the USIM out of order are
// accepted once each (TS 33.102, C.2.2).
func TestOldVectorOfAnotherIND(t *testing.T) {
	t.Parallel()
	home, u := pair(t, mustSQN(t, 1, 0))
	var batch []Vector
	for range 5 {
		v, err := home.Next(challenge(t))
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, v)
	}
	for _, i := range []int{4, 0, 3, 1, 2} {
		if _, err := u.Authenticate(batch[i].RAND, batch[i].AUTN); err != nil {
			t.Errorf("vector %d: %v", i, err)
		}
	}
	for i, v := range batch {
		if _, err := u.Authenticate(v.RAND, v.AUTN); !errors.Is(err, ErrSQNUsed) {
			t.Errorf("vector %d again: %v, want %v", i, err, ErrSQNUsed)
		}
	}
}

func TestSQNLimits(t *testing.T) {
	t.Parallel()
	array := NewSQNArray(mustSQN(t, 1000, 0))
	array.Delta, array.AgeLimit = 100, 10
	array.Last[7] = mustSQN(t, 5, 7) // an entry long behind
	for _, c := range []struct {
		seq  uint64
		ind  int
		want error
	}{
		{1001, 0, nil},
		{1100, 0, nil},
		{1101, 0, ErrSQNJump},
		{MaxSEQ, 0, ErrSQNJump},
		{1000, 0, ErrSQNUsed},
		{1000, 7, nil},
		{991, 7, nil},
		{990, 7, ErrSQNAge},
		{0, 7, ErrSQNAge},
		{991, 8, ErrSQNUsed},
	} {
		if err := array.Check(mustSQN(t, c.seq, c.ind)); !errors.Is(err, c.want) {
			t.Errorf("SEQ %d IND %d: %v, want %v", c.seq, c.ind, err, c.want)
		}
	}
	array.Delta, array.AgeLimit = 0, 0
	for _, s := range []SQN{mustSQN(t, MaxSEQ, 31), mustSQN(t, 6, 7)} {
		if err := array.Accept(s); err != nil {
			t.Errorf("no limits, %s: %v", s, err)
		}
	}
}

func TestSQNValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		seq uint64
		ind int
	}{{MaxSEQ + 1, 0}, {0, 32}, {0, -1}} {
		if _, err := NewSQN(c.seq, c.ind); !errors.Is(err, ErrSQNRange) {
			t.Errorf("SEQ %d IND %d: %v, want %v", c.seq, c.ind, err, ErrSQNRange)
		}
	}
	s := mustSQN(t, MaxSEQ, 31)
	if s.Bytes() != [6]byte{255, 255, 255, 255, 255, 255} || SQNFromBytes(s.Bytes()) != s || s.String() != "ffffffffffff" {
		t.Errorf("greatest SQN is %s, %x", s, s.Bytes())
	}
}

// TestMACBeforeSQN: a wrong MAC is ErrMAC also where SQN would not be accepted,
// and never leaks SQN_MS by an AUTS.
func TestMACBeforeSQN(t *testing.T) {
	t.Parallel()
	home, u := pair(t, mustSQN(t, 50, 0))
	v, err := home.Next(challenge(t))
	if err != nil {
		t.Fatal(err)
	}
	before := u.SQN()
	for bit := range 128 {
		autn := v.AUTN
		autn[bit/8] ^= 0x80 >> (bit % 8)
		if _, err := u.Authenticate(v.RAND, autn); !errors.Is(err, ErrMAC) {
			t.Errorf("AUTN bit %d: %v, want %v", bit, err, ErrMAC)
		}
	}
	if u.SQN() != before {
		t.Error("a forged AUTN moved the SQN")
	}
	if _, err := u.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Fatal(err)
	}
	old := v.AUTN
	old[15] ^= 1
	if _, err := u.Authenticate(v.RAND, old); !errors.Is(err, ErrMAC) {
		t.Errorf("old SQN and wrong MAC: %v, want %v", err, ErrMAC)
	}
}

func TestDefenceOff(t *testing.T) {
	t.Parallel()
	home, u := pair(t, mustSQN(t, 50, 0))
	u.AcceptForgedAUTN = true
	before := u.SQN()
	if _, err := u.Authenticate(challenge(t), challenge(t)); err != nil {
		t.Errorf("forged AUTN: %v", err)
	}
	if u.SQN() != before {
		t.Error("a forged AUTN moved the SQN")
	}
	v, err := home.Next(challenge(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Authenticate(v.RAND, v.AUTN); err != nil {
		t.Errorf("genuine AUTN: %v", err)
	}
}

func TestResync(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		home, ms uint64 // SEQ on each side
	}{
		{"home behind", 3, 900},
		{"home far ahead", DefaultDelta + 900, 900},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			home, u := pair(t, mustSQN(t, c.ms, 0))
			home.sqn = mustSQN(t, c.home, 9)
			v, err := home.Next(challenge(t))
			if err != nil {
				t.Fatal(err)
			}
			var e *SyncError
			if _, err := u.Authenticate(v.RAND, v.AUTN); !errors.As(err, &e) {
				t.Fatalf("%v, want *SyncError", err)
			}
			forged := e.AUTS
			forged[3] ^= 1
			if err := home.Resync(v.RAND, forged); !errors.Is(err, ErrAUTS) {
				t.Errorf("forged AUTS: %v, want %v", err, ErrAUTS)
			}
			if err := home.Resync(challenge(t), e.AUTS); !errors.Is(err, ErrAUTS) {
				t.Errorf("AUTS for another RAND: %v, want %v", err, ErrAUTS)
			}
			if err := home.Resync(v.RAND, e.AUTS); err != nil {
				t.Fatal(err)
			}
			next, err := home.Next(challenge(t))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Authenticate(next.RAND, next.AUTN); err != nil {
				t.Errorf("after resynchronisation: %v", err)
			}
			at := home.SQN()
			if err := home.Resync(v.RAND, e.AUTS); err != nil || home.SQN() != at {
				t.Errorf("AUTS sent twice: %v, SQN_HE from %s to %s", err, at, home.SQN())
			}
		})
	}
}

// TestStoreFirst: no result without a stored state, on both sides.
func TestStoreFirst(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	home, u := pair(t, mustSQN(t, 1, 0))
	v, err := home.Next(challenge(t))
	if err != nil {
		t.Fatal(err)
	}
	before := u.SQN()
	u.store = func(SQNArray) error { return full }
	if r, err := u.Authenticate(v.RAND, v.AUTN); !errors.Is(err, full) || r != (Result{}) || u.SQN() != before {
		t.Errorf("result %v, error %v", r != (Result{}), err)
	}
	var stored SQNArray
	u.store = func(a SQNArray) error { stored = a; return nil }
	if _, err := u.Authenticate(v.RAND, v.AUTN); err != nil || stored != u.SQN() || stored == before {
		t.Errorf("error %v, stored %v", err, stored)
	}
	at := home.SQN()
	home.store = func(SQN) error { return full }
	if v, err := home.Next(challenge(t)); !errors.Is(err, full) || v != (Vector{}) || home.SQN() != at {
		t.Errorf("Next: error %v", err)
	}
}

func TestExhausted(t *testing.T) {
	t.Parallel()
	home, _ := pair(t, mustSQN(t, MaxSEQ, 0))
	if _, err := home.Next(challenge(t)); !errors.Is(err, ErrSQNExhausted) {
		t.Errorf("%v, want %v", err, ErrSQNExhausted)
	}
}

type broken struct {
	Block
	left int // calls that work
}

var errBroken = errors.New("the TPM is gone")

func (b *broken) Encrypt(dst, src []byte) error {
	if b.left == 0 {
		return errBroken
	}
	b.left--
	return b.Block.Encrypt(dst, src)
}

func TestBlockErrors(t *testing.T) {
	t.Parallel()
	home, u := pair(t, mustSQN(t, 1, 0))
	v, err := home.Next(challenge(t))
	if err != nil {
		t.Fatal(err)
	}
	m := home.a.(*Milenage)
	const calls = 3
	for left := range calls {
		card := NewUSIM(&Milenage{&broken{m.Block, left}, m.OPc}, u.SQN(), nil)
		before := card.SQN()
		if r, err := card.Authenticate(v.RAND, v.AUTN); !errors.Is(err, errBroken) || r != (Result{}) || card.SQN() != before {
			t.Errorf("fails after %d calls: %v", left, err)
		}
		if _, err := Resync(&Milenage{&broken{m.Block, left}, m.OPc}, v.RAND, [14]byte{}); !errors.Is(err, errBroken) {
			t.Errorf("Resync fails after %d calls: %v", left, err)
		}
	}
	for left := range calls - 1 {
		m := func() *Milenage { return &Milenage{&broken{m.Block, left}, m.OPc} }
		if _, err := NewVector(m(), v.RAND, 1, [2]byte{}); !errors.Is(err, errBroken) {
			t.Errorf("NewVector fails after %d calls: %v", left, err)
		}
		if _, _, err := m().F1(v.RAND, 1, [2]byte{}); !errors.Is(err, errBroken) {
			t.Errorf("F1 fails after %d calls: %v", left, err)
		}
		if _, err := m().F2345(v.RAND); !errors.Is(err, errBroken) {
			t.Errorf("F2345 fails after %d calls: %v", left, err)
		}
		if _, _, err := NewGSM(m()).Triplet(v.RAND); !errors.Is(err, errBroken) {
			t.Errorf("GSM fails after %d calls: %v", left, err)
		}
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	good := secret.New(make([]byte, 16))
	for _, n := range []int{0, 15, 17, 32} {
		bad := secret.New(make([]byte, n))
		if _, err := NewAES(bad); !errors.Is(err, ErrKey) {
			t.Errorf("K of %d bytes: %v", n, err)
		}
		if _, err := OPc(bad, good); !errors.Is(err, ErrKey) {
			t.Errorf("OPc with K of %d bytes: %v", n, err)
		}
		if _, err := OPc(good, bad); !errors.Is(err, ErrKey) {
			t.Errorf("OP of %d bytes: %v", n, err)
		}
		if _, err := NewMilenage(nil, bad); !errors.Is(err, ErrKey) {
			t.Errorf("OPc of %d bytes: %v", n, err)
		}
	}
	b, err := NewAES(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range [][2]int{{16, 15}, {15, 15}, {16, 32}, {32, 16}} {
		if err := b.Encrypt(make([]byte, n[0]), make([]byte, n[1])); err == nil {
			t.Errorf("%d bytes into %d: no error", n[1], n[0])
		}
	}
}

// TestNothingPrintsTheKey: neither end shows K or OPc to fmt.
func TestNothingPrintsTheKey(t *testing.T) {
	t.Parallel()
	opc := challenge(t)
	m := milenage(t, opc[:], opc[:])
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s"} {
		for _, v := range []any{m, *m} {
			out := fmt.Sprintf(verb, v)
			for _, form := range []string{string(opc[:]), fmt.Sprintf("%x", opc), strings.Trim(fmt.Sprintf("%d", opc), "[]")} {
				if strings.Contains(out, form) {
					t.Errorf("%s shows OPc", verb)
				}
			}
		}
	}
}

// TestArrayModel runs random SQNs against the plain reading of TS 33.102, C.2:
// the set of everything accepted so far.
func TestArrayModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const base = 500
		delta, age := rapid.Uint64Range(0, 40).Draw(t, "delta"), rapid.Uint64Range(0, 40).Draw(t, "age")
		start, _ := NewSQN(base, 0)
		a := NewSQNArray(start)
		a.Delta, a.AgeLimit = delta, age
		accepted := []SQN{}
		for i := range ArraySize {
			s, _ := NewSQN(base, i)
			accepted = append(accepted, s)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			sqn, _ := NewSQN(rapid.Uint64Range(base-50, base+100).Draw(t, "seq"), rapid.IntRange(0, ArraySize-1).Draw(t, "ind"))
			var high uint64
			fresh := true
			for _, s := range accepted {
				high = max(high, s.SEQ())
				fresh = fresh && (s.IND() != sqn.IND() || s.SEQ() < sqn.SEQ())
			}
			d := int64(sqn.SEQ()) - int64(high)
			want := fresh && (delta == 0 || d <= int64(delta)) && (age == 0 || -d < int64(age))
			before := a
			if got := a.Accept(sqn) == nil; got != want {
				t.Fatalf("SQN %s: accepted %v, want %v", sqn, got, want)
			}
			if !want && a != before {
				t.Fatalf("SQN %s was refused and changed the array", sqn)
			}
			if want {
				accepted = append(accepted, sqn)
			}
			if a.Highest().SEQ() < before.Highest().SEQ() {
				t.Fatal("SQN_MS went back")
			}
		}
	})
}

// FuzzAKA sends arbitrary AUTN and AUTS to both ends: no panic, nothing forged
// is accepted, and what is genuine is accepted or answered by a genuine AUTS.
func FuzzAKA(f *testing.F) {
	f.Add(make([]byte, 16), make([]byte, 16), make([]byte, 14), uint64(0), uint64(0))
	f.Add([]byte("0123456789abcdef"), []byte("0123456789abcdef"), []byte("0123456789abcd"), uint64(1<<47), uint64(33))
	f.Fuzz(func(t *testing.T, rnd, autn, auts []byte, card, net uint64) {
		var r, a [16]byte
		var s [14]byte
		copy(r[:], rnd)
		copy(a[:], autn)
		copy(s[:], auts)
		card, net = card&(1<<48-1), net&(1<<48-1)
		home, u := pair(t, SQN(card))
		if _, err := u.Authenticate(r, a); !errors.Is(err, ErrMAC) {
			t.Fatalf("arbitrary AUTN: %v", err)
		}
		if err := home.Resync(r, s); !errors.Is(err, ErrAUTS) {
			t.Fatalf("arbitrary AUTS: %v", err)
		}
		v, err := NewVector(home.a, r, SQN(net), [2]byte(a[:2]))
		if err != nil {
			t.Fatal(err)
		}
		fresh, ms := u.sqn.Check(SQN(net)), u.sqn.Highest()
		got, err := u.Authenticate(v.RAND, v.AUTN)
		var e *SyncError
		switch {
		case fresh == nil && (err != nil || got != Result{v.XRES, v.CK, v.IK}):
			t.Fatalf("fresh SQN %s: %v", SQN(net), err)
		case fresh != nil && !errors.As(err, &e):
			t.Fatalf("SQN %s: %v, want *SyncError", SQN(net), err)
		case fresh != nil:
			if back, err := Resync(home.a, r, e.AUTS); err != nil || back != ms {
				t.Fatalf("AUTS gives %s %v, want %s", back, err, ms)
			}
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	home, u := pair(b, 0)
	var last SQN
	u.store = func(a SQNArray) error { last = a.Last[0]; return nil }
	v, err := home.Next(challenge(b))
	if err != nil {
		b.Fatal(err)
	}
	start := u.sqn
	b.ReportAllocs()
	for b.Loop() {
		u.sqn = start
		if _, err := u.Authenticate(v.RAND, v.AUTN); err != nil {
			b.Fatal(err)
		}
	}
	_ = last
}

func BenchmarkVector(b *testing.B) {
	home, _ := pair(b, 0)
	r := challenge(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := home.Next(r); err != nil {
			b.Fatal(err)
		}
	}
}
