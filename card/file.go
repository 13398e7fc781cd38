package card

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// Errors of reading files.
var (
	// ErrNoApplication: EF.DIR names no application with that AID.
	ErrNoApplication = errors.New("application not on the card")
	// ErrFileKind: the file is not of the kind that the operation needs.
	ErrFileKind = errors.New("wrong kind of file")
	// ErrShortRead: the card gave less than its FCP promises.
	ErrShortRead = errors.New("card gave fewer bytes than the file has")
)

// File names a file by its place. The zero value is the MF.
type File struct {
	// AID is the AID of the application, or the start of it: the whole one is
	// looked up in EF.DIR. Without it the path begins below the MF.
	AID  []byte
	Path []uint16 // file identifiers, without MF and ADF; empty: the directory itself
	// ClassA0 says that all commands about the file are of class A0 (TS 51.011), on the
	// basic channel. What the card tells of it is given in the form of a UICC.
	ClassA0 bool
}

// InMF is the file with this path below the MF.
func InMF(path ...uint16) File { return File{Path: path} }

// InApp is the file with this path below the application's directory.
func InApp(aid []byte, path ...uint16) File { return File{AID: aid, Path: path} }

// InGSM is the file with this path below the MF, in class A0.
func InGSM(path ...uint16) File { return File{Path: path, ClassA0: true} }

// String is the file's path, as in "3F00/2FE2" or "A0000000871002/6F07".
func (f File) String() string {
	s := "3F00"
	if len(f.AID) > 0 {
		s = fmt.Sprintf("%X", f.AID)
	}
	for _, fid := range f.Path {
		s += fmt.Sprintf("/%04X", fid)
	}
	return s
}

// selection is what a Session remembers of the card's files.
type selection struct {
	// current is the AID of the application whose ADF is the current directory;
	// empty where it is another one or not known.
	current string
	apps    [][]byte // the AIDs in EF.DIR, nil before it was read
	forgets int      // the link's at the time of all this
}

// doOn is Do for a command that concerns a file.
func (s *Session) doOn(ctx context.Context, f File, c apdu.Command) ([]byte, error) {
	if f.ClassA0 {
		c = inClassA0(c)
	}
	r, err := s.sendOn(ctx, c)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f, err)
	case !r.SW.OK() && !selected(c, r):
		return nil, &CommandError{Command: CommandName(c), File: f.String(), SW: r.SW}
	}
	return r.Data, nil
}

// inClassA0 is the command in class A0, which is for T=0 alone, so that a command with
// data has no Le, and in which SELECT has no options (TS 51.011, 9.2.1).
func inClassA0(c apdu.Command) apdu.Command {
	c.CLA = classGSM
	if len(c.Data) > 0 {
		c.Ne = 0
	}
	if c.INS == uicc.INSSelect {
		c.P2 = 0
	}
	return c
}

// selected tells that a SELECT ended in a warning about the life cycle of what it
// selected, which the FCP tells as well.
func selected(c apdu.Command, r apdu.Response) bool {
	return c.INS == uicc.INSSelect && len(r.Data) > 0 && (r.SW == apdu.SWFileDeactivated || r.SW == apdu.SWFileTerminated)
}

// Select selects a file and gives its FCP. A file that is not there is a
// *CommandError (apdu.ErrNotFound), an application that EF.DIR does not name
// ErrNoApplication.
func (s *Session) Select(ctx context.Context, f File) (uicc.FCP, error) {
	data, err := s.selectFile(ctx, f)
	if err != nil {
		return uicc.FCP{}, err
	}
	parse := uicc.ParseFCP
	if f.ClassA0 {
		parse = parseGSM
	}
	fcp, err := parse(data)
	if err != nil {
		return uicc.FCP{}, fmt.Errorf("SELECT of %s: %w", f, err)
	}
	return fcp, nil
}

func parseGSM(b []byte) (uicc.FCP, error) {
	answer, err := uicc.ParseGSMResponse(b)
	return answer.FCP(), err
}

func (s *Session) selectFile(ctx context.Context, f File) (data []byte, err error) {
	if f.ClassA0 {
		for _, fid := range append([]uint16{uicc.FIDMF}, f.Path...) {
			if data, err = s.doOn(ctx, f, uicc.SelectFID(fid).Command()); err != nil {
				return nil, err
			}
		}
		return data, nil
	}
	if len(f.AID) > 0 {
		return s.selectInApp(ctx, f)
	}
	if len(f.Path) == 0 {
		return s.doOn(ctx, f, uicc.SelectFID(uicc.FIDMF).Command())
	}
	return s.doOn(ctx, f, uicc.SelectPath(f.Path...).Command())
}

// selectInApp selects the application, unless it is the current directory, and
// walks the path. A single step leaves the application current.
func (s *Session) selectInApp(ctx context.Context, f File) (data []byte, err error) {
	aid, err := s.FindApp(ctx, f.AID)
	if err != nil {
		return nil, err
	}
	state := s.link.state() // a REFRESH may reset the card on the way
	if len(f.Path) == 0 || s.files.current != string(aid) {
		data, err = s.doOn(ctx, f, uicc.SelectAID(aid).Command())
		if err != nil {
			return nil, err
		}
	}
	for _, fid := range f.Path {
		data, err = s.doOn(ctx, f, uicc.SelectFID(fid).Command())
		if err != nil {
			return nil, err
		}
	}
	if len(f.Path) <= 1 && s.link.state() == state {
		s.files.current = string(aid)
	}
	return data, nil
}

// enter makes the application's directory the current one, if it is not.
func (s *Session) enter(ctx context.Context, aid []byte) error {
	whole, err := s.FindApp(ctx, aid)
	if err != nil || s.files.current == string(whole) {
		return err
	}
	_, err = s.selectInApp(ctx, InApp(whole))
	return err
}

// FindApp gives the whole AID of the first application in EF.DIR whose AID
// begins with prefix (TS 102 221, 13.1), or ErrNoApplication.
func (s *Session) FindApp(ctx context.Context, prefix []byte) ([]byte, error) {
	apps, err := s.Apps(ctx)
	if err != nil {
		return nil, err
	}
	for _, aid := range apps {
		if bytes.HasPrefix(aid, prefix) {
			return aid, nil
		}
	}
	if s.IsSIM() {
		return nil, fmt.Errorf("%w: the card is a SIM of class A0, which has none", ErrNoApplication)
	}
	return nil, fmt.Errorf("%w: EF.DIR has no AID that begins with %s", ErrNoApplication, hex.EncodeToString(prefix))
}

// Apps gives the AIDs in EF.DIR, in its order; none of a SIM. EF.DIR is read once for each
// reset of the card.
func (s *Session) Apps(ctx context.Context) ([][]byte, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if s.files.apps != nil {
		return s.files.apps, nil
	}
	records, err := s.ReadRecords(ctx, InMF(uicc.FIDEFDIR))
	apps := [][]byte{}
	switch {
	case s.IsSIM():
		records = nil // class A0 selects no application
	case err != nil:
		return nil, err
	}
	for i, r := range records {
		d, err := uicc.DecodeDirRecord(r)
		switch {
		case errors.Is(err, uicc.ErrEmptyRecord):
		case err != nil:
			return nil, fmt.Errorf("record %d of EF.DIR: %w", i+1, err)
		default:
			apps = append(apps, d.AID)
		}
	}
	s.files.apps = apps
	return apps, nil
}

// ReadFile reads a whole transparent file, as long as its FCP says.
func (s *Session) ReadFile(ctx context.Context, f File) ([]byte, error) {
	fcp, err := s.Select(ctx, f)
	if err != nil {
		return nil, err
	}
	if t := fcp.Descriptor.Type; t != uicc.Transparent {
		return nil, fmt.Errorf("%w: %s is a %s, want a transparent EF", ErrFileKind, f, t)
	}
	return s.readSelected(ctx, f, 0, fcp.Size.N)
}

// ICCID reads EF.ICCID and gives its digits (TS 102 221, 13.2). Content that is
// no ICCID is uicc.ErrICCID.
func (s *Session) ICCID(ctx context.Context) (string, error) {
	b, err := s.ReadFile(ctx, InMF(uicc.FIDEFICCID))
	if err != nil {
		return "", err
	}
	return uicc.DecodeICCID(b)
}

// readSelected reads n bytes from offset of the current file, which is f.
func (s *Session) readSelected(ctx context.Context, f File, offset, n int) ([]byte, error) {
	var out []byte
	for len(out) < n {
		at := offset + len(out)
		data, err := s.doOn(ctx, f, uicc.ReadBinary{Offset: uint16(at), Ne: min(n-len(out), apdu.MaxShortData)}.Command())
		if err != nil {
			return nil, err
		}
		if len(data) == 0 || len(data) > n-len(out) {
			return nil, fmt.Errorf("%w: %s has %d bytes, got %d at offset %d", ErrShortRead, f, offset+n, len(data), at)
		}
		out = append(out, data...)
	}
	return out, nil
}

// ReadRecords reads all records of a linear fixed or cyclic file.
func (s *Session) ReadRecords(ctx context.Context, f File) ([][]byte, error) {
	fcp, err := s.Select(ctx, f)
	if err != nil {
		return nil, err
	}
	d := fcp.Descriptor
	if !d.Type.HasRecords() {
		return nil, fmt.Errorf("%w: %s is a %s, want an EF with records", ErrFileKind, f, d.Type)
	}
	var out [][]byte
	for n := 1; n <= int(d.Records); n++ {
		data, err := s.readRecord(ctx, f, n, int(d.RecordLength))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

// readRecord reads record n, of length bytes, of the current file, which is f.
func (s *Session) readRecord(ctx context.Context, f File, n, length int) ([]byte, error) {
	data, err := s.doOn(ctx, f, uicc.ReadRecord{Record: byte(n), Ne: length}.Command())
	if err != nil {
		return nil, err
	}
	if len(data) != length {
		return nil, fmt.Errorf("%w: record %d of %s has %d bytes, got %d", ErrShortRead, n, f, length, len(data))
	}
	return data, nil
}

// SearchRecords selects a file with records and gives the numbers of those that hold the
// pattern, in the order of the search; none is no error (TS 102 221, 11.1.7). SFI of the
// search is to be 0.
func (s *Session) SearchRecords(ctx context.Context, f File, search uicc.SearchRecord) ([]int, error) {
	fcp, err := s.Select(ctx, f)
	if err != nil {
		return nil, err
	}
	if !fcp.Descriptor.Type.HasRecords() {
		return nil, fmt.Errorf("%w: %s is a %s, want an EF with records", ErrFileKind, f, fcp.Descriptor.Type)
	}
	if search.Record == 0 { // nothing is current after a selection
		search.Record = 1
		if search.From == uicc.BackwardFrom || search.From == uicc.BackwardFromPrevious {
			search.Record = fcp.Descriptor.Records
		}
	}
	data, err := s.doOn(ctx, f, search.Command())
	if errors.Is(err, apdu.SWUnsuccessfulSearch) {
		return nil, nil
	}
	var found []int
	for _, n := range data {
		found = append(found, int(n))
	}
	return found, err
}
