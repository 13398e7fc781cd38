package rehearse

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/aka/kdf"
	"mcim/card/aka/suci"
)

// separation is the bit of AMF that EPS and 5G need (TS 33.102, annex H), in its first byte.
const separation = 0x80

// challenge3G is the 3G context: a challenge that the card has to answer, the same with
// a wrong MAC-A, and the same once more.
func (r *rehearsal) challenge3G(ctx context.Context) error {
	o := Outcome{Context: AKA, Name: "AKA", Clause: "TS 31.102, 7.1.2.1", Sent: "RAND and AUTN with the next sequence number", Expected: "RES, CK and IK of K"}
	if r.AMF[0]&separation == 0 {
		o.Name = "AKA, 3G only" // a phone refuses it in EPS and 5G
		o.Sent += fmt.Sprintf("; AMF %x has no separation bit: a phone refuses it in EPS and 5G", r.AMF)
	}
	if why := r.unready(r.usim, "USIM"); why != nil {
		return r.notRun(o, why.verdict, why.text)
	}
	var v aka.Vector
	if err := r.try(o, true, func(o *Outcome) (err error) {
		v, err = r.agree(ctx, usim.AIDPrefix(), o)
		return err
	}); err != nil {
		return err
	}
	forged := v
	forged.AUTN[15] ^= 1
	o.Name, o.Sent, o.Expected = "AKA, forged", "the same with one bit of MAC-A changed", "9862, whatever the sequence number"
	o.Clause = "TS 33.102, 6.3.3"
	if err := r.try(o, true, func(o *Outcome) error {
		_, err := r.Guard.AKA(ctx, usim.AIDPrefix(), forged)
		return expectMAC(o, err)
	}); err != nil {
		return err
	}
	o.Name, o.Sent, o.Expected = "AKA, replayed", "the first one once more", "AUTS, with the sequence number that was just used"
	return r.try(o, true, func(o *Outcome) error {
		_, err := r.Guard.AKA(ctx, usim.AIDPrefix(), v)
		return r.expectAUTS(o, v, err)
	})
}

// agree lets an application answer the next challenge, and compares.
func (r *rehearsal) agree(ctx context.Context, app []byte, o *Outcome) (aka.Vector, error) {
	v, err := r.next()
	if err != nil {
		return v, err
	}
	result, kc, err := r.Guard.AKAWithKc(ctx, app, v)
	if err != nil {
		return v, err
	}
	r.report.Spent++
	o.Answered = fmt.Sprintf("RES of %d bytes, CK and IK", len(result.RES.Bytes()))
	if kc != nil {
		o.Answered += ", Kc"
	}
	switch {
	case result.RES != v.XRES:
		return v, fmt.Errorf("%w: RES", ErrDiffers)
	case result.CK != v.CK || result.IK != v.IK:
		return v, fmt.Errorf("%w: CK or IK", ErrDiffers)
	case kc != nil && *kc != aka.Kc(v.CK, v.IK):
		return v, fmt.Errorf("%w: Kc", ErrDiffers)
	case kc != nil && o.Context == IMS:
		return v, fmt.Errorf("%w: an ISIM gives no Kc", ErrDiffers)
	}
	return v, nil
}

// next is the next vector of the home operator.
func (r *rehearsal) next() (aka.Vector, error) {
	random, err := r.random()
	if err != nil {
		return aka.Vector{}, err
	}
	if r.home == nil { // dry run
		return aka.Vector{RAND: random}, nil
	}
	return r.home.Next(random)
}

func expectMAC(o *Outcome, err error) error {
	var sync *aka.SyncError
	switch {
	case errors.Is(err, aka.ErrMAC):
		o.Answered = "9862"
		return nil
	case errors.As(err, &sync):
		o.Answered = "AUTS"
		return fmt.Errorf("%w: it looks at SQN before MAC, so that anybody can learn SQN_MS", ErrDiffers)
	case err == nil:
		o.Answered = "RES"
		return fmt.Errorf("%w: it takes any network for its own", ErrDiffers)
	}
	return err
}

func (r *rehearsal) expectAUTS(o *Outcome, v aka.Vector, err error) error {
	var sync *aka.SyncError
	switch {
	case err == nil:
		r.report.Spent++
		o.Answered = "RES"
		return fmt.Errorf("%w: it does not check sequence numbers", ErrDiffers)
	case !errors.As(err, &sync):
		return err
	}
	o.Answered = "AUTS"
	seen, err := aka.Resync(r.AKA, v.RAND, sync.AUTS)
	if err != nil {
		return err
	}
	if seen != r.home.SQN() {
		return fmt.Errorf("%w: SQN_MS is %v, used was %v", ErrDiffers, seen, r.home.SQN())
	}
	return nil
}

// ims is IMS AKA on the ISIM.
func (r *rehearsal) ims(ctx context.Context) error {
	o := Outcome{Context: IMS, Name: "IMS AKA", Clause: "TS 31.103, 7.1.2.1", Sent: "RAND and AUTN with the next sequence number", Expected: "RES, CK and IK of K, no Kc"}
	if why := r.unready(r.isim, "ISIM"); why != nil {
		return r.notRun(o, why.verdict, why.text)
	}
	return r.try(o, true, func(o *Outcome) error {
		_, err := r.agree(ctx, isimAID(), o)
		return err
	})
}

// application is one that may do GBA.
type application struct {
	name                  string
	aid                   []byte
	bp                    uint16 // EF.GBABP
	there                 bool
	announced, announced2 bool // GBA, local key
}

// Services of EF.UST.
const (
	serviceGBA      usim.Service = 68
	serviceLocalKey usim.Service = 76
	serviceUSIMSUCI usim.Service = 125
)

func (r *rehearsal) applications() []application {
	return []application{
		{"USIM", usim.AIDPrefix(), 0x6FD6, r.usim, r.services.Has(serviceGBA), r.services.Has(serviceLocalKey)},
		{"ISIM", isimAID(), 0x6FD5, r.isim, false, false},
	}
}

// gba is one of the three contexts of GBA, on each application. What a later one needs
// is done first, once.
func (r *rehearsal) gba(ctx context.Context, c Context) error {
	for _, app := range r.applications() {
		if !app.there && app.name == "ISIM" {
			continue
		}
		o := gbaOutcome(c, app.name)
		if why := r.unready(app.there, app.name); why != nil {
			if err := r.notRun(o, why.verdict, why.text); err != nil {
				return err
			}
			continue
		}
		announced := app.announced
		do := func(o *Outcome) error { return r.bootstrap(ctx, app, o) }
		switch c {
		case NAF:
			do = func(o *Outcome) error { return r.deriveNAF(ctx, app, o) }
		case Local:
			announced, do = app.announced2, func(o *Outcome) error { return r.localKey(ctx, app, o) }
		}
		if err := r.try(o, announced, do); err != nil {
			return err
		}
	}
	return nil
}

func gbaOutcome(c Context, app string) Outcome {
	switch c {
	case NAF:
		return Outcome{Context: c, Name: "NAF key, " + app, Clause: "TS 31.102, 7.1.2.3; TS 33.220, B.3", Sent: "NAF_ID and IMPI", Expected: "Ks_ext_NAF"}
	case Local:
		return Outcome{Context: c, Name: "local key, " + app, Clause: "TS 31.102, 7.1.2.6; TS 33.110, 4.5.2", Sent: "what the key is bound to, and a MAC under Ks_local",
			Expected: "the card's MAC under Ks_local (coding as this program reads the clause: no example is published)"}
	}
	return Outcome{Context: c, Name: "GBA bootstrapping, " + app, Clause: "TS 31.102, 7.1.2.3; TS 33.220, 5.3.2", Sent: "RAND and AUTN* with the next sequence number", Expected: "RES of K"}
}

// bootstrap makes a Ks on the card.
func (r *rehearsal) bootstrap(ctx context.Context, app application, o *Outcome) error {
	if err := r.refused[app.name]; err != nil {
		return err // it would answer the same
	}
	v, err := r.next()
	if err != nil {
		return err
	}
	res, err := r.Guard.Bootstrap(ctx, app.aid, v.GBA())
	if errors.Is(err, card.ErrDryRun) {
		r.boots[app.name] = kdf.Bootstrap{}
		return err
	}
	if err != nil {
		r.refused[app.name] = err
		return err
	}
	r.report.Spent++
	o.Answered = fmt.Sprintf("RES of %d bytes", len(res.Bytes()))
	if res != v.XRES {
		return fmt.Errorf("%w: RES", ErrDiffers)
	}
	r.boots[app.name] = kdf.Bootstrap{RAND: v.RAND, CK: v.CK, IK: v.IK}
	return nil
}

// btid is the name of a bootstrapping (TS 33.220, 4.5.2).
func (r *rehearsal) btid(b kdf.Bootstrap) string {
	return base64.StdEncoding.EncodeToString(b.RAND[:]) + "@bsf." + r.realm(true)
}

// nafID names the server, with the protocol of TS 33.220, annex H, for TLS with a key.
func (r *rehearsal) nafID() []byte {
	fqdn := r.NAF
	if fqdn == "" {
		fqdn = "naf." + r.realm(true)
	}
	return kdf.NAFID(fqdn, [5]byte{1, 0, 0, 0, 2})
}

func (r *rehearsal) impi() string { return string(r.imsi) + "@ims." + r.realm(false) }

// deriveNAF bootstraps where that is not done yet, puts the B-TID into EF.GBABP, as a
// terminal does, and compares Ks_ext_NAF.
func (r *rehearsal) deriveNAF(ctx context.Context, app application, o *Outcome) error {
	if _, done := r.boots[app.name]; !done {
		if err := r.bootstrap(ctx, app, o); err != nil && !errors.Is(err, card.ErrDryRun) {
			return err
		}
		o.Answered = ""
	}
	b := r.boots[app.name]
	id, lifetime := r.btid(b), "86400"
	data := append(append([]byte{byte(len(id))}, id...), byte(len(lifetime)))
	if err := r.Guard.UpdateBinary(ctx, card.InApp(app.aid, app.bp), 1+len(b.RAND), append(data, lifetime...)); err != nil {
		return fmt.Errorf("B-TID into EF.GBABP: %w", err)
	}
	key, err := r.Guard.DeriveNAF(ctx, app.aid, usim.GBADerive{NAFID: r.nafID(), IMPI: r.impi()})
	if err != nil {
		r.nafs[app.name] = errors.Is(err, card.ErrDryRun)
		return err
	}
	o.Answered = "a key of 32 bytes"
	want, err := b.ExternalKey(r.impi(), r.nafID())
	if err != nil {
		return err
	}
	if key != want {
		return fmt.Errorf("%w: Ks_ext_NAF", ErrDiffers)
	}
	r.nafs[app.name] = true
	return nil
}

// localKey derives the key of the server where that is not done yet, and establishes a
// local key out of it.
func (r *rehearsal) localKey(ctx context.Context, app application, o *Outcome) error {
	if !r.nafs[app.name] {
		if err := r.deriveNAF(ctx, app, o); err != nil && !errors.Is(err, card.ErrDryRun) {
			return err
		}
		o.Answered = ""
	}
	b := r.boots[app.name]
	internal, err := b.InternalKey(r.impi(), r.nafID())
	if err != nil {
		return err
	}
	k := kdf.LocalKey{
		BTID: []byte(r.btid(b)), TerminalID: []byte("mcim"), ICCID: r.iccid, TerminalApplication: []byte(kdf.PlatformApplication),
		UICCApplication: []byte(kdf.PlatformApplication), CounterLimit: []byte{0xFF, 0xFF},
	}
	if k.RANDx, err = r.random(); err != nil {
		return err
	}
	key, err := k.Derive(internal)
	if err != nil {
		return err
	}
	mac, err := r.Guard.LocalKey(ctx, app.aid, usim.LocalKeyDerive{
		NAFID: r.nafID(), TerminalID: k.TerminalID, TerminalApplication: k.TerminalApplication, UICCApplication: k.UICCApplication,
		RANDx: k.RANDx, CounterLimit: k.CounterLimit, MAC: k.RequestMAC(key),
	})
	if err != nil {
		return err
	}
	o.Answered = "a MAC of 16 bytes"
	return kdf.CheckResponse(key, mac[:])
}

// identity asks for a SUCI and deconceals it.
func (r *rehearsal) identity(ctx context.Context) error {
	o := Outcome{Context: SUCI, Name: "GET IDENTITY", Clause: "TS 31.102, 7.5; TS 33.501, C.3", Sent: "GET IDENTITY for a SUCI", Expected: "a SUCI in which the home network finds the IMSI of EF.IMSI"}
	if !r.usim {
		return r.notRun(o, Unsupported, r.lacks("USIM"))
	}
	if r.Guard.DryRun() {
		return r.notRun(o, NotRun, "dry run") // PIN1 is not verified
	}
	announced := r.services.Has(usim.ServiceSUCI) && r.services.Has(serviceUSIMSUCI)
	return r.try(o, announced, func(o *Outcome) error {
		s, err := r.Session.Identity(ctx, usim.AIDPrefix())
		if err != nil {
			return err
		}
		o.Answered = fmt.Sprintf("a SUCI of scheme %d, home key %d", s.Scheme, s.KeyID)
		if s.Scheme != usim.SchemeNull && r.HomeKey.Len() == 0 {
			return fmt.Errorf("%w to deconceal it: name the home network's private key of identifier %d with --suci-key", errMissing, s.KeyID)
		}
		home := suci.Home{s.KeyID: {Scheme: s.Scheme, Key: r.HomeKey}}
		imsi, err := home.Deconceal(s)
		if err != nil {
			return err
		}
		if imsi != r.imsi {
			return fmt.Errorf("%w: the IMSI in it is not that of EF.IMSI", ErrDiffers)
		}
		return nil
	})
}

// gsm is the GSM context of the USIM, and the GSM algorithm in class A0. The latter comes
// last, since it leaves the application.
func (r *rehearsal) gsm(ctx context.Context) error {
	o := Outcome{Context: GSM, Name: "GSM context", Clause: "TS 31.102, 7.1.2.1", Sent: "RAND", Expected: "SRES and Kc of K"}
	announced := r.services.Has(usim.ServiceGSMAccess) && r.services.Has(usim.ServiceGSMContext)
	compare := func(o *Outcome, ask func([16]byte) (usim.AuthenticateGSMResponse, error)) error {
		random, err := r.random()
		if err != nil {
			return err
		}
		answer, err := ask(random)
		if err != nil {
			return err
		}
		o.Answered = "SRES and Kc"
		sres, kc, err := r.GSM.Triplet(random)
		switch {
		case err != nil:
			return err
		case answer.SRES != sres:
			return r.explainGSM(random, answer, fmt.Errorf("%w: SRES", ErrDiffers))
		case answer.Kc != kc:
			return r.explainGSM(random, answer, fmt.Errorf("%w: Kc", ErrDiffers))
		}
		if r.home == nil && r.Session.IsSIM() {
			r.report.Keys = "the card has the operator's keys, as its GSM answer shows"
		}
		return nil
	}
	var err error
	if r.usim {
		err = r.try(o, announced, func(o *Outcome) error {
			return compare(o, func(b [16]byte) (usim.AuthenticateGSMResponse, error) { return r.Guard.GSM(ctx, usim.AIDPrefix(), b) })
		})
	} else {
		err = r.notRun(o, Unsupported, r.lacks("USIM"))
	}
	if err != nil {
		return err
	}
	o.Name, o.Clause = "RUN GSM ALGORITHM", "TS 51.011, 9.2.16"
	return r.try(o, false, func(o *Outcome) error {
		return compare(o, func(b [16]byte) (usim.AuthenticateGSMResponse, error) { return r.Guard.RunGSM(ctx, b) })
	})
}
