package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/explain"
)

// directories are those of the table.
func directories() []ef.Dir {
	var list []ef.Dir
	for _, f := range ef.Files() {
		if !slices.Contains(list, f.Dir) {
			list = append(list, f.Dir)
		}
	}
	return list
}

// placeOf is a directory as a Session selects it.
func placeOf(d ef.Dir) card.File {
	fids := d.FIDs()[1:]
	switch app, _, _ := strings.Cut(string(d), "/"); ef.Dir(app) {
	case ef.DirUSIM:
		return card.InApp(usim.AIDPrefix(), fids...)
	case ef.DirISIM:
		return card.InApp([]byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x04}, fids...) // TS 101 220, annex E
	default:
		return card.InMF(fids...)
	}
}

// selects selects what a name, a path, a file identifier or an AID means.
func (s *shell) selects(ctx context.Context, text string) error {
	if text == ".." {
		_, err := s.session.Do(ctx, uicc.Select{By: uicc.ParentDF}.Command())
		return err
	}
	for _, d := range directories() {
		if name := string(d[strings.LastIndex(string(d), "/")+1:]); strings.EqualFold(text, string(d)) || strings.EqualFold(text, name) {
			_, err := s.session.Select(ctx, placeOf(d))
			return err
		}
	}
	files, err := s.named(text)
	switch {
	case err != nil:
		return err
	case files != nil:
		return s.enter(ctx, *files)
	}
	return s.selectHex(ctx, text)
}

// named finds a file by its name or path; nil where none has it.
func (s *shell) named(text string) (*ef.File, error) {
	var found []ef.File
	for _, f := range ef.Files() {
		short := strings.TrimPrefix(f.Name, "EF.")
		if strings.EqualFold(text, f.Path()) || strings.EqualFold(text, f.Name) || strings.EqualFold(text, short) {
			if f.Dir == s.reader.Place().Dir {
				return &f, nil
			}
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	var paths []string
	for _, f := range found {
		paths = append(paths, f.Path())
	}
	return nil, usage(fmt.Errorf("%s may be %s: give the path", text, strings.Join(paths, " or ")))
}

// enter selects a file, from its directory if that is the current one.
func (s *shell) enter(ctx context.Context, f ef.File) error {
	if f.Dir == s.reader.Place().Dir {
		_, err := s.session.Do(ctx, uicc.SelectFID(f.FID).Command())
		return err
	}
	at := placeOf(f.Dir)
	at.Path = append(slices.Clone(at.Path), f.FID)
	_, err := s.session.Select(ctx, at)
	return err
}

// selectHex selects by file identifiers, which / may part, or by an AID.
func (s *shell) selectHex(ctx context.Context, text string) error {
	var fids []uint16
	for part := range strings.SplitSeq(text, "/") {
		n, err := strconv.ParseUint(part, 16, 16)
		if err != nil || len(part) != 4 {
			return s.selectAID(ctx, text)
		}
		fids = append(fids, uint16(n))
	}
	var commands []apdu.Command
	switch {
	case len(fids) > 1 && fids[0] == uicc.FIDMF:
		commands = append(commands, uicc.SelectPath(fids[1:]...).Command())
	case len(fids) > 1 && fids[0] == uicc.FIDCurrentADF:
		commands = append(commands, uicc.SelectPath(fids...).Command())
	default:
		for _, fid := range fids {
			commands = append(commands, uicc.SelectFID(fid).Command())
		}
	}
	for _, c := range commands {
		if _, err := s.session.Do(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *shell) selectAID(ctx context.Context, text string) error {
	aid, err := hex.DecodeString(text)
	if err != nil || len(aid) < 5 || len(aid) > 16 {
		return usage(fmt.Errorf("%s is no file or directory that mcim knows, no file identifier (4 hexadecimal digits) and no AID (10 to 32)", text))
	}
	_, err = s.session.Do(ctx, uicc.SelectAID(aid).Command())
	return err
}

// back selects again what was selected.
func (s *shell) back(ctx context.Context, at explain.Place) error {
	now := s.reader.Place()
	switch {
	case now == at:
		return nil
	case at.Dir == "":
		return usage(errors.New("what was selected cannot be selected again after the card was asked who it is: select it again, and repeat the line"))
	}
	if now.Dir != at.Dir || at.FID == 0 {
		if _, err := s.session.Select(ctx, placeOf(at.Dir)); err != nil {
			return err
		}
	}
	if at.FID == 0 {
		return nil
	}
	_, err := s.session.Do(ctx, uicc.SelectFID(at.FID).Command())
	return err
}

// read reads the current file: its content, or its records, or one of them.
func (s *shell) read(ctx context.Context, fid uint16, record int) ([][]byte, uicc.FCP, error) {
	data, err := s.session.Do(ctx, uicc.SelectFID(fid).Command())
	if err != nil {
		return nil, uicc.FCP{}, err
	}
	fcp, err := uicc.ParseFCP(data)
	if err != nil {
		return nil, fcp, fmt.Errorf("the parameters of the file: %w", err)
	}
	d := fcp.Descriptor
	switch {
	case !d.Type.HasRecords() && record != 0:
		return nil, fcp, usage(fmt.Errorf("the file has no records, it is a %s", d.Type))
	case !d.Type.HasRecords():
		b, err := s.binary(ctx, fcp.Size.N)
		return [][]byte{b}, fcp, err
	case record < 0 || record > int(d.Records):
		return nil, fcp, usage(fmt.Errorf("record %d: the file has records 1 to %d", record, d.Records))
	}
	first, last := max(record, 1), int(d.Records)
	if record != 0 {
		last = record
	}
	var all [][]byte
	for n := first; n <= last; n++ {
		b, err := s.session.Do(ctx, uicc.ReadRecord{Record: byte(n), Ne: int(d.RecordLength)}.Command())
		if err != nil {
			return nil, fcp, err
		}
		all = append(all, slices.Clone(b))
	}
	return all, fcp, nil
}

// binary reads n bytes of the current file.
func (s *shell) binary(ctx context.Context, n int) ([]byte, error) {
	var all []byte
	for len(all) < n {
		b, err := s.session.Do(ctx, uicc.ReadBinary{Offset: uint16(len(all)), Ne: min(n-len(all), apdu.MaxShortData)}.Command())
		if err != nil {
			return nil, err
		}
		if len(b) == 0 {
			return nil, fmt.Errorf("%w: %d of %d bytes", card.ErrShortRead, len(all), n)
		}
		all = append(all, b...)
	}
	return all, nil
}

// listed is a file of ls.
type listed struct {
	Name string `json:"name"`
	FID  string `json:"fid"`  // blank for that of an application
	What string `json:"what"` // as in "transparent EF, 9 bytes"
}

// list asks for the files and directories of the table in the current directory.
func (s *shell) list(ctx context.Context) ([]listed, error) {
	at := s.reader.Place()
	if at.Dir == "" {
		return nil, usage(errors.New("mcim does not know this directory: select another one"))
	}
	list := []listed{}
	for _, f := range ef.Files() {
		if f.Dir != at.Dir {
			continue
		}
		one, err := s.look(ctx, f.Name, f.FID)
		if err != nil {
			return nil, err
		}
		list = append(list, one...)
	}
	for _, d := range directories() {
		one, err := s.below(ctx, at.Dir, d)
		if err != nil {
			return nil, err
		}
		list = append(list, one...)
	}
	return list, s.back(ctx, at)
}

// below tells of a directory, if it is one in the other and on the card. Of those of
// applications EF.DIR tells.
func (s *shell) below(ctx context.Context, in, d ef.Dir) ([]listed, error) {
	above, name := ef.DirMF, string(d)
	if i := strings.LastIndex(name, "/"); i >= 0 {
		above, name = d[:i], name[i+1:]
	}
	if d == ef.DirMF || above != in {
		return nil, nil
	}
	if at := placeOf(d); len(at.Path) == 0 {
		aid, err := s.session.FindApp(ctx, at.AID)
		if errors.Is(err, card.ErrNoApplication) {
			return nil, nil
		}
		return []listed{{name, "    ", fmt.Sprintf("application %X", aid)}}, err
	}
	fids := d.FIDs()
	one, err := s.look(ctx, name, fids[len(fids)-1])
	if err != nil {
		return nil, err
	}
	return one, s.back(ctx, explain.Place{Dir: in})
}

// look tells of one file, or nothing where it is not there.
func (s *shell) look(ctx context.Context, name string, fid uint16) ([]listed, error) {
	data, err := s.session.Do(ctx, uicc.SelectFID(fid).Command())
	var refused *card.CommandError
	if errors.As(err, &refused) {
		if errors.Is(err, apdu.ErrNotFound) {
			return nil, nil
		}
		return []listed{{name, fmt.Sprintf("%04X", fid), refused.SW.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	what := "not understood"
	if fcp, err := uicc.ParseFCP(data); err == nil {
		what = fcp.Descriptor.Type.String()
		switch d := fcp.Descriptor; {
		case d.Type.HasRecords():
			what += fmt.Sprintf(", %d records of %d bytes", d.Records, d.RecordLength)
		case fcp.Size.Width > 0:
			what += fmt.Sprintf(", %d bytes", fcp.Size.N)
		}
	}
	return []listed{{name, fmt.Sprintf("%04X", fid), what}}, nil
}
