package card

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

const rightUnknown = "unknown"

// right says in words what the card's access rule asks for before an update.
func (g *Guard) right(ctx context.Context, f File, fcp uicc.FCP) string {
	return Right(g.rules(ctx, f, fcp), uicc.AccessUpdate)
}

// rules are the access rules of a file, nil where they cannot be read. It may select
// another file.
func (g *Guard) rules(ctx context.Context, f File, fcp uicc.FCP) []uicc.AccessRule {
	if own := fcp.EffectiveRules(); own != nil || fcp.ARR.FID == 0 {
		return own
	}
	at := f
	if fcp.Descriptor.Type != uicc.Directory {
		at = f.Directory()
	}
	return g.arrRules(ctx, at, fcp.ARR)
}

// RightOf is Right for a command that rules name by its instruction byte, as INCREASE
// and RESIZE FILE.
func RightOf(rules []uicc.AccessRule, ins byte) string {
	var words []string
	for _, r := range rules {
		if r.NamesCommand(ins) {
			words = append(words, conditionWords(uicc.Condition{Kind: uicc.Or, List: r.Conditions}))
		}
	}
	if len(words) == 0 {
		return rightUnknown
	}
	return strings.Join(words, " or ")
}

// Right says in words what access rules ask for before an operation, as in
// "PIN1 (01) or ADM1"; "unknown" where no rule names the operation.
func Right(rules []uicc.AccessRule, op uicc.Access) string {
	var words []string
	for _, r := range rules {
		if r.HeaderTag == 0 && r.Access&op != 0 {
			words = append(words, conditionWords(uicc.Condition{Kind: uicc.Or, List: r.Conditions}))
		}
	}
	if len(words) == 0 {
		return rightUnknown
	}
	return strings.Join(words, " or ")
}

// arrRules reads the rules of what is in a directory from EF.ARR; nil where they cannot
// be read.
func (g *Guard) arrRules(ctx context.Context, dir File, ref uicc.ARRReference) []uicc.AccessRule {
	record := ref.Record
	if len(ref.BySE) > 0 {
		record = ref.BySE[0].Record
	}
	records, err := g.arr(ctx, dir, ref.FID)
	if err != nil || record == 0 || int(record) > len(records) {
		return nil
	}
	rules, err := uicc.DecodeARRRecord(records[record-1])
	if err != nil {
		return nil
	}
	return rules
}

// arr reads an EF.ARR: below the MF, or in the directory or one above it.
func (g *Guard) arr(ctx context.Context, dir File, fid uint16) (records [][]byte, err error) {
	if fid == uicc.FIDEFARR {
		return g.session.ReadRecords(ctx, InMF(fid))
	}
	for at := dir; ; at = at.Directory() {
		records, err = g.session.ReadRecords(ctx, File{at.AID, append(slices.Clone(at.Path), fid), at.ClassA0})
		if !errors.Is(err, apdu.ErrNotFound) || len(at.Path) == 0 {
			return records, err
		}
	}
}

func conditionWords(c uicc.Condition) string {
	var parts []string
	for _, part := range c.List {
		parts = append(parts, conditionWords(part))
	}
	switch c.Kind {
	case uicc.Always:
		return "always"
	case uicc.Never:
		return "never"
	case uicc.Key:
		return KeyName(c.Ref)
	case uicc.Or:
		return strings.Join(parts, " or ")
	case uicc.And:
		return strings.Join(parts, " and ")
	default:
		return rightUnknown
	}
}

// KeyName is the name of a key reference (TS 102 221, 9.5.1, table 9.3).
func KeyName(ref byte) string {
	switch {
	case ref >= 0x01 && ref <= 0x08:
		return fmt.Sprintf("PIN1 (%02X)", ref)
	case ref >= 0x0A && ref <= 0x0E:
		return fmt.Sprintf("ADM%d", ref-0x09)
	case ref == uicc.RefUniversalPIN:
		return "universal PIN"
	case ref >= 0x81 && ref <= 0x88:
		return fmt.Sprintf("PIN2 (%02X)", ref)
	case ref >= 0x8A && ref <= 0x8E:
		return fmt.Sprintf("ADM%d", ref-0x84)
	default:
		return fmt.Sprintf("key %02X", ref)
	}
}
