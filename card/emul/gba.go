package emul

import (
	"bytes"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/usim"
	"mcim/card/aka/kdf"
)

// Files of GBA (TS 31.102, 4.2.79 and 4.2.83).
const (
	efGBABP = 0x6FD6
	efGBANL = 0x6FDA
)

const (
	ksBytes = 3 * 16     // of objectKs: RAND, CK, IK
	gbaHead = 1 + 16 + 2 // of EF.GBABP: RAND, and no B-TID and no lifetime
)

// authenticateGBA is the GBA context (TS 31.102, 7.1.1.6 and 7.1.1.7). Ks stays in
// the card: CK and IK of a bootstrapping are never answered.
func (c *Card) authenticateGBA(cmd *apdu.Command) apdu.StatusWord {
	bootstrap, derive, err := usim.DecodeGBA(cmd.Data)
	if err != nil {
		return apdu.SWWrongData
	}
	bp, nl := c.adf.file(efGBABP), c.adf.file(efGBANL)
	switch {
	case bp == nil || nl == nil || nl.recordLen == 0 || len(bp.data) < gbaHead:
		return apdu.SWConditionsNotSatisfied
	case bootstrap != nil:
		return c.bootstrap(cmd, bp, bootstrap)
	}
	return c.deriveNAF(cmd, bp, nl, derive)
}

// bootstrap answers the challenge and keeps Ks with its RAND, which goes to
// EF.GBABP; the terminal puts B-TID and lifetime behind it.
func (c *Card) bootstrap(cmd *apdu.Command, bp *file, g *usim.GBABootstrap) apdu.StatusWord {
	if err := c.loadEngine(); err != nil {
		return apdu.SWConditionsNotSatisfied
	}
	result, err := c.engine.Bootstrap(g.RAND, g.AUTN)
	if err != nil {
		return c.refuseAKA(cmd, err)
	}
	ks := append(append(g.RAND[:len(g.RAND):len(g.RAND)], result.CK[:]...), result.IK[:]...)
	begin := bytes.Repeat([]byte{0xFF}, len(bp.data))
	begin[0] = byte(len(g.RAND))
	copy(begin[1:], g.RAND[:])
	begin[gbaHead-2], begin[gbaHead-1] = 0, 0
	if sw := c.store(change{objectKs, 0, ks}, change{bp.id, 0, begin}); sw != apdu.SWOK {
		return sw
	}
	c.ks, bp.data, bp.shared = ks, begin, false
	return c.reply4(cmd, usim.GBABootstrapResponse{RES: result.RES.Bytes()}.Encode())
}

// deriveNAF answers Ks_ext_NAF and notes the server in EF.GBANL. Without keys, or
// before the terminal has written their B-TID, there is nothing to derive from.
func (c *Card) deriveNAF(cmd *apdu.Command, bp, nl *file, g *usim.GBADerive) apdu.StatusWord {
	id, ok := btid(bp.data)
	if c.ks == nil || !ok {
		return apdu.SWConditionsNotSatisfied
	}
	record := naf(g.NAFID, id)
	if len(record) > nl.recordLen {
		return apdu.SWNotEnoughMemory
	}
	b := kdf.Bootstrap{RAND: [16]byte(c.ks), CK: [16]byte(c.ks[16:]), IK: [16]byte(c.ks[32:])}
	key, err := b.ExternalKey(g.IMPI, g.NAFID)
	if err != nil {
		return apdu.SWWrongData
	}
	n := nafRecord(nl, g.NAFID)
	record = append(record, bytes.Repeat([]byte{0xFF}, nl.recordLen-len(record))...)
	if sw := c.writeFile(nl, (n-1)*nl.recordLen, record); sw != apdu.SWOK {
		return sw
	}
	return c.reply4(cmd, usim.GBADeriveResponse{KsExtNAF: key}.Encode())
}

// btid is the B-TID in EF.GBABP; ok is false where the terminal has written none.
func btid(data []byte) (id []byte, ok bool) {
	f, _ := ef.Find(ef.DirUSIM, efGBABP)
	v, err := f.Decode(data)
	b, _ := v.(*ef.Bootstrapping)
	if err != nil || b == nil || b.BTID == "" {
		return nil, false
	}
	return []byte(b.BTID), true
}

// naf is a record of EF.GBANL without what fills it up.
func naf(nafID, btid []byte) []byte {
	b := append([]byte{0x80, byte(len(nafID))}, nafID...)
	return append(append(b, 0x81, byte(len(btid))), btid...)
}

// nafRecord is the record of the server, or else the first without use, or else
// the first.
func nafRecord(nl *file, nafID []byte) int {
	mine, free := append([]byte{0x80, byte(len(nafID))}, nafID...), 1
	for n := nl.records(); n > 0; n-- {
		switch r := nl.record(n); {
		case bytes.HasPrefix(r, mine):
			return n
		case r[0] == 0xFF:
			free = n
		}
	}
	return free
}
