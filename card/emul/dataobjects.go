package emul

import (
	"slices"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// transfer is a data object on its way through the blocks of RETRIEVE DATA or SET DATA,
// of one logical channel (TS 102 221, 11.3). A selection ends it.
type transfer struct {
	file       object
	out        []byte // the object that goes out, with tag and length; nil: one comes in
	last, sent int    // out[last:sent] was the last block
	in         []byte
	missing    int // bytes of the object that comes in
}

// objectFile finds the EF of BER-TLV structure that a command is about.
func (c *Card) objectFile(ch *channel, sfi byte, op uicc.Access) (*file, apdu.StatusWord) {
	f := ch.file
	if sfi != 0 {
		if f = ch.dir.bySFI(sfi); f == nil {
			return nil, apdu.SWFileNotFound
		}
	}
	switch {
	case f == nil:
		return nil, apdu.SWNoFileSelected
	case f.limit == 0:
		return nil, apdu.SWWrongStructure
	}
	if sw := usable(ch.dir, f); sw != apdu.SWOK {
		return nil, sw
	}
	if !c.granted(f.access, op) {
		return nil, apdu.SWSecurityStatus
	}
	return f, apdu.SWOK
}

// retrieveData is RETRIEVE DATA (TS 102 221, 11.3.1).
func (c *Card) retrieveData(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	block, sfi, err := uicc.ParseDataBlock(cmd.P1, cmd.P2)
	switch {
	case err != nil:
		return apdu.SWIncorrectP1P2
	case (block == uicc.FirstBlock) == (len(cmd.Data) == 0):
		return apdu.SWWrongLength
	}
	f, sw := c.objectFile(ch, sfi, uicc.AccessRead)
	if sw != apdu.SWOK {
		return sw
	}
	if block == uicc.FirstBlock {
		return c.giveFirst(ch, f, cmd)
	}
	t := ch.transfer
	if t == nil || t.out == nil || t.file != f.id {
		return apdu.SWConditionsNotSatisfied
	}
	start := t.sent
	if block == uicc.PreviousBlock {
		start = t.last
	}
	switch rest := len(t.out) - start; {
	case rest == 0:
		return apdu.SWConditionsNotSatisfied
	case expected(cmd) > rest:
		return 0x6C00 | apdu.StatusWord(byte(rest))
	}
	b, sw := t.block(start, expected(cmd))
	c.out = append(c.out, b...)
	return sw
}

// giveFirst begins with the object that has the tag in the command.
func (c *Card) giveFirst(ch *channel, f *file, cmd *apdu.Command) apdu.StatusWord {
	tag, n, err := tlv.DecodeTag(cmd.Data)
	if err != nil || n != len(cmd.Data) {
		return apdu.SWWrongData
	}
	out := f.object(tag)
	if out == nil {
		return apdu.SWReferencedDataNotFound
	}
	ch.file, ch.record, ch.transfer = f, 0, &transfer{file: f.id, out: out}
	b, sw := ch.transfer.block(0, expected(cmd))
	return c.replyWarned(cmd, b, sw)
}

// block is up to n bytes from start, and whether others follow.
func (t *transfer) block(start, n int) ([]byte, apdu.StatusWord) {
	t.last, t.sent = start, min(start+n, len(t.out))
	if t.sent < len(t.out) {
		return t.out[t.last:t.sent], uicc.SWMoreData
	}
	return t.out[t.last:t.sent], apdu.SWOK
}

// objects are the data objects of the EF, in the order in which they were set.
func (f *file) objects() []tlv.TLV {
	list, _ := tlv.Decode(f.data) // it was checked before it was stored or restored
	return list
}

// object is a data object with tag and length, or the list of tags; nil is not there.
func (f *file) object(tag uint32) []byte {
	var tags []uint32
	for _, o := range f.objects() {
		if tags = append(tags, o.Tag); o.Tag == tag {
			return o.Append(nil)
		}
	}
	if tag == uicc.TagList {
		return uicc.EncodeTagList(tags).Append(nil)
	}
	return nil
}

// without is the content but for one object, and whether that was there.
func (f *file) without(tag uint32) (rest []byte, had bool) {
	for _, o := range f.objects() {
		if o.Tag == tag {
			had = true
			continue
		}
		rest = o.Append(rest)
	}
	return rest, had
}

// setData is SET DATA (TS 102 221, 11.3.2).
func (c *Card) setData(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	block, sfi, err := uicc.ParseDataBlock(cmd.P1, cmd.P2)
	switch {
	case err != nil, block == uicc.PreviousBlock:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) == 0:
		return apdu.SWWrongLength
	}
	f, sw := c.objectFile(ch, sfi, uicc.AccessUpdate)
	if sw != apdu.SWOK {
		return sw
	}
	t := ch.transfer
	switch {
	case block == uicc.FirstBlock:
		ch.file, ch.record, ch.transfer = f, 0, nil
		return c.takeFirst(ch, f, cmd.Data)
	case t == nil || t.missing == 0 || t.file != f.id:
		return apdu.SWConditionsNotSatisfied
	case len(cmd.Data) > t.missing:
		ch.transfer = nil
		return apdu.SWWrongData
	}
	t.in, t.missing = append(t.in, cmd.Data...), t.missing-len(cmd.Data)
	if t.missing > 0 {
		return uicc.SWDataExpected
	}
	ch.transfer = nil
	return c.setObject(f, t.in)
}

// takeFirst takes a whole object or the beginning of one, or deletes it. What a longer
// object replaces goes with its first block: if the transfer is broken off, there is none
// (TS 102 221, annex L).
func (c *Card) takeFirst(ch *channel, f *file, data []byte) apdu.StatusWord {
	tag, n, err := tlv.DecodeTag(data)
	if err != nil || tag == uicc.TagList {
		return apdu.SWWrongData
	}
	rest, had := f.without(tag)
	if n == len(data) {
		if !had {
			return apdu.SWReferencedDataNotFound
		}
		return c.writeObjects(f, rest)
	}
	_, length, head, err := tlv.DecodeHeader(data)
	size := head + length
	switch {
	case err != nil || len(data) > size:
		return apdu.SWWrongData
	case len(data) == size:
		return c.setObject(f, data)
	case !c.holds(f, len(rest)+size):
		return apdu.SWNotEnoughMemory
	}
	if had {
		if sw := c.writeObjects(f, rest); sw != apdu.SWOK {
			return sw
		}
	}
	ch.transfer = &transfer{file: f.id, in: slices.Clone(data), missing: size - len(data)}
	return uicc.SWDataExpected
}

// setObject puts a whole object into the EF, behind the others.
func (c *Card) setObject(f *file, object []byte) apdu.StatusWord {
	tag, _, _ := tlv.DecodeTag(object) // it was decoded with the first block
	data, _ := f.without(tag)
	data = append(data, object...)
	if !c.holds(f, len(data)) {
		return apdu.SWNotEnoughMemory
	}
	return c.writeObjects(f, data)
}

// holds tells whether there is room for n bytes of objects, in the EF and on the card.
func (c *Card) holds(f *file, n int) bool {
	return n <= f.limit && max(f.reserved, n)-f.size() <= c.free()
}

// writeObjects stores the new content of an EF of BER-TLV structure, then makes it.
func (c *Card) writeObjects(f *file, data []byte) apdu.StatusWord {
	if sw := c.store(change{f.id, 0, data}); sw != apdu.SWOK {
		return sw
	}
	f = c.writable(f)
	f.data = data
	c.fileChanged(f)
	return apdu.SWOK
}

// restoreObjects takes the content of such an EF out of the image.
func (c *Card) restoreObjects(f *file, ch change) bool {
	if _, err := tlv.Decode(ch.data); err != nil || ch.offset != 0 || len(ch.data) > f.limit {
		return false
	}
	c.writable(f).data = slices.Clone(ch.data)
	return true
}

// describeObjects puts the room for objects into an FCP.
func (f *file) describeObjects(p *uicc.FCP) {
	p.Descriptor.Type = uicc.BERTLV
	p.Proprietary = []tlv.TLV{
		tlv.New(uicc.TagFileDetails, []byte{uicc.DERCoding}),
		tlv.New(uicc.TagReservedSize, uicc.NewSize(f.reserved).Bytes()),
		tlv.New(uicc.TagMaximumSize, uicc.NewSize(f.limit).Bytes()),
	}
}
