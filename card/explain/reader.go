package explain

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/trace"
)

// Explanation is an exchange in words.
type Explanation struct {
	Command string   `json:"command"`          // as in "READ BINARY of EF.IMSI (6F07): 9 bytes from 0"
	Sent    []string `json:"sent,omitempty"`   // what the data of the command say
	Status  string   `json:"status"`           // as in "6982: security status not satisfied"
	Answer  []string `json:"answer,omitempty"` // what the data of the response say
}

// Reader follows what is selected on the logical channels of a card. The zero value
// is a card after its reset.
type Reader struct {
	channels map[int]*place
}

// place is where a logical channel is.
type place struct {
	dir  ef.Dir // "" where it is not known
	app  ef.Dir // current application; "" before one was selected
	file *file  // nil where none is selected
	// pending is what the data of the next GET RESPONSE are.
	pending answer
}

// file is an EF; known is nil where the table does not have it.
type file struct {
	fid   uint16
	known *ef.File
}

func (f *file) String() string {
	switch {
	case f == nil:
		return "no known file"
	case f.known == nil:
		return fmt.Sprintf("EF %04X", f.fid)
	default:
		return fmt.Sprintf("%s (%04X)", f.known.Path(), f.fid)
	}
}

// answer reads the data of a response.
type answer func(data []byte) []string

// Place is where the basic channel of a card is.
type Place struct {
	Dir  ef.Dir   // "" where the table does not have it
	FID  uint16   // of the EF; 0 where none is selected
	File *ef.File // the EF, nil where the table does not have it
}

// String is the path, as in "ADF.USIM/EF.IMSI" or "MF".
func (p Place) String() string {
	dir := cmp.Or(string(p.Dir), "a directory that the table does not have")
	switch {
	case p.File != nil:
		return p.File.Path()
	case p.FID != 0:
		return fmt.Sprintf("%s/EF %04X", dir, p.FID)
	}
	return dir
}

// Place tells where the basic channel is.
func (r *Reader) Place() Place {
	p := r.place(0)
	if p.file == nil {
		return Place{Dir: p.dir}
	}
	return Place{p.dir, p.file.fid, p.file.known}
}

// Clone is a Reader at the same place.
func (r *Reader) Clone() *Reader {
	c := &Reader{channels: map[int]*place{}}
	for n, p := range r.channels {
		at := *p
		c.channels[n] = &at
	}
	return c
}

// Reset is what a reset of the card does.
func (r *Reader) Reset() { r.channels = nil }

func (r *Reader) place(cla byte) *place {
	n, _ := card.ClassChannel(cla)
	if r.channels == nil {
		r.channels = map[int]*place{}
	}
	if r.channels[n] == nil {
		r.channels[n] = &place{dir: ef.DirMF}
	}
	return r.channels[n]
}

// Explain explains the next exchange with the card.
func (r *Reader) Explain(e trace.Exchange) Explanation {
	x := Explanation{Status: status(e)}
	c, err := apdu.ParseCommand(e.Command)
	if err != nil {
		x.Command = fmt.Sprintf("no command: %X", e.Command)
		return x
	}
	p := r.place(c.CLA)
	var sent []string
	var read answer
	response, err := apdu.ParseResponse(e.Response)
	took := err == nil && took(response.SW)
	x.Command, sent, read = p.command(c, took)
	if n, ok := card.ClassChannel(c.CLA); ok && n > 0 {
		x.Command += fmt.Sprintf(", on channel %d", n)
	}
	if n, told := response.SW.Retries(); told && err == nil && len(c.Data) == 0 && strings.HasSuffix(card.CommandName(c), " PIN") {
		x.Status = fmt.Sprintf("%s: %d tries left", response.SW.String(), n)
	}
	x.Sent = sent
	if len(e.InCommand) > 0 {
		x.Sent = []string{secretBytes(e.InCommand)}
	}
	if read == nil {
		read = raw
	}
	p.pending = read
	if len(response.Data) > 0 {
		x.Answer = read(response.Data)
	}
	if len(e.InResponse) > 0 {
		x.Answer = []string{secretBytes(e.InResponse)}
	}
	return x
}

func took(sw apdu.StatusWord) bool {
	return sw.OK() || slices.Contains([]byte{0x61, 0x62, 0x63, 0x9F}, sw.SW1())
}

func secretBytes(ranges []trace.Range) string {
	n := 0
	for _, r := range ranges {
		n += r.To - r.From
	}
	return fmt.Sprintf("%d secret bytes, not kept", n)
}

func status(e trace.Exchange) string {
	r, err := apdu.ParseResponse(e.Response)
	switch {
	case e.Err != nil:
		return "no answer: " + e.Err.Error()
	case err != nil:
		return "no answer"
	default:
		return r.SW.Error()
	}
}

// raw gives bytes as they are.
func raw(data []byte) []string { return []string{hex.EncodeToString(data)} }

// command says what a command asks for, and how to read the answer. took tells that
// the card did it; then the place is where it left the card.
func (p *place) command(c apdu.Command, took bool) (text string, sent []string, read answer) {
	switch c.INS {
	case uicc.INSSelect:
		return p.selects(c, took)
	case uicc.INSStatus:
		return "STATUS: " + statusWish(c), nil, parameters
	case uicc.INSGetResponse:
		return fmt.Sprintf("GET RESPONSE: %d bytes", c.Ne), nil, p.pending
	case uicc.INSReadBinary, uicc.INSUpdateBinary:
		return p.binary(c, took)
	case uicc.INSReadRecord, uicc.INSUpdateRecord:
		return p.record(c, took)
	case uicc.INSManageChannel:
		return channelWish(c), nil, openedChannel
	case uicc.INSAuthenticate:
		return authentication(c)
	default:
		return other(c)
	}
}

func statusWish(c apdu.Command) string {
	switch uicc.StatusData(c.P2) {
	case uicc.StatusAID:
		return "the AID of the current application"
	case uicc.StatusNothing:
		return "is the card there"
	default:
		return "the parameters of the current directory"
	}
}

func channelWish(c apdu.Command) string {
	if c.P1 == 0x80 {
		return fmt.Sprintf("MANAGE CHANNEL: close channel %d", c.P2)
	}
	if c.P2 != 0 {
		return fmt.Sprintf("MANAGE CHANNEL: open channel %d", c.P2)
	}
	return "MANAGE CHANNEL: open a channel"
}

func openedChannel(data []byte) []string {
	if len(data) != 1 {
		return raw(data)
	}
	return []string{fmt.Sprintf("channel %d is open", data[0])}
}

// ATR explains a reset: err is why no answer came.
func ATR(atr []byte, err error) Explanation {
	x := Explanation{Command: "RESET", Status: "answer to reset"}
	if err != nil {
		x.Status = "no answer: " + err.Error()
		return x
	}
	x.Answer = raw(atr)
	parsed, err := card.ParseATR(atr)
	if err != nil {
		x.Status = err.Error()
		return x
	}
	var protocols []string
	for _, t := range parsed.Protocols {
		protocols = append(protocols, fmt.Sprintf("T=%d", t))
	}
	x.Answer = append(x.Answer, "protocols "+strings.Join(protocols, ", ")+fmt.Sprintf("; historical bytes %x", parsed.Historical))
	return x
}
