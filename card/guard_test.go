package card_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/model"
)

const (
	knownATR = "3b9f96801f878031e073fe211b674a357530350265f8"
	iccid    = "8988211000000430010"
	fcpMF    = "622c8202782183023f00a50c80017183040003a7388701018a01058b032f0601c60c90016083010183010a83010b"
	gsmMF    = "000000003f000100000000000901020c0400838a838a"
	gsmOff   = "000000003f000100000000000981020c0400838a838a" // CHV1 is disabled
	fcpKey   = "6216 82024121 8302 af20 8a0105 8b036f0602 80020021 8800"
	fcpSQN   = "6216 82024121 8302 af30 8a0105 8b036f0602 800200ce 8800"
	pinPlain = "31323334ffffffff"
)

// iccidScript is the guard's look at EF.ICCID.
func iccidScript() []string {
	return []string{"00a40804022fe200", fcpICCID + "9000", "00b000000a", "988812010000400310f09000"}
}

func appScript() []string {
	return append(dirScript(), "00a404040c"+aidUSIM+"00", fcpADF+"9000")
}

func script(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func pin(t *testing.T) secret.Bytes {
	t.Helper()
	p, err := uicc.PadPIN("1234")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func guardOn(t *testing.T, config card.GuardConfig, lines ...string) *card.Guard {
	t.Helper()
	return card.NewGuard(card.NewSession(newScript(t, lines...), card.Options{}), config)
}

func known(t *testing.T) card.GuardConfig {
	return card.GuardConfig{ATR: unhex(t, knownATR), Allow: []string{iccid}}
}

func refusal(t *testing.T, err, cause error) {
	t.Helper()
	var r *card.RefusalError
	if !errors.As(err, &r) || !errors.Is(err, cause) || r.What == "" || r.Why == "" || r.Try == "" {
		t.Errorf("got %v, want a *RefusalError with cause %v", err, cause)
	}
}

func TestVerifyKnownUICC(t *testing.T) {
	t.Parallel()
	g := guardOn(t, known(t), "00200001", "63c3", "0020000108"+pinPlain, "9000")
	if err := g.Verify(context.Background(), uicc.RefPIN1, pin(t)); err != nil {
		t.Fatal(err)
	}
	if g.Model().Name != "usim" {
		t.Errorf("model %v", g.Model())
	}
	if d := cmp.Diff([]card.Step{{Command: "VERIFY PIN", Ref: 1, Tries: 3, Length: 8}}, g.Plan()); d != "" {
		t.Error(d)
	}
}

func TestVerifyWrongPIN(t *testing.T) {
	t.Parallel()
	for sw, tries := range map[string]int{"63c2": 2, "63c0": 0, "6983": 0} {
		g := guardOn(t, known(t), script([]string{"00200001", "63c3", "0020000108" + pinPlain, sw}, iccidScript())...)
		err := g.Verify(context.Background(), uicc.RefPIN1, pin(t))
		var wrong *card.PINError
		if !errors.As(err, &wrong) || wrong.Tries != tries || !errors.Is(err, card.ErrWrongPIN) || errors.Is(err, apdu.ErrBlocked) != (tries == 0) {
			t.Errorf("%s: %v, want a *PINError with %d tries", sw, err, tries)
		}
	}
}

// TestVerifyRefuses holds the guard to sending nothing: the scripts end before
// the VERIFY.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*card.GuardConfig)
		sw     string
		cause  error
	}{
		"last try":             {nil, "63c1", card.ErrTriesLow},
		"blocked 63C0":         {nil, "63c0", apdu.ErrBlocked},
		"blocked 6983":         {nil, "6983", apdu.ErrBlocked},
		"below a higher floor": {func(c *card.GuardConfig) { c.Floor = 4 }, "63c3", card.ErrTriesLow},
		"floor below default":  {func(c *card.GuardConfig) { c.Floor = 1 }, "63c1", card.ErrTriesLow},
		"no such PIN":          {nil, "6a88", card.ErrTriesUnknown},
		"disabled":             {nil, "6984", card.ErrTriesUnknown},
		"nonsense":             {nil, "6f00", card.ErrTriesUnknown},
	} {
		config := known(t)
		if c.change != nil {
			c.change(&config)
		}
		lines := []string{"00200001", c.sw}
		if errors.Is(c.cause, apdu.ErrBlocked) {
			lines = append(lines, "002c0001", "63ca") // the error names the tries of the PUK
		}
		g := guardOn(t, config, lines...)
		t.Log(name)
		refusal(t, g.Verify(context.Background(), uicc.RefPIN1, pin(t)), c.cause)
		if len(g.Plan()) != 0 {
			t.Errorf("%s: plan %v", name, g.Plan())
		}
	}
}

func TestVerifyBadPIN(t *testing.T) {
	t.Parallel()
	g := guardOn(t, known(t))
	refusal(t, g.Verify(context.Background(), 1, secret.Bytes{}), card.ErrNoPIN)
	if err := g.Verify(context.Background(), 1, secret.New([]byte("1234"))); !errors.Is(err, uicc.ErrField) || strings.Contains(err.Error(), "1234") {
		t.Errorf("PIN of 4 bytes: %v", err)
	}
}

func TestVerifyNotNeeded(t *testing.T) {
	t.Parallel()
	g := guardOn(t, known(t), "00200001", "9000", "00200001", "9000")
	if err := g.Verify(context.Background(), 1, pin(t)); err != nil || len(g.Plan()) != 0 {
		t.Errorf("%v, plan %v", err, g.Plan())
	}
	_, err := g.Tries(context.Background(), 1)
	refusal(t, err, card.ErrTriesUnknown)
}

func TestVerifyDryRun(t *testing.T) {
	t.Parallel()
	config := known(t)
	config.DryRun = true
	g := guardOn(t, config, "0020000a", "63c3")
	if err := g.Verify(context.Background(), uicc.RefADM1, pin(t)); err != nil {
		t.Fatal(err)
	}
	if len(g.Plan()) != 1 || g.Plan()[0].Ref != uicc.RefADM1 {
		t.Errorf("plan %+v", g.Plan())
	}
}

func TestVerifyTransportError(t *testing.T) {
	t.Parallel()
	s := newScript(t, "00200001", "63c3")
	pulled := cardtest.NewFaulty(s, cardtest.Fault{At: 1, Kind: cardtest.Removed})
	g := card.NewGuard(card.NewSession(pulled, card.Options{}), known(t))
	err := g.Verify(context.Background(), 1, pin(t))
	if !errors.Is(err, card.ErrRemoved) || !strings.Contains(err.Error(), "the try may be spent") {
		t.Error(err)
	}
}

// bounded is a card to which no VERIFY with a PIN may go.
type bounded struct{ card.Card }

func (b bounded) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) > 5 && command[1] == uicc.INSVerify {
		return nil, card.ErrBudget
	}
	return b.Card.Transmit(ctx, command)
}

// TestVerifyPastBound: what a bound in front of the card refuses is no try that
// may be spent.
func TestVerifyPastBound(t *testing.T) {
	t.Parallel()
	g := card.NewGuard(card.NewSession(bounded{newScript(t, "00200001", "63c3")}, card.Options{}), known(t))
	err := g.Verify(context.Background(), 1, pin(t))
	if !errors.Is(err, card.ErrBudget) || strings.Contains(err.Error(), "may be spent") {
		t.Error(err)
	}
}

func TestPINErrorText(t *testing.T) {
	t.Parallel()
	for tries, want := range map[int]string{-1: "tries left unknown", 0: "blocked now", 1: ", 1 try left", 2: ", 2 tries left"} {
		if text := (&card.PINError{Ref: 1, Tries: tries}).Error(); !strings.Contains(text, want) {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

func TestTriesOfUnknownCards(t *testing.T) {
	t.Parallel()
	const selectMF, selectGSM = "00a40004023f0000", "a0a40000023f00"
	for _, c := range []struct {
		name   string
		ref    byte
		script []string
		tries  int // -1: ErrTriesUnknown
	}{
		{"UICC with PIN status", 1, []string{selectMF, fcpMF + "9000", "00200001", "63c2"}, 2},
		{"SIM", 1, []string{selectMF, "6e00", selectGSM, "9f16", "a0c0000016", gsmMF + "9000", selectGSM, "9f16", "a0c0000016", gsmMF + "9000"}, 3},
		{"SIM, CHV2", 0x81, []string{selectMF, "6e00", selectGSM, gsmMF + "9000", selectGSM, gsmMF + "9000"}, 3},
		{"SIM, ADM", 0x0A, []string{selectMF, "6e00", selectGSM, gsmMF + "9000", selectGSM, gsmMF + "9000"}, -1},
		{"SIM, CHV1 off", 1, []string{selectMF, "6e00", selectGSM, gsmMF + "9000", selectGSM, gsmOff + "9000"}, -1},
		{"SIM, CHV1 not initialized", 1, []string{selectMF, "6e00", selectGSM, gsmMF + "9000", selectGSM, gsmMF[:36] + "03" + gsmMF[38:] + "9000"}, -1},
		{"SIM falls silent", 1, []string{selectMF, "6e00", selectGSM, gsmMF + "9000", selectGSM, "6f00"}, -1},
		{"neither", 1, []string{selectMF, "6e00", selectGSM, "6e00"}, -1},
		{"UICC without PIN status", 1, []string{selectMF, fcpICCID + "9000", selectGSM, "6e00"}, -1},
		{"FCP damaged", 1, []string{selectMF, "629000", selectGSM, "6d00"}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := guardOn(t, card.GuardConfig{ATR: []byte{0x3B, 0x00}}, c.script...)
			n, err := g.Tries(context.Background(), c.ref)
			if c.tries < 0 {
				refusal(t, err, card.ErrTriesUnknown)
				return
			}
			if err != nil || n != c.tries {
				t.Errorf("got %d %v, want %d", n, err, c.tries)
			}
		})
	}
}

func TestVerifyClassA0(t *testing.T) {
	t.Parallel()
	probe := []string{"00a40004023f0000", "6e00", "a0a40000023f00", gsmMF + "9000", "a0a40000023f00", gsmMF + "9000"}
	status := func(chv string) []string {
		return []string{"a0a40000023f00", gsmMF[:36] + chv + gsmMF[38:] + "9000"}
	}
	whose := []string{"a0a40000023f00", "9f16", "a0c0000016", gsmMF + "9000", "a0a40000022fe2", "9f0f", "a0c000000f", "0000000a2fe204000ff0440101020000" + "9000",
		"a0b000000a", "988812010000400310f09000"}
	for sw, tries := range map[string]int{"9000": 3, "9804": 2, "9840": 0} {
		lines := script(probe, []string{"a020000108" + pinPlain, sw})
		switch sw {
		case "9804":
			lines = script(lines, status("82"), whose)
		case "9840":
			lines = script(lines, whose)
		}
		g := guardOn(t, card.GuardConfig{}, lines...)
		err := g.Verify(context.Background(), uicc.RefPIN1, pin(t))
		var wrong *card.PINError
		switch {
		case sw == "9000" && err != nil:
			t.Errorf("right CHV: %v", err)
		case sw != "9000" && (!errors.As(err, &wrong) || wrong.Tries != tries):
			t.Errorf("%s: %v, want %d tries", sw, err, tries)
		}
	}
	g := guardOn(t, card.GuardConfig{}, script(probe, []string{"a020000208" + pinPlain, "9804", "a0a40000023f00", "6f00", "a0a40000023f00", "6f00"})...)
	err := g.Verify(context.Background(), uicc.RefPIN2, pin(t))
	if !errors.Is(err, card.ErrWrongPIN) || !strings.Contains(err.Error(), "tries left unknown") {
		t.Errorf("CHV2: %v", err)
	}
}

// TestProbeKeepsApplication: PINs of an application can be verified only in it.
func TestProbeKeepsApplication(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	lines := script(appScript(), []string{
		"00a40004023f0000", fcpMF + "9000",
		"00a404040c" + aidUSIM + "00", fcpADF + "9000",
		"00200081", "63c3"})
	s := card.NewSession(newScript(t, lines...), card.Options{})
	if _, err := s.Select(ctx, card.InApp(usimAID)); err != nil {
		t.Fatal(err)
	}
	if n, err := card.NewGuard(s, card.GuardConfig{}).Tries(ctx, uicc.RefPIN2); err != nil || n != 3 {
		t.Errorf("got %d %v", n, err)
	}
}

func TestUpdateBinary(t *testing.T) {
	t.Parallel()
	imsi := "080910100000000010"
	g := guardOn(t, known(t), script(iccidScript(), appScript(), []string{
		"00a40004026f0700", fcpIMSI + "9000", "00d6000009" + imsi, "9000", "00b0000009", imsi + "9000",
		// The second write asks neither for the ICCID nor for the application.
		"00a40004026f0700", fcpIMSI + "9000", "00d6000702aabb", "9000", "00b0000702", "aabb9000"})...)
	f := card.InApp(usimAID, 0x6F07)
	if err := g.UpdateBinary(context.Background(), f, 0, unhex(t, imsi)); err != nil {
		t.Fatal(err)
	}
	if err := g.UpdateBinary(context.Background(), f, 7, []byte{0xAA, 0xBB}); err != nil {
		t.Fatal(err)
	}
	if len(g.Plan()) != 2 {
		t.Errorf("plan %v", g.Plan())
	}
}

func TestUpdateRecord(t *testing.T) {
	t.Parallel()
	record := strings.Repeat("ab", 28)
	g := guardOn(t, known(t), script(iccidScript(), []string{
		"00a40804022f0000", fcpDIR + "9000", "00dc01041c" + record, "9000", "00b201041c", record + "9000",
		"00a40804022f0000", fcpDIR + "9000",
		"00a40804022f0000", fcpDIR + "9000",
		"00a40804022f0000", fcpDIR + "9000"})...)
	ctx, dir := context.Background(), card.InMF(uicc.FIDEFDIR)
	if err := g.UpdateRecord(ctx, dir, 1, unhex(t, record)); err != nil {
		t.Fatal(err)
	}
	refusal(t, g.UpdateRecord(ctx, dir, 2, unhex(t, record)), card.ErrSize)
	refusal(t, g.UpdateRecord(ctx, dir, 1, []byte{1}), card.ErrSize)
	refusal(t, g.UpdateRecord(ctx, dir, 0, []byte{1}), card.ErrSize)
	refusal(t, g.UpdateRecord(ctx, dir, 255, []byte{1}), card.ErrSize)
	if err := g.UpdateBinary(ctx, dir, 0, []byte{1}); !errors.Is(err, card.ErrFileKind) {
		t.Errorf("bytes into a file of records: %v", err)
	}
}

func TestUpdateRefusesCards(t *testing.T) {
	t.Parallel()
	ctx, f := context.Background(), card.InMF(0x2F05)
	unknown := guardOn(t, card.GuardConfig{ATR: []byte{0x3B, 0x00}, Allow: []string{iccid}})
	refusal(t, unknown.UpdateBinary(ctx, f, 0, []byte{1}), model.ErrUnknown)
	refusal(t, unknown.UpdateRecord(ctx, f, 1, []byte{1}), model.ErrUnknown)
	refusal(t, unknown.UpdateKey(ctx, model.Key{}), model.ErrUnknown)
	refusal(t, unknown.UpdateSQN(ctx, model.SQN{}), model.ErrUnknown)

	sim, err := model.ByName("sim")
	if err != nil {
		t.Fatal(err)
	}
	keyless := guardOn(t, card.GuardConfig{ATR: sim.ATRs[0].Value, Allow: []string{iccid}})
	refusal(t, keyless.UpdateKey(ctx, model.Key{}), model.ErrNoKeyFile)
	refusal(t, keyless.UpdateSQN(ctx, model.SQN{}), model.ErrNoKeyFile)

	stranger := guardOn(t, card.GuardConfig{ATR: unhex(t, knownATR), Allow: []string{"8988211000000430011", ""}}, iccidScript()...)
	err = stranger.UpdateBinary(ctx, f, 0, []byte{1})
	refusal(t, err, card.ErrNotAllowed)
	if !strings.Contains(err.Error(), iccid) {
		t.Errorf("%v does not name the card", err)
	}

	silent := guardOn(t, known(t), "00a40804022fe200", "6a82")
	if err := silent.UpdateBinary(ctx, f, 0, []byte{1}); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("no EF.ICCID: %v", err)
	}
	garbled := guardOn(t, known(t), "00a40804022fe200", fcpICCID+"9000", "00b000000a", strings.Repeat("ff", 10)+"9000")
	if err := garbled.UpdateBinary(ctx, f, 0, []byte{1}); !errors.Is(err, uicc.ErrICCID) {
		t.Errorf("no ICCID in EF.ICCID: %v", err)
	}
	for _, g := range []*card.Guard{unknown, stranger, silent, garbled} {
		if len(g.Plan()) != 0 {
			t.Errorf("plan %v", g.Plan())
		}
	}
}

func TestUpdateRefusesData(t *testing.T) {
	t.Parallel()
	ctx, f := context.Background(), card.InApp(usimAID, 0x6F07)
	selected := []string{"00a40004026f0700", fcpIMSI + "9000"}
	g := guardOn(t, known(t), script(iccidScript(), appScript(), selected, selected, selected, selected, selected)...)
	for _, c := range []struct{ offset, length int }{{0, 10}, {8, 2}, {-1, 1}, {0, 0}, {9, 1}} {
		refusal(t, g.UpdateBinary(ctx, f, c.offset, make([]byte, c.length)), card.ErrSize)
	}
}

func TestUpdateProof(t *testing.T) {
	t.Parallel()
	f := card.InMF(0x2FE2)
	for name, c := range map[string]struct {
		answers []string // to UPDATE and to READ
		want    error
	}{
		"other bytes": {[]string{"9000", "009000"}, card.ErrReadBack},
		"not read":    {[]string{"9000", "6982"}, card.ErrReadBack},
		"not written": {[]string{"6982"}, apdu.ErrAccess},
	} {
		lines := script(iccidScript(), []string{"00a40804022fe200", fcpICCID + "9000", "00d600000155", c.answers[0]})
		if len(c.answers) > 1 {
			lines = append(lines, "00b0000001", c.answers[1])
		}
		g := guardOn(t, known(t), lines...)
		if err := g.UpdateBinary(context.Background(), f, 0, []byte{0x55}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func testKey(t *testing.T) (model.Key, string) {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return model.Key{Algorithm: model.Milenage, K: secret.New(b[:16]), OPc: secret.New(b[16:])}, hex.EncodeToString(b)
}

// TestUpdateKeys: the key file is written and never read, the SQN file is read
// back.
func TestUpdateKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	key, digits := testKey(t)
	config := known(t)
	m, err := model.ByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	q := model.NewSQN(0x20)
	sqn, err := m.EncodeSQN(q)
	if err != nil {
		t.Fatal(err)
	}
	g := guardOn(t, config, script(iccidScript(), appScript(), []string{
		"00a4000402af2000", compact(fcpKey) + "9000", "00d600002114" + digits, "9000",
		"00a4000402af3000", compact(fcpSQN) + "9000", "00d60000ce" + hex.EncodeToString(sqn), "9000", "00b00000ce", hex.EncodeToString(sqn) + "9000"})...)
	if err := g.UpdateKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := g.UpdateSQN(ctx, q); err != nil {
		t.Fatal(err)
	}
	plan := g.Plan()
	if len(plan) != 2 || plan[0].Proof != "by AKA" || plan[1].Proof != "read back" {
		t.Errorf("plan %+v", plan)
	}
	if text := fmt.Sprintf("%+v %#v", plan, plan); strings.Contains(text, digits[:16]) {
		t.Error("the plan shows the key")
	}
}

func TestUpdateKeyRefuses(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	key, digits := testKey(t)
	wrong := key
	wrong.Algorithm = "tuak"
	g := guardOn(t, known(t), script(iccidScript(), appScript(), []string{"00a4000402af2000", strings.Replace(compact(fcpKey), "80020021", "80020022", 1) + "9000"})...)
	if err := g.UpdateKey(ctx, wrong); !errors.Is(err, model.ErrKeyFile) {
		t.Errorf("algorithm the card has not: %v", err)
	}
	err := g.UpdateKey(ctx, key)
	refusal(t, err, card.ErrSize) // a file of another size is another file
	if strings.Contains(fmt.Sprint(err), digits[:8]) {
		t.Error("the error shows the key")
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := known(t)
	config.DryRun = true
	key, _ := testKey(t)
	arr := "80010190008001 02a40683010a950108" // read always, update ADM1
	record := compact(arr) + strings.Repeat("ff", 20-len(compact(arr))/2)
	fcpARR := "621a 82054221001402 8302 6f06 8a0105 8b032f0601 80020028 8801b8"
	g := guardOn(t, config, script(iccidScript(), appScript(), []string{
		"00a4000402af2000", compact(fcpKey) + "9000",
		"00a40004026f0600", fcpARR + "9000", "00b2010414", record + "9000", "00b2020414", record + "9000",
		"00a40804022fe200", fcpICCID + "9000",
		"00a40804022f0600", "6a82"})...)
	if err := g.UpdateKey(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := g.UpdateBinary(ctx, card.InMF(0x2FE2), 3, []byte{1, 2}); err != nil {
		t.Fatal(err)
	}
	_, err := g.Authenticate(ctx, usimAID, usim.Authenticate{})
	refusal(t, err, card.ErrDryRun)
	want := []card.Step{
		{Command: "UPDATE BINARY", File: "A0000000871002/AF20", Length: 33, Right: "ADM1", Proof: "by AKA"},
		{Command: "UPDATE BINARY", File: "3F00/2FE2", Offset: 3, Length: 2, Right: "unknown", Proof: "read back"},
		{Command: "AUTHENTICATE", File: "A0000000871002", Length: 34, Context: "3G"},
	}
	if d := cmp.Diff(want, g.Plan()); d != "" {
		t.Error(d)
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	config := known(t)
	command := "0088008122" + "10" + strings.Repeat("00", 16) + "10" + strings.Repeat("00", 16) + "00"
	g := guardOn(t, config, script(appScript(), []string{command, "9862"})...)
	r, err := g.Authenticate(ctx, usimAID, usim.Authenticate{})
	if err != nil || r.SW != apdu.SWAuthenticationMAC {
		t.Errorf("%v %v", r, err)
	}
	if _, err := g.Authenticate(ctx, usimAID, usim.Authenticate{Context: 1}); !errors.Is(err, uicc.ErrField) {
		t.Errorf("context 01: %v", err)
	}
}

// TestResetAsksAgain: behind a reset another card may lie in the reader.
func TestResetAsksAgain(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	other := []string{"00a40804022fe200", fcpICCID + "9000", "00b000000a", "988812010000400310f19000"}
	write := []string{"00a40804022fe200", fcpICCID + "9000", "00d600000155", "9000", "00b0000001", "559000"}
	s := card.NewSession(newScript(t, script(iccidScript(), write, other)...), card.Options{})
	g := card.NewGuard(s, known(t))
	if err := g.UpdateBinary(ctx, card.InMF(0x2FE2), 0, []byte{0x55}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	refusal(t, g.UpdateBinary(ctx, card.InMF(0x2FE2), 0, []byte{0x55}), card.ErrNotAllowed)
}
