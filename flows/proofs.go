package flows

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/card/aka"
	"mcim/flows/auc"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// Proof is a negative proof: something that must not work is tried, right after
// the procedure that makes it impossible, and has to be refused.
type Proof struct {
	Procedure string // "P8a"
	Name      string
	run       func(context.Context) error // the attempt; its error is the refusal
	refused   func(error) bool            // that is meant
}

// ErrNotRefused says that something that must not work did.
var ErrNotRefused = errors.New("was not refused")

// Run makes the attempt. The refusal is what was said to it; the error is
// ErrNotRefused, or another failure than the refusal that is meant.
func (p Proof) Run(ctx context.Context) (refusal string, err error) {
	err = p.run(ctx)
	switch {
	case err == nil:
		return "", fmt.Errorf("%s: %w", p.Name, ErrNotRefused)
	case !p.refused(err):
		return "", fmt.Errorf("%s: failed, but not as it should: %w", p.Name, err)
	default:
		return err.Error(), nil
	}
}

// Proofs are the negative proofs of one procedure, to be run right after it.
func (r *Run) Proofs(procedure string) []Proof {
	var list []Proof
	for _, p := range r.proofs() {
		if p.Procedure == procedure {
			list = append(list, p)
		}
	}
	return list
}

func (r *Run) proofs() []Proof {
	return []Proof{
		{"P1", "a TPM whose EK certificate is self-made is not enrolled", r.enrolSelfMade, at("", "")},
		{"P2", "the bearer of a PCID reaches the RO and nobody else", r.reachOthers, at("P2.8", "")},
		{"P4", "a machine without an order gets nothing", r.contactAsStranger, at("P4.4", "")},
		{"P5c", "evidence for an earlier nonce is refused", r.appraiseOldEvidence, at("P5c.6", "")},
		{"P6", "a package that was changed on its way is refused", r.deliverChanged, at("P6.8", "")},
		{"P6", "the package of before, delivered again, is refused", r.deliverAgain, at("P6.8", "")},
		{"P7", "the provisional identity is refused after use", r.attachByPCID, at("", "")},
		{"P8a", "the old K gets no service", r.attachByOldIMSI, at("", "")},
		{"P8a", "the old package is refused", r.deliverOld, at("P6.8", "")},
		{"P8c", "the card refuses a network that has the old K", r.challengeWithOldK, func(err error) bool { return errors.Is(err, aka.ErrMAC) }},
		{"P8c", "the old IMSI gets no service", r.attachByOldCard, at("", "")},
		{"P8c", "the package of the card, delivered again, is refused", r.deliverAgain, at("P6.8", "")},
	}
}

// at is a refusal of a role at that step, which says so.
func at(step, text string) func(error) bool {
	return func(err error) bool {
		var e *wire.Error
		return errors.As(err, &e) && e.Code == wire.CodeRefused && e.Step == step && strings.Contains(e.Text, text)
	}
}

// enrolSelfMade claims to be a TRE with the EK of this machine's TPM and a
// certificate that no TPM maker has issued.
func (r *Run) enrolSelfMade(ctx context.Context) error {
	request, err := r.World.Machine.Enrolment()
	if err != nil {
		return err
	}
	forged, err := selfMade(request.EKCerts[0])
	if err != nil {
		return err
	}
	request.EKCerts = [][]byte{forged}
	_, contacts, err := r.World.As(wire.FactoryRole(r.World.Machine.Serial()))
	if err != nil {
		return err
	}
	_, err = wire.Ask(ctx, contacts, world.SupplierRole, wire.PathEnrol, request)
	return err
}

// reachOthers tries all roles but the RO from behind the machine's bearer; the
// proof holds if each one is refused.
func (r *Run) reachOthers(ctx context.Context) error {
	var last error
	for _, role := range []string{world.SHOA, world.SHOB, world.PVARole} {
		if last = r.World.Machine.Reach(ctx, role); !at("P2.8", "")(last) {
			return last
		}
	}
	return last
}

func (r *Run) contactAsStranger(ctx context.Context) error {
	id, err := r.World.Stranger()
	if err != nil {
		return err
	}
	contacts := wire.NewContacts(id, r.World.Directory, wire.Backoff{Attempts: 1})
	defer contacts.Close()
	_, err = wire.Ask(wire.At(ctx, "P4.1"), contacts, world.RORole, wire.PathContact, wire.ContactRequest{
		Machine: id.Role, Address: "127.0.0.1:9", Identity: "999700000000000", Capabilities: []string{string(wire.InTRE)},
	})
	return err
}

// appraiseOldEvidence opens a validation and answers it with a quote over
// another nonce, as who has recorded one would.
func (r *Run) appraiseOldEvidence(ctx context.Context) error {
	w := r.World
	id, sho, err := w.As(world.SHOA)
	if err != nil {
		return err
	}
	open, err := wire.Ask(ctx, sho, world.PVARole, wire.PathOpen, wire.OpenRequest{Machine: w.Machine.Role(), Purpose: "proof"})
	if err != nil {
		return err
	}
	session, ro, err := r.session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	old := make([]byte, len(open.Nonce))
	_, _ = rand.Read(old) // does not fail
	quote, err := wire.PathQuote.Call(ctx, session, wire.QuoteRequest{Order: "proof", Nonce: old})
	if err != nil {
		return err
	}
	answer, err := wire.Ask(ctx, ro, world.PVARole, wire.PathAppraise, wire.AppraiseRequest{
		Validation: open.Validation, Exporter: session.Exporter(), Evidence: quote.Evidence,
	})
	if err != nil {
		return err
	}
	verdict, _, err := answer.Signed.VerifyFrom(id, wire.KindPVA, wire.TypeVerdict)
	if err != nil || verdict.Pass {
		return err
	}
	return wire.Refuse("P5c.6", "%s", strings.Join(verdict.Failed, "; "))
}

// session is one of the RO with the machine.
func (r *Run) session(ctx context.Context) (*wire.Session, *wire.Contacts, error) {
	w := r.World
	id, contacts, err := w.As(world.RORole)
	if err != nil {
		return nil, nil, err
	}
	addr, err := w.Directory.Address(w.Machine.Role())
	if err != nil {
		return nil, nil, err
	}
	s, err := wire.Dial(ctx, id, addr, w.Machine.Role(), wire.ClientOptions{})
	return s, contacts, err
}

// deliver gives a package to the machine as the RO would.
func (r *Run) deliver(ctx context.Context, p wire.PackageMessage) error {
	session, _, err := r.session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	_, err = wire.PathDeliver.Call(ctx, session, p)
	return err
}

// last is the package that went to the machine last.
func (r *Run) last() (wire.PackageMessage, error) {
	all := r.World.Carried()
	if len(all) == 0 {
		return wire.PackageMessage{}, errors.New("no package has gone to the machine in this run")
	}
	return all[len(all)-1], nil
}

func (r *Run) deliverChanged(ctx context.Context) error {
	p, err := r.last()
	if err != nil {
		return err
	}
	p.Package = slices.Clone(p.Package)
	p.Package[len(p.Package)/2] ^= 1
	return r.deliver(ctx, p)
}

func (r *Run) deliverAgain(ctx context.Context) error {
	p, err := r.last()
	if err != nil {
		return err
	}
	return r.deliver(ctx, p)
}

// deliverOld delivers what brought the subscription of before, also where that was
// in an earlier run.
func (r *Run) deliverOld(ctx context.Context) error {
	home, ok := r.World.SHOs[r.World.Home(r.oldIMSI)]
	if !ok {
		return errOldUnknown()
	}
	p, err := home.Package(ctx, r.oldIMSI)
	if err != nil {
		return err
	}
	return r.deliver(ctx, p)
}

// attachByPCID: the TRE has erased K_PCID, and the ICF has ended it.
func (r *Run) attachByPCID(ctx context.Context) error { return r.attachAs(ctx, r.pcid) }

func (r *Run) attachByOldIMSI(ctx context.Context) error { return r.attachAs(ctx, r.oldIMSI) }

func (r *Run) attachByOldCard(ctx context.Context) error { return r.attachAs(ctx, r.oldCard.imsi) }

// attachAs asks for service by an identity of before: nobody may give a vector
// for it.
func (r *Run) attachAs(ctx context.Context, identity string) error {
	if identity == "" {
		return errOldUnknown()
	}
	return r.World.Machine.Request(wire.At(ctx, "P7.2"), identity)
}

func errOldUnknown() error { return errors.New("the identity of before is not known in this run") }

// challengeWithOldK lets the card answer a challenge of who has the keys that
// were in it before.
func (r *Run) challengeWithOldK(ctx context.Context) error {
	keys := r.oldCard.keys
	block, err := aka.NewAES(keys.K)
	if err != nil {
		return err
	}
	milenage, err := aka.NewMilenage(block, keys.OPc)
	if err != nil {
		return err
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // does not fail
	next := aka.NewSubscriber(milenage, keys.SQN, auc.AMF(), nil)
	vector, err := next.Next(random)
	if err != nil {
		return err
	}
	return r.World.Machine.ChallengeCard(ctx, vector.RAND, vector.AUTN)
}
