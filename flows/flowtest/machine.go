package flowtest

import (
	"context"
	"slices"
	"sync"

	"mcim/card/aka"
	"mcim/flows/auc"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
	"mcim/tpm/mcim"
)

// Machine is a scripted machine around a TRE in software. It attaches through the
// VNO and does what the RO tells it.
type Machine struct {
	*TRE
	Role string
	Node *wire.Node
	// Keys gives the keys of an identity to the machine, which cannot unwrap them.
	Keys func(identity string) auc.Keys
	// New names the identity that an order's package brings.
	New func(order string) string
	// Attached is the identity by which it is attached.
	Attached string
	// Tamper changes a receipt on its way, where it is set.
	Tamper func(receipt []byte) []byte
	// Replace is what the writing of the UICC comes to, where it is set.
	Replace func() error

	mu        sync.Mutex
	usims     map[string]*aka.USIM
	delivered map[string]*mcim.Package // by order
	calls     []string
}

// NewMachine makes the machine with that serial number and serves it.
func NewMachine(l *wiretest.Lab, serial string) *Machine {
	m := &Machine{
		TRE: NewTRE(l.T), Role: wire.MachineRole(serial),
		usims: map[string]*aka.USIM{}, delivered: map[string]*mcim.Package{},
	}
	m.Node = l.Script(m.Role, func(s *wire.Server) {
		ro := []string{"ro"}
		wire.PathWake.Handle(s, []string{"vno"}, m.wake)
		wire.PathQuote.Handle(s, ro, m.quote)
		wire.PathState.Handle(s, ro, m.state)
		wire.PathDeliver.Handle(s, ro, m.deliver)
		wire.PathActivate.Handle(s, ro, m.activate)
		wire.PathReplace.Handle(s, ro, m.replace)
		wire.PathDelete.Handle(s, ro, m.erase)
	})
	return m
}

// Calls are what the RO has told the machine, in order.
func (m *Machine) Calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

func (m *Machine) called(what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, what)
}

// Attach attaches by an identity: with the steps of P2 at power-up, with those of
// P7 when the RO has told it to.
func (m *Machine) Attach(ctx context.Context, identity string) error {
	attach, answer := "P7.2", "P7.3"
	if wire.Path(ctx) == "" { // nobody has told it to: power-up
		attach, answer = "P2.3", "P2.7"
	}
	var c wire.Challenge
	err := wire.Step(ctx, attach, m.Role, "vno", "attach", func(ctx context.Context) (err error) {
		c, err = wire.Ask(ctx, m.Node.Contacts, "vno", wire.PathAttach, wire.AttachRequest{Identity: identity, Address: m.Node.Server.Addr()})
		return err
	})
	if err != nil {
		return err
	}
	err = wire.Step(ctx, answer, m.Role, "vno", "AKA", func(ctx context.Context) error {
		res, err := m.usim(identity).Authenticate(c.RAND, c.AUTN)
		if err != nil {
			return err
		}
		_, err = wire.Ask(ctx, m.Node.Contacts, "vno", wire.PathAnswer, wire.AnswerRequest{Session: c.Session, RES: res.RES.Bytes()})
		return err
	})
	if err == nil {
		m.Attached = identity
	}
	return err
}

func (m *Machine) usim(identity string) *aka.USIM {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.usims[identity]; u != nil {
		return u
	}
	k := m.Keys(identity)
	block, err := aka.NewAES(k.K)
	if err != nil {
		m.T.Error(err)
	}
	milenage, err := aka.NewMilenage(block, k.OPc)
	if err != nil {
		m.T.Error(err)
	}
	m.usims[identity] = aka.NewUSIM(milenage, aka.NewSQNArray(0), nil)
	return m.usims[identity]
}

// Contact contacts the RO over the bearer, in the step of ctx.
func (m *Machine) Contact(ctx context.Context) (order string, err error) {
	gateway, err := m.Node.Directory().Address("vno")
	if err != nil {
		return "", err
	}
	addr, err := m.Node.Directory().Address("ro")
	if err != nil {
		return "", err
	}
	way := wire.NewBearer(m.Node.Identity, gateway, "vno", m.Attached, wire.ClientOptions{})
	client := wire.NewClient(m.Node.Identity, addr, "ro", wire.ClientOptions{Dial: way.Dial})
	defer client.Close()
	answer, err := wire.PathContact.Call(ctx, client, wire.ContactRequest{
		Machine: m.Role, Address: m.Node.Server.Addr(), Identity: m.Attached, Capabilities: []string{"tre", "uicc"},
	})
	return answer.Order, err
}

func (m *Machine) wake(ctx context.Context, _ wire.Peer, _ wire.WakeRequest) (wire.Empty, error) {
	m.called("wake")
	_, err := m.Contact(ctx)
	return wire.Empty{}, err
}

// Evidence is what the scripted machine quotes.
type Evidence struct {
	Nonce    []byte `cbor:"nonce"`
	Exporter []byte `cbor:"exporter"`
	Purpose  string `cbor:"purpose"`
}

func (m *Machine) quote(_ context.Context, p wire.Peer, req wire.QuoteRequest) (wire.QuoteAnswer, error) {
	m.called("quote")
	return wire.QuoteAnswer{Evidence: m.encode(Evidence{req.Nonce, p.Exporter, req.Order})}, nil
}

func (m *Machine) state(_ context.Context, _ wire.Peer, req wire.StateRequest) (wire.StateAnswer, error) {
	m.called("state")
	slot := 1
	for _, p := range m.delivered {
		if p.Header.Slot == slot && p.Header.Epoch == m.Epochs[slot] {
			slot = 2
		}
	}
	return wire.StateAnswer{Slot: slot, Epoch: m.Epochs[slot], Sequence: m.Sequences[slot], Proof: m.Proof(slot, req.Nonce)}, nil
}

func (m *Machine) deliver(_ context.Context, _ wire.Peer, req wire.PackageMessage) (wire.ReceiptMessage, error) {
	m.called("deliver")
	p, err := mcim.ParsePackage(req.Package)
	if err != nil {
		return wire.ReceiptMessage{}, wire.Refuse("P6.8", "%w", err)
	}
	if issuer, _, err := m.Node.Identity.Certified(req.Issuer); err != nil || issuer != p.Header.Issuer {
		return wire.ReceiptMessage{}, wire.Refuse("P6.8", "issuer: %v", err)
	}
	m.delivered[req.Order], m.Sequences[p.Header.Slot] = p, p.Header.Sequence
	receipt := m.Receipt(p, req.Nonce)
	if m.Tamper != nil {
		receipt = m.Tamper(receipt)
	}
	return wire.ReceiptMessage{Order: req.Order, Receipt: receipt}, nil
}

func (m *Machine) activate(ctx context.Context, _ wire.Peer, req wire.OrderRequest) (wire.Empty, error) {
	m.called("activate")
	return wire.Empty{}, m.Attach(ctx, m.New(req.Order))
}

func (m *Machine) replace(context.Context, wire.Peer, wire.OrderRequest) (wire.Empty, error) {
	m.called("replace")
	if m.Replace != nil {
		return wire.Empty{}, m.Replace()
	}
	return wire.Empty{}, nil
}

func (m *Machine) erase(_ context.Context, _ wire.Peer, req wire.DeleteRequest) (wire.ProofMessage, error) {
	m.called("erase")
	m.Epochs[req.Slot]++
	return wire.ProofMessage{Proof: m.Proof(req.Slot, req.Nonce)}, nil
}
