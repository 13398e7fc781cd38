package m2me

import (
	"context"
	"errors"
	"fmt"

	"mcim/card/aka"
	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// access is a subscription by which the machine can attach: an MCIM in the TRE,
// the provisional identity among them, or the UICC.
type access interface {
	identity(ctx context.Context) (string, error)
	// authenticate answers a challenge; aka.ErrMAC or an *aka.SyncError where it
	// does not accept it.
	authenticate(ctx context.Context, rand, autn [16]byte) (aka.Result, error)
}

// inTRE is the active MCIM of a slot of the TRE.
type inTRE struct {
	store *mcim.Store
	slot  int
}

func (a inTRE) identity(context.Context) (string, error) {
	slots, err := a.store.Slots()
	if err != nil {
		return "", err
	}
	if slots[a.slot].State != mcim.Active {
		return "", fmt.Errorf("%w: slot %d is %s", mcim.ErrState, a.slot, slots[a.slot].State)
	}
	return slots[a.slot].IMSI, nil
}

func (a inTRE) authenticate(_ context.Context, rand, autn [16]byte) (aka.Result, error) {
	m, err := a.store.Open(a.slot)
	if err != nil {
		return aka.Result{}, err
	}
	return m.Authenticate(rand, autn)
}

// arrows names the steps of an attach: an initial one (P2) or an operational one
// (P7). The texts say by which subscription, for who reads the chart.
type arrows struct{ request, answer, identity, key string }

var (
	initial     = arrows{"P2.3", "P2.7", "its identity", "K_PCID"}
	operational = arrows{"P7.2", "P7.3", "its identity", "the new K"}
	unchanged   = arrows{"P7.2", "P7.3", "the IMSI that is in the UICC now", "the K that is in the UICC now"}
)

// attach gets a bearer from the visited network: the request with the identity
// in clear, as any handset's, then AKA. The bearer's name is the identity.
func (m *Machine) attach(ctx context.Context, steps arrows, by access) error {
	vno := m.config.VNO
	var identity string
	var challenge wire.Challenge
	err := wire.Step(ctx, steps.request, m.role, vno, "attach request with "+steps.identity, func(ctx context.Context) error {
		var err error
		if identity, err = by.identity(ctx); err != nil {
			return err
		}
		request := wire.AttachRequest{Identity: identity, Address: m.node.Server.Addr()}
		challenge, err = wire.Ask(ctx, m.node.Contacts, vno, wire.PathAttach, request)
		return err
	})
	if err != nil {
		return err
	}
	return wire.Step(ctx, steps.answer, m.role, vno, "AKA with "+steps.key, func(ctx context.Context) error {
		attached, err := m.answer(ctx, steps.answer, by, challenge)
		if err != nil {
			return err
		}
		return m.useBearer(identity, attached.Restricted)
	})
}

// answer answers the challenge, and the one after a resynchronisation.
func (m *Machine) answer(ctx context.Context, step string, by access, challenge wire.Challenge) (wire.Attached, error) {
	answer := wire.AnswerRequest{Session: challenge.Session}
	result, err := by.authenticate(ctx, challenge.RAND, challenge.AUTN)
	var sync *aka.SyncError
	switch {
	case errors.As(err, &sync):
		answer.AUTS = sync.AUTS[:]
	case errors.Is(err, aka.ErrMAC):
		return wire.Attached{}, wire.Refuse(step, "%w", err)
	case err != nil:
		return wire.Attached{}, err
	default:
		answer.RES = result.RES.Bytes()
	}
	attached, err := wire.Ask(ctx, m.node.Contacts, m.config.VNO, wire.PathAnswer, answer)
	if err != nil || attached.Again == nil {
		return attached, err
	}
	if sync == nil {
		return wire.Attached{}, wire.Refuse(step, "the network challenges again without a synchronisation failure")
	}
	return m.answer(ctx, step, by, *attached.Again)
}

// useBearer leads what the machine sends to the RO through the bearer of that
// name.
func (m *Machine) useBearer(name string, restricted bool) error {
	gateway, err := m.node.Directory().Address(m.config.VNO)
	if err != nil {
		return err
	}
	m.bearer = wire.NewBearer(m.node.Identity, gateway, m.config.VNO, name, wire.ClientOptions{})
	m.attached, m.restricted = name, restricted
	return nil
}

// ask sends a request to a role through the bearer.
func ask[Req, Resp any](ctx context.Context, m *Machine, role string, r wire.Route[Req, Resp], req Req) (Resp, error) {
	var none Resp
	if m.bearer == nil {
		return none, errNoBearer()
	}
	addr, err := m.node.Directory().Address(role)
	if err != nil {
		return none, err
	}
	client := wire.NewClient(m.node.Identity, addr, role, wire.ClientOptions{Dial: m.bearer.Dial})
	defer client.Close()
	return r.Call(ctx, client, req)
}

func errNoBearer() error {
	return wire.Errorf(wire.CodeUnavailable, "", "the machine is not attached to a network")
}

// contact is the machine's word to the RO (P4.1 to P4.3): where it is, by which
// identity, and what it can. Its answer names the order that waits for it.
func (m *Machine) contact(ctx context.Context) (order string, err error) {
	capabilities := []string{string(wire.InTRE)}
	if m.uicc != nil {
		capabilities = append(capabilities, string(wire.InUICC))
	}
	answer, err := ask(ctx, m, m.ro, wire.PathContact, wire.ContactRequest{
		Machine: m.role, Address: m.node.Server.Addr(), Identity: m.attached, Capabilities: capabilities,
	})
	return answer.Order, err
}
