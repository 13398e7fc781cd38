package emul

import (
	"encoding/binary"
	"slices"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/uicc"
)

// classGSM is the class byte of TS 51.011, 9.2.
const classGSM = 0xA0

// Status words of TS 51.011, 9.4.
const (
	gsmNoFile        apdu.StatusWord = 0x9400
	gsmOutOfRange    apdu.StatusWord = 0x9402
	gsmNotFound      apdu.StatusWord = 0x9404
	gsmInconsistent  apdu.StatusWord = 0x9408
	gsmMemory        apdu.StatusWord = 0x9240
	gsmAccess        apdu.StatusWord = 0x9804 // also: CHV wrong
	gsmContradiction apdu.StatusWord = 0x9808
	gsmInvalidated   apdu.StatusWord = 0x9810
	gsmBlocked       apdu.StatusWord = 0x9840
)

// answerGSM runs a command of class A0 on the basic channel. Where a command is
// the same in class 00, so is its code; the status words are translated.
func (c *Card) answerGSM(cmd *apdu.Command, wellFormed bool) apdu.StatusWord {
	handle := gsmHandler(cmd.INS)
	switch {
	case handle == nil:
		return apdu.SWInstructionNotSupported
	case !wellFormed || cmd.Extended:
		return apdu.SWWrongLength
	case c.mf.life.Terminated() && !answersTerminated(cmd.INS):
		return apdu.SWConditionsNotSatisfied
	}
	ch := &c.channels[0]
	sw := handle(c, ch, cmd)
	if sw == apdu.SWReferenceInvalidated && aboutFile(cmd.INS) {
		return gsmInvalidated
	}
	return gsmStatus(sw)
}

// aboutFile tells the commands in whose answers 6984 is about a file, not a code.
func aboutFile(ins byte) bool {
	switch ins {
	case uicc.INSReadBinary, uicc.INSUpdateBinary, uicc.INSReadRecord, uicc.INSUpdateRecord, uicc.INSSearchRecord, uicc.INSIncrease:
		return true
	}
	return false
}

func gsmHandler(ins byte) handler {
	switch ins {
	case uicc.INSSelect:
		return (*Card).selectGSM
	case uicc.INSStatus:
		return (*Card).statusGSM
	case uicc.INSVerify:
		return chv((*Card).verifyPIN)
	case uicc.INSChangePIN:
		return chv((*Card).changePIN)
	case uicc.INSDisablePIN:
		return chv((*Card).disablePIN)
	case uicc.INSEnablePIN:
		return chv((*Card).enablePIN)
	case uicc.INSUnblockPIN:
		return (*Card).unblockCHV
	case uicc.INSReadBinary, uicc.INSUpdateBinary:
		return (*Card).binaryGSM
	case uicc.INSReadRecord, uicc.INSUpdateRecord:
		return (*Card).recordGSM
	case uicc.INSSearchRecord: // SEEK in class A0
		return (*Card).seekGSM
	case uicc.INSIncrease:
		return (*Card).increaseGSM
	case uicc.INSDeactivateFile, uicc.INSActivateFile: // INVALIDATE and REHABILITATE
		return (*Card).turnGSM
	case uicc.INSGetResponse:
		return (*Card).getResponse
	case uicc.INSAuthenticate:
		return (*Card).runGSM
	case cat.INSTerminalProfile:
		return (*Card).takeNote
	}
	return nil
}

// gsmStatus translates a status word of TS 102 221 to TS 51.011, 9.4.
func gsmStatus(sw apdu.StatusWord) apdu.StatusWord {
	switch sw {
	case apdu.SWFileNotFound, apdu.SWReferencedDataNotFound:
		return gsmNotFound
	case apdu.SWNoFileSelected:
		return gsmNoFile
	case apdu.SWRecordNotFound:
		return gsmOutOfRange
	case apdu.SWWrongStructure:
		return gsmInconsistent
	case apdu.SWSecurityStatus:
		return gsmAccess
	case apdu.SWReferenceInvalidated:
		return gsmContradiction
	case apdu.SWBlocked, 0x63C0:
		return gsmBlocked
	case apdu.SWMemoryProblem:
		return gsmMemory
	case apdu.SWIncorrectP1P2:
		return apdu.SWWrongP1P2
	}
	switch sw.SW1() {
	case 0x63:
		return gsmAccess
	case 0x61:
		return 0x9F00 | apdu.StatusWord(sw.SW2())
	case 0x6C:
		return 0x6700 | apdu.StatusWord(sw.SW2())
	}
	return sw
}

// References of CHVs in class A0 (TS 51.011, 9.2.9).
const (
	chv1 = 0x01
	chv2 = 0x02
)

// chv makes the command about a PIN that one about a CHV is. It has no form that
// tells the counter. CHV2 is the USIM's PIN2; administrative codes keep their reference.
func chv(handle handler) handler {
	return func(c *Card, ch *channel, cmd *apdu.Command) apdu.StatusWord {
		if len(cmd.Data) == 0 {
			return apdu.SWWrongLength
		}
		if cmd.P2 != chv2 {
			return handle(c, ch, cmd)
		}
		cmd.P2 = uicc.RefPIN2
		return handle(c, &channel{app: c.adf}, cmd)
	}
}

// unblockCHV is UNBLOCK CHV (TS 51.011, 9.2.13), which names CHV1 by 00.
func (c *Card) unblockCHV(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch cmd.P2 {
	case 0x00:
		cmd.P2 = chv1
	case chv2:
	default:
		return apdu.SWReferencedDataNotFound
	}
	return chv((*Card).unblockPIN)(c, ch, cmd)
}

// selectGSM is SELECT of class A0: by file identifier, answered by 9Fxx.
func (c *Card) selectGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 2:
		return apdu.SWWrongLength
	}
	next, sw := c.byFID(*ch, binary.BigEndian.Uint16(cmd.Data))
	if sw != apdu.SWOK {
		return sw
	}
	*ch = next
	return c.reply4(cmd, c.gsmResponse(ch).Bytes())
}

// statusGSM is STATUS of class A0: as much of the answer to SELECT of the
// current DF as Le asks for.
func (c *Card) statusGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	}
	b := c.gsmDir(ch.dir).Bytes()
	return c.reply2(cmd, b[:min(len(b), expected(cmd))])
}

// binaryGSM is READ and UPDATE BINARY, which have no SFI in class A0.
func (c *Card) binaryGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1&0x80 != 0:
		return apdu.SWIncorrectP1P2
	case cmd.INS == uicc.INSReadBinary:
		return c.readBinary(ch, cmd)
	}
	return c.updateBinary(ch, cmd)
}

// recordGSM is READ and UPDATE RECORD, which have no SFI in class A0.
func (c *Card) recordGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P2>>3 != 0:
		return apdu.SWIncorrectP1P2
	case cmd.INS == uicc.INSReadRecord:
		return c.readRecord(ch, cmd)
	}
	return c.updateRecord(ch, cmd)
}

// turnGSM is INVALIDATE and REHABILITATE of the current EF (TS 51.011, 9.2.14 and 9.2.15).
func (c *Card) turnGSM(ch *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case ch.file == nil:
		return apdu.SWNoFileSelected
	case cmd.INS == uicc.INSActivateFile:
		return c.activateFile(ch, cmd)
	}
	return c.deactivateFile(ch, cmd)
}

// gsmResponse is the answer to SELECT (TS 51.011, 9.2.1).
func (c *Card) gsmResponse(ch *channel) uicc.GSMResponse {
	if ch.file == nil {
		return c.gsmDir(ch.dir)
	}
	f := ch.file
	g := uicc.GSMFile{Status: 0x01, HasRecord: true, RecordLength: byte(f.recordLen)}
	if f.recordLen != 0 {
		g.Structure = uicc.GSMLinearFixed
	}
	if f.life.Deactivated() || f.life.Terminated() {
		g.Status = 0
	}
	increase := c.gsmWho(func(v func(byte) bool) bool { return c.allowedCommand(f.access, uicc.INSIncrease, v) })
	if f.cyclic {
		g.Structure = uicc.GSMCyclic
		if increase != gsmNever {
			g.Increase = gsmIncreasable
		}
	}
	g.Access = [3]byte{
		c.gsmCondition(f, uicc.AccessRead)<<4 | c.gsmCondition(f, uicc.AccessUpdate), increase<<4 | 0x0F,
		c.gsmCondition(f, uicc.AccessActivate)<<4 | c.gsmCondition(f, uicc.AccessDeactivate),
	}
	return uicc.GSMResponse{Size: uint16(len(f.data)), FID: f.fid, Type: uicc.GSMEF, EF: &g}
}

// gsmNever is the condition that nobody meets, gsmIncreasable byte 8 of an EF that
// INCREASE is allowed of.
const (
	gsmNever       = 0xF
	gsmIncreasable = 0x40
)

// gsmCondition tells who may do op: 0 always, 1 CHV1, 2 CHV2, 4 to E an administrative
// code, F never (TS 51.011, 9.3).
func (c *Card) gsmCondition(f *file, op uicc.Access) byte {
	return c.gsmWho(func(v func(byte) bool) bool { return c.allowed(f.access, op, v) })
}

// gsmWho is gsmCondition of what allowed tells.
func (c *Card) gsmWho(allowed func(verified func(ref byte) bool) bool) byte {
	only := func(refs ...byte) bool {
		return allowed(func(ref byte) bool { return slices.Contains(refs, ref) })
	}
	if only() {
		return 0x0
	}
	admin := byte(0x4)
	for _, p := range c.pins {
		nibble := map[byte]byte{uicc.RefPIN1: 0x1, uicc.RefUniversalPIN: 0x1, uicc.RefPIN2: 0x2}[p.Ref]
		if nibble == 0 {
			nibble = min(admin, 0xE)
			admin++
		}
		if only(p.Ref) || nibble >= 0x4 && only(uicc.RefPIN1, p.Ref) {
			return nibble
		}
	}
	return gsmNever
}

// gsmDir is the answer for a directory. CHV1 is PIN1, CHV2 the PIN2 of the USIM. The
// characteristics tell that the clock may stop and that 1.8 V will do.
func (c *Card) gsmDir(d *dir) uicc.GSMResponse {
	const (
		clockStop1V8 = 0x31
		chv1Disabled = 0x80
	)
	p := c.pinOf(uicc.RefPIN1, nil)
	g := uicc.GSMDirectory{
		Characteristics: clockStop1V8, EFs: byte(len(d.files)),
		CHV1: uicc.NewCHVStatus(int(p.tries)), Unblock1: uicc.NewCHVStatus(int(p.unblocks)),
	}
	if p := c.pinOf(uicc.RefPIN2, c.adf); p != nil {
		g.CHV2, g.Unblock2 = uicc.NewCHVStatus(int(p.tries)), uicc.NewCHVStatus(int(p.unblocks))
	}
	for _, p := range c.pins {
		g.Codes += codesOf(p)
	}
	for _, child := range d.dirs {
		if child.aid == nil {
			g.DFs++
		}
	}
	if p.mode != pinOn {
		g.Characteristics |= chv1Disabled
	}
	r := uicc.GSMResponse{FID: d.fid, Type: uicc.GSMDF, DF: &g}
	if d.parent == nil {
		r.Type = uicc.GSMMF
	}
	return r
}

// codesOf is how many codes of TS 51.011 a PIN is: CHV1 and CHV2 with those that
// unblock them, an administrative code, but no universal PIN.
func codesOf(p *pin) byte {
	switch p.Ref {
	case uicc.RefUniversalPIN:
		return 0
	case uicc.RefPIN1, uicc.RefPIN2:
		return 2
	}
	return 1
}
