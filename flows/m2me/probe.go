package m2me

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
	"mcim/tpm/mcim"
)

// Enrolment is the machine's claim to be a TRE (P1.5), for a supplier that is to
// refuse it.
func (m *Machine) Enrolment() (wire.EnrolRequest, error) {
	pinned, err := m.config.TPM.EK()
	if err != nil {
		return wire.EnrolRequest{}, err
	}
	all, err := m.config.TPM.EKs() // with their certificates, which a pin does not have
	if err != nil {
		return wire.EnrolRequest{}, err
	}
	for _, ek := range all {
		if bytes.Equal(ek.Pin(), pinned.Pin()) {
			return wire.EnrolRequest{
				Serial: m.config.Serial, EKCerts: [][]byte{ek.Certificate}, EK: tpm2.Marshal(ek.Public), AK: m.tre.AK.Bytes(),
			}, nil
		}
	}
	return wire.EnrolRequest{}, fmt.Errorf("%w: the pinned one has no certificate any more", tpm.ErrNoEK)
}

// Serial is the machine's serial number.
func (m *Machine) Serial() string { return m.config.Serial }

// Supplied says whether Supply has ended.
func (m *Machine) Supplied(ctx context.Context) (bool, error) {
	_, err := supplies.Get(ctx, m.store, m.role)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Placement is where the subscription is by which the machine attaches; empty for
// one that has its provisional identity only. The machine must be powered on.
func (m *Machine) Placement(ctx context.Context) (wire.Placement, error) {
	end, err := m.begin()
	if err != nil {
		return "", err
	}
	defer end()
	by, err := m.access(ctx)
	switch by.(type) {
	case inTRE:
		return wire.InTRE, err
	case *inUICC:
		return wire.InUICC, err
	default:
		return "", err
	}
}

// Holds says whether a slot of the TRE has the subscription of that IMSI.
func (m *Machine) Holds(imsi string) (bool, error) {
	end, err := m.begin()
	if err != nil {
		return false, err
	}
	defer end()
	slots, err := m.mcims.Slots()
	return slices.ContainsFunc(slots[:], func(s mcim.Info) bool { return s.IMSI == imsi }), err
}

// Reach connects to a role over the machine's bearer and says nothing; the error
// tells whether the bearer leads there.
func (m *Machine) Reach(ctx context.Context, role string) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	if m.bearer == nil {
		return errNoBearer()
	}
	addr, err := m.node.Directory().Address(role)
	if err != nil {
		return err
	}
	session, err := wire.Dial(ctx, m.node.Identity, addr, role, wire.ClientOptions{Dial: m.bearer.Dial})
	if err != nil {
		return err
	}
	return session.Close()
}

// Request asks for service by any identity and leaves the challenge unanswered.
func (m *Machine) Request(ctx context.Context, identity string) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	_, err = wire.Ask(ctx, m.node.Contacts, m.config.VNO, wire.PathAttach, wire.AttachRequest{
		Identity: identity, Address: m.node.Server.Addr(),
	})
	return err
}

// Answer asks for service by any identity and answers the challenge with the RES
// that res makes of RAND.
func (m *Machine) Answer(ctx context.Context, identity string, res func(rand [16]byte) ([]byte, error)) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	c, err := wire.Ask(ctx, m.node.Contacts, m.config.VNO, wire.PathAttach, wire.AttachRequest{
		Identity: identity, Address: m.node.Server.Addr(),
	})
	if err != nil {
		return err
	}
	answer := wire.AnswerRequest{Session: c.Session}
	if answer.RES, err = res(c.RAND); err != nil {
		return err
	}
	_, err = wire.Ask(ctx, m.node.Contacts, m.config.VNO, wire.PathAnswer, answer)
	return err
}

// Remnant copies the K of an MCIM in the TRE, as the TPM has wrapped it.
func (m *Machine) Remnant(imsi string) (mcim.Remnant, error) {
	end, err := m.begin()
	if err != nil {
		return mcim.Remnant{}, err
	}
	defer end()
	slots, err := m.mcims.Slots()
	if err != nil {
		return mcim.Remnant{}, err
	}
	return m.mcims.Remnant(slices.IndexFunc(slots[:], func(s mcim.Info) bool { return s.IMSI == imsi }))
}

// Use has the TPM use a K that was copied. The error is a policy.RefusedError once
// its MCIM was deleted.
func (m *Machine) Use(r mcim.Remnant) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	return m.mcims.Use(r)
}

// ChallengeTRE lets the active MCIM of the TRE answer a challenge. Errors are those of
// AKA: aka.ErrMAC, *aka.SyncError.
func (m *Machine) ChallengeTRE(ctx context.Context, rand, autn [16]byte) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	by, err := m.access(ctx)
	if err != nil {
		return err
	}
	tre, ok := by.(inTRE)
	if !ok {
		return ErrNoSubscription
	}
	_, err = tre.authenticate(ctx, rand, autn)
	return err
}

// ChallengeCard lets the UICC answer a challenge. Errors are those of AKA:
// aka.ErrMAC, *aka.SyncError.
func (m *Machine) ChallengeCard(ctx context.Context, rand, autn [16]byte) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	if m.uicc == nil {
		return errNoUICC()
	}
	_, err = m.uicc.authenticate(ctx, rand, autn)
	return err
}

// Measured replaces the log of this boot by one that has grown since.
func (m *Machine) Measured(log []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.Log = log
}
