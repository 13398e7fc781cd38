package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// Status words of blocks where a proactive command waits as well (TS 102 221, 10.2.1).
const (
	swMoreDataPending     apdu.StatusWord = 0x62F2
	swDataExpectedPending apdu.StatusWord = 0x63F2
)

// ReadObject reads the value of a data object of an EF of BER-TLV structure (TS 102 221,
// 11.3.1). One that is not there is apdu.ErrNotFound, another structure ErrFileKind, an
// answer that is not the object ErrShortRead.
func (s *Session) ReadObject(ctx context.Context, f File, tag uint32) ([]byte, error) {
	if err := s.selectObjects(ctx, f); err != nil {
		return nil, err
	}
	return s.retrieve(ctx, f, tag)
}

// ObjectTags gives the tags of all data objects of an EF of BER-TLV structure, as the card
// lists them. The errors are those of ReadObject.
func (s *Session) ObjectTags(ctx context.Context, f File) ([]uint32, error) {
	if err := s.selectObjects(ctx, f); err != nil {
		return nil, err
	}
	return s.retrieveTags(ctx, f)
}

// ReadObjects reads all data objects of the current EF, which f names in errors.
func (s *Session) ReadObjects(ctx context.Context, f File) ([]tlv.TLV, error) {
	tags, err := s.retrieveTags(ctx, f)
	if err != nil {
		return nil, err
	}
	objects := []tlv.TLV{}
	for _, tag := range tags {
		value, err := s.retrieve(ctx, f, tag)
		if err != nil {
			return nil, err
		}
		objects = append(objects, tlv.New(tag, value))
	}
	return objects, nil
}

func (s *Session) selectObjects(ctx context.Context, f File) error {
	fcp, err := s.Select(ctx, f)
	if err != nil {
		return err
	}
	return wantObjects(f, fcp)
}

func wantObjects(f File, fcp uicc.FCP) error {
	if fcp.Descriptor.Type != uicc.BERTLV {
		return fmt.Errorf("%w: %s is a %s, want a BER-TLV EF", ErrFileKind, f, fcp.Descriptor.Type)
	}
	return nil
}

func (s *Session) retrieveTags(ctx context.Context, f File) ([]uint32, error) {
	b, err := s.retrieve(ctx, f, uicc.TagList)
	if err != nil {
		return nil, err
	}
	tags, err := uicc.DecodeTagList(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrShortRead, f, err)
	}
	return tags, nil
}

// retrieve reads a data object of the current file, which is f, block by block, and gives
// its value.
func (s *Session) retrieve(ctx context.Context, f File, tag uint32) ([]byte, error) {
	next := uicc.RetrieveData{Block: uicc.FirstBlock, Tag: tag, Ne: apdu.MaxShortNe}
	var out []byte
	for {
		r, err := s.Send(ctx, next.Command())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		more := r.SW == uicc.SWMoreData || r.SW == swMoreDataPending
		if !r.SW.OK() && !more {
			return nil, &CommandError{Command: CommandName(next.Command()), File: f.String(), SW: r.SW}
		}
		out = append(out, r.Data...)
		got, length, head, err := tlv.DecodeHeader(out)
		missing := head + length - len(out)
		switch {
		case err != nil || got != tag || missing < 0 || len(r.Data) == 0 || more != (missing > 0):
			return nil, fmt.Errorf("%w: %s gives no data object of tag %X in %d bytes", ErrShortRead, f, tag, len(out))
		case !more:
			return out[head:], nil
		}
		next = uicc.RetrieveData{Block: uicc.NextBlock, Ne: min(missing, apdu.MaxShortNe)}
	}
}

// SetObject puts a data object into an EF of BER-TLV structure, in the place of one with
// the same tag (TS 102 221, 11.3.2), and reads it back. It refuses cards of unknown model
// (model.ErrUnknown) or not on the allow list (ErrNotAllowed), and an object that the EF
// can never hold (ErrSize); what it cannot hold beside the others is
// apdu.SWNotEnoughMemory. Of an object of several blocks nothing is left on the card where
// the transfer breaks off.
func (g *Guard) SetObject(ctx context.Context, f File, tag uint32, value []byte) error {
	commands, err := uicc.SetObject(tag, value)
	if err != nil {
		return err
	}
	o := order{
		file: f, command: commands[0], more: commands[1:], tag: tag, length: len(value),
		right: toDo(uicc.AccessUpdate), proof: proofReadBack,
	}
	o.check = func(fcp uicc.FCP) error {
		if err := wantObjects(f, fcp); err != nil {
			return err
		}
		n := len(tlv.New(tag, value).Append(nil))
		if _, most := fcp.ObjectRoom(); n > most {
			return &RefusalError{o.what(), fmt.Sprintf("%d bytes with tag and length, the file has room for %d", n, most),
				"give a shorter object, or make the file larger", ErrSize}
		}
		return nil
	}
	o.prove = func(ctx context.Context) error {
		got, err := g.session.retrieve(ctx, f, tag)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		case !bytes.Equal(got, value):
			return fmt.Errorf("%w: object %X of %s has other bytes than were written; read it before you write again", ErrReadBack, tag, f)
		}
		return nil
	}
	return g.administer(ctx, o)
}

// DeleteObject takes a data object off an EF of BER-TLV structure (TS 102 221, 11.3.2). One
// that is not there is apdu.ErrNotFound; the other errors are those of SetObject.
func (g *Guard) DeleteObject(ctx context.Context, f File, tag uint32) error {
	o := order{
		file: f, command: uicc.DeleteObject(tag), tag: tag, right: toDo(uicc.AccessUpdate), proof: proofAbsence,
	}
	o.check = func(fcp uicc.FCP) error {
		if err := wantObjects(f, fcp); err != nil {
			return err
		}
		tags, err := g.session.retrieveTags(ctx, f)
		if err == nil && !slices.Contains(tags, tag) {
			return &CommandError{Command: CommandName(o.command), File: f.String(), SW: apdu.SWReferencedDataNotFound}
		}
		return err
	}
	o.prove = func(ctx context.Context) error {
		_, err := g.session.retrieve(ctx, f, tag)
		if errors.Is(err, apdu.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("%w: object %X of %s is still there (%w)", ErrReadBack, tag, f, errOr(err, errors.New("it can be read")))
	}
	return g.administer(ctx, o)
}

// expects tells a card that has taken a block of SET DATA and waits for the next one.
func expects(r apdu.Response) bool {
	return r.SW == uicc.SWDataExpected || r.SW == swDataExpectedPending
}

// sendAll sends the commands of an order. All but the last one of several end in a status
// word that asks for the next.
func (s *Session) sendAll(ctx context.Context, o order) error {
	next := o.command
	for _, following := range o.more {
		r, err := s.Send(ctx, next)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", o.file, err)
		case !expects(r):
			return &CommandError{Command: CommandName(next), File: o.file.String(), SW: r.SW}
		}
		next = following
	}
	_, err := s.doOn(ctx, o.file, next)
	return err
}
