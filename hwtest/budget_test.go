package hwtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/trace"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm"
)

// sent counts all that goes to card and TPM, and names what does more than to read
// or to use a key. It goes by lists of its own.
type sent struct {
	n     int
	spend []string
}

var (
	readsCard = []byte{0xA4, 0xB0, 0xB2, 0xC0, 0xF2} // SELECT, READ BINARY, READ RECORD, GET RESPONSE, STATUS
	readsTPM  = strings.Fields(`StartAuthSession FlushContext GetCapability TestParms GetRandom
		ReadPublic NV_ReadPublic NV_Read PCR_Read PCR_Extend CreatePrimary Create Load LoadExternal Import ActivateCredential
		Certify NV_Certify Quote Sign ECDH_ZGen EncryptDecrypt2 Unseal PolicyPCR PolicyNV PolicyCommandCode PolicySecret`)
)

// WriteAPDU makes it a trace.Sink.
func (s *sent) WriteAPDU(e trace.Exchange) error {
	s.n++
	ins := e.Command[1]
	asks := ins == 0x20 && len(e.Command) == 4 // for the retry counter
	if !asks && !slices.Contains(readsCard, ins) {
		s.spend = append(s.spend, fmt.Sprintf("%x", e.Command[:4]))
	}
	return nil
}

// WriteTPM makes it a world.TPMSink.
func (s *sent) WriteTPM(e trace.TPMExchange) error {
	s.n++
	if !slices.Contains(readsTPM, e.Name) {
		s.spend = append(s.spend, e.Name)
	}
	return nil
}

// TestBudget runs each case with nothing left of the budget: it does not begin, and
// sends no command at all. With what it declares it passes.
func TestBudget(t *testing.T) {
	t.Parallel()
	ctx, sinks := context.Background(), &sent{}
	x := begin(t, &Runner{Lab: world.Config{InProcess: true, Sinks: []trace.Sink{sinks}}})
	for _, c := range Suite() {
		none := x.spent.Total()
		x.Budget, *sinks = &none, sent{}
		if err := x.one(ctx, c); err != nil {
			t.Fatal(err)
		}
		if last := x.report.Procedures[len(x.report.Procedures)-1]; last.Verdict != report.NotRun || !strings.Contains(last.Reason, "budget") {
			t.Errorf("%s without a budget: %s, %q", c.ID, last.Verdict, last.Reason)
		}
		if sinks.n != 0 || x.spent.Total() != none {
			t.Errorf("%s without a budget sent %d commands", c.ID, sinks.n)
		}
		enough := none.Plus(c.Spends)
		x.Budget, x.stop = &enough, ""
		if err := x.one(ctx, c); err != nil {
			t.Fatal(err)
		}
		if x.stop != "" {
			t.Fatalf("%s with what it declares: %s", c.ID, x.stop)
		}
		if len(sinks.spend) == 0 || !x.spent.Total().Within(enough) {
			t.Errorf("%s spent %s by %v", c.ID, x.spent.Total().Minus(none), sinks.spend)
		}
	}
}

// TestNothingLeft begins each case although nothing may be spent: what it runs is
// stopped before the first command that spends.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	for i, c := range Suite() {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			ctx, sinks := context.Background(), &sent{}
			x := begin(t, &Runner{Lab: world.Config{InProcess: true, Sinks: []trace.Sink{sinks}}})
			for _, before := range Suite()[:i] {
				if err := x.one(ctx, before); err != nil || x.stop != "" {
					t.Fatal(err, x.stop)
				}
			}
			none := x.spent.Total()
			x.spent.Bound(none)
			*sinks = sent{}
			err := x.open(ctx)
			if err == nil {
				err = c.run(x.flow, ctx)
			}
			var over *world.BudgetError
			if !errors.As(x.spent.Refused(), &over) || !strings.Contains(fmt.Sprint(err), over.Error()) {
				t.Errorf("%v, refused %v", err, over)
			}
			if sinks.n == 0 || len(sinks.spend) != 0 || x.spent.Total() != none {
				t.Errorf("of %d commands %v spend", sinks.n, sinks.spend)
			}
		})
	}
}

// needed is what each case of the suite spends.
func needed(t *testing.T) map[string]world.Spend {
	t.Helper()
	x, needs := begin(t, &Runner{Lab: world.Config{InProcess: true}}), map[string]world.Spend{}
	for _, c := range Suite() {
		before := x.spent.Total()
		if err := x.one(context.Background(), c); err != nil || x.stop != "" {
			t.Fatal(err, x.stop)
		}
		needs[c.ID] = x.spent.Total().Minus(before)
	}
	return needs
}

// kinds is one of each kind that is spent.
var kinds = map[string]world.Spend{"PIN": {PINTries: 1}, "AUTH": {Auths: 1}, "write": {CardWrites: 1}, "NV": {NVWrites: 1}}

// TestOverspend lets each case declare one command less than it needs, of each kind
// that it spends, on a card and a TPM that are not the lab's own: it is stopped
// before that command, says so, and everything is given back.
func TestOverspend(t *testing.T) {
	t.Parallel()
	needs := needed(t)
	for i, c := range Suite() {
		for kind, one := range kinds {
			if !one.Within(needs[c.ID]) {
				continue
			}
			t.Run(c.ID+" "+kind, func(t *testing.T) {
				t.Parallel()
				overspend(t, i, needs[c.ID].Minus(one), one)
			})
		}
	}
}

// overspend runs the suite, of which case i declares that much, and needs one more.
func overspend(t *testing.T, i int, declared, one world.Spend) {
	t.Helper()
	ctx, lab, sinks := context.Background(), somebodyElse(t), &world.Spent{}
	path, profile := image(t, "")
	lab.Card, lab.Profile, lab.Allow, lab.Sinks = "emul:"+path, &profile, []string{profile.ICCID}, []trace.Sink{sinks}
	cases := Suite()
	cases[i].Spends = declared
	x := newRun(&Runner{Lab: lab, Cases: cases})
	var err error
	if x.files, err = newArtefacts("", "", x.meter.Label); err != nil {
		t.Fatal(err)
	}
	if err := x.prepare(ctx); err != nil {
		t.Fatal(err)
	}
	var spent world.Spend
	for n, c := range cases {
		before := sinks.Total()
		if err := x.one(ctx, c); err != nil {
			t.Fatal(err)
		}
		switch spent = sinks.Total().Minus(before); {
		case n < i && x.stop != "":
			t.Fatal(x.stop)
		case n == i && (!spent.Within(declared) || one.Within(declared.Minus(spent))):
			t.Errorf("spent %s, declared %s", spent, declared)
		case n > i && spent != world.Spend{}:
			t.Errorf("%s spent %s after the run was stopped", c.ID, spent)
		}
	}
	if !strings.Contains(x.stop, "was not sent") || !errors.Is(x.spent.Refused(), card.ErrBudget) {
		t.Errorf("stopped by %q, refused %v", x.stop, x.spent.Refused())
	}
	blamed(t, &x.report, cases[i])
	if err := x.finish(); err != nil {
		t.Error(err)
	}
	asBefore(t, lab)
}

// blamed wants the case to have failed, in its procedures or in a negative proof,
// for what was not sent, and nothing after it to have run.
func blamed(t *testing.T, r *report.Report, c Case) {
	t.Helper()
	r.Conclude()
	fails := 0
	judge := func(procedure string, v report.Verdict, reason string) {
		if v == report.Fail {
			fails++
			if !strings.Contains(reason, "was not sent") || !slices.ContainsFunc(c.Procedures, func(p Procedure) bool { return p.ID == procedure }) {
				t.Errorf("%s: %s, %q", procedure, v, reason)
			}
		}
	}
	for _, p := range r.Procedures {
		judge(p.ID, p.Verdict, p.Reason)
	}
	for _, n := range r.Negatives {
		judge(n.Procedure, n.Verdict, n.Detail)
	}
	if fails != 1 || r.Verdict != report.Fail {
		t.Errorf("%d verdicts are fail, and that of the run is %s", fails, r.Verdict)
	}
}

// asBefore wants nothing of a lab left in the TPM, and in the card its own
// subscription.
func asBefore(t *testing.T, lab world.Config) {
	t.Helper()
	ctx := context.Background()
	m, err := tpm.Open(ctx, lab.TPM, lab.TPMOptions)
	if err != nil {
		t.Fatal(err)
	}
	left, err := m.Ours()
	if err := errors.Join(err, m.Close()); err != nil || len(left) != 0 {
		t.Errorf("left in the TPM: %v, %v", left, err)
	}
	c, err := device.Open(ctx, lab.Card, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	pin1, err := uicc.PadPIN(string(lab.Profile.PIN1.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	session := card.NewSession(c, card.Options{})
	atr, err := session.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := card.NewGuard(session, card.GuardConfig{ATR: slices.Clone(atr)}).Verify(ctx, uicc.RefPIN1, pin1); err != nil {
		t.Error(err)
	}
	raw, err := session.ReadFile(ctx, card.InApp(usim.AIDPrefix(), usim.EFIMSI))
	if err != nil {
		t.Fatal(err)
	}
	if imsi, err := usim.DecodeIMSI(raw); err != nil || string(imsi) != lab.Profile.IMSI {
		t.Errorf("the card has IMSI %s, want %s: %v", imsi, lab.Profile.IMSI, err)
	}
}

// TestOverspendAtOnce: what has to be spent before a lab is there fails the first
// case, too, and not the run's surroundings.
func TestOverspendAtOnce(t *testing.T) {
	t.Parallel()
	lab, cases := somebodyElse(t), Suite()
	cases[0].Spends = world.Spend{}
	withoutEK(t, lab.TPM)
	path, profile := image(t, "")
	lab.Card, lab.Profile, lab.Allow = "emul:"+path, &profile, []string{profile.ICCID}
	result, err := (&Runner{Lab: lab, Cases: cases}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	blamed(t, result, cases[0])
	asBefore(t, lab)
}

// withoutEK takes the maker's persistent keys away, as who owns the TPM may.
func withoutEK(t *testing.T, uri string) {
	t.Helper()
	m, err := tpm.Open(context.Background(), uri, tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	eks, err := m.EKs()
	if err != nil {
		t.Fatal(err)
	}
	for _, ek := range eks {
		_, err := tpm2.EvictControl{
			Auth:         tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			ObjectHandle: tpm2.NamedHandle{Handle: ek.Handle, Name: ek.Name}, PersistentHandle: ek.Handle,
		}.Execute(m)
		if err != nil {
			t.Fatal(err)
		}
	}
}
