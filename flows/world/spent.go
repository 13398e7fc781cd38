package world

import (
	"fmt"
	"strings"
	"sync"

	"mcim/card/trace"
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
// TPMSink. A command counts when it was sent, whatever became of it. The zero
// value is ready, and safe for concurrent use.
type Spent struct {
	mu    sync.Mutex
	total Spend
}

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
// 10.1.2). A VERIFY without data only asks for the counter.
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
}

// WriteAPDU counts what an exchange with the card spent.
func (s *Spent) WriteAPDU(e trace.Exchange) error {
	const withData = 6 // bytes: header, Lc, and one byte of data at least
	if len(e.Command) >= withData {
		s.add(cardSpend[e.Command[1]])
	}
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

// WriteTPM counts what a TPM command spent.
func (s *Spent) WriteTPM(e trace.TPMExchange) error {
	if nvWrites[e.Name] {
		s.add(Spend{NVWrites: 1})
	}
	return nil
}
