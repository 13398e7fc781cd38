package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/kdf"
)

// Context is a context of AUTHENTICATE, or GET IDENTITY.
type Context string

// The contexts.
const (
	AKA   Context = "3g"    // 3G, EPS and 5G alike (TS 31.102, 7.1.2.1)
	IMS   Context = "ims"   // of the ISIM (TS 31.103, 7.1.2.1)
	GBA   Context = "gba"   // bootstrapping (TS 31.102, 7.1.2.3)
	NAF   Context = "naf"   // derivation of a server's key, after GBA (TS 31.102, 7.1.2.3)
	Local Context = "local" // local key establishment, after NAF (TS 31.102, 7.1.2.6)
	SUCI  Context = "suci"  // GET IDENTITY (TS 31.102, 7.5)
	GSM   Context = "gsm"   // GSM context, and RUN GSM ALGORITHM of class A0
)

// Contexts are all contexts, in the order in which Run tries them.
func Contexts() []Context { return []Context{AKA, IMS, GBA, NAF, Local, SUCI, GSM} }

// Verdict is how an attempt ended.
type Verdict string

// The verdicts.
const (
	Pass        Verdict = "pass"
	Fail        Verdict = "fail"
	Unsupported Verdict = "not supported" // and the card does not say otherwise
	NotRun      Verdict = "not run"
)

// Config is what a rehearsal goes by.
type Config struct {
	Guard   *card.Guard // with PIN1 verified, unless it makes a dry run
	Session *card.Session
	AKA     aka.Algorithm // of the home operator; nil where the card has a GSM algorithm alone
	GSM     aka.GSM       // of the same keys
	AMF     [2]byte       // for AUTN; bit 0 of byte 0 is set for EPS and 5G (TS 33.102, annex H)
	NAF     string        // domain name of the server; "" is "naf" in the home network
	// HomeKey is the home network's private key for SUCIs, 32 bytes; without it only the
	// null scheme can be deconcealed.
	HomeKey secret.Bytes
	// Candidates are what is tried where the keys do not fit.
	Candidates []Candidate
	Random     io.Reader
}

// Outcome is one attempt.
type Outcome struct {
	Context  Context `json:"context"`
	Name     string  `json:"name"`
	Clause   string  `json:"clause"`
	Sent     string  `json:"sent"`
	Expected string  `json:"expected"`
	Answered string  `json:"answered,omitempty"`
	Verdict  Verdict `json:"verdict"`
	Why      string  `json:"why,omitempty"`
}

// Report is what a rehearsal has found.
type Report struct {
	Keys     string    `json:"keys"`             // what is known of K and OPc
	Fits     string    `json:"fits,omitempty"`   // name of the candidate that explains the card
	SQN      string    `json:"sqn_ms,omitempty"` // learnt at the beginning
	Outcomes []Outcome `json:"outcomes"`
	// Spent is how many sequence numbers the card has accepted.
	Spent int `json:"sequence_numbers_spent"`
	// Authentications is how many commands with a challenge were sent, or in a dry run
	// would be.
	Authentications int `json:"authentications"`
}

// Failed tells whether an attempt failed.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Outcomes, func(o Outcome) bool { return o.Verdict == Fail })
}

// ErrDiffers says that the card's answer is not what the authentication centre expects.
var ErrDiffers = errors.New("the card's answer is not the authentication centre's")

// rehearsal is one run.
type rehearsal struct {
	Config
	report   Report
	usim     bool // the card has the application
	isim     bool
	home     *aka.Subscriber // nil until the keys are proved
	keysFail string          // why there is no home
	imsi     usim.IMSI       // "" where it cannot be read
	mnc      int             // digits
	iccid    []byte          // as in EF.ICCID
	services usim.UST
	boots    map[string]kdf.Bootstrap // by application
	refused  map[string]error         // a bootstrapping, by application
	nafs     map[string]bool          // derived
}

// lacks says why the card has no application of that name.
func (r *rehearsal) lacks(app string) string {
	if r.Session.IsSIM() {
		return "the card is a SIM of class A0, which has no " + app
	}
	return "EF.DIR names no " + app
}

func isimAID() []byte { return []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x04} }

// Run tries the contexts that are asked for, in the order of Contexts. What the card
// answers, and what it refuses, is in the report; the error is for a card that is lost
// and for one that may not be spent of (card.ErrNotAllowed).
func Run(ctx context.Context, c Config, contexts []Context) (*Report, error) {
	r := &rehearsal{Config: c, boots: map[string]kdf.Bootstrap{}, refused: map[string]error{}, nafs: map[string]bool{}}
	r.report.Outcomes = []Outcome{}
	if err := c.Guard.MaySpend(ctx); err != nil {
		return nil, err
	}
	err := r.look(ctx)
	if err == nil {
		err = r.prove(ctx)
	}
	for _, context := range Contexts() {
		if err == nil && slices.Contains(contexts, context) {
			err = r.attempt(ctx, context)
		}
	}
	for _, s := range c.Guard.Plan() {
		if s.Context != "" {
			r.report.Authentications++
		}
	}
	return &r.report, err
}

func (r *rehearsal) attempt(ctx context.Context, c Context) error {
	switch c {
	case AKA:
		return r.challenge3G(ctx)
	case IMS:
		return r.ims(ctx)
	case GBA, NAF, Local:
		return r.gba(ctx, c)
	case SUCI:
		return r.identity(ctx)
	default:
		return r.gsm(ctx)
	}
}

// look reads what the card says of itself. What cannot be read is left out.
func (r *rehearsal) look(ctx context.Context) error {
	apps, err := r.Session.Apps(ctx)
	if lost(err) {
		return err
	}
	for _, aid := range apps {
		r.usim = r.usim || slices.Equal(aid[:min(7, len(aid))], usim.AIDPrefix())
		r.isim = r.isim || slices.Equal(aid[:min(7, len(aid))], isimAID())
	}
	r.mnc = 2
	if !r.usim {
		return nil
	}
	for _, f := range []struct {
		file card.File
		take func([]byte)
	}{
		{card.InMF(uicc.FIDEFICCID), func(b []byte) { r.iccid = b }},
		{card.InApp(usim.AIDPrefix(), usim.EFUST), func(b []byte) { r.services = b }},
		{card.InApp(usim.AIDPrefix(), usim.EFIMSI), func(b []byte) { r.imsi, _ = usim.DecodeIMSI(b) }},
		{card.InApp(usim.AIDPrefix(), usim.EFAD), func(b []byte) {
			if len(b) > 3 && (b[3] == 2 || b[3] == 3) {
				r.mnc = int(b[3])
			}
		}},
	} {
		b, err := r.Session.ReadFile(ctx, f.file)
		if lost(err) {
			return err
		}
		if err == nil {
			f.take(b)
		}
	}
	return nil
}

// lost tells a card that is gone from one that refuses.
func lost(err error) bool {
	return errors.Is(err, card.ErrRemoved) || errors.Is(err, card.ErrTimeout) || errors.Is(err, context.Canceled)
}

// try makes one attempt, judges how it ended and reports it. announced tells that the
// card's own service table promises it. The error is that of a card that is lost.
func (r *rehearsal) try(o Outcome, announced bool, do func(o *Outcome) error) error {
	err := do(&o)
	if lost(err) {
		return err
	}
	o.Verdict, o.Why = judge(err, announced)
	r.report.Outcomes = append(r.report.Outcomes, o)
	return nil
}

// notRun reports an attempt that is not made.
func (r *rehearsal) notRun(o Outcome, v Verdict, why string) error {
	o.Verdict, o.Why = v, why
	r.report.Outcomes = append(r.report.Outcomes, o)
	return nil
}

func judge(err error, announced bool) (Verdict, string) {
	var guarded *card.RefusalError
	var sync *aka.SyncError
	var refused *card.CommandError
	switch {
	case err == nil:
		return Pass, ""
	case errors.Is(err, card.ErrDryRun):
		return NotRun, "dry run"
	case errors.As(err, &guarded), errors.Is(err, errMissing):
		return NotRun, err.Error()
	case errors.As(err, &sync):
		return Fail, "the card does not accept the sequence number: something else uses its keys at the same time"
	case errors.As(err, &refused) && unsupported(refused.SW):
		if announced {
			return Fail, fmt.Sprintf("the card's service table has it, but the card answers %v", refused.SW)
		}
		return Unsupported, fmt.Sprintf("the card answers %v", refused.SW)
	}
	return Fail, err.Error()
}

// unsupported are the status words of a card that does not have a context or command.
func unsupported(sw apdu.StatusWord) bool {
	return sw == apdu.SWSecurityContext || sw == apdu.SWIncorrectP1P2 || errors.Is(sw, apdu.ErrUnsupported) ||
		sw.SW1() == 0x6E || sw.SW1() == 0x94
}

// errMissing is for what the rehearsal itself lacks.
var errMissing = errors.New("not tried")

func (r *rehearsal) random() (b [16]byte, err error) {
	_, err = io.ReadFull(r.Random, b[:])
	return b, err
}

// realm is the home network's domain (TS 23.003, 13.2 and 16.2), with "pub." before its end
// for servers of GBA.
func (r *rehearsal) realm(public bool) string {
	mcc, mnc := "001", "01"
	if len(r.imsi) > 3+r.mnc {
		mcc, mnc = string(r.imsi[:3]), string(r.imsi[3:3+r.mnc])
	}
	s := fmt.Sprintf("mnc%03s.mcc%s.", mnc, mcc)
	if public {
		s += "pub."
	}
	return s + "3gppnetwork.org"
}
