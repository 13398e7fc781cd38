package card

import (
	"bytes"
	"context"
	"fmt"

	"mcim/apdu/uicc"
)

// UpdateCyclic writes a new record 1 into a cyclic file, in which the oldest is lost
// (TS 102 221, 11.1.6, mode PREVIOUS), and reads it back. The refusals are those of
// UpdateRecord.
func (g *Guard) UpdateCyclic(ctx context.Context, f File, data []byte) error {
	o := order{
		file: f, command: uicc.UpdateRecord{Mode: uicc.Previous, Data: data}.Command(), length: len(data),
		right: toDo(uicc.AccessUpdate), proof: proofReadBack,
		prove: func(ctx context.Context) error { return g.readBack(ctx, write{file: f, record: 1, data: data}) },
	}
	o.check = func(fcp uicc.FCP) error {
		if n := int(fcp.Descriptor.RecordLength); fcp.Descriptor.Type == uicc.Cyclic && len(data) != n {
			return &RefusalError{o.what(), fmt.Sprintf("%d bytes for a record of %d", len(data), n), "compare the file with the card's model", ErrSize}
		}
		return wantCyclic(f, fcp)
	}
	return g.administer(ctx, o)
}

func wantCyclic(f File, fcp uicc.FCP) error {
	if fcp.Descriptor.Type != uicc.Cyclic {
		return fmt.Errorf("%w: %s is a %s, want a cyclic EF", ErrFileKind, f, fcp.Descriptor.Type)
	}
	return nil
}

// Increase adds a number, big-endian, to the newest record of a cyclic file (TS 102 221,
// 11.1.8) and gives the new one, which it reads back. A sum that the record cannot hold is
// apdu.SWIncreaseMaximum, in class A0 the status word 9850.
func (g *Guard) Increase(ctx context.Context, f File, value []byte) ([]byte, error) {
	var before, sum []byte
	command := uicc.Increase{Value: value}
	add := command.Command()
	if f.ClassA0 {
		add = command.GSM()
	}
	o := order{
		file: f, command: add, length: len(value),
		right: func(r rules) string { return RightOf(r, uicc.INSIncrease) }, proof: proofReadBack,
	}
	o.check = func(fcp uicc.FCP) error {
		if err := wantCyclic(f, fcp); err != nil {
			return err
		}
		n := int(fcp.Descriptor.RecordLength)
		if len(value) > n {
			return &RefusalError{o.what(), fmt.Sprintf("%d bytes to add to a record of %d", len(value), n), "give a smaller number", ErrSize}
		}
		var err error
		before, err = g.session.readRecord(ctx, f, 1, n)
		return err
	}
	o.prove = func(ctx context.Context) error {
		var err error
		sum, err = g.session.readRecord(ctx, f, 1, len(before))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		}
		if !bytes.Equal(sum, plus(before, value)) {
			return fmt.Errorf("%w: record 1 of %s is not the sum", ErrReadBack, f)
		}
		return nil
	}
	if err := g.administer(ctx, o); err != nil {
		return nil, err
	}
	return sum, nil
}

// plus adds a number of as many bytes or fewer.
func plus(number, value []byte) []byte {
	sum, carry := bytes.Clone(number), 0
	for i := 1; i <= len(sum); i++ {
		carry += int(sum[len(sum)-i])
		if i <= len(value) {
			carry += int(value[len(value)-i])
		}
		sum[len(sum)-i], carry = byte(carry), carry>>8
	}
	return sum
}
