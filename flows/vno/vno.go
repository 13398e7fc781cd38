package vno

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"mcim/flows/wire"
)

// Config is what a VNO needs.
type Config struct {
	wire.NodeConfig
	// Homes says which role is the home of an identity, by its PLMN (MCC and MNC,
	// the first 5 or 6 digits). The longest that fits counts.
	Homes map[string]string
	// RO is the role that a restricted bearer reaches.
	RO string

	// FalseNetwork makes it an attacker's network: it challenges with an AUTN of
	// its own instead of asking the home, and takes every RES. It exists so that a
	// test can show what the check of AUTN is worth. Nothing else may set it.
	FalseNetwork bool
	// OpenBearer lets a restricted bearer lead everywhere, so that a test can show
	// what the restriction is worth. Nothing else may set it.
	OpenBearer bool
}

// VNO is a visited network operator. It keeps who is attached in memory: a
// network that lost it sends its machines to attach again.
type VNO struct {
	node   *wire.Node
	config Config

	mu         sync.Mutex
	challenges map[string]*challenge  // by session
	attached   map[string]*attachment // by machine
	refused    int
}

// challenge is an attach of which the answer is missing.
type challenge struct {
	machine, address string // role name, host:port
	identity, home   string
	vector           wire.Vector
	resynced         bool
	expires          time.Time
}

// attachment is a machine that has a bearer.
type attachment struct {
	identity, home string
	address        string // host:port
	restricted     bool
}

// challengeTime is how long a challenge waits for its answer.
const challengeTime = time.Minute

// New makes a VNO; Start serves it.
func New(c Config) *VNO {
	v := &VNO{config: c, challenges: map[string]*challenge{}, attached: map[string]*attachment{}}
	c.Gateway = &wire.Gateway{Allow: v.allow}
	v.node = wire.NewNode(c.NodeConfig)
	machine, home := []string{wire.KindMachine}, []string{wire.KindSHO}
	wire.PathAttach.Handle(v.node.Server, machine, v.attach)
	wire.PathAnswer.Handle(v.node.Server, machine, v.answer)
	wire.PathWakeVNO.Handle(v.node.Server, home, v.wake)
	return v
}

// Start serves the VNO until Close.
func (v *VNO) Start(ctx context.Context) error { return v.node.Start(ctx) }

// Close ends the VNO with all its bearers.
func (v *VNO) Close() error { return v.node.Close() }

// Refused is how many connections the bearers did not carry.
func (v *VNO) Refused() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refused
}

// Attached is the identity by which a machine is attached, empty when it is not.
func (v *VNO) Attached(machine string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if a := v.attached[machine]; a != nil {
		return a.identity
	}
	return ""
}

// arrows are the names that the steps of an attach have, by its procedure: an
// initial one (P2) or an operational one (P7).
type arrows struct{ attach, answer string }

// stepsOf says which attach the machine is at.
func stepsOf(ctx context.Context) arrows {
	if wire.Procedure(ctx) == "P2" {
		return arrows{"P2.3", "P2.7"}
	}
	return arrows{"P7.2", "P7.3"}
}

// home finds who knows the key of an identity.
func (v *VNO) home(identity string) (string, bool) {
	for digits := 6; digits >= 5; digits-- {
		if len(identity) < digits {
			continue
		}
		if role, ok := v.config.Homes[identity[:digits]]; ok {
			return role, true
		}
	}
	return "", false
}

// allow decides what a bearer carries (P2.8): a machine that is attached reaches
// the RO alone while its bearer is restricted, and the RO, alone, reaches the
// machines.
func (v *VNO) allow(_ context.Context, p wire.Peer, bearer, target string) error {
	err := v.mayReach(p.Role, bearer, target)
	if err != nil {
		v.mu.Lock()
		v.refused++
		v.mu.Unlock()
	}
	return err
}

func (v *VNO) mayReach(role, bearer, target string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if role == v.config.RO {
		for _, a := range v.attached {
			if a.address == target {
				return nil
			}
		}
		return wire.Errorf(wire.CodeUnavailable, "P2.8", "no machine is attached at %s", target)
	}
	a := v.attached[role]
	if a == nil || a.identity != bearer {
		return wire.Refuse("P2.8", "%s has no bearer of that name: attach first", role)
	}
	if !a.restricted || v.config.OpenBearer {
		return nil
	}
	ro, err := v.node.Directory().Address(v.config.RO)
	if err != nil {
		return err
	}
	if target != ro {
		return wire.Refuse("P2.8", "a restricted bearer reaches the registration operator alone, not %s", target)
	}
	return nil
}

// wake passes the home's wake-up call on to the machine that is attached by an
// IMSI of that home (P8a.5).
func (v *VNO) wake(ctx context.Context, p wire.Peer, req wire.WakeRequest) (wire.Empty, error) {
	var none wire.Empty
	machine, address := v.attachedBy(req.IMSI, p.Role)
	if machine == "" {
		return none, wire.Errorf(wire.CodeNotFound, "", "no machine of %s is attached by that identity", p.Role)
	}
	client := wire.NewClient(v.node.Identity, address, machine, wire.ClientOptions{})
	defer client.Close()
	return wire.PathWake.Call(ctx, client, req)
}

func (v *VNO) attachedBy(identity, home string) (machine, address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for machine, a := range v.attached {
		if a.identity == identity && a.home == home {
			return machine, a.address
		}
	}
	return "", ""
}

// relay is what the home says to an attach: its refusal is the attach's, at the
// attach's step.
func relay(err error, step string) error {
	var own *wire.Error
	if errors.As(err, &own) && own.Step == "" {
		return wire.Errorf(own.Code, step, "%s", strings.TrimSpace(own.Text))
	}
	return err
}
