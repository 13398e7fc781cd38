package vno

import (
	"context"
	"crypto/subtle"
	"encoding/hex"

	"mcim/flows/wire"
)

// attach answers an attach request with the challenge of the identity's home:
// P2.4 to P2.6 for a PCID, the first half of P7.2 for an IMSI.
func (v *VNO) attach(ctx context.Context, p wire.Peer, req wire.AttachRequest) (wire.Challenge, error) {
	steps := stepsOf(ctx)
	home, ok := v.home(req.Identity)
	if !ok {
		return wire.Challenge{}, wire.Refuse(steps.attach, "no home network is known for the identity: try the next network")
	}
	if v.takenFrom(p.Role, req.Identity) {
		return wire.Challenge{}, wire.Refuse(steps.attach, "the identity is attached from another machine")
	}
	vector, err := v.vector(ctx, home, req.Identity)
	if err != nil {
		return wire.Challenge{}, relay(err, steps.attach)
	}
	return v.challenge(&challenge{machine: p.Role, address: req.Address, identity: req.Identity, home: home, vector: vector})
}

// takenFrom says whether another machine is attached by the identity (failure
// matrix, P2.3: duplicate).
func (v *VNO) takenFrom(machine, identity string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for other, a := range v.attached {
		if other != machine && a.identity == identity {
			return true
		}
	}
	return false
}

// vector asks the home for an authentication vector.
func (v *VNO) vector(ctx context.Context, home, identity string) (vector wire.Vector, err error) {
	if v.config.FalseNetwork {
		return v.forge()
	}
	ask := func(ctx context.Context) error {
		vector, err = wire.Ask(ctx, v.node.Contacts, home, wire.PathVectors, wire.VectorRequest{Identity: identity})
		return err
	}
	if wire.Procedure(ctx) != "P2" {
		err = ask(ctx)
		return vector, err
	}
	// The home does P2.5 and P2.6 within.
	err = wire.Step(ctx, "P2.4", v.node.Role, home, "which key has this identity? send vectors", ask)
	return vector, err
}

// forge is the false network's vector: RAND and AUTN without any key.
func (v *VNO) forge() (vector wire.Vector, err error) {
	random, err := v.node.Bytes(32)
	if err != nil {
		return vector, err
	}
	vector.RAND, vector.AUTN = [16]byte(random), [16]byte(random[16:])
	return vector, nil
}

// challenge opens a session that waits for the machine's answer.
func (v *VNO) challenge(c *challenge) (wire.Challenge, error) {
	id, err := v.node.Bytes(16)
	if err != nil {
		return wire.Challenge{}, err
	}
	session, now := hex.EncodeToString(id), v.node.Now()
	c.expires = now.Add(challengeTime)
	v.mu.Lock()
	defer v.mu.Unlock()
	for old, o := range v.challenges {
		if o.machine == c.machine || now.After(o.expires) {
			delete(v.challenges, old)
		}
	}
	v.challenges[session] = c
	return wire.Challenge{Session: session, RAND: c.vector.RAND, AUTN: c.vector.AUTN}, nil
}

// answer ends an attach: RES opens the bearer, AUTS brings one more challenge.
// A challenge is answered once.
func (v *VNO) answer(ctx context.Context, p wire.Peer, req wire.AnswerRequest) (wire.Attached, error) {
	step := stepsOf(ctx).answer
	c := v.take(p.Role, req.Session)
	switch {
	case c == nil:
		return wire.Attached{}, wire.Refuse(step, "no challenge of that name waits for an answer of %s", p.Role)
	case len(req.AUTS) != 0:
		return v.resync(ctx, step, c, req.AUTS)
	case !v.config.FalseNetwork && subtle.ConstantTimeCompare(req.RES, c.vector.XRES) != 1:
		return wire.Attached{}, wire.Refuse(step, "wrong RES: the machine does not have the key of this identity")
	}
	return v.open(ctx, c)
}

// take removes the challenge of a session of the machine.
func (v *VNO) take(machine, session string) *challenge {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.challenges[session]
	if c == nil || c.machine != machine || v.node.Now().After(c.expires) {
		return nil
	}
	delete(v.challenges, session)
	return c
}

// resync relays AUTS to the home, once in an attach (TS 33.102, 6.3.5).
func (v *VNO) resync(ctx context.Context, step string, c *challenge, auts []byte) (wire.Attached, error) {
	if c.resynced {
		return wire.Attached{}, wire.Refuse(step, "a second synchronisation failure in one attach")
	}
	req := wire.VectorRequest{Identity: c.identity, RAND: c.vector.RAND, AUTS: auts}
	vector, err := wire.Ask(ctx, v.node.Contacts, c.home, wire.PathResync, req)
	if err != nil {
		return wire.Attached{}, relay(err, step)
	}
	next := *c
	next.vector, next.resynced = vector, true
	again, err := v.challenge(&next)
	return wire.Attached{Again: &again}, err
}

// open gives the machine its bearer (P2.8) and ends what it had opened over the
// one before.
func (v *VNO) open(ctx context.Context, c *challenge) (wire.Attached, error) {
	if v.config.FalseNetwork {
		return wire.Attached{}, nil
	}
	opened := func(ctx context.Context) error {
		v.mu.Lock()
		v.attached[c.machine] = &attachment{identity: c.identity, home: c.home, address: c.address, restricted: c.vector.Restricted}
		v.mu.Unlock()
		v.node.Server.Drop(c.machine, "")
		notice := wire.AttachedNotice{Identity: c.identity, Machine: c.machine}
		_, err := wire.Ask(ctx, v.node.Contacts, c.home, wire.PathAttached, notice)
		return err
	}
	var err error
	if wire.Procedure(ctx) == "P2" {
		err = wire.Step(ctx, "P2.8", v.node.Role, c.machine, "restricted bearer: the registration operator and nothing else", opened)
	} else {
		err = opened(ctx)
	}
	return wire.Attached{Restricted: c.vector.Restricted}, err
}
