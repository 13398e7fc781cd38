package m2me

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"slices"
	"sync"

	"mcim/card"
	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
	"mcim/tpm/attest"
	"mcim/tpm/ident"
	"mcim/tpm/mcim"
	"mcim/tpm/policy"
)

// Config is what a machine is made of.
type Config struct {
	// NodeConfig is the machine's place among the roles. Its Identity is that of
	// the bench (wire.FactoryRole) for Supply; PowerOn uses the one that Supply
	// brought, whose key is in the TPM.
	wire.NodeConfig
	// Serial is the machine's serial number.
	Serial string
	// Dir is the machine's folder: certificates, the TRE's files.
	Dir   string
	Store *store.Store
	// TPM is the TRE's, open, with the measured boot replayed.
	TPM *tpm.TPM
	// Log is the event log of this boot, TCG crypto-agile format.
	Log []byte
	// PCRs is what a quote covers; nil is attest.DefaultPCRs.
	PCRs []int
	// Build names the software of the machine, as the reference values do.
	Build string

	// Card is the UICC in the machine's reader; nil without one.
	Card card.Card
	// Allow lists the ICCIDs that may be written.
	Allow []string
	// Refused remembers the codes that a card has refused; nil is one of this
	// machine alone.
	Refused *card.Refused

	// VNO and Supplier are role names.
	VNO, Supplier string
	// OnPoint hears of each point at which something is about to be done for good
	// and was done, before the machine goes on; nil is nobody. A test of crashes
	// ends the process there.
	OnPoint func(point string)

	// Weak switches defences of the TRE off, for tests only.
	Weak mcim.Weakness
}

// Machine is the M2M equipment. What is asked of it, from the inside of this
// process and over the wire, it does one after the other.
type Machine struct {
	config Config
	role   string
	ro     string
	store  *store.Store
	tre    *ident.TRE
	// issuers has the home operator of the package that came last, as trust found
	// it; the TRE's store looks at this very map.
	issuers map[string]*ecdsa.PublicKey

	mu         sync.Mutex
	on         bool
	node       *wire.Node // since it was on for the first time
	mcims      *mcim.Store
	uicc       *inUICC      // nil without a card
	bearer     *wire.Bearer // nil before the machine has attached
	attached   string       // identity
	restricted bool         // what attached is good for: the RO alone
}

// Errors of a machine.
var (
	// ErrOff: PowerOn was not called, or did not succeed.
	ErrOff = errors.New("the machine is off: power it on first")
	// ErrNoSubscription: there is nothing by which the machine could attach.
	ErrNoSubscription = errors.New("the machine has no subscription and no provisional identity: it has to be supplied")
)

// useCard is the bucket that says by which placement the machine attaches, under
// the key "placement".
const useCard store.Bucket[wire.Placement] = "access"

// New makes a machine; nothing is sent before Supply or PowerOn.
func New(c Config) *Machine {
	if c.PCRs == nil {
		c.PCRs = attest.DefaultPCRs()
	}
	if c.OnPoint == nil {
		c.OnPoint = func(string) {}
	}
	if c.Refused == nil {
		c.Refused = &card.Refused{}
	}
	return &Machine{config: c, role: wire.MachineRole(c.Serial), store: c.Store, issuers: map[string]*ecdsa.PublicKey{}}
}

// Role is the machine's role name.
func (m *Machine) Role() string { return m.role }

// point reports a point of the journal, with the step in which it is.
func (m *Machine) point(ctx context.Context, what string) {
	m.config.OnPoint(wire.Path(ctx) + " " + what)
}

// PowerOn starts the machine: it finishes what was cut, and attaches by its
// operational subscription, or by its provisional identity where it has none
// (P2). A machine with a subscription also tells the RO where it is now, which may
// wait for it. The error is a refusal at P2.1 where the platform is not the one
// that was supplied: the TPM then gives no answer to any network.
func (m *Machine) PowerOn(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.boot(ctx); err != nil {
		return err
	}
	return unapproved("P2.1", m.connect(m.node.Context(ctx)))
}

// unapproved makes a refusal of the TPM's policy one that says what to do; step is
// for one that came at none.
func unapproved(step string, err error) error {
	if !errors.Is(err, policy.ErrRefused) {
		return err
	}
	step = wire.AsError(err, step).Step
	return wire.Refuse(step, "this is not the platform that was supplied, so the TPM releases nothing (%w): boot the approved software", err)
}

// boot opens the TRE and serves the machine's requests, if it is off.
func (m *Machine) boot(ctx context.Context) error {
	if m.on {
		return nil
	}
	if err := m.openTRE(ctx); err != nil {
		return err
	}
	if m.config.Card != nil {
		m.uicc = &inUICC{session: card.NewSession(m.config.Card, card.Options{}), allow: m.config.Allow, refused: m.config.Refused, release: m.mcims.Unseal}
	}
	m.node = wire.NewNode(m.config.NodeConfig)
	m.handle()
	if err := m.node.Start(ctx); err != nil {
		return err
	}
	m.on = true
	return nil
}

func (m *Machine) connect(ctx context.Context) error {
	if err := m.finish(ctx); err != nil {
		return err
	}
	by, err := m.access(ctx)
	if err != nil {
		return err
	}
	if by == nil {
		return m.bootstrap(ctx)
	}
	if err := m.attach(ctx, operational, by); err != nil {
		return err
	}
	_, err = m.contact(ctx)
	return err
}

// begin is the beginning of what is asked of the machine from outside of its
// requests. The caller has the machine for itself until it calls end.
func (m *Machine) begin() (end func(), err error) {
	m.mu.Lock()
	if !m.on {
		m.mu.Unlock()
		return nil, ErrOff
	}
	return m.mu.Unlock, nil
}

// Register contacts the RO over the restricted bearer (P4.1). Its answer names
// the order that it starts with the machine.
func (m *Machine) Register(ctx context.Context) (order string, err error) {
	end, err := m.begin()
	if err != nil {
		return "", err
	}
	defer end()
	err = wire.Step(m.node.Context(ctx), "P4.1", m.role, m.ro, "contact at the address that the supplier set", func(ctx context.Context) error {
		order, err = m.contact(ctx)
		return err
	})
	return order, err
}

// access is the operational subscription that the machine attaches by, nil when
// it has none: the active MCIM of the TRE, else the UICC if it was switched to.
func (m *Machine) access(ctx context.Context) (access, error) {
	slots, err := m.mcims.Slots()
	if err != nil {
		return nil, err
	}
	if n := active(slots[:]); n != mcim.PCID {
		return inTRE{m.mcims, n}, nil
	}
	placement, err := useCard.Get(ctx, m.store, "placement")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if placement == wire.InUICC {
		if m.uicc == nil {
			return nil, errNoUICC()
		}
		return m.uicc, nil
	}
	if slots[mcim.PCID].State != mcim.Active {
		return nil, ErrNoSubscription
	}
	return nil, nil
}

// active is the slot with the active operational MCIM, or that of the provisional
// identity where there is none.
func active(slots []mcim.Info) int {
	return max(mcim.PCID, slices.IndexFunc(slots, func(s mcim.Info) bool { return s.Slot != mcim.PCID && s.State == mcim.Active }))
}

// bootstrap is P2: initial connectivity by the provisional identity.
func (m *Machine) bootstrap(ctx context.Context) error {
	err := wire.Step(ctx, "P2.1", m.role, m.role, "power-up: the TRE opens only in the measured state that was approved", func(context.Context) error {
		_, err := m.mcims.Open(mcim.PCID)
		return err
	})
	if err != nil {
		return err
	}
	err = wire.Step(ctx, "P2.2", m.role, m.config.VNO, "the machine reads system information as any handset and picks a network", func(context.Context) error {
		_, err := m.node.Directory().Address(m.config.VNO)
		return err
	})
	if err != nil {
		return err
	}
	return m.attach(ctx, initial, inTRE{m.mcims, mcim.PCID})
}

// UseUICC lets the machine attach by the card in it from now on, an MCIM in the
// TRE being INACTIVE (OR-7: several MCIMs, one of them active).
func (m *Machine) UseUICC(ctx context.Context) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	if m.uicc == nil {
		return errNoUICC()
	}
	if err := m.switchToUICC(ctx); err != nil {
		return err
	}
	return m.attach(m.node.Context(ctx), unchanged, m.uicc)
}

// switchToUICC makes the UICC the one that counts: no MCIM of the TRE is active.
func (m *Machine) switchToUICC(ctx context.Context) error {
	slots, err := m.mcims.Slots()
	if err != nil {
		return err
	}
	if err := useCard.Put(ctx, m.store, "placement", wire.InUICC); err != nil {
		return err
	}
	if n := active(slots[:]); n != mcim.PCID {
		return m.mcims.Deactivate(n)
	}
	return nil
}

func errNoUICC() error { return wire.Refuse("", "there is no UICC in the machine") }

// quote gives the evidence of the machine's state (P5c.3, P5c.4), bound to the
// nonce and to the very TLS session over which it was asked for.
func (m *Machine) quote(ctx context.Context, p wire.Peer, req wire.QuoteRequest) (wire.QuoteAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var answer wire.QuoteAnswer
	var evidence attest.Evidence
	err := wire.Step(ctx, "P5c.3", m.role, m.role, "measure: the PCRs and the log of this boot", func(context.Context) (err error) {
		evidence, err = attest.Measure(m.tre, m.config.PCRs, m.config.Log)
		return err
	})
	if err != nil {
		return answer, err
	}
	err = wire.Step(ctx, "P5c.4", m.role, m.role, "quote over nonce and TLS session, signed by the AK", func(context.Context) error {
		evidence, err := evidence.Quoted(m.tre, attest.Request{Nonce: req.Nonce, Exporter: p.Exporter, Purpose: req.Order})
		if err != nil {
			return err
		}
		answer.Evidence, err = evidence.Marshal()
		return err
	})
	return answer, err
}

// Close turns the machine off: it ends its requests and gives back what it has
// open in the TPM. It is safe to call twice, and PowerOn turns it on again.
func (m *Machine) Close() error {
	m.mu.Lock()
	node, on := m.node, m.on
	m.on, m.bearer = false, nil
	m.mu.Unlock()
	var err error
	if on {
		err = node.Close() // waits for requests, which wait for the lock
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mcims != nil {
		err = errors.Join(err, m.mcims.Close())
	}
	return err
}
