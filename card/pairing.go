package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mcim/apdu/ef"
)

// ErrUnpaired says that a card names no terminal in EF.IPD, so that there is nothing to hold
// one against.
var ErrUnpaired = errors.New("the card is paired with no terminal")

// Files of the pairing (TS 31.102, 4.2.101 and 4.2.102; service 102).
const (
	fidIPS = 0x6FF1
	fidIPD = 0x6FF2
)

// Words of a pairing status (TS 31.102, 4.2.101).
const (
	pairedOK = "OK"
	pairedKO = "KO"
)

// Pairing is what a card holds of a terminal.
type Pairing struct {
	Paired  bool
	Record  int  // of EF.IPD that names the terminal, from 1; 0: none
	Written bool // a new record of EF.IPS says so; false where the newest did already
}

// Pair holds a terminal against those in EF.IPD of an application, IMEI against IMEI and
// IMEISV against IMEISV, and writes what it finds as a new record of EF.IPS, where the newest
// says something else. Both files are of ADM, which the caller has verified. In USAT
// application pairing the card does this by itself; here the administrator does it for a
// card that has the files and no such application. A terminal that is in no record gets
// the status KO and record 0 (this project's reading). Errors are ErrUnpaired where EF.IPD
// is empty, ef.ErrContent for records that do not decode, and those of UpdateCyclic.
func (g *Guard) Pair(ctx context.Context, app []byte, terminal ef.PairingDevice) (p Pairing, err error) {
	if terminal.IMEI == nil && terminal.IMEISV == nil {
		return p, fmt.Errorf("%w: neither the IMEI nor the IMEISV of the terminal is given", ef.ErrContent)
	}
	if p.Record, err = g.pairedRecord(ctx, app, terminal); err != nil {
		return p, err
	}
	p.Paired = p.Record > 0
	return g.writePairing(ctx, app, p)
}

// pairedRecord finds the terminal in EF.IPD; 0 where it is in no record.
func (g *Guard) pairedRecord(ctx context.Context, app []byte, terminal ef.PairingDevice) (int, error) {
	records, err := g.session.ReadRecords(ctx, InApp(app, fidIPD))
	if err != nil {
		return 0, err
	}
	found, named := 0, false
	for i, r := range records {
		if len(bytes.Trim(r, "\xFF")) == 0 {
			continue
		}
		d, err := ef.As[ef.PairingDevice](ef.DirUSIM, fidIPD, r)
		if err != nil {
			return 0, fmt.Errorf("record %d: %w", i+1, err)
		}
		named = true
		if found == 0 && (same(d.IMEI, terminal.IMEI) || same(d.IMEISV, terminal.IMEISV)) {
			found = i + 1
		}
	}
	if !named {
		return 0, fmt.Errorf("%w: EF.IPD is empty; write the terminal's IMEI there first", ErrUnpaired)
	}
	return found, nil
}

func same(a, b *string) bool { return a != nil && b != nil && *a == *b }

// writePairing writes the status, unless it is the newest already.
func (g *Guard) writePairing(ctx context.Context, app []byte, p Pairing) (Pairing, error) {
	file := InApp(app, fidIPS)
	records, err := g.session.ReadRecords(ctx, file)
	if err != nil {
		return p, err
	}
	if len(records) == 0 {
		return p, fmt.Errorf("%w: %s has no records", ErrFileKind, file)
	}
	status := ef.PairingStatus{Status: pairedKO, Device: uint8(p.Record), RFU: 0xFF}
	if p.Paired {
		status.Status = pairedOK
	}
	codec, _ := ef.Find(ef.DirUSIM, fidIPS) // it is in the table
	data, err := codec.Encode(status, len(records[0]))
	if err != nil {
		return p, err
	}
	if bytes.Equal(data, records[0]) {
		return p, nil
	}
	if err := g.UpdateCyclic(ctx, file, data); err != nil {
		return p, err
	}
	p.Written = !g.config.DryRun
	return p, nil
}
