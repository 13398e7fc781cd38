package world

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu"
	"mcim/card"
	"mcim/card/trace"
	"mcim/tpm"
)

// Spend is what a run uses up of card and TPM and cannot give back.
type Spend struct {
	PINTries   int `json:"pin_tries"`   // commands that present a PIN or key
	Auths      int `json:"auths"`       // AUTHENTICATE, which moves the sequence number
	CardWrites int `json:"card_writes"` // UPDATE and other commands that change a file
	NVWrites   int `json:"nv_writes"`   // TPM commands that write its non-volatile memory
}

// Plus is the sum.
func (s Spend) Plus(t Spend) Spend {
	return Spend{s.PINTries + t.PINTries, s.Auths + t.Auths, s.CardWrites + t.CardWrites, s.NVWrites + t.NVWrites}
}

// Minus is the difference.
func (s Spend) Minus(t Spend) Spend {
	return Spend{s.PINTries - t.PINTries, s.Auths - t.Auths, s.CardWrites - t.CardWrites, s.NVWrites - t.NVWrites}
}

// Within says whether no part of s is more than that of bound.
func (s Spend) Within(bound Spend) bool {
	return s.PINTries <= bound.PINTries && s.Auths <= bound.Auths && s.CardWrites <= bound.CardWrites && s.NVWrites <= bound.NVWrites
}

// String is as in "2 PIN tries, 1 AUTHENTICATE, 9 card writes, 12 NV writes".
func (s Spend) String() string {
	var parts []string
	for _, p := range []struct {
		n         int
		one, many string
	}{
		{s.PINTries, "PIN try", "PIN tries"}, {s.Auths, "AUTHENTICATE", "AUTHENTICATEs"},
		{s.CardWrites, "card write", "card writes"}, {s.NVWrites, "NV write", "NV writes"},
	} {
		switch p.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+p.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.many))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Spent counts what is spent, at the taps before card and TPM: a trace.Sink and a
// TPMSink. A command counts when it was sent, whatever became of it. The one in
// Config refuses, too: what would go past its bound is not sent. The zero value
// is ready, has no bound, and is safe for concurrent use.
type Spent struct {
	mu      sync.Mutex
	total   Spend
	bound   *Spend // of total; nil is none
	refused error  // the first *BudgetError since Bound
}

// BudgetError says that a command was not sent, because it would have spent more
// than may be.
type BudgetError struct {
	Command string // as in "VERIFY PIN", "NV_Increment"
	Cost    Spend
	Left    Spend // of what may be spent
}

// Error says what was not sent, what was left, and what to do.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("%s was not sent: it would spend %s past what was declared (left: %s); look in the trace for what was spent before, and report it if this hardware needs more",
		e.Command, e.Cost, e.Left)
}

// Is finds card.ErrBudget.
func (e *BudgetError) Is(target error) bool { return target == card.ErrBudget }

// Bound holds the total to no more than bound from now on, and forgets what was
// refused before.
func (s *Spent) Bound(bound Spend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bound, s.refused = &bound, nil
}

// Refused is the *BudgetError of the first command since Bound that was not sent;
// nil where all were. It is there also when what came of it across the roles
// tells no type, or nothing at all.
func (s *Spent) Refused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// admit refuses a command that would go past the bound. It counts nothing: the
// tap behind it does, once the command was sent.
func (s *Spent) admit(command string, cost Spend) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bound == nil || cost == (Spend{}) || s.total.Plus(cost).Within(*s.bound) {
		return nil
	}
	err := &BudgetError{command, cost, s.bound.Minus(s.total)}
	if s.refused == nil {
		s.refused = err
	}
	return err
}

// bounded is a tapped card to which nothing goes past the bound.
type bounded struct {
	card.Card
	spent *Spent
}

// Transmit implements card.Card; the error may be a *BudgetError, too.
func (b bounded) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	cost := cardCost(command)
	if cost != (Spend{}) {
		c, _ := apdu.ParseCommand(command) // what is none has no name
		if err := b.spent.admit(card.CommandName(c), cost); err != nil {
			return nil, err
		}
	}
	return b.Card.Transmit(ctx, command)
}

// admitTPM is the tpm.Options.Admit of a lab.
func (s *Spent) admitTPM(command string) error { return s.admit(command, tpmCost(command)) }

// Total is what was spent so far.
func (s *Spent) Total() Spend {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *Spent) add(x Spend) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = s.total.Plus(x)
}

// cardSpend is what a command with an instruction byte spends (TS 102 221,
// 10.1.2; TS 102 222, 6).
var cardSpend = map[byte]Spend{
	0x20: {PINTries: 1}, // VERIFY PIN
	0x24: {PINTries: 1, CardWrites: 1},
	0x26: {PINTries: 1, CardWrites: 1},
	0x28: {PINTries: 1, CardWrites: 1},
	0x2C: {PINTries: 1, CardWrites: 1}, // CHANGE, DISABLE, ENABLE, UNBLOCK PIN
	0x88: {Auths: 1}, 0x89: {Auths: 1}, // AUTHENTICATE
	0xD6: {CardWrites: 1}, 0xD7: {CardWrites: 1}, // UPDATE BINARY
	0xDC: {CardWrites: 1}, 0xDD: {CardWrites: 1}, // UPDATE RECORD
	0x32: {CardWrites: 1},                        // INCREASE
	0xDB: {CardWrites: 1},                        // SET DATA
	0x04: {CardWrites: 1}, 0x44: {CardWrites: 1}, // DEACTIVATE, ACTIVATE FILE
	0xE0: {CardWrites: 1}, 0xE4: {CardWrites: 1}, // CREATE, DELETE FILE
	0xE6: {CardWrites: 1}, 0xE8: {CardWrites: 1}, // TERMINATE DF, EF
	0xD4: {CardWrites: 1}, 0xFE: {CardWrites: 1}, // RESIZE FILE, TERMINATE CARD USAGE
}

// cardCost is what a command to the card spends. A PIN command without data only
// asks for the counter.
func cardCost(command []byte) Spend {
	const (
		header   = 4 // bytes
		withData = 6 // bytes: header, Lc, and one byte of data at least
	)
	if len(command) < header {
		return Spend{}
	}
	cost := cardSpend[command[1]]
	if cost.PINTries > 0 && len(command) < withData {
		return Spend{}
	}
	return cost
}

// WriteAPDU counts what an exchange with the card spent.
func (s *Spent) WriteAPDU(e trace.Exchange) error {
	s.add(cardCost(e.Command))
	return nil
}

// nvWrites are the TPM commands that write non-volatile memory (TPM 2.0 Library,
// Part 3).
var nvWrites = map[string]bool{
	"NV_DefineSpace": true, "NV_UndefineSpace": true, "NV_UndefineSpaceSpecial": true, "NV_Write": true, "NV_Increment": true,
	"NV_Extend": true, "NV_SetBits": true, "NV_WriteLock": true, "NV_ReadLock": true, "NV_GlobalWriteLock": true, "NV_ChangeAuth": true,
	"EvictControl": true, "Clear": true, "ClearControl": true, "ChangeEPS": true, "ChangePPS": true, "HierarchyChangeAuth": true,
	"SetPrimaryPolicy": true, "PCR_Allocate": true, "PCR_SetAuthPolicy": true,
	"DictionaryAttackParameters": true, "DictionaryAttackLockReset": true,
}

// tpmCost is what a TPM command spends.
func tpmCost(name string) Spend {
	if nvWrites[name] {
		return Spend{NVWrites: 1}
	}
	return Spend{}
}

// WriteTPM counts what a TPM command spent: one that the TPM wants to be sent
// again has not begun.
func (s *Spent) WriteTPM(e trace.TPMExchange) error {
	if !tpm.Again(tpm2.TPMRC(e.RC)) {
		s.add(tpmCost(e.Name))
	}
	return nil
}
