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
	"mcim/tpm/attest"
	"mcim/tpm/mcim"
	"mcim/tpm/policy"
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
		{"P1", "a TPM whose EK certificate is self-made is not enrolled", r.enrolSelfMade, at("P1.5", "not from a trusted TPM maker")},
		{"P2", "the bearer of a PCID reaches the RO and nobody else", r.reachOthers, restricted},
		{"P4", "a machine without an order gets nothing", r.contactAsStranger, at("P4.4", "nothing is ordered")},
		{"P5c", "evidence of an earlier validation is refused", r.appraiseOldEvidence, at("P5c.6", string(attest.CheckFreshness))},
		{"P6", "a package that was changed on its way is refused", r.deliverChanged, rejected(mcim.CheckSignature)},
		{"P6", "the package of before, delivered again, is refused", r.deliverAgain, rejected(mcim.CheckFreshness)},
		{"P7", "the provisional identity is refused after use", r.attachByPCID, at("P2.3", "gives no access any more")},
		{"P7", "the TPM uses the key of the provisional identity no more", r.usePCID, erased},
		{"P8a", "the old K gets no service by the new IMSI", r.answerWithOldK, at("P7.3", "wrong RES")},
		{"P8a", "the old IMSI gets no service", r.attachByOldIMSI, at("P7.2", "the subscription is closed")},
		{"P8a", "the TRE refuses a network that has the old K", r.challengeTRE, noMAC},
		{"P8a", "the TPM uses the old K no more", r.useOldK, erased},
		{"P8a", "the old package is refused", r.deliverOld, rejected(mcim.CheckFreshness)},
		{"P8c", "the card refuses a network that has the old K", r.challengeCard, noMAC},
		{"P8c", "the old K gets no service by the new IMSI", r.answerWithOldCard, at("P7.3", "wrong RES")},
		{"P8c", "the old IMSI gets no service", r.attachByOldCard, at("P7.2", "the subscription is closed")},
		{"P8c", "the package of the card, delivered again, is refused", r.deliverAgain, rejected(mcim.CheckFreshness)},
	}
}

// at is a refusal of a role at that step, which says so.
func at(step, text string) func(error) bool {
	return func(err error) bool {
		var e *wire.Error
		return errors.As(err, &e) && e.Code == wire.CodeRefused && e.Step == step && strings.Contains(e.Text, text)
	}
}

// rejected is a refusal of the TRE at P6.8 by that check.
func rejected(check mcim.Check) func(error) bool {
	return at("P6.8", "check of "+string(check)+":")
}

// restricted is a refusal of a bearer that leads to the RO alone.
func restricted(err error) bool { return at("P2.8", "a restricted bearer reaches")(err) }

// erased is the TPM's refusal of a key whose slot has moved on.
func erased(err error) bool {
	var refused *policy.RefusedError
	return errors.As(err, &refused) && refused.Term == policy.TermEpoch
}

// noMAC is the USIM's refusal of a network that does not have its K.
func noMAC(err error) bool { return errors.Is(err, aka.ErrMAC) }

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
		if last = r.World.Machine.Reach(ctx, role); !restricted(last) {
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

// appraiseOldEvidence has the machine validated, and shows the evidence of that in
// the next validation, over the same TLS session and for the same purpose: only the
// nonce is another one.
func (r *Run) appraiseOldEvidence(ctx context.Context) error {
	const purpose = "proof"
	w := r.World
	id, sho, err := w.As(world.SHOA)
	if err != nil {
		return err
	}
	session, ro, err := r.session(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	var evidence []byte
	validate := func() (verdict wire.Verdict, err error) {
		v, err := wire.Ask(ctx, sho, world.PVARole, wire.PathOpen, wire.OpenRequest{Machine: w.Machine.Role(), Purpose: purpose})
		if err != nil {
			return verdict, err
		}
		if evidence == nil {
			quote, err := wire.PathQuote.Call(ctx, session, wire.QuoteRequest{Order: purpose, Nonce: v.Nonce})
			if err != nil {
				return verdict, err
			}
			evidence = quote.Evidence
		}
		answer, err := wire.Ask(ctx, ro, world.PVARole, wire.PathAppraise, wire.AppraiseRequest{
			Validation: v.Validation, Exporter: session.Exporter(), Evidence: evidence,
		})
		if err != nil {
			return verdict, err
		}
		verdict, _, err = answer.Signed.VerifyFrom(id, wire.KindPVA, wire.TypeVerdict)
		return verdict, err
	}
	fresh, err := validate()
	if err != nil {
		return err
	}
	if !fresh.Pass {
		return fmt.Errorf("the evidence does not convince in its own time: %s", strings.Join(fresh.Failed, "; "))
	}
	old, err := validate()
	if err != nil || old.Pass {
		return err
	}
	return wire.Refuse("P5c.6", "%s", strings.Join(old.Failed, "; "))
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
	home, ok := r.World.SHOs[r.World.Home(r.old.imsi)]
	if !ok {
		return errOldUnknown()
	}
	p, err := home.Package(ctx, r.old.imsi)
	if err != nil {
		return err
	}
	return r.deliver(ctx, p)
}

// attachByPCID: the ICF has ended the provisional identity.
func (r *Run) attachByPCID(ctx context.Context) error {
	return r.attachAs(wire.At(ctx, "P2.3"), r.pcid)
}

func (r *Run) attachByOldIMSI(ctx context.Context) error {
	return r.attachAs(wire.At(ctx, "P7.2"), r.old)
}

func (r *Run) attachByOldCard(ctx context.Context) error {
	return r.attachAs(wire.At(ctx, "P7.2"), r.card)
}

// attachAs asks for service by an identity of before: nobody may give a vector
// for it.
func (r *Run) attachAs(ctx context.Context, i identity) error {
	if i.imsi == "" {
		return errOldUnknown()
	}
	return r.World.Machine.Request(ctx, i.imsi)
}

func errOldUnknown() error { return errors.New("the identity of before is not known in this run") }

// usePCID: the TRE has erased K_PCID; somebody has copied it before.
func (r *Run) usePCID(context.Context) error { return r.World.Machine.Use(r.pcid.remnant) }

func (r *Run) useOldK(context.Context) error { return r.World.Machine.Use(r.old.remnant) }

func (r *Run) answerWithOldK(ctx context.Context) error { return r.answerWith(ctx, r.old) }

func (r *Run) answerWithOldCard(ctx context.Context) error { return r.answerWith(ctx, r.card) }

// answerWith attaches by the identity of now with the keys of before.
func (r *Run) answerWith(ctx context.Context, old identity) error {
	milenage, err := old.milenage()
	if err != nil {
		return err
	}
	now := r.World.VNO.Attached(r.World.Machine.Role())
	return r.World.Machine.Answer(wire.At(ctx, "P7.3"), now, func(random [16]byte) ([]byte, error) {
		out, err := milenage.F2345(random)
		return out.RES.Bytes(), err
	})
}

func (r *Run) challengeTRE(ctx context.Context) error {
	return r.old.challenge(ctx, r.World.Machine.ChallengeTRE)
}

func (r *Run) challengeCard(ctx context.Context) error {
	return r.card.challenge(ctx, r.World.Machine.ChallengeCard)
}

// challenge challenges a USIM as a network would that has the keys of the identity.
func (i identity) challenge(ctx context.Context, usim func(ctx context.Context, rand, autn [16]byte) error) error {
	milenage, err := i.milenage()
	if err != nil {
		return err
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // does not fail
	next := aka.NewSubscriber(milenage, i.keys.SQN, auc.AMF(), nil)
	vector, err := next.Next(random)
	if err != nil {
		return err
	}
	return usim(ctx, vector.RAND, vector.AUTN)
}

// milenage is that of who has the keys of the identity.
func (i identity) milenage() (*aka.Milenage, error) {
	block, err := aka.NewAES(i.keys.K)
	if err != nil {
		return nil, err
	}
	return aka.NewMilenage(block, i.keys.OPc)
}
