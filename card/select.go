package card

import (
	"context"
	"errors"
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

// SeekRecords selects a linear fixed file, of class A0, and gives the numbers of the
// records that begin with the pattern, 1 to 16 bytes; none is no error (SEEK; TS 51.011,
// 9.2.7). A file that is not of class A0 is ErrClass.
func (s *Session) SeekRecords(ctx context.Context, f File, pattern []byte) (found []int, err error) {
	if !f.ClassA0 {
		return nil, fmt.Errorf("%w: SEEK is of class A0; SEARCH RECORD is that of class 00", ErrClass)
	}
	fcp, err := s.Select(ctx, f)
	if err != nil {
		return nil, err
	}
	if t := fcp.Descriptor.Type; t != uicc.LinearFixed {
		return nil, fmt.Errorf("%w: %s is a %s, want a linear fixed EF", ErrFileKind, f, t)
	}
	seek := uicc.Seek{From: uicc.SeekFirst, Tell: true, Pattern: pattern}
	for last := 0; last < int(fcp.Descriptor.Records); seek.From = uicc.SeekNext {
		answer, err := s.doOn(ctx, f, seek.Command())
		if errors.Is(err, swGSMNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(answer) != 1 || int(answer[0]) <= last {
			return nil, fmt.Errorf("SEEK in %s: %w: it gives %X behind record %d", f, ErrResponseLoop, answer, last)
		}
		last = int(answer[0])
		found = append(found, last)
	}
	return found, nil
}

// swGSMNotFound says of SEEK that no record has the pattern (TS 51.011, 9.4.4).
const swGSMNotFound apdu.StatusWord = 0x9404
