package emul

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// The image is a header, a snapshot of all objects and a journal behind it, both
// a sequence of records:
//
//	header   magic (16) | version (4) | bytes of the snapshot (4) | id (12) | CRC of these (4)
//	record   length of the payload (2) | its complement (2) | CRC (4) | payload
//	payload  for each change: object (4) | offset (2) | length (2) | data
//
// Numbers are big-endian, CRCs CRC-32C. The CRC of a record covers its number in
// the file too. The data of a secret object is sealed: nonce, ciphertext, tag of
// AES-256-GCM with the id of the image and the object as additional data.
//
// Records are written by one write behind the last one, so a process that is
// killed leaves a beginning of a record, which the next Open drops: nobody has
// seen an answer that followed from it. Anything else that does not fit is damage, and
// refused: to drop it would turn sequence numbers and retry counters back.
const (
	magic         = "mcim-card-image\n"
	imageVersion  = 2
	oldVersion    = 1 // its first object is the name of the card model, not the text
	idLen         = 12
	headerLen     = len(magic) + 4 + 4 + idLen + 4
	recordHeadLen = 8
	changeHeadLen = 8
	nonceLen      = 12
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is the first part of an image.
type header struct {
	snapshot int // bytes
	id       [idLen]byte
	version  uint32
}

func (h header) bytes() []byte {
	b := append(make([]byte, 0, headerLen), magic...)
	b = binary.BigEndian.AppendUint32(b, h.version)
	b = binary.BigEndian.AppendUint32(b, uint32(h.snapshot))
	b = append(b, h.id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader looks at magic and version first: only these two are the same in
// every version.
func parseHeader(b []byte) (header, error) {
	if len(b) < len(magic)+4 || string(b[:len(magic)]) != magic {
		return header{}, damaged(0, "does not begin as a card image; it is truncated or another file")
	}
	if v := binary.BigEndian.Uint32(b[len(magic):]); v != imageVersion && v != oldVersion {
		return header{}, fmt.Errorf("%w: version %d, this mcim knows versions %d and %d; use the mcim that wrote it",
			ErrImageVersion, v, oldVersion, imageVersion)
	}
	if len(b) < headerLen {
		return header{}, damaged(len(b), "the header is truncated")
	}
	if crc32.Checksum(b[:headerLen-4], castagnoli) != binary.BigEndian.Uint32(b[headerLen-4:]) {
		return header{}, damaged(0, "the checksum of the header is wrong")
	}
	version := binary.BigEndian.Uint32(b[len(magic):])
	b = b[len(magic)+4:]
	return header{int(binary.BigEndian.Uint32(b)), [idLen]byte(b[4:]), version}, nil
}

func damaged(at int, reason string) error {
	return fmt.Errorf("%w: at byte %d: %s", ErrImageDamaged, at, reason)
}

// codec encodes and decodes records.
type codec struct {
	id     [idLen]byte
	aead   cipher.AEAD
	random func([]byte) // fills with random bytes
}

// append encodes a record with the number n behind dst.
func (c *codec) append(dst []byte, n uint32, changes ...change) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, recordHeadLen)...)
	for _, ch := range changes {
		data := ch.data
		if ch.object&secretObject != 0 {
			data = c.seal(ch)
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(ch.object))
		dst = binary.BigEndian.AppendUint16(dst, uint16(ch.offset))
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
		dst = append(dst, data...)
	}
	size := len(dst) - start - recordHeadLen
	if size > 0xFFFF {
		return dst[:start], fmt.Errorf("record of %d bytes, at most 65535", size)
	}
	head := dst[start:]
	binary.BigEndian.PutUint16(head, uint16(size))
	binary.BigEndian.PutUint16(head[2:], ^uint16(size))
	binary.BigEndian.PutUint32(head[4:], recordCRC(n, dst[start+recordHeadLen:]))
	return dst, nil
}

func recordCRC(n uint32, payload []byte) uint32 {
	var number [4]byte
	binary.BigEndian.PutUint32(number[:], n)
	return crc32.Update(crc32.Checksum(number[:], castagnoli), castagnoli, payload)
}

// additional is the additional data of a sealed object.
func (c *codec) additional(o object) []byte {
	return binary.BigEndian.AppendUint32(slices.Clone(c.id[:]), uint32(o))
}

func (c *codec) seal(ch change) []byte {
	nonce := make([]byte, nonceLen)
	c.random(nonce)
	return c.aead.Seal(nonce, nonce, ch.data, c.additional(ch.object))
}

func (c *codec) open(o object, sealed []byte) ([]byte, error) {
	if len(sealed) < nonceLen {
		return nil, fmt.Errorf("sealed object %08X has %d bytes", uint32(o), len(sealed))
	}
	data, err := c.aead.Open(nil, sealed[:nonceLen], sealed[nonceLen:], c.additional(o))
	if err != nil {
		return nil, fmt.Errorf("%w: sealed object %08X does not open", ErrImageKey, uint32(o))
	}
	return data, nil
}

// next decodes the record with the number n at the beginning of b and gives its
// size. torn tells that b ends within the record.
func (c *codec) next(b []byte, n uint32) (changes []change, size int, torn bool, err error) {
	if len(b) < recordHeadLen {
		return nil, 0, true, nil
	}
	length := binary.BigEndian.Uint16(b)
	if binary.BigEndian.Uint16(b[2:]) != ^length {
		return nil, 0, false, fmt.Errorf("record %d: length and its complement differ", n)
	}
	size = recordHeadLen + int(length)
	if len(b) < size {
		return nil, 0, true, nil
	}
	payload := b[recordHeadLen:size]
	if recordCRC(n, payload) != binary.BigEndian.Uint32(b[4:]) {
		return nil, 0, false, fmt.Errorf("record %d: wrong checksum", n)
	}
	changes, err = c.changes(payload)
	if err != nil {
		return nil, 0, false, fmt.Errorf("record %d: %w", n, err)
	}
	return changes, size, false, nil
}

func (c *codec) changes(payload []byte) ([]change, error) {
	var list []change
	for len(payload) > 0 {
		if len(payload) < changeHeadLen {
			return nil, fmt.Errorf("change of %d bytes", len(payload))
		}
		ch := change{object(binary.BigEndian.Uint32(payload)), int(binary.BigEndian.Uint16(payload[4:])), nil}
		n := int(binary.BigEndian.Uint16(payload[6:]))
		payload = payload[changeHeadLen:]
		if n > len(payload) {
			return nil, fmt.Errorf("object %08X: %d bytes, %d are there", uint32(ch.object), n, len(payload))
		}
		ch.data, payload = payload[:n:n], payload[n:]
		if ch.object&secretObject != 0 {
			var err error
			if ch.data, err = c.open(ch.object, ch.data); err != nil {
				return nil, err
			}
		}
		list = append(list, ch)
	}
	return list, nil
}

// read decodes the part of an image behind the header: the changes, and where
// the good part ends, counted from the end of the header.
func (c *codec) read(h header, body []byte) (changes []change, end int, records uint32, err error) {
	if h.snapshot > len(body) {
		return nil, 0, 0, damaged(headerLen+len(body), "the image is truncated")
	}
	for end < len(body) {
		list, size, torn, err := c.next(body[end:], records)
		if err == nil && end < h.snapshot && (torn || end+size > h.snapshot) {
			err = fmt.Errorf("record %d does not end with the snapshot", records)
		}
		if err != nil {
			return nil, 0, 0, joinDamage(headerLen+end, err)
		}
		if torn {
			break
		}
		changes = append(changes, list...)
		end += size
		records++
	}
	return changes, end, records, nil
}
