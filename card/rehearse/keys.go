package rehearse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
	"mcim/card/aka"
	"mcim/card/emul"
	"mcim/card/model"
)

// Candidate is a mix-up that would explain a card whose keys do not fit.
type Candidate struct {
	Name string
	AKA  aka.Algorithm // nil where it is one for the GSM context alone
	GSM  aka.GSM
}

// Candidates are the mix-ups of the keys in a profile that are known from the field.
// Those that its lengths rule out are left out.
func Candidates(p emul.Profile) []Candidate {
	var list []Candidate
	add := func(name string, change func(q *emul.Profile) error) {
		q := p
		if err := change(&q); err != nil {
			return
		}
		if a, gsm, err := q.Functions(); err == nil {
			list = append(list, Candidate{name, a, gsm})
		}
	}
	switch p.Algorithm {
	case "", model.Milenage:
		add(opForOPc, func(q *emul.Profile) (err error) { q.OPc, err = aka.OPc(q.K, q.OPc); return err })
		add("k and opc are swapped", func(q *emul.Profile) error { q.K, q.OPc = q.OPc, q.K; return nil })
	case model.TUAK:
		add("topc in the profile is TOP, not TOPc", func(q *emul.Profile) (err error) { q.TOPc, err = aka.TOPc(q.K, q.TOPc, 1); return err })
	}
	for _, turn := range turns() {
		add(fmt.Sprintf(turn.what, "k"), func(q *emul.Profile) error { q.K = turned(q.K, turn.do); return nil })
		if p.OPc.Len() > 0 {
			add(fmt.Sprintf(turn.what, "opc"), func(q *emul.Profile) error { q.OPc = turned(q.OPc, turn.do); return nil })
			add(fmt.Sprintf(turn.what, "k and of opc"), func(q *emul.Profile) error {
				q.K, q.OPc = turned(q.K, turn.do), turned(q.OPc, turn.do)
				return nil
			})
		}
	}
	for _, a := range []model.Algorithm{model.XOR, model.COMP128v1, model.COMP128v2, model.COMP128v3} {
		if a != p.Algorithm {
			add("the card's algorithm is "+string(a), func(q *emul.Profile) error {
				q.Algorithm, q.OPc, q.TOPc = a, secret.Bytes{}, secret.Bytes{}
				return nil
			})
		}
	}
	return list
}

const opForOPc = "the given opc is OP, not OPc"

// CandidatesOver are the mix-ups that are left where K cannot be looked at: those of OPc.
// The error is that of the Block.
func CandidatesOver(m *aka.Milenage) ([]Candidate, error) {
	opc, err := aka.OPcOver(m.Block, m.OPc)
	if err != nil {
		return nil, err
	}
	list := []Candidate{over(m.Block, opForOPc, opc)}
	for _, turn := range turns() {
		list = append(list, over(m.Block, fmt.Sprintf(turn.what, "opc"), turned(m.OPc, turn.do)))
	}
	return list, nil
}

func over(b aka.Block, name string, opc secret.Bytes) Candidate {
	a := &aka.Milenage{Block: b, OPc: opc}
	return Candidate{name, a, aka.NewGSM(a)}
}

// turn is a way in which the bytes of a key come out of order.
type turn struct {
	what string // with %s for the key
	do   func([]byte)
}

func turns() []turn {
	return []turn{{"the bytes of %s are in reverse", slices.Reverse[[]byte]}, {"the two digits of each byte of %s are swapped", swapDigits}}
}

// turned is a copy of a key that do has changed.
func turned(k secret.Bytes, do func([]byte)) secret.Bytes {
	b := slices.Clone(k.Reveal())
	do(b)
	return secret.New(b)
}

func swapDigits(b []byte) {
	for i := range b {
		b[i] = b[i]<<4 | b[i]>>4
	}
}

// prove compares keys by a challenge that spends no sequence number, and learns SQN_MS.
func (r *rehearsal) prove(ctx context.Context) error {
	app := usim.AIDPrefix()
	if !r.usim {
		app = isimAID()
	}
	if r.AKA == nil || !r.usim && !r.isim {
		r.keysFail = "the profile's algorithm is for the GSM context alone"
		if r.AKA != nil {
			r.keysFail = r.lacks("USIM or ISIM")
		}
		r.report.Keys = "not proved: " + r.keysFail
		return nil
	}
	o := Outcome{
		Context: AKA, Name: "keys", Clause: "TS 33.102, 6.3.3", Sent: "a challenge with SEQ 0, which every card has seen",
		Expected: "AUTS, whose MAC-S proves K and OPc; no sequence number is spent",
	}
	err := r.try(o, true, func(o *Outcome) error {
		random, err := r.random()
		if err != nil {
			return err
		}
		proof, err := r.Guard.ProveKeys(ctx, app, r.AKA, random)
		if err != nil {
			return r.explain(ctx, app, o, err)
		}
		o.Answered = "AUTS with SQN_MS " + proof.SQN.String()
		if proof.Unchecked {
			o.Answered = "RES: it does not check sequence numbers"
		}
		r.report.SQN, r.report.Keys = proof.SQN.String(), "the card has the operator's keys"
		r.home = aka.NewSubscriber(r.AKA, proof.SQN, r.AMF, nil)
		return nil
	})
	if last := len(r.report.Outcomes) - 1; err == nil && r.home == nil && r.report.Outcomes[last].Verdict != NotRun {
		r.keysFail = "the card's keys are not the operator's"
		if r.report.Keys == "" {
			r.report.Keys, r.keysFail = "not proved", "the keys could not be compared"
		}
	}
	return err
}

// explain looks for the candidate that the card's answers fit. A GSM answer, which costs
// nothing, rules out most of them; the others are tried by challenges with SEQ 0.
func (r *rehearsal) explain(ctx context.Context, app []byte, o *Outcome, found error) error {
	if !errors.Is(found, aka.ErrMAC) && !errors.Is(found, aka.ErrAUTS) {
		return found
	}
	o.Answered = "9862"
	if errors.Is(found, aka.ErrAUTS) {
		o.Answered = "AUTS with another MAC-S"
	}
	const differs = "K, OPc or the algorithm's constants differ from the card's"
	r.report.Keys = differs
	left, same, err := r.sieve(ctx)
	if err != nil {
		return err
	}
	if same {
		return errors.New("the GSM answer of the card fits K and OPc, but MAC-A or MAC-S does not: its r1, c1 or r5, c5 are its own")
	}
	var tried []string
	for _, c := range left {
		tried = append(tried, c.Name)
		if c.AKA == nil {
			r.report.Fits = c.Name // by the GSM answer
			break
		}
		random, err := r.random()
		if err != nil {
			return err
		}
		_, err = r.Guard.ProveKeys(ctx, app, c.AKA, random)
		if lost(err) {
			return err
		}
		if err == nil {
			r.report.Fits = c.Name
			break
		}
	}
	switch {
	case r.report.Fits != "":
		return fmt.Errorf("%s; what fits the card: %s", differs, r.report.Fits)
	case len(tried) == 0:
		return fmt.Errorf("%s; its GSM answer fits none of the known mix-ups either", differs)
	}
	return fmt.Errorf("%s; tried, and does not fit: %s", differs, strings.Join(tried, "; "))
}

// sieve keeps the candidates that give the card's answer in the GSM context; same tells
// that the profile's own keys do. Without such an answer all that can be tried by a
// challenge are left.
func (r *rehearsal) sieve(ctx context.Context) (left []Candidate, same bool, err error) {
	random, err := r.random()
	if err != nil {
		return nil, false, err
	}
	answer, err := r.Guard.GSM(ctx, usim.AIDPrefix(), random)
	if lost(err) {
		return nil, false, err
	}
	gives := func(g aka.GSM) bool {
		sres, kc, err := g.Triplet(random)
		return err == nil && sres == answer.SRES && kc == answer.Kc
	}
	if err != nil {
		return slices.DeleteFunc(slices.Clone(r.Candidates), func(c Candidate) bool { return c.AKA == nil }), false, nil
	}
	return slices.DeleteFunc(slices.Clone(r.Candidates), func(c Candidate) bool { return !gives(c.GSM) }), gives(r.GSM), nil
}

// explainGSM looks for the candidate whose answer to random in the GSM algorithm is that of
// the card, after the operator's own was not. The card is not asked again.
func (r *rehearsal) explainGSM(random [16]byte, answer usim.AuthenticateGSMResponse, found error) error {
	if r.home != nil || r.report.Fits != "" {
		return found
	}
	for _, c := range r.Candidates {
		if sres, kc, err := c.GSM.Triplet(random); err == nil && sres == answer.SRES && kc == answer.Kc {
			r.report.Fits = c.Name
			return fmt.Errorf("%w; what fits the card: %s", found, c.Name)
		}
	}
	return fmt.Errorf("%w; it fits none of the known mix-ups either", found)
}

// reason says why a context is not tried.
type reason struct {
	verdict Verdict
	text    string
}

// unready says why a context with a challenge cannot be tried; nil where it can. In a dry
// run it can.
func (r *rehearsal) unready(there bool, app string) *reason {
	switch {
	case !there:
		return &reason{Unsupported, r.lacks(app)}
	case r.home == nil && r.keysFail != "":
		return &reason{NotRun, r.keysFail}
	}
	return nil
}
