package uicc

import (
	"encoding/binary"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/tlv"
)

// Instruction bytes of the administration of files (TS 102 222, 6.2; ACTIVATE and
// DEACTIVATE FILE TS 102 221, 11.1.14 and 11.1.15).
const (
	INSDeactivateFile byte = 0x04
	INSActivateFile   byte = 0x44
	INSResizeFile     byte = 0xD4
	INSCreateFile     byte = 0xE0
	INSDeleteFile     byte = 0xE4
	INSTerminateDF    byte = 0xE6
	INSTerminateEF    byte = 0xE8
	INSTerminateCard  byte = 0xFE
)

// createOrder is the order of the data objects in CREATE FILE (TS 102 222, 6.3.2.2).
func createOrder() []uint32 {
	return []uint32{
		TagFileDescriptor, TagFID, TagDFName, TagLifeCycle, TagSecurityARR, TagSecurityCompact, TagSecurityRules,
		TagFileSize, TagTotalSize, TagPINStatus, TagSFI, TagProprietary,
	}
}

// CreateFile is CREATE FILE (TS 102 222, 6.3): a DF, an ADF or an EF in the current
// directory. What was created is selected.
type CreateFile struct {
	// FCP describes the file: Descriptor, FID, LifeCycle and one form of access rules,
	// and Size for an EF. Records of the Descriptor may be 0: the card divides.
	FCP FCP
}

// Command encodes the command.
func (c CreateFile) Command() apdu.Command {
	f := c.FCP
	if f.Order == nil {
		f.Order = createOrder()
	}
	f.Descriptor.Records = 0
	data := f.Bytes()
	switch {
	case f.FID == 0:
		return invalid("CREATE FILE", "no file identifier")
	case f.Descriptor.Type != Directory && f.Size.Width == 0:
		return invalid("CREATE FILE", "an EF has no size")
	case len(data) > apdu.MaxShortData:
		return invalid("CREATE FILE", "FCP of %d bytes, want up to 255", len(data))
	}
	return apdu.Command{CLA: classBasic, INS: INSCreateFile, Data: data}
}

// ResizeFile is RESIZE FILE (TS 102 222, 6.10) of an EF in the current directory.
type ResizeFile struct {
	FID  uint16
	Size int // bytes, of all records
	// Proprietary is the content of template A5, such as a filling pattern; nil: none.
	Proprietary []tlv.TLV
}

// Command encodes the command, of class 80.
func (r ResizeFile) Command() apdu.Command {
	if r.FID == 0 || r.Size < 1 || r.Size > maxSize {
		return invalid("RESIZE FILE", "file %04X, %d bytes", r.FID, r.Size)
	}
	list := []tlv.TLV{
		tlv.New(TagFID, binary.BigEndian.AppendUint16(nil, r.FID)), tlv.New(TagFileSize, NewSize(r.Size).value()),
	}
	if r.Proprietary != nil {
		list = append(list, tlv.Nest(TagProprietary, r.Proprietary...))
	}
	return apdu.Command{CLA: classETSI, INS: INSResizeFile, Data: tlv.Encode(tlv.Nest(TagFCP, list...))}
}

const maxSize = 1<<24 - 1 // bytes of a file

// ParseResizeFile decodes the data of RESIZE FILE. Data objects other than those of
// ResizeFile are refused. The error wraps ErrFCP.
func ParseResizeFile(b []byte) (ResizeFile, error) {
	outer, err := tlv.Decode(b)
	if err != nil || len(outer) != 1 || outer[0].Tag != TagFCP {
		return ResizeFile{}, fmt.Errorf("%w: not one data object with tag 62", ErrFCP)
	}
	list, err := outer[0].Children()
	if err != nil {
		return ResizeFile{}, fmt.Errorf("%w: %w", ErrFCP, err)
	}
	var r ResizeFile
	for _, t := range list {
		switch t.Tag {
		case TagFID:
			r.FID, err = parseFID(t.Value)
		case TagFileSize:
			var s Size
			s, err = parseSize(t.Value)
			r.Size = s.N
		case TagProprietary:
			r.Proprietary, err = parseProprietary(t)
		default:
			err = fmt.Errorf("%w: tag %02X", ErrFCP, t.Tag)
		}
		if err != nil {
			return ResizeFile{}, err
		}
	}
	if r.FID == 0 || r.Size == 0 {
		return ResizeFile{}, fmt.Errorf("%w: no file identifier or no size", ErrFCP)
	}
	return r, nil
}

// DeleteFile is DELETE FILE (TS 102 222, 6.4) of a file in the current directory, or of
// that directory.
type DeleteFile struct{ FID uint16 }

// Command encodes the command.
func (d DeleteFile) Command() apdu.Command { return onFile("DELETE FILE", INSDeleteFile, d.FID, true) }

// ActivateFile is ACTIVATE FILE (TS 102 221, 11.1.14). FID 0 is the current EF, or the
// current directory where no EF is selected.
type ActivateFile struct{ FID uint16 }

// Command encodes the command.
func (a ActivateFile) Command() apdu.Command {
	return onFile("ACTIVATE FILE", INSActivateFile, a.FID, false)
}

// DeactivateFile is DEACTIVATE FILE (TS 102 221, 11.1.15). FID is as in ActivateFile.
type DeactivateFile struct{ FID uint16 }

// Command encodes the command.
func (d DeactivateFile) Command() apdu.Command {
	return onFile("DEACTIVATE FILE", INSDeactivateFile, d.FID, false)
}

// TerminateEF is TERMINATE EF (TS 102 222, 6.8). It cannot be undone. FID 0 is the
// current EF.
type TerminateEF struct{ FID uint16 }

// Command encodes the command.
func (t TerminateEF) Command() apdu.Command {
	return onFile("TERMINATE EF", INSTerminateEF, t.FID, false)
}

// TerminateDF is TERMINATE DF (TS 102 222, 6.7). It cannot be undone. FID 0 is the
// current directory.
type TerminateDF struct{ FID uint16 }

// Command encodes the command.
func (t TerminateDF) Command() apdu.Command {
	return onFile("TERMINATE DF", INSTerminateDF, t.FID, false)
}

// TerminateCard is TERMINATE CARD USAGE (TS 102 222, 6.9). It cannot be undone, and the
// card is of no use any more.
type TerminateCard struct{}

// Command encodes the command.
func (TerminateCard) Command() apdu.Command {
	return apdu.Command{CLA: classBasic, INS: INSTerminateCard}
}

// onFile is a command about a file by its identifier, which may be 0 unless named.
func onFile(name string, ins byte, fid uint16, named bool) apdu.Command {
	c := apdu.Command{CLA: classBasic, INS: ins}
	switch {
	case fid != 0:
		c.Data = binary.BigEndian.AppendUint16(nil, fid)
	case named:
		return invalid(name, "no file identifier")
	}
	return c
}
