package uicc

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/tlv"
)

// TestDataCommands are the bytes of TS 102 221, 11.3.
func TestDataCommands(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command apdu.Command
		want    string
	}{
		"retrieve":       {RetrieveData{Block: FirstBlock, Tag: 0x80, Ne: 256}.Command(), "80CB0080018000"},
		"retrieve tags":  {RetrieveData{Block: FirstBlock, SFI: 5, Tag: TagList, Ne: 16}.Command(), "80CB0085015C10"},
		"retrieve long":  {RetrieveData{Block: FirstBlock, Tag: 0xBF8101, Ne: 1}.Command(), "80CB008003BF810101"},
		"retrieve next":  {RetrieveData{Block: NextBlock, Ne: 255}.Command(), "80CB0000FF"},
		"retrieve again": {RetrieveData{Block: PreviousBlock, Ne: 255}.Command(), "80CB0040FF"},
		"set":            {SetData{Block: FirstBlock, SFI: 30, Data: []byte{0x80, 0}}.Command(), "80DB009E028000"},
		"set next":       {SetData{Block: NextBlock, Data: []byte{1}}.Command(), "80DB00000101"},
		"delete":         {DeleteObject(0x5F20), "80DB0080025F20"},
	} {
		b, err := c.command.Bytes()
		if err != nil || !bytes.Equal(b, fromHex(t, c.want)) {
			t.Errorf("%s: %X %v, want %s", name, b, err, c.want)
		}
	}
	for name, c := range map[string]apdu.Command{
		"no tag": RetrieveData{Block: FirstBlock, Ne: 1}.Command(), "long tag": RetrieveData{Block: FirstBlock, Tag: 0x5F818101, Ne: 1}.Command(),
		"half a tag": RetrieveData{Block: FirstBlock, Tag: 0x5F, Ne: 1}.Command(), "tag of a next block": RetrieveData{Tag: 0x80, Ne: 1}.Command(),
		"nothing expected": RetrieveData{}.Command(), "much expected": RetrieveData{Ne: 257}.Command(), "block": RetrieveData{Block: 0xC0, Ne: 1}.Command(),
		"SFI of a next block": RetrieveData{SFI: 1, Ne: 1}.Command(), "SFI": RetrieveData{Block: FirstBlock, SFI: 31, Tag: 0x80, Ne: 1}.Command(),
		"SFI in the block": RetrieveData{Block: FirstBlock | 1, Tag: 0x80, Ne: 1}.Command(),
		"set nothing":      SetData{Block: FirstBlock}.Command(), "set much": SetData{Block: FirstBlock, Data: make([]byte, 256)}.Command(),
		"set again": SetData{Block: PreviousBlock, Data: []byte{1}}.Command(), "set SFI": SetData{Block: FirstBlock, SFI: 0x40, Data: []byte{1}}.Command(),
		"delete the list": DeleteObject(TagList), "delete nothing": DeleteObject(0),
	} {
		if _, err := c.Bytes(); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetObject(t *testing.T) {
	t.Parallel()
	value := bytes.Repeat([]byte{7}, 300)
	commands, err := SetObject(0x80, value)
	if err != nil || len(commands) != 2 {
		t.Fatal(len(commands), err)
	}
	if commands[0].P2 != 0x80 || len(commands[0].Data) != 255 || commands[1].P2 != 0 ||
		!bytes.Equal(append(bytes.Clone(commands[0].Data), commands[1].Data...), tlv.New(0x80, value).Append(nil)) {
		t.Errorf("%v", commands)
	}
	for _, tag := range []uint32{0, TagList, 0x5F, 0x5F1E, 0x5F818101} {
		if _, err := SetObject(tag, nil); !errors.Is(err, ErrField) {
			t.Errorf("tag %X: %v", tag, err)
		}
	}
	if _, err := SetObject(0x80, make([]byte, maxSize+1)); !errors.Is(err, ErrField) {
		t.Error(err)
	}
}

func TestTagList(t *testing.T) {
	t.Parallel()
	tags := []uint32{0x80, 0x5F20, 0xBF8101}
	object := EncodeTagList(tags)
	if !bytes.Equal(object.Append(nil), fromHex(t, "5C06805F20BF8101")) {
		t.Errorf("%X", object.Append(nil))
	}
	got, err := DecodeTagList(object.Value)
	if d := cmp.Diff(tags, got); err != nil || d != "" {
		t.Error(err, d)
	}
	for _, bad := range []string{"00", "805F", "5F1E", "BF8181"} {
		if _, err := DecodeTagList(fromHex(t, bad)); !errors.Is(err, ErrField) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestObjectRoom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		proprietary    []tlv.TLV
		reserved, most int
	}{
		{nil, 10, 10},
		{[]tlv.TLV{tlv.New(TagMaximumSize, []byte{1, 0})}, 10, 256},
		{[]tlv.TLV{tlv.New(TagReservedSize, []byte{20}), tlv.New(TagMaximumSize, []byte{1, 0, 0})}, 20, 65536},
		{[]tlv.TLV{tlv.New(TagReservedSize), tlv.New(TagMaximumSize, make([]byte, 4))}, 10, 10},
	} {
		reserved, most := FCP{Size: NewSize(10), Proprietary: c.proprietary}.ObjectRoom()
		if reserved != c.reserved || most != c.most {
			t.Errorf("%v: %d %d", c.proprietary, reserved, most)
		}
	}
}

// FuzzDataObjects runs the decoders of data object commands: what they accept is encoded to
// the same bytes.
func FuzzDataObjects(f *testing.F) {
	for _, s := range []string{"805F20BF8101", "5C00", "808101", "9D00"} {
		f.Add(fromHex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if tags, err := DecodeTagList(b); err == nil && !bytes.Equal(EncodeTagList(tags).Value, append([]byte{}, b...)) {
			t.Errorf("%X became %X", b, EncodeTagList(tags).Value)
		}
		if tag, length, size, err := tlv.DecodeHeader(b); err == nil {
			if back := (tlv.TLV{Tag: tag, Value: make([]byte, length)}).Append(nil); !bytes.Equal(back[:size], b[:size]) {
				t.Errorf("header %X became %X", b[:size], back[:size])
			}
		}
		if len(b) > 1 {
			if block, sfi, err := ParseDataBlock(b[0], b[1]); err == nil && (b[0] != 0 || byte(block)|sfi != b[1]) {
				t.Errorf("P1 %02X P2 %02X became %02X %d", b[0], b[1], byte(block), sfi)
			}
		}
	})
}
