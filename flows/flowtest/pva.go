package flowtest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

// PVA is a scripted platform validation authority: it believes what Machine
// quotes, if nonce and session are right.
type PVA struct {
	Node *wire.Node
	// Failed makes its verdicts negative, where it is not empty.
	Failed []string
	// Change changes a verdict before it is signed, where it is set.
	Change func(*wire.Verdict)
	// Sign signs in the place of the PVA, where it is set.
	Sign *wire.Identity

	lab       *wiretest.Lab
	supplier  *wire.Identity
	mu        sync.Mutex
	opened    map[string]opened
	platforms map[string]wire.Signed[wire.Platform]
}

type opened struct {
	wire.Validation
	wire.OpenRequest
	requester string
}

// NewPVA makes the PVA and serves it.
func NewPVA(l *wiretest.Lab) *PVA {
	v := &PVA{lab: l, supplier: l.Identity("supplier"), opened: map[string]opened{}, platforms: map[string]wire.Signed[wire.Platform]{}}
	v.Node = l.Script("pva", func(s *wire.Server) {
		wire.PathOpen.Handle(s, []string{wire.KindSHO}, v.open)
		wire.PathAppraise.Handle(s, []string{wire.KindRO}, v.appraise)
		wire.PathRecord.Handle(s, []string{wire.KindRO}, v.record)
	})
	return v
}

// Supply enters the statement on a platform, as the supplier would.
func (v *PVA) Supply(p wire.Platform) wire.Signed[wire.Platform] {
	v.lab.T.Helper()
	signed, err := wire.SignAs(v.supplier, wire.TypePlatform, p)
	if err != nil {
		v.lab.T.Fatal(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.platforms[p.Machine] = signed
	return signed
}

func (v *PVA) open(_ context.Context, p wire.Peer, req wire.OpenRequest) (wire.Validation, error) {
	nonce, err := v.Node.Bytes(32)
	if err != nil {
		return wire.Validation{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	o := opened{wire.Validation{Validation: fmt.Sprintf("v%d", len(v.opened)), Nonce: nonce}, req, p.Role}
	v.opened[o.Validation.Validation] = o
	return o.Validation, nil
}

func (v *PVA) appraise(_ context.Context, _ wire.Peer, req wire.AppraiseRequest) (wire.VerdictMessage, error) {
	v.mu.Lock()
	o, ok := v.opened[req.Validation]
	v.mu.Unlock()
	evidence, err := wire.Unmarshal[Evidence](req.Evidence)
	if err != nil || !ok {
		return wire.VerdictMessage{}, wire.Refuse("P5c.6", "no such validation, or no evidence: %v", err)
	}
	if !bytes.Equal(evidence.Nonce, o.Nonce) || !bytes.Equal(evidence.Exporter, req.Exporter) || evidence.Purpose != o.Purpose {
		return wire.VerdictMessage{}, wire.Refuse("P5c.6", "the evidence is for another nonce, session or purpose")
	}
	return v.verdict(wire.Verdict{
		Validation: req.Validation, Machine: o.Machine, Requester: o.requester, Purpose: o.Purpose,
		Pass: len(v.Failed) == 0, Failed: v.Failed, Made: v.lab.Now(), Expires: v.lab.Now().Add(time.Minute),
	})
}

func (v *PVA) verdict(verdict wire.Verdict) (wire.VerdictMessage, error) {
	if v.Change != nil {
		v.Change(&verdict)
	}
	signer := v.Node.Identity
	if v.Sign != nil {
		signer = v.Sign
	}
	signed, err := wire.SignAs(signer, wire.TypeVerdict, verdict)
	return wire.VerdictMessage{Signed: signed}, err
}

func (v *PVA) record(_ context.Context, _ wire.Peer, req wire.MachineRequest) (wire.PlatformMessage, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	signed, ok := v.platforms[req.Machine]
	if !ok {
		return wire.PlatformMessage{}, wire.Errorf(wire.CodeNotFound, "P6.3", "no statement on %s", req.Machine)
	}
	return wire.PlatformMessage{Signed: signed}, nil
}
