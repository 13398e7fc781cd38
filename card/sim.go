package card

import (
	"context"
	"encoding/binary"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// IsSIM tells that the card was found to know class A0 only (TS 51.011): it refused class
// 00, and answered a SELECT of the MF in class A0. It is known after the first file that
// was selected since the last reset, by Do or what is built on it; from then on these work
// with files in class A0. Send sends what it is given.
func (s *Session) IsSIM() bool { return s.link.class == classGSM }

// classUnasked is the class of a card of which no file was selected yet.
const classUnasked = 0xFF

// sendOn sends a command about a file in the class that the card knows. It is the one
// place where that is found out, and where what is written for a UICC becomes what a SIM
// understands.
func (s *Session) sendOn(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if c.CLA != 0 || !aboutFile(c.INS) {
		return s.Send(ctx, c)
	}
	if s.link.class == classGSM {
		return s.sendSIM(ctx, c)
	}
	r, err := s.Send(ctx, c)
	if err != nil || s.link.class != classUnasked || c.INS != uicc.INSSelect {
		return r, err
	}
	if r.SW != apdu.SWClassNotSupported || s.channel != 0 {
		s.link.class = 0
		return r, nil
	}
	mf, err := s.Send(ctx, gsmSelect(uicc.FIDMF))
	if err != nil {
		return mf, err
	}
	if _, err := parseGSM(mf.Data); err != nil || !mf.SW.OK() {
		s.link.class = 0
		return r, nil // neither: the first answer stands
	}
	s.link.class = classGSM
	return s.sendSIM(ctx, c)
}

// aboutFile tells the commands that TS 51.011 has too, for which a form is here.
func aboutFile(ins byte) bool {
	switch ins {
	case uicc.INSSelect, uicc.INSReadBinary, uicc.INSUpdateBinary, uicc.INSReadRecord, uicc.INSUpdateRecord:
		return true
	}
	return false
}

func gsmSelect(fid uint16) apdu.Command {
	return inClassA0(uicc.SelectFID(fid).Command())
}

// sendSIM sends c in class A0.
func (s *Session) sendSIM(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if c.INS == uicc.INSSelect {
		return s.selectSIM(ctx, c)
	}
	if (c.INS == uicc.INSReadBinary || c.INS == uicc.INSUpdateBinary) && c.P1&0x80 != 0 {
		return apdu.Response{}, fmt.Errorf("%w: class A0 has no short file identifiers; select the file", ErrClass)
	}
	return s.Send(ctx, inClassA0(c))
}

// selectSIM selects a file of a SIM step by step, and gives what it says in the form of a
// UICC.
func (s *Session) selectSIM(ctx context.Context, c apdu.Command) (r apdu.Response, err error) {
	path := c.Data
	switch uicc.SelectBy(c.P1) {
	case uicc.ByAID:
		return r, fmt.Errorf("%w: the card is a SIM of class A0, which has no applications", ErrNoApplication)
	case uicc.ByPathFromMF:
		path = append([]byte{byte(uicc.FIDMF >> 8), byte(uicc.FIDMF & 0xFF)}, path...)
	}
	for len(path) >= 2 {
		r, err = s.Send(ctx, gsmSelect(binary.BigEndian.Uint16(path)))
		if err != nil || !r.SW.OK() {
			return r, err
		}
		path = path[2:]
	}
	fcp, err := parseGSM(r.Data)
	r.Data = fcp.Bytes()
	return r, err
}
