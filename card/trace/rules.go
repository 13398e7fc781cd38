package trace

import (
	"bytes"
	"encoding/binary"
	"slices"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
)

// Instruction bytes that the rules are about and that apdu/uicc has no name for
// (TS 102 221, 10.1.2, table 10.5; TS 31.102, 7.1.2).
const (
	insChangePIN        = 0x24
	insDisablePIN       = 0x26
	insEnablePIN        = 0x28
	insAuthenticateTLV  = 0x89
	insReadBinaryTLV    = 0xB1
	insReadRecordTLV    = 0xB3
	insUpdateBinaryTLV  = 0xD7
	insUpdateRecordTLV  = 0xDD
	insSearchRecord     = 0xA2
	insIncrease         = 0x32
	insRetrieveData     = 0xCB
	insSetData          = 0xDB
	authenticateSuccess = 0xDB // first byte of the answer (TS 31.102, 7.1.2.1)
	authenticateFailure = 0xDC // and of one with AUTS
	autsAnswerLen       = 16   // bytes, with tag and length
)

// content is what the data of a response are.
type content int

const (
	plain        content = iota
	hidden               // all of it is secret
	authenticate         // the answer to AUTHENTICATE, from its start
)

// rules knows where secrets are in the commands of one card. It follows what is
// selected on each logical channel.
type rules struct {
	sensitive []uint16
	sfis      []byte // of the sensitive files
	channels  map[int]*channel
}

// channel is a logical channel. It starts with a file and a response that are not
// known.
type channel struct {
	file    bool    // the current file is sensitive, or not known
	pending content // of the response to GET RESPONSE
}

func newRules(sensitive []uint16) *rules {
	r := &rules{sensitive: sensitive, channels: map[int]*channel{}}
	for _, fid := range sensitive {
		r.sfis = append(r.sfis, byte(fid&0x1F))
	}
	for _, f := range ef.Files() {
		if f.SFI != 0 && slices.Contains(sensitive, f.FID) {
			r.sfis = append(r.sfis, f.SFI)
		}
	}
	return r
}

// reset is what a reset of the card does.
func (r *rules) reset() { clear(r.channels) }

func (r *rules) channel(cla byte) *channel {
	n, _ := card.ClassChannel(cla)
	c, ok := r.channels[n]
	if !ok {
		c = &channel{file: r.any(), pending: hidden}
		r.channels[n] = c
	}
	return c
}

// any tells whether a file that is not known can be a sensitive one.
func (r *rules) any() bool { return len(r.sensitive) > 0 }

// apply gives the secret ranges of a command and of its response, which is nil
// where none came.
func (r *rules) apply(command, response []byte) (inCommand, inResponse []Range) {
	if len(command) < 4 {
		return nil, nil // never sent
	}
	c := r.channel(command[0])
	hide, answer := r.judge(c, command)
	if hide {
		inCommand = dataRange(command)
	}
	if n := len(response) - 2; n > 0 {
		inResponse = answerRanges(answer, response[:n])
		if answer == authenticate {
			answer = hidden // what follows is a piece from the middle
		}
	}
	c.pending = answer
	r.follow(c, command, response)
	return inCommand, inResponse
}

// judge says whether the data of a command are secret, and what those of its
// response are.
func (r *rules) judge(c *channel, command []byte) (hide bool, answer content) {
	switch command[1] {
	case uicc.INSVerify, insChangePIN, insDisablePIN, insEnablePIN, uicc.INSUnblockPIN:
		return true, plain
	case uicc.INSAuthenticate, insAuthenticateTLV:
		return false, authenticate
	case uicc.INSGetResponse:
		return false, c.pending
	case uicc.INSReadBinary, uicc.INSUpdateBinary, uicc.INSReadRecord, uicc.INSUpdateRecord, insSearchRecord:
		file := c.file
		if s, ok := sfi(command); ok {
			file = r.sensitiveSFI(s)
		}
		return fileContent(file)
	case insReadBinaryTLV, insReadRecordTLV, insUpdateBinaryTLV, insUpdateRecordTLV, insIncrease, insRetrieveData, insSetData:
		return fileContent(r.any()) // they name files in several ways
	default:
		return false, plain
	}
}

func fileContent(sensitive bool) (hide bool, answer content) {
	if sensitive {
		return true, hidden
	}
	return false, plain
}

// sfi gives the short file identifier that a command on a file names
// (TS 102 221, 11.1.3 to 11.1.7).
func sfi(command []byte) (byte, bool) {
	switch command[1] {
	case uicc.INSReadBinary, uicc.INSUpdateBinary:
		return command[2] & 0x1F, command[2]&0x80 != 0
	case uicc.INSReadRecord, uicc.INSUpdateRecord, insSearchRecord:
		return command[3] >> 3, command[3]>>3 != 0
	default:
		return 0, false
	}
}

// sensitiveSFI takes the SFI for what the specification of the file says, and for
// what it is by default, the last five bits of the file identifier (TS 102 221,
// 11.1.1.4.8).
func (r *rules) sensitiveSFI(s byte) bool { return slices.Contains(r.sfis, s) }

// follow keeps track of the current file.
func (r *rules) follow(c *channel, command, response []byte) {
	sw, ok := statusOf(response)
	if ok && !took(sw) {
		return
	}
	switch command[1] {
	case uicc.INSSelect:
		c.file = r.selects(command) || !ok && c.file
	case uicc.INSManageChannel:
		for _, other := range r.channels { // one of them is new
			if other != c {
				other.file = r.any()
			}
		}
	case insReadBinaryTLV, insReadRecordTLV, insUpdateBinaryTLV, insUpdateRecordTLV, insIncrease, insRetrieveData, insSetData:
		c.file = r.any()
	default:
		if s, named := sfi(command); named {
			c.file = r.sensitiveSFI(s) || !ok && c.file
		}
	}
}

// selects tells whether the file that a SELECT leaves as the current one is
// sensitive or not known.
func (r *rules) selects(command []byte) bool {
	c, err := apdu.ParseCommand(command)
	if err != nil || len(c.Data) < 2 || c.P1 == 0x03 || c.P1 == 0x04 {
		return r.any() // the parent or an application: no file is selected
	}
	return slices.Contains(r.sensitive, binary.BigEndian.Uint16(c.Data[len(c.Data)-2:]))
}

func statusOf(response []byte) (apdu.StatusWord, bool) {
	r, err := apdu.ParseResponse(response)
	return r.SW, err == nil
}

// took tells whether a command took effect: success, data that wait, or a
// warning.
func took(sw apdu.StatusWord) bool {
	return sw.OK() || bytes.IndexByte([]byte{0x61, 0x62, 0x63, 0x9F}, sw.SW1()) >= 0
}

// dataRange is where the data of a command are, up to its end: what looks like
// Le can be data where the lengths do not fit.
func dataRange(command []byte) []Range {
	from := 5
	if c, err := apdu.ParseCommand(command); err == nil {
		if len(c.Data) == 0 {
			return nil
		}
		if c.Extended {
			from = 7
		}
	}
	return []Range{{from, max(from, len(command))}}
}

// answerRanges finds the secrets in the data of a response.
func answerRanges(what content, data []byte) []Range {
	all := []Range{{0, len(data)}}
	switch {
	case what == plain:
		return nil
	case what == hidden:
		return all
	case len(data) == autsAnswerLen && data[0] == authenticateFailure:
		return nil
	}
	if _, err := usim.ParseAuthenticate(data); err != nil || data[0] != authenticateSuccess {
		return all // another context, or a piece
	}
	var values []Range
	for from := 1; from < len(data); { // length and value of RES, CK, IK, Kc
		to := from + 1 + int(data[from])
		values = append(values, Range{from + 1, to})
		from = to
	}
	return values
}
