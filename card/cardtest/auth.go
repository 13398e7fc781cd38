package cardtest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/kdf"
	"mcim/card/aka/suci"
)

// AuthFacts are what the cases about the contexts of AUTHENTICATE have to know beside
// Facts.Home. They spend three sequence numbers more, and overwrite the key of an earlier
// bootstrapping.
type AuthFacts struct {
	// AKA is the home operator's algorithm, for MAC-S; GSM the one of the GSM context.
	AKA aka.Algorithm
	GSM aka.GSM
	// ISIM is the start of the AID of an ISIM in EF.DIR.
	ISIM []byte
	// IMSI is the subscriber's, SIDF what finds it in a SUCI.
	IMSI usim.IMSI
	SIDF suci.Home
}

// authCases are the cases about the contexts of AUTHENTICATE, and GET IDENTITY.
func (s suite) authCases() []suiteCase {
	there := s.facts.PIN1.Len() > 0 && s.facts.Home != nil && s.facts.Auth != nil
	return []suiteCase{
		{"a challenge of SEQ 0 proves the keys", there, s.provesKeys},
		{"the GSM context agrees with home", there, s.gsmContext},
		{"RUN GSM ALGORITHM agrees with home", there, s.runGSM},
		{"the IMS context agrees with home", there, s.imsContext},
		{"GBA agrees with home", there, s.gba},
		{"the SUCI is that of the subscriber", there, s.identity},
		{"malformed challenges are refused", there, s.malformedChallenges},
	}
}

// opened is a guard with PIN1 verified that may write EF.GBABP.
func (s suite) opened(t *testing.T) (*card.Session, *card.Guard) {
	t.Helper()
	session := s.session(t)
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: bytes.Clone(atr), Allow: []string{s.facts.ICCID}})
	if err := guard.Verify(t.Context(), uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	return session, guard
}

// challenge is a RAND, the nth of the case.
func (s suite) challenge(n int) (b [16]byte) {
	random := s.random()
	for range n + 1 {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	return b
}

func (s suite) vector(t *testing.T, n int) aka.Vector {
	t.Helper()
	v, err := s.facts.Home(s.challenge(n))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (s suite) provesKeys(t *testing.T) {
	_, guard := s.opened(t)
	for range 2 { // the first one spends nothing
		proof, err := guard.ProveKeys(t.Context(), s.facts.App, s.facts.Auth.AKA, s.challenge(0))
		if err != nil || proof.Unchecked || proof.SQN == 0 {
			t.Errorf("%+v %v, want the SQN_MS of an AUTS", proof, err)
		}
	}
}

// triplet compares an answer in the GSM context.
func (s suite) triplet(t *testing.T, rand [16]byte, got usim.AuthenticateGSMResponse, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	sres, kc, err := s.facts.Auth.GSM.Triplet(rand)
	if err != nil {
		t.Fatal(err)
	}
	if got.SRES != sres || got.Kc != kc {
		t.Error("SRES and Kc are not those of the home operator")
	}
}

func (s suite) gsmContext(t *testing.T) {
	_, guard := s.opened(t)
	got, err := guard.GSM(t.Context(), s.facts.App, s.challenge(0))
	s.triplet(t, s.challenge(0), got, err)
}

func (s suite) runGSM(t *testing.T) {
	_, guard := s.opened(t)
	got, err := guard.RunGSM(t.Context(), s.challenge(0))
	s.triplet(t, s.challenge(0), got, err)
}

// imsContext is IMS AKA, then the contexts that an ISIM does not have.
func (s suite) imsContext(t *testing.T) {
	_, guard := s.opened(t)
	v := s.vector(t, 0)
	r, kc, err := guard.AKAWithKc(t.Context(), s.facts.Auth.ISIM, v)
	if err != nil {
		t.Fatal(err)
	}
	if r.RES != v.XRES || r.CK != v.CK || r.IK != v.IK || kc != nil {
		t.Errorf("RES, CK and IK are not those of the home operator, or there is a Kc: %v", kc != nil)
	}
	var refused *card.CommandError
	if _, err := guard.GSM(t.Context(), s.facts.Auth.ISIM, v.RAND); !errors.As(err, &refused) || refused.SW != apdu.SWSecurityContext {
		t.Errorf("the GSM context of an ISIM: %v, want 9864", err)
	}
	forged := v
	forged.AUTN[8] ^= 0x80
	if _, err := guard.AKA(t.Context(), s.facts.Auth.ISIM, forged); !errors.Is(err, aka.ErrMAC) {
		t.Errorf("a forged AUTN: %v, want ErrMAC", err)
	}
}

// gba bootstraps, derives the key of a server and establishes a local key, first with a
// wrong MAC, on the USIM and on the ISIM.
func (s suite) gba(t *testing.T) {
	ctx := t.Context()
	session, guard := s.opened(t)
	iccid, err := session.ReadFile(ctx, card.InMF(uicc.FIDEFICCID))
	if err != nil {
		t.Fatal(err)
	}
	for n, app := range []struct {
		aid []byte
		bp  uint16 // EF.GBABP
	}{{s.facts.App, 0x6FD6}, {s.facts.Auth.ISIM, 0x6FD5}} {
		v := s.vector(t, n)
		// CK and IK of it would leave the card.
		if _, err := guard.Bootstrap(ctx, app.aid, v); !errors.Is(err, aka.ErrMAC) {
			t.Errorf("a challenge not made for GBA: %v, want ErrMAC", err)
		}
		if res, err := guard.Bootstrap(ctx, app.aid, v.GBA()); err != nil || res != v.XRES {
			t.Fatalf("bootstrapping: %v", err)
		}
		ks := kdf.Bootstrap{RAND: v.RAND, CK: v.CK, IK: v.IK}
		id := base64.StdEncoding.EncodeToString(v.RAND[:]) + "@bsf.example"
		d := usim.GBADerive{NAFID: kdf.NAFID("naf.example", [5]byte{1, 0, 0, 0, 2}), IMPI: "user@example"}
		if err := guard.UpdateBinary(ctx, card.InApp(app.aid, app.bp), 1+len(v.RAND), slices.Concat([]byte{byte(len(id))}, []byte(id), []byte("\x0260"))); err != nil {
			t.Fatal(err)
		}
		want, err := ks.ExternalKey(d.IMPI, d.NAFID)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := guard.DeriveNAF(ctx, app.aid, d); err != nil || key != want {
			t.Errorf("Ks_ext_NAF is not that of the home operator: %v", err)
		}
		s.localKey(t, session, guard, app.aid, ks, d, kdf.LocalKey{
			BTID: []byte(id), ICCID: iccid, TerminalID: []byte("terminal"), TerminalApplication: []byte(kdf.PlatformApplication),
			UICCApplication: []byte(kdf.PlatformApplication), RANDx: s.challenge(n), CounterLimit: []byte{1},
		})
	}
}

func (s suite) localKey(t *testing.T, session *card.Session, guard *card.Guard, app []byte, ks kdf.Bootstrap, d usim.GBADerive, k kdf.LocalKey) {
	t.Helper()
	ctx := t.Context()
	internal, err := ks.InternalKey(d.IMPI, d.NAFID)
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Derive(internal)
	if err != nil {
		t.Fatal(err)
	}
	request := usim.LocalKeyDerive{
		NAFID: d.NAFID, TerminalID: k.TerminalID, TerminalApplication: k.TerminalApplication, UICCApplication: k.UICCApplication,
		RANDx: k.RANDx, CounterLimit: k.CounterLimit, MAC: k.RequestMAC(key),
	}
	forged := request
	forged.MAC[0] ^= 1
	if _, err := guard.LocalKey(ctx, app, forged); !errors.Is(err, aka.ErrMAC) {
		t.Errorf("a wrong MAC of the terminal: %v, want ErrMAC", err)
	}
	if has, err := session.HasLocalKey(ctx, app, request.MAC[:]); err != nil || has {
		t.Errorf("a local key before it was made: %v %v", has, err)
	}
	mac, err := guard.LocalKey(ctx, app, request)
	if err != nil {
		t.Fatal(err)
	}
	if err := kdf.CheckResponse(key, mac[:]); err != nil {
		t.Error(err)
	}
	if has, err := session.HasLocalKey(ctx, app, request.MAC[:]); err != nil || !has {
		t.Errorf("no local key afterwards: %v %v", has, err)
	}
}

func (s suite) identity(t *testing.T) {
	session, _ := s.opened(t)
	var last []byte
	for range 2 {
		got, err := session.Identity(t.Context(), s.facts.App)
		if err != nil {
			t.Fatal(err)
		}
		if imsi, err := s.facts.Auth.SIDF.Deconceal(got); err != nil || imsi != s.facts.Auth.IMSI {
			t.Errorf("the home network finds another IMSI: %v", err)
		}
		if got.Scheme != usim.SchemeNull && bytes.Equal(last, got.Output) {
			t.Error("the same SUCI for the second time: the subscriber can be followed")
		}
		last = got.Output
	}
}

// malformedChallenges are lengths and parameters that do not fit; nothing of them is
// spent.
func (s suite) malformedChallenges(t *testing.T) {
	ctx := t.Context()
	session, guard := s.opened(t)
	before, err := guard.ProveKeys(ctx, s.facts.App, s.facts.Auth.AKA, s.challenge(0))
	if err != nil {
		t.Fatal(err)
	}
	v := s.vector(t, 0)
	whole := slices.Concat([]byte{16}, v.RAND[:], []byte{16}, v.AUTN[:])
	short := slices.Concat([]byte{16}, v.RAND[:], []byte{15}, v.AUTN[:15])
	for _, c := range []struct {
		what string
		apdu.Command
		want []apdu.StatusWord
	}{
		{"AUTN cut", apdu.Command{P2: usim.Context3G, Data: short}, []apdu.StatusWord{apdu.SWWrongLength, apdu.SWWrongData}},
		{"AUTN missing", apdu.Command{P2: usim.Context3G, Data: whole[:17]}, []apdu.StatusWord{apdu.SWWrongLength, apdu.SWWrongData}},
		{"P1", apdu.Command{P1: 1, P2: usim.Context3G, Data: whole}, []apdu.StatusWord{apdu.SWIncorrectP1P2, apdu.SWWrongP1P2}},
		{"no such context", apdu.Command{P2: 0x87, Data: whole}, []apdu.StatusWord{apdu.SWIncorrectP1P2, apdu.SWWrongP1P2, apdu.SWSecurityContext}},
	} {
		c.INS, c.Ne = uicc.INSAuthenticate, apdu.MaxShortNe
		if r, err := session.Send(ctx, c.Command); err != nil || !slices.Contains(c.want, r.SW) {
			t.Errorf("%s: %v %v, want one of %v", c.what, r.SW, err, c.want)
		}
	}
	after, err := guard.ProveKeys(ctx, s.facts.App, s.facts.Auth.AKA, s.challenge(0))
	if err != nil || after != before {
		t.Errorf("SQN_MS was %v and is %v, %v", before.SQN, after.SQN, err)
	}
}
