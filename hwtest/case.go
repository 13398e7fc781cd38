package hwtest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"mcim/flows"
	"mcim/flows/wire"
	"mcim/flows/world"
)

// Case is something with a verdict: one or several procedures that one order
// runs through, followed by the negative proofs of each.
type Case struct {
	ID        string // as in "P4-P7"
	Title     string
	Placement wire.Placement
	// Procedures are what it covers, in the order in which they begin.
	Procedures []Procedure
	// Spends is the most that the case uses up, its negative proofs included.
	Spends world.Spend
	// Frees is what it takes on top to give back the place in a TPM and to restore
	// a card, where they are not the lab's own and the lab is removed after the run.
	Frees world.Spend

	run func(*flows.Run, context.Context) error
}

// Procedure is one of TR 33.812, in this project's numbering.
type Procedure struct {
	ID    string // "P8a"
	Title string
	Steps int // numbered steps, each of which has to be seen; 0 where an earlier run has begun it
}

// begun says that an earlier run was cut in the procedure, and this one finishes it.
func (p Procedure) begun() bool { return p.Steps == 0 }

// missing names the numbered steps of the procedure that have not ended well; of
// one that is finished only, those that were seen at all.
func (p Procedure) missing(events []wire.Event) []string {
	good := map[string]bool{}
	for _, e := range events {
		good[e.Name] = e.End && e.Err == nil
	}
	var list []string
	if p.begun() {
		maps.DeleteFunc(good, func(_ string, ended bool) bool { return ended })
		return slices.Sorted(maps.Keys(good))
	}
	for n := range p.Steps {
		if name := fmt.Sprintf("%s.%d", p.ID, n+1); !good[name] {
			list = append(list, name)
		}
	}
	return list
}

// Suite is all cases in the order in which they build on each other: a machine
// is supplied, gets its first subscription, changes it with the MCIM in the TRE,
// and then with the MCIM in the UICC.
func Suite() []Case {
	return []Case{
		{
			ID: "P1", Title: "supply of the machine", Placement: wire.InTRE,
			Procedures: []Procedure{{"P1", "supply", 9}},
			// PIN1 and one AUTHENTICATE prove that the card is that of its profile. Eight
			// counters and four keys with their first values; one more where the maker has
			// not made the EK persistent.
			Spends: world.Spend{PINTries: 1, Auths: 1, NVWrites: 27}, Frees: world.Spend{NVWrites: 13},
			run: (*flows.Run).Supply,
		},
		{
			ID: "P2", Title: "initial connectivity by the provisional identity", Placement: wire.InTRE,
			Procedures: []Procedure{{"P2", "initial connectivity", 8}},
			Spends:     world.Spend{NVWrites: 1}, // the SQN of K_PCID
			run:        (*flows.Run).Bootstrap,
		},
		{
			ID: "P4-P7", Title: "first provisioning: registration, validation, download, activation", Placement: wire.InTRE,
			Procedures: []Procedure{
				{"P4", "registration", 8}, {"P5c", "remote platform validation", 8}, {"P6", "download of the MCIM", 12}, {"P7", "activation", 5},
			},
			Spends: world.Spend{NVWrites: 7},
			run:    (*flows.Run).Provision,
		},
		{
			ID: "P8a", Title: "change of subscription, MCIM in the TRE", Placement: wire.InTRE,
			Procedures: []Procedure{{"P8a", "change of subscription", 14}},
			Spends:     world.Spend{NVWrites: 7},
			run:        (*flows.Run).ChangeInTRE,
		},
		{
			ID: "P8c", Title: "change of subscription, MCIM in the UICC", Placement: wire.InUICC,
			Procedures: []Procedure{{"P8c", "change of subscription", 9}},
			// PIN1 at each of two resets, ADM1 once; one AUTHENTICATE to attach by the old
			// subscription, one by the new one, one of the proof, and one more where the
			// card asks for resynchronisation. Nine files are written, and those of the eight
			// in which a network has left something, three of which may have two records.
			Spends: world.Spend{PINTries: 3, Auths: 4, CardWrites: 20, NVWrites: 5},
			// PIN1 and ADM1 again to write back, and one AUTHENTICATE that proves it.
			Frees: world.Spend{PINTries: 2, Auths: 1, CardWrites: 20},
			run:   (*flows.Run).ChangeInUICC,
		},
	}
}
