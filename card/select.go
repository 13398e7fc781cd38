package card

import (
	"context"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// SelectOccurrence selects an application by the first bytes of its AID, 1 to 16, without
// EF.DIR: the first or the last one that fits, or the next or previous one from the
// current (TS 102 221, 11.1.1.2). Where no other fits, the error is a *CommandError
// (apdu.ErrNotFound), and the current one stays.
func (s *Session) SelectOccurrence(ctx context.Context, prefix []byte, o uicc.Occurrence) (uicc.FCP, error) {
	c := uicc.Select{By: uicc.ByAID, ID: prefix, Occurrence: o}.Command()
	return s.selected(s.doOn(ctx, InApp(prefix), c))
}

// SelectBelow selects the file with this path below the current directory.
func (s *Session) SelectBelow(ctx context.Context, path ...uint16) (uicc.FCP, error) {
	c := uicc.SelectPath(path...)
	c.By = uicc.ByPathFromCurrent
	return s.selected(s.doOn(ctx, InMF(path...), c.Command()))
}

func (s *Session) selected(data []byte, err error) (uicc.FCP, error) {
	if err != nil {
		return uicc.FCP{}, err
	}
	return uicc.ParseFCP(data)
}

// ReadShort reads n bytes, 1 to 256, from offset, up to 255, of the transparent file with
// that short identifier in the current directory. It saves the SELECT, and the file is
// the current one afterwards.
func (s *Session) ReadShort(ctx context.Context, sfi byte, offset, n int) ([]byte, error) {
	return s.Do(ctx, uicc.ReadBinary{SFI: sfi, Offset: uint16(offset), Ne: n}.Command())
}

// ReadRecordShort reads record n, from 1, of length bytes, like ReadShort.
func (s *Session) ReadRecordShort(ctx context.Context, sfi byte, n, length int) ([]byte, error) {
	return s.Do(ctx, uicc.ReadRecord{SFI: sfi, Record: byte(n), Ne: length}.Command())
}

// SelectGSM selects a file in class A0 (TS 51.011), step by step from the MF, and gives
// what the card says of it in the form of a UICC. Class A0 knows the basic channel only:
// ErrClass on others.
func (s *Session) SelectGSM(ctx context.Context, path ...uint16) (uicc.FCP, error) {
	var data []byte
	for _, fid := range append([]uint16{uicc.FIDMF}, path...) {
		c := uicc.SelectFID(fid).Command()
		c.CLA, c.P2, c.Ne = classGSM, 0, 0
		var err error
		if data, err = s.doOn(ctx, InMF(path...), c); err != nil {
			return uicc.FCP{}, err
		}
	}
	answer, err := uicc.ParseGSMResponse(data)
	if err != nil {
		return uicc.FCP{}, fmt.Errorf("SELECT of %s: %w", InMF(path...), err)
	}
	return answer.FCP(), nil
}

// ReadGSM reads a whole transparent file in class A0.
func (s *Session) ReadGSM(ctx context.Context, path ...uint16) ([]byte, error) {
	f := InMF(path...)
	fcp, err := s.SelectGSM(ctx, path...)
	if err != nil {
		return nil, err
	}
	if t := fcp.Descriptor.Type; t != uicc.Transparent {
		return nil, fmt.Errorf("%w: %s is a %s, want a transparent EF", ErrFileKind, f, t)
	}
	var out []byte
	for len(out) < fcp.Size.N {
		c := uicc.ReadBinary{Offset: uint16(len(out)), Ne: min(fcp.Size.N-len(out), apdu.MaxShortData)}.Command()
		c.CLA = classGSM
		data, err := s.doOn(ctx, f, c)
		if err != nil {
			return nil, err
		}
		if len(data) == 0 || len(data) > c.Ne {
			return nil, fmt.Errorf("%w: %s has %d bytes, got %d at offset %d", ErrShortRead, f, fcp.Size.N, len(data), len(out))
		}
		out = append(out, data...)
	}
	return out, nil
}
