package pva

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"slices"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm/attest"
	"mcim/tpm/measure"
)

// open begins a validation for a home operator: a nonce that is good once (P5c.1).
func (p *PVA) open(ctx context.Context, from wire.Peer, req wire.OpenRequest) (wire.Validation, error) {
	_, err := platforms.Get(ctx, p.store, req.Machine)
	if errors.Is(err, store.ErrNotFound) {
		return wire.Validation{}, wire.Refuse("P5c.1", "no supplier has certified %s", req.Machine)
	}
	if err != nil {
		return wire.Validation{}, err
	}
	random, err := p.node.Bytes(16 + 32)
	if err != nil {
		return wire.Validation{}, err
	}
	id, nonce := hex.EncodeToString(random[:16]), random[16:]
	v := validation{
		Machine: req.Machine, Requester: from.Role, Purpose: req.Purpose, Nonce: nonce, Expires: p.node.Now().Add(p.config.NonceValidity),
	}
	return wire.Validation{Validation: id, Nonce: nonce}, validations.Insert(ctx, p.store, id, v)
}

// appraise judges evidence (P5c.6 to P5c.8). The answer is a signed verdict,
// positive or not; the same evidence once more gets the same one.
func (p *PVA) appraise(ctx context.Context, _ wire.Peer, req wire.AppraiseRequest) (wire.VerdictMessage, error) {
	v, err := validations.Get(ctx, p.store, req.Validation)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wire.VerdictMessage{}, wire.Refuse("P5c.6", "no validation of that name was opened")
	case err != nil:
		return wire.VerdictMessage{}, err
	case len(v.Evidence) > 0 && bytes.Equal(v.Evidence, req.Evidence):
		return wire.VerdictMessage{Signed: v.Verdict}, nil
	case len(v.Evidence) > 0:
		return wire.VerdictMessage{}, wire.Refuse("P5c.6", "the nonce was used for other evidence")
	case p.node.Now().After(v.Expires):
		return wire.VerdictMessage{}, wire.Refuse("P5c.6", "the nonce has expired: open the validation again")
	}
	verdict, err := p.judge(ctx, v, req)
	if err != nil {
		return wire.VerdictMessage{}, err
	}
	return p.conclude(ctx, v, req, verdict)
}

// judge compares the evidence with what the supplier says of the machine.
func (p *PVA) judge(ctx context.Context, v validation, req wire.AppraiseRequest) (attest.Verdict, error) {
	verifier, err := p.verifier(ctx, v.Machine)
	if err != nil {
		return attest.Verdict{}, err
	}
	var verdict attest.Verdict
	role := p.node.Role
	check := func(of func(attest.Failure) bool) func(context.Context) error {
		return func(context.Context) error {
			for _, f := range verdict.Failed {
				if of(f) {
					return wire.Refuse("", "%s", f)
				}
			}
			return nil
		}
	}
	evidence, err := attest.Parse(req.Evidence)
	if err != nil {
		verdict = attest.Verdict{Tier: attest.Contraindicated, Failed: []attest.Failure{{Check: attest.CheckStatement, PCR: -1, Event: -1, Why: err.Error()}}}
	} else {
		verdict = verifier.Appraise(evidence, attest.Request{
			Nonce: v.Nonce, Exporter: req.Exporter, Purpose: v.Purpose, PCRs: verifier.Reference.Selected(),
		})
	}
	if p.config.AppraiseNothing {
		verdict.Tier, verdict.Failed = attest.Affirming, nil
	}
	// A step that finds something does not end the procedure: the verdict tells it.
	_ = wire.Step(ctx, "P5c.6", role, role, "signature, nonce, TLS session, counters of the TPM", check(ofQuote))
	_ = wire.Step(ctx, "P5c.7", role, role, "event log replayed against the reference values", check(func(f attest.Failure) bool { return !ofQuote(f) }))
	return verdict, nil
}

// ofQuote tells the checks of the quote itself from those of the log.
func ofQuote(f attest.Failure) bool {
	return slices.Contains([]attest.Check{
		attest.CheckSignature, attest.CheckStatement, attest.CheckFreshness, attest.CheckCounters, attest.CheckSelection,
	}, f.Check)
}

func (p *PVA) verifier(ctx context.Context, machine string) (attest.Verifier, error) {
	signed, err := platforms.Get(ctx, p.store, machine)
	if err != nil {
		return attest.Verifier{}, err
	}
	statement, _, err := signed.VerifyFrom(p.node.Identity, wire.KindSupplier, wire.TypePlatform)
	if err != nil {
		return attest.Verifier{}, err
	}
	v := attest.Verifier{AK: statement.AK}
	if v.Reference, err = measure.ParseReference(statement.Reference); err != nil {
		return v, err
	}
	c, err := last.Get(ctx, p.store, machine)
	if errors.Is(err, store.ErrNotFound) {
		return v, nil
	}
	v.Last = &attest.Counters{Reset: c.Reset, Restart: c.Restart, Clock: c.Clock, Safe: c.Safe}
	return v, err
}

// conclude signs the verdict and keeps it (P5c.8).
func (p *PVA) conclude(ctx context.Context, v validation, req wire.AppraiseRequest, verdict attest.Verdict) (wire.VerdictMessage, error) {
	now := p.node.Now()
	said := wire.Verdict{
		Validation: req.Validation, Machine: v.Machine, Requester: v.Requester, Purpose: v.Purpose,
		Pass: verdict.Tier == attest.Affirming, Failed: []string{}, Made: now, Expires: now.Add(p.config.VerdictValidity),
	}
	for _, f := range verdict.Failed {
		said.Failed = append(said.Failed, f.String())
	}
	text := "verdict: the platform is in its reference state"
	if !said.Pass {
		text = "verdict: not the platform that the supplier certified"
	}
	var answer wire.VerdictMessage
	err := wire.Step(ctx, "P5c.8", p.node.Role, v.Requester, text, func(ctx context.Context) (err error) {
		if answer.Signed, err = wire.SignAs(p.node.Identity, wire.TypeVerdict, said); err != nil {
			return err
		}
		v.Evidence, v.Verdict = req.Evidence, answer.Signed
		return p.store.Tx(ctx, func(tx *store.Tx) error {
			if said.Pass {
				c := verdict.Counters
				if err := last.Put(ctx, tx, v.Machine, counters{c.Reset, c.Restart, c.Clock, c.Safe}); err != nil {
					return err
				}
			}
			if err := p.note(ctx, tx, wire.TypeVerdict, v.Machine, answer.Signed); err != nil {
				return err
			}
			return validations.Put(ctx, tx, req.Validation, v)
		})
	})
	return answer, err
}

// note keeps a signed message.
func (p *PVA) note(ctx context.Context, db store.DB, kind, key string, message []byte) error {
	_, err := store.Append(ctx, db, store.Record{At: p.node.Now(), Kind: kind, Key: key, Message: message})
	return err
}
