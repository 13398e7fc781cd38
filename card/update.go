package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

// ErrReadBack says that the card accepted a write, but does not give it back.
var ErrReadBack = errors.New("written data not found on the card")

// How it is known that a write arrived.
const (
	proofReadBack = "read back"
	proofAKA      = "by AKA" // the file is never read: the new key has to work
)

// write is one update of a file.
type write struct {
	file   File
	record int // from 1; 0 for a transparent file
	offset int // bytes, of a transparent file
	data   []byte
	whole  bool // data have to be as long as the file
}

func (w write) command() string {
	if w.record > 0 {
		return "UPDATE RECORD"
	}
	return "UPDATE BINARY"
}

func (w write) what() string { return fmt.Sprintf("%s of %s", w.command(), w.file) }

// UpdateBinary writes data, 1 byte or more, from offset of a transparent file
// and reads them back. It refuses cards of unknown model (model.ErrUnknown) or
// not on the allow list (ErrNotAllowed), and data that do not fit (ErrSize).
// ErrReadBack says that the card took the data but does not give them back.
func (g *Guard) UpdateBinary(ctx context.Context, f File, offset int, data []byte) error {
	return g.update(ctx, write{file: f, offset: offset, data: data})
}

// UpdateRecord writes a record, counted from 1, like UpdateBinary. The data have
// to be as long as the record.
func (g *Guard) UpdateRecord(ctx context.Context, f File, record int, data []byte) error {
	if record < 1 || record > uicc.MaxRecord {
		return &RefusalError{write{file: f, record: 1}.what(), fmt.Sprintf("record %d", record), "count from 1 to 254", ErrSize}
	}
	return g.update(ctx, write{file: f, record: record, data: data})
}

// UpdateKey writes the model's key file. It is never read back: that the key
// arrived is to be proved by an AKA with it.
func (g *Guard) UpdateKey(ctx context.Context, k model.Key) error {
	if err := g.hasKeyFiles(ctx, "to write the key file"); err != nil {
		return err
	}
	data, err := g.model.EncodeKey(k)
	if err != nil {
		return err
	}
	return g.update(ctx, write{file: InApp(g.model.AID, g.model.KeyFile.FID), data: data.Reveal(), whole: true})
}

// UpdateSQN writes the model's SQN file, like UpdateBinary.
func (g *Guard) UpdateSQN(ctx context.Context, q model.SQN) error {
	if err := g.hasKeyFiles(ctx, "to write the SQN file"); err != nil {
		return err
	}
	data, err := g.model.EncodeSQN(q)
	if err != nil {
		return err
	}
	return g.update(ctx, write{file: InApp(g.model.AID, g.model.SQNFile.FID), data: data, whole: true})
}

// hasKeyFiles refuses cards whose model has no files for keys.
func (g *Guard) hasKeyFiles(ctx context.Context, what string) error {
	switch {
	case g.model == nil:
		return g.authorize(ctx, what)
	case g.model.SIM():
		return &RefusalError{what, "model " + g.model.Name + " does not say where a SIM has its keys",
			"use the tool of the card's maker", model.ErrNoKeyFile}
	}
	return nil
}

// update is the way of every write: who, where, how much, then the write and
// its proof.
func (g *Guard) update(ctx context.Context, w write) error {
	if err := g.authorize(ctx, w.what()); err != nil {
		return err
	}
	fcp, err := g.session.Select(ctx, w.file)
	if err != nil {
		return err
	}
	if err := w.check(fcp); err != nil {
		return err
	}
	step := Step{Command: w.command(), File: w.file.String(), Record: w.record, Offset: w.offset, Length: len(w.data), Proof: g.proof(w.file)}
	if g.config.DryRun {
		step.Right = g.right(ctx, w.file, fcp)
		g.plan = append(g.plan, step)
		return nil
	}
	g.plan = append(g.plan, step)
	for _, c := range w.commands() {
		if _, err := g.session.doOn(ctx, w.file, c); err != nil {
			return err
		}
	}
	if step.Proof != proofReadBack {
		return nil
	}
	return g.readBack(ctx, w)
}

// check compares the write with what the card says of the file.
func (w write) check(fcp uicc.FCP) error {
	refuse := func(format string, args ...any) error {
		return &RefusalError{w.what(), fmt.Sprintf(format, args...), "compare the file with the card's model", ErrSize}
	}
	d := fcp.Descriptor
	switch {
	case len(w.data) == 0:
		return refuse("no data")
	case w.record > 0 && !d.Type.HasRecords(), w.record == 0 && d.Type != uicc.Transparent:
		return fmt.Errorf("%w: %s is a %s, %s does not fit", ErrFileKind, w.file, d.Type, w.command())
	case w.record > int(d.Records) && w.record > 0:
		return refuse("record %d of %d", w.record, d.Records)
	case w.record > 0 && len(w.data) != int(d.RecordLength):
		return refuse("%d bytes for a record of %d", len(w.data), d.RecordLength)
	case w.record > 0:
		return nil
	case w.whole && len(w.data) != fcp.Size.N:
		return refuse("%d bytes, the file has %d", len(w.data), fcp.Size.N)
	case w.offset < 0 || w.offset+len(w.data) > min(fcp.Size.N, uicc.MaxOffset+1):
		return refuse("%d bytes from offset %d, the file has %d", len(w.data), w.offset, fcp.Size.N)
	}
	return nil
}

// commands cuts the write in pieces that a short command can carry.
func (w write) commands() []apdu.Command {
	if w.record > 0 {
		return []apdu.Command{uicc.UpdateRecord{Record: byte(w.record), Data: w.data}.Command()}
	}
	var list []apdu.Command
	offset := w.offset
	for piece := range slices.Chunk(w.data, apdu.MaxShortData) {
		list = append(list, uicc.UpdateBinary{Offset: uint16(offset), Data: piece}.Command())
		offset += len(piece)
	}
	return list
}

// proof says how a write of the file is proved: the model's own files as the
// model says, all others by reading.
func (g *Guard) proof(f File) string {
	if len(f.AID) == 0 || len(f.Path) != 1 || !bytes.HasPrefix(f.AID, g.model.AID) {
		return proofReadBack
	}
	for _, own := range []model.File{g.model.KeyFile, g.model.SQNFile} {
		if own.FID == f.Path[0] && !own.ReadBack {
			return proofAKA
		}
	}
	return proofReadBack
}

// readBack compares the file, which is still selected, with what was written.
func (g *Guard) readBack(ctx context.Context, w write) error {
	var got []byte
	var err error
	if w.record > 0 {
		got, err = g.session.readRecord(ctx, w.file, w.record, len(w.data))
	} else {
		got, err = g.session.readSelected(ctx, w.file, w.offset, len(w.data))
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrReadBack, err)
	case !bytes.Equal(got, w.data):
		return fmt.Errorf("%w: %s has other bytes than were written; read it before you write again", ErrReadBack, w.file)
	}
	return nil
}
