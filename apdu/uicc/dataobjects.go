package uicc

import (
	"fmt"

	"mcim/apdu"
	"mcim/apdu/tlv"
)

// Instruction bytes of the commands for EFs of BER-TLV structure (TS 102 221, 11.3).
const (
	INSRetrieveData byte = 0xCB
	INSSetData      byte = 0xDB
)

// TagList is the tag by which RETRIEVE DATA gives the tags of all data objects of the
// file; no object has it (TS 102 221, 11.3).
const TagList uint32 = 0x5C

// Tags inside the proprietary template A5 of an EF of BER-TLV structure (TS 102 221,
// 11.1.1.4.6).
const (
	TagFileDetails  uint32 = 0x84
	TagReservedSize uint32 = 0x85
	TagMaximumSize  uint32 = 0x86

	// DERCoding in the file details: lengths are in their shortest form.
	DERCoding byte = 0x01
)

// DataBlock is the upper part of P2 of RETRIEVE DATA and SET DATA: which block of a data
// object this is (TS 102 221, 11.3).
type DataBlock byte

// Blocks. PreviousBlock asks RETRIEVE DATA for the last one again.
const (
	NextBlock     DataBlock = 0x00
	PreviousBlock DataBlock = 0x40
	FirstBlock    DataBlock = 0x80

	blockBits = 0xC0
	blockSFI  = 0x1F
)

// ParseDataBlock decodes P1 and P2 of both commands: the block, and with a first one the
// short identifier of the EF, 0 for the current one. The error wraps ErrField.
func ParseDataBlock(p1, p2 byte) (block DataBlock, sfi byte, err error) {
	block, sfi = DataBlock(p2&blockBits), p2&blockSFI
	if p1 != 0 || p2&^(blockBits|blockSFI) != 0 || block == FirstBlock|PreviousBlock || sfi > MaxSFI || sfi != 0 && block != FirstBlock {
		return 0, 0, fmt.Errorf("%w: P1 %02X, P2 %02X name no block of an EF", ErrField, p1, p2)
	}
	return block, sfi, nil
}

// RetrieveData is RETRIEVE DATA (TS 102 221, 11.3.1): a data object of an EF, tag and
// length included, in blocks. SWMoreData tells that others follow.
type RetrieveData struct {
	Block DataBlock
	SFI   byte   // of the EF, 1 to 30, with the first block; 0: the current one
	Tag   uint32 // with the first block; TagList gives the tags of all
	Ne    int    // bytes expected, 1 to 256
}

// Command encodes the command, of class 80.
func (r RetrieveData) Command() apdu.Command {
	p2 := byte(r.Block) | r.SFI
	c := apdu.Command{CLA: classETSI, INS: INSRetrieveData, P2: p2, Ne: r.Ne}
	if r.Block == FirstBlock {
		c.Data = tlv.TagBytes(r.Tag)
	}
	block, sfi, err := ParseDataBlock(0, p2)
	switch {
	case err != nil || block != r.Block || sfi != r.SFI:
		return invalid("RETRIEVE DATA", "block %02X, SFI %d", byte(r.Block), r.SFI)
	case r.Ne < 1 || r.Ne > apdu.MaxShortNe:
		return invalid("RETRIEVE DATA", "%d bytes expected, want 1 to 256", r.Ne)
	case r.Block == FirstBlock && !isTag(r.Tag), r.Block != FirstBlock && r.Tag != 0:
		return invalid("RETRIEVE DATA", "tag %X", r.Tag)
	}
	return c
}

// SetData is SET DATA (TS 102 221, 11.3.2): a data object for an EF, in blocks. A first
// block of a tag alone deletes the object. SWDataExpected tells that blocks are missing.
type SetData struct {
	Block DataBlock // FirstBlock or NextBlock
	SFI   byte      // of the EF, 1 to 30, with the first block; 0: the current one
	Data  []byte    // 1 to 255 bytes
}

// Command encodes the command, of class 80.
func (s SetData) Command() apdu.Command {
	p2 := byte(s.Block) | s.SFI
	block, sfi, err := ParseDataBlock(0, p2)
	switch {
	case err != nil || block != s.Block || sfi != s.SFI || block == PreviousBlock:
		return invalid("SET DATA", "block %02X, SFI %d", byte(s.Block), s.SFI)
	case len(s.Data) == 0 || len(s.Data) > apdu.MaxShortData:
		return invalid("SET DATA", "%d bytes, want 1 to 255", len(s.Data))
	}
	return apdu.Command{CLA: classETSI, INS: INSSetData, P2: p2, Data: s.Data}
}

// SetObject is what SET DATA needs to put a data object into the current EF. The error
// wraps ErrField.
func SetObject(tag uint32, value []byte) ([]apdu.Command, error) {
	if err := checkObject(tag); err != nil {
		return nil, err
	}
	if len(value) > maxSize {
		return nil, fmt.Errorf("SET DATA: %w: %d bytes", ErrField, len(value))
	}
	var list []apdu.Command
	block := FirstBlock
	for b := tlv.New(tag, value).Append(nil); len(b) > 0; block = NextBlock {
		n := min(len(b), apdu.MaxShortData)
		list = append(list, SetData{Block: block, Data: b[:n]}.Command())
		b = b[n:]
	}
	return list, nil
}

// DeleteObject is SET DATA that takes a data object off the current EF.
func DeleteObject(tag uint32) apdu.Command {
	if err := checkObject(tag); err != nil {
		return apdu.Command{Err: err}
	}
	return SetData{Block: FirstBlock, Data: tlv.TagBytes(tag)}.Command()
}

func checkObject(tag uint32) error {
	if !isTag(tag) || tag == TagList {
		return fmt.Errorf("SET DATA: %w: no data object can have the tag %X", ErrField, tag)
	}
	return nil
}

func isTag(tag uint32) bool {
	b := tlv.TagBytes(tag)
	_, n, err := tlv.DecodeTag(b)
	return err == nil && n == len(b)
}

// EncodeTagList is the data object with the tags of others.
func EncodeTagList(tags []uint32) tlv.TLV {
	var b []byte
	for _, tag := range tags {
		b = append(b, tlv.TagBytes(tag)...)
	}
	return tlv.New(TagList, b)
}

// DecodeTagList decodes the value of the data object with the tags. The error wraps
// ErrField.
func DecodeTagList(b []byte) ([]uint32, error) {
	tags := []uint32{}
	for len(b) > 0 {
		tag, n, err := tlv.DecodeTag(b)
		if err != nil {
			return nil, fmt.Errorf("list of tags: %w: %w", ErrField, err)
		}
		tags, b = append(tags, tag), b[n:]
	}
	return tags, nil
}

// ObjectRoom is how much room an EF of BER-TLV structure has for its data objects, in
// bytes: what the card keeps free for it, and what it may come to. Where the FCP does not
// tell them apart both are its size.
func (f FCP) ObjectRoom() (reserved, most int) {
	reserved = f.Size.N
	if n, ok := f.roomIn(TagReservedSize); ok {
		reserved = n
	}
	most = reserved
	if n, ok := f.roomIn(TagMaximumSize); ok {
		most = n
	}
	return reserved, most
}

func (f FCP) roomIn(tag uint32) (n int, ok bool) {
	t, ok := tlv.Find(f.Proprietary, tag)
	if !ok || len(t.Value) == 0 || len(t.Value) > 3 {
		return 0, false
	}
	for _, b := range t.Value {
		n = n<<8 | int(b)
	}
	return n, true
}
