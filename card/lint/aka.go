package lint

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/dump"
)

// akaRules are about what the card answers to the home operator's keys.
func akaRules() []Rule {
	return []Rule{
		{ID: "aka-keys", Severity: Error, Clause: "TS 33.102, 6.3.3", scope: ofUSIM, judge: judgeAKAKeys,
			What: "the card has another K or OPc than the home operator, and refuses every challenge of it", Remedy: "correct k and opc (or topc) at the operator, or write the keys into the card"},
		{ID: "aka-imsi", Severity: Error, Clause: "TS 33.102, 6.2", scope: ofUSIM, judge: judgeAKAIMSI,
			What: "the operator has these keys for another IMSI than the card's, and refuses it", Remedy: "write EF.IMSI with the IMSI that the operator knows, or correct it there"},
		{ID: "aka-refused", Severity: Error, Clause: "TS 31.102, 7.1.2", scope: ofUSIM, judge: judgeAKARefused,
			What: "the card does not authenticate", Remedy: "see what the status word says (mcim card apdu explains it); as a rule the card has no keys or is worn"},
		{ID: "aka-unchecked", Severity: Warning, Clause: "TS 33.102, 6.3.3", scope: ofUSIM, judge: judgeAKAUnchecked,
			What: "the card takes a sequence number that it has seen: recorded challenges can be played to it", Remedy: "write the card's SQN settings so that it checks, where its maker lets you"},
		{ID: "sqn-behind", Severity: Warning, Clause: "TS 33.102, 6.3.5", scope: ofUSIM, judge: judgeSQNBehind,
			What: "the operator's SQN is behind the card's: the first registration ends in a synchronisation failure, and an operator that cannot resynchronise fails for good", Remedy: "set the operator's SQN to that of the card"},
		{ID: "sqn-ahead", Severity: Warning, Clause: "TS 33.102, C.2.1", scope: ofUSIM, judge: judgeSQNAhead,
			What: "the operator's SQN is further ahead of the card's than it lets pass: the first registration ends in a synchronisation failure", Remedy: "set the operator's SQN to that of the card"},
		{ID: "sqn-end", Severity: Error, Clause: "TS 33.102, C.3", scope: ofUSIM, judge: judgeSQNEnd,
			What: "the card's sequence numbers are used up", Remedy: "write the card's SQN file with a low SEQ, where its maker lets you; else it has to be replaced"},
	}
}

// Rehearsal is what came of a challenge by the home operator's keys.
type Rehearsal struct {
	Proof card.KeyProof
	IMSI  string // that the operator has for these keys; empty where it is not known
	// Own is the last SQN that the operator has used; nil where it is not known.
	Own   *aka.SQN
	Err   error // of the challenge
	APDUs int   // commands that it took
}

// Operator is the home operator in a rehearsal.
type Operator struct {
	Algorithm aka.Algorithm // under K
	RAND      [16]byte      // of the challenge
	IMSI      string        // of the subscription; empty: not known
	SQN       *aka.SQN      // the last that was used; nil: not known
	PIN1      secret.Bytes  // 8 bytes; empty: none is verified
	Allow     []string      // ICCIDs of the cards that may be asked to authenticate
	Spare     bool          // nothing can be lost on the card (card.GuardConfig)
}

// Rehearse resets the card and asks its first USIM to authenticate, with a sequence
// number that it has seen, so that none is spent (card.Guard.ProveKeys). What the card
// or the guard refuses is the Err of the Rehearsal; the error is that of a card that is
// lost, or *card.PINError.
func Rehearse(ctx context.Context, c card.Card, s Subject, o Operator, t card.Options) (*Rehearsal, error) {
	counted := &dump.Counter{Card: c}
	r := &Rehearsal{IMSI: o.IMSI, Own: o.SQN}
	aid := firstUSIM(s)
	switch iccid := s.Document.ICCID; {
	case aid == nil:
		r.Err = &card.RefusalError{What: "AUTHENTICATE", Why: "the card has no USIM", Try: "nothing to try", Cause: card.ErrNoApplication}
		return r, nil
	case !o.Spare && (iccid == "" || !slices.Contains(o.Allow, iccid)):
		r.Err = &card.RefusalError{What: "AUTHENTICATE", Why: "its ICCID is " + iccid, Try: "add it with --allow " + iccid, Cause: card.ErrNotAllowed}
		return r, nil
	}
	session := card.NewSession(counted, t)
	atr, err := session.Reset(ctx)
	if err != nil {
		return nil, err
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: bytes.Clone(atr), Allow: o.Allow, Spare: o.Spare})
	err = verify(ctx, guard, s, o.PIN1)
	if err == nil {
		r.Proof, err = guard.ProveKeys(ctx, aid, o.Algorithm, o.RAND)
	}
	r.Err, r.APDUs = err, counted.Sent
	if errors.Is(err, card.ErrRemoved) || errors.Is(err, card.ErrWrongPIN) || ctx.Err() != nil {
		return nil, err
	}
	return r, nil
}

// verify verifies PIN1, or what stands in for it, unless the card has it off.
func verify(ctx context.Context, guard *card.Guard, s Subject, pin secret.Bytes) error {
	ref := uicc.RefPIN1
	if s.Probe != nil {
		for _, p := range s.Probe.PINs {
			if p.Replaced {
				ref = uicc.RefUniversalPIN
			} else if p.Enabled != nil && !*p.Enabled {
				return nil
			}
		}
	}
	if pin.Len() == 0 {
		return &card.RefusalError{What: "AUTHENTICATE", Why: "it needs PIN1", Try: "give it with --pin-file", Cause: card.ErrNoPIN}
	}
	return guard.Verify(ctx, ref, pin)
}

// firstUSIM is the AID of the first USIM that could be selected; nil where there is
// none.
func firstUSIM(s Subject) []byte {
	for _, f := range s.Document.Files {
		if strings.HasPrefix(f.Path, "ADF.USIM") && f.Error == "" && f.AID != "" {
			if aid, err := hex.DecodeString(f.AID); err == nil && len(aid) >= len(usim.AIDPrefix()) {
				return aid
			}
		}
	}
	return nil
}

// rehearsal is what came of AKA with the first USIM; nil where that was not tried.
func (v *view) rehearsal() *Rehearsal {
	r := v.subject.AKA
	var refused *card.RefusalError
	switch {
	case v.app != "ADF.USIM":
		return nil
	case r == nil:
		v.unseen("AKA was not tried: it needs the operator's keys (--profile)")
		return nil
	case errors.As(r.Err, &refused):
		v.unseen("AKA was not tried: %v", r.Err)
		return nil
	}
	return r
}

// otherKeys tells that the card has other keys.
func (r *Rehearsal) otherKeys() bool {
	return errors.Is(r.Err, aka.ErrMAC) || errors.Is(r.Err, aka.ErrAUTS)
}

func judgeAKAKeys(v *view) {
	switch r := v.rehearsal(); {
	case r == nil:
	case r.otherKeys():
		v.find("", "%v", r.Err)
	case r.Err != nil:
		v.unseen("AKA: %v", r.Err)
	}
}

func judgeAKAIMSI(v *view) {
	r := v.subject.AKA
	if v.app != "ADF.USIM" {
		return
	}
	if r == nil || r.IMSI == "" {
		v.unseen("the operator's IMSI is not known")
		return
	}
	if imsi := v.imsi(); imsi != "" && imsi != r.IMSI {
		v.find(v.at("EF.IMSI"), "%s, and the operator has %s", imsi, r.IMSI)
	}
}

func judgeAKARefused(v *view) {
	if r := v.rehearsal(); r != nil && r.Err != nil && !r.otherKeys() {
		v.find("", "%v", r.Err)
	}
}

func judgeAKAUnchecked(v *view) {
	if r := v.proven(); r != nil && r.Proof.Unchecked {
		v.find("", "it answered a challenge with SEQ 0")
	}
}

// proven is a rehearsal in which the keys were right.
func (v *view) proven() *Rehearsal {
	r := v.rehearsal()
	if r != nil && r.Err != nil {
		v.unseen("AKA: %v", r.Err)
		return nil
	}
	return r
}

// next is the SEQ that the operator uses next, and the highest of the card; ok where
// both are known.
func (v *view) next() (next, highest uint64, ok bool) {
	r := v.proven()
	switch {
	case r == nil || r.Proof.Unchecked:
		return 0, 0, false
	case r.Own == nil:
		v.unseen("the operator's SQN is not known")
		return 0, 0, false
	}
	return r.Own.SEQ() + 1, r.Proof.SQN.SEQ(), true
}

func judgeSQNBehind(v *view) {
	if next, highest, ok := v.next(); ok && next <= highest {
		v.find("", "the operator uses SEQ %d next, and the card has accepted %d (SQN_MS %v)", next, highest, v.subject.AKA.Proof.SQN)
	}
}

func judgeSQNAhead(v *view) {
	if next, highest, ok := v.next(); ok && next > highest && next-highest > aka.DefaultDelta {
		v.find("", "the operator uses SEQ %d next, and the card has accepted %d (SQN_MS %v)", next, highest, v.subject.AKA.Proof.SQN)
	}
}

func judgeSQNEnd(v *view) {
	if r := v.proven(); r != nil && !r.Proof.Unchecked && r.Proof.SQN.SEQ() >= aka.MaxSEQ-lastSEQs {
		v.find("", "SQN_MS is %v", r.Proof.SQN)
	}
}

// lastSEQs are as few sequence numbers as one registration too many uses up.
const lastSEQs = 1 << 10
