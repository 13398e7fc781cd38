package emul

import (
	"bytes"
	"errors"
	"maps"
	"slices"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/usim"
	"mcim/card/aka/kdf"
)

// Files of GBA (TS 31.102, 4.2.79 and 4.2.83; TS 31.103, 4.2.9 and 4.2.10), and the
// service table of an ISIM (TS 31.103, 4.2.7).
const (
	efGBABP     = 0x6FD6
	efGBANL     = 0x6FDA
	efGBABPISIM = 0x6FD5
	efGBANLISIM = 0x6FD7
	efIST       = 0x6F07
)

const (
	gbaApps    = 2            // applications with GBA: USIM and ISIM
	ksBytes    = 3 * 16       // of gbaState.ks: RAND, CK, IK
	localBytes = 16 + 32      // of gbaState.local: identifier, Ks_local
	gbaHead    = 1 + 16 + 2   // of EF.GBABP: RAND, and no B-TID and no lifetime
	nafObjects = object(0xFF) // the part of objectNAF that is the record
)

// gbaState is what GBA has left in one application. None of it ever leaves the card.
type gbaState struct {
	ks    []byte         // RAND, CK, IK of the last bootstrapping; nil: none
	nafs  map[int][]byte // Ks_int_NAF by the record of EF.GBANL, from 1
	local []byte         // identifier of the last local key, and the key; nil: none
}

// gbaOf gives the number of the application and its state.
func (c *Card) gbaOf(app *dir) (n int, s *gbaState) {
	if app.isim {
		n = 1
	}
	return n, &c.gba[n]
}

// gbaObjects is the state for the image.
func (c *Card) gbaObjects() (all []change) {
	for n := range c.gba {
		s, app := &c.gba[n], object(n)
		if s.ks != nil {
			all = append(all, change{objectKs | app, 0, s.ks})
		}
		if s.local != nil {
			all = append(all, change{objectLocal | app, 0, s.local})
		}
		for _, record := range slices.Sorted(maps.Keys(s.nafs)) {
			all = append(all, change{objectNAF | app<<8 | object(record), 0, s.nafs[record]})
		}
	}
	return all
}

// restoreGBA takes a change that is about GBA, and tells whether it is.
func (c *Card) restoreGBA(ch change) (found bool, err error) {
	for n := range c.gba {
		s, want := &c.gba[n], 0
		switch app := object(n); {
		case ch.object == objectKs|app:
			s.ks, want = ch.data, ksBytes
		case ch.object == objectLocal|app:
			s.local, want = ch.data, localBytes
		case ch.object&^nafObjects == objectNAF|app<<8:
			if s.nafs == nil {
				s.nafs = map[int][]byte{}
			}
			s.nafs[int(ch.object&nafObjects)], want = ch.data, kdf.KeySize
		default:
			continue
		}
		if ch.offset != 0 || len(ch.data) != want {
			return true, errors.New("keys of the wrong length")
		}
		return true, nil
	}
	return false, nil
}

// gbaFiles are EF.GBABP and EF.GBANL of an application; ok is false where one is missing
// or cannot be used.
func gbaFiles(app *dir) (bp, nl *file, ok bool) {
	if app.isim {
		bp, nl = app.own(efGBABPISIM), app.own(efGBANLISIM)
	} else {
		bp, nl = app.own(efGBABP), app.own(efGBANL)
	}
	return bp, nl, bp != nil && nl != nil && nl.recordLen != 0 && len(bp.data) >= gbaHead
}

// authenticateGBA is the GBA context (TS 31.102, 7.1.1.4 and 7.1.1.5; TS 31.103, 7.1.1).
// Ks stays in the card: CK and IK of a bootstrapping are never answered.
func (c *Card) authenticateGBA(app *dir, cmd *apdu.Command) apdu.StatusWord {
	bootstrap, derive, err := usim.DecodeGBA(cmd.Data)
	if err != nil {
		return apdu.SWWrongData
	}
	bp, nl, ok := gbaFiles(app)
	switch {
	case !ok:
		return apdu.SWConditionsNotSatisfied
	case bootstrap != nil:
		return c.bootstrap(app, cmd, bp, bootstrap)
	}
	return c.deriveNAF(app, cmd, bp, nl, derive)
}

// bootstrap answers the challenge and keeps Ks with its RAND, which goes to
// EF.GBABP; the terminal puts B-TID and lifetime behind it.
func (c *Card) bootstrap(app *dir, cmd *apdu.Command, bp *file, g *usim.GBABootstrap) apdu.StatusWord {
	if sw := c.beginAKA(); sw != apdu.SWOK {
		return sw
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
	n, state := c.gbaOf(app)
	if sw := c.store(change{objectKs | object(n), 0, ks}, change{bp.id, 0, begin}); sw != apdu.SWOK {
		return sw
	}
	state.ks, c.writable(bp).data = ks, begin
	return c.reply4(cmd, usim.GBABootstrapResponse{RES: result.RES.Bytes()}.Encode())
}

// deriveNAF answers Ks_ext_NAF, keeps Ks_int_NAF and notes the server in EF.GBANL.
// Without keys, or before the terminal has written their B-TID, there is nothing to
// derive from.
func (c *Card) deriveNAF(app *dir, cmd *apdu.Command, bp, nl *file, g *usim.GBADerive) apdu.StatusWord {
	number, state := c.gbaOf(app)
	id, ok := btid(bp.data)
	if state.ks == nil || !ok {
		return apdu.SWConditionsNotSatisfied
	}
	record := naf(g.NAFID, id)
	if len(record) > nl.recordLen {
		return apdu.SWNotEnoughMemory
	}
	b := kdf.Bootstrap{RAND: [16]byte(state.ks), CK: [16]byte(state.ks[16:]), IK: [16]byte(state.ks[32:])}
	external, err := b.ExternalKey(g.IMPI, g.NAFID)
	internal, errInternal := b.InternalKey(g.IMPI, g.NAFID)
	if err != nil || errInternal != nil {
		return apdu.SWWrongData
	}
	n := nafRecord(nl, g.NAFID)
	record = append(record, bytes.Repeat([]byte{0xFF}, nl.recordLen-len(record))...)
	at := (n - 1) * nl.recordLen
	if sw := c.store(change{objectNAF | object(number)<<8 | object(n), 0, internal[:]}, change{nl.id, at, record}); sw != apdu.SWOK {
		return sw
	}
	if state.nafs == nil {
		state.nafs = map[int][]byte{}
	}
	state.nafs[n] = internal[:]
	copy(c.writable(nl).data[at:], record)
	return c.reply4(cmd, usim.GBADeriveResponse{KsExtNAF: external}.Encode())
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
	free := 1
	for n := nl.records(); n > 0; n-- {
		switch r := nl.record(n); {
		case isNAF(r, nafID):
			return n
		case r[0] == 0xFF:
			free = n
		}
	}
	return free
}

// isNAF tells whether a record of EF.GBANL is that of the server.
func isNAF(record, nafID []byte) bool {
	return bytes.HasPrefix(record, append([]byte{0x80, byte(len(nafID))}, nafID...))
}
