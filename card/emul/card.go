package emul

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/model"
)

// Instructions that package uicc has no command for.
const (
	insTerminalCapability = 0xAA
)

// Card is a software UICC. It implements card.Card and, as every Card, serves
// one caller at a time.
type Card struct {
	// AcceptForgedAUTN is the switch of the same name of aka.USIM: it turns the
	// defence against false networks off, for the test that shows what the
	// defence is worth. Nothing else may set it.
	AcceptForgedAUTN bool

	// Rand gives the ephemeral keys of SUCIs, the tokens of SUSPEND UICC and what a secure
	// channel begins with; nil is crypto/rand. A seeded one makes a session that can be
	// repeated, and SUCIs that can be linked.
	Rand io.Reader

	// Now is the clock by which a suspension runs out; nil is time.Now.
	Now func() time.Time

	state
	storage storage   // nil: the state ends with the process
	gsm     aka.GSM   // nil: to be made of the key files at the next AUTHENTICATE
	engine  *aka.USIM // made with gsm; nil where the key is for the GSM context alone

	channels  []channel   // by number
	suspended *suspension // nil: not
	toolkit   toolkit
	secure    secureChannel
	waiting   response     // for GET RESPONSE
	answered  response     // for AUTHENTICATE with the odd instruction byte
	command   apdu.Command // the one that is being answered
	out       []byte       // the response under construction
	buffer    []byte       // of waiting
	sqn       [6]byte      // scratch
	closed    bool
}

// storage keeps what the card must not forget.
type storage interface {
	// write stores the changes, all or none, so that they survive the death of
	// the process from the moment it returns.
	write(changes ...change) error
	// compact stores the whole state of the card anew, or leaves what was stored.
	compact() error
	close() error
}

// change replaces a part of an object. Of a secret object it replaces the whole.
type change struct {
	object object
	offset int
	data   []byte
}

// channel is the state of a logical channel (TS 102 221, 8.7 and 11.1.17).
type channel struct {
	open   bool
	dir    *dir
	app    *dir // current application, nil before its selection
	file   *file
	record int // record pointer, 0: not set
	// transfer is the data object that is under way; nil: none.
	transfer *transfer
}

// response is data that waits for GET RESPONSE.
type response struct {
	class byte
	data  []byte
}

// Format implements fmt.Formatter: a card prints as its name, since its files
// hold keys.
func (c Card) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("software UICC")) }

// Reset implements card.Card.
func (c *Card) Reset(ctx context.Context) ([]byte, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if c.suspended != nil {
		c.suspended.off = true
	}
	c.powerUp()
	return bytes.Clone(c.model.ATRs[0].Value), nil
}

// powerUp forgets what no card knows after a reset.
func (c *Card) powerUp() {
	c.closeChannels()
	c.waiting, c.answered = response{}, response{}
	c.resetToolkit()
	c.resetSecureChannel()
	for _, p := range c.pins {
		p.verified = false
	}
}

// Close implements card.Card.
func (c *Card) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	if c.storage == nil {
		return nil
	}
	return c.storage.close()
}

// ready refuses what comes too late.
func (c *Card) ready(ctx context.Context) error {
	if c.closed {
		return fmt.Errorf("%w: the software UICC was closed; open it again", card.ErrRemoved)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w before anything was sent", card.ErrTimeout, err)
	}
	return nil
}

// Transmit implements card.Card. Lengths that do not fit together are answered
// 6700, as over T=0.
func (c *Card) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if len(command) < 4 {
		return nil, fmt.Errorf("%w: %d bytes, a command has at least 4", card.ErrCommand, len(command))
	}
	c.out = c.out[:0]
	sw := c.answer(command)
	if len(c.layout.Quirks) > 0 {
		sw = c.bend(&c.command, sw)
	}
	sw = c.announce(&c.command, sw)
	c.command = apdu.Command{} // its data may be a PIN, and is the caller's
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(sw))
	return c.out, nil
}

func (c *Card) answer(command []byte) apdu.StatusWord {
	var err error
	cmd := &c.command
	if *cmd, err = apdu.ParseCommand(command); err != nil {
		*cmd = apdu.Command{CLA: command[0], INS: command[1]}
	}
	if c.suspended != nil {
		c.endSuspension(cmd)
	}
	c.dropAnswers(cmd)
	if c.exposes(cmd) {
		return apdu.SWSecureChannel
	}
	if cmd.CLA == classGSM {
		return c.answerGSM(cmd, err == nil)
	}
	if c.layout.SIM() {
		return apdu.SWClassNotSupported
	}
	ch, sw := c.channelOf(cmd.CLA)
	if ch == nil {
		return sw
	}
	handle, sw := c.toolkitCommand(cmd.CLA, cmd.INS), apdu.SWOK
	if handle == nil {
		handle = c.secureCommand(cmd.CLA, cmd.INS)
	}
	if handle == nil {
		handle, sw = handlerOf(cmd.CLA, cmd.INS)
	}
	switch {
	case c.mf.life.Terminated() && !answersTerminated(cmd.INS):
		return apdu.SWConditionsNotSatisfied
	case handle == nil:
		return sw
	case err != nil || cmd.Extended:
		return apdu.SWWrongLength
	}
	sw = handle(c, ch, cmd)
	if sw == apdu.SWSecurityStatus && c.outside() {
		return apdu.SWSecureChannel
	}
	return sw
}

// dropAnswers forgets what waited for a command that did not come.
func (c *Card) dropAnswers(cmd *apdu.Command) {
	c.keepApart(cmd)
	if c.tunnel(cmd) {
		return
	}
	if cmd.INS != uicc.INSGetResponse || cmd.CLA != c.waiting.class {
		c.waiting = response{}
	}
	if cmd.INS != usim.INSAuthenticateTLV || cmd.CLA != c.answered.class {
		c.answered = response{}
	}
}

// channelOf gives the logical channel of a class byte (TS 102 221, 10.1.1): 0X and 8X
// name 0 to 3, 4X, 6X, CX and EX name 4 to 19.
func (c *Card) channelOf(cla byte) (*channel, apdu.StatusWord) {
	n, further := int(cla&0x03), cla&0x40 != 0
	secured := cla&0x0C != 0
	if further {
		n, secured = 4+int(cla&0x0F), cla&0x20 != 0
	}
	switch {
	case cla&0x10 != 0, !further && cla&0x20 != 0: // 1X and 9X chain commands
		return nil, apdu.SWClassNotSupported
	case secured:
		return nil, apdu.SWSecureMessaging
	case n >= len(c.channels) || !c.channels[n].open:
		return nil, apdu.SWChannelNotSupported
	}
	return &c.channels[n], 0
}

type handler func(c *Card, ch *channel, cmd *apdu.Command) apdu.StatusWord

// handlerOf finds the command: 6E00 where the instruction belongs to the other
// class, 6D00 where to none (TS 102 221, 10.1.2).
func handlerOf(cla, ins byte) (handler, apdu.StatusWord) {
	industry, etsi := interindustry(ins), proprietary(ins)
	if industry == nil {
		industry = administrative(ins)
	}
	h := industry
	if cla&0x80 != 0 {
		h = etsi
	}
	switch {
	case h != nil:
		return h, 0
	case industry != nil || etsi != nil:
		return nil, apdu.SWClassNotSupported
	}
	return nil, apdu.SWInstructionNotSupported
}

// answersTerminated tells which commands a card still answers whose use was terminated.
func answersTerminated(ins byte) bool {
	return ins == uicc.INSSelect || ins == uicc.INSStatus || ins == uicc.INSGetResponse
}

func interindustry(ins byte) handler {
	switch ins {
	case uicc.INSSelect:
		return (*Card).selectFile
	case uicc.INSReadBinary:
		return (*Card).readBinary
	case uicc.INSUpdateBinary:
		return (*Card).updateBinary
	case uicc.INSReadRecord:
		return (*Card).readRecord
	case uicc.INSUpdateRecord:
		return (*Card).updateRecord
	case uicc.INSSearchRecord:
		return (*Card).searchRecord
	case uicc.INSVerify:
		return (*Card).verifyPIN
	case uicc.INSChangePIN:
		return (*Card).changePIN
	case uicc.INSDisablePIN:
		return (*Card).disablePIN
	case uicc.INSEnablePIN:
		return (*Card).enablePIN
	case uicc.INSUnblockPIN:
		return (*Card).unblockPIN
	case uicc.INSAuthenticate:
		return (*Card).authenticate
	case usim.INSAuthenticateTLV:
		return (*Card).authenticateTLV
	case uicc.INSManageChannel:
		return (*Card).manageChannel
	case uicc.INSGetResponse:
		return (*Card).getResponse
	}
	return nil
}

// administrative are the commands of TS 102 222, and ACTIVATE and DEACTIVATE FILE.
func administrative(ins byte) handler {
	switch ins {
	case uicc.INSCreateFile:
		return (*Card).createFile
	case uicc.INSDeleteFile:
		return (*Card).deleteFile
	case uicc.INSActivateFile:
		return (*Card).activateFile
	case uicc.INSDeactivateFile:
		return (*Card).deactivateFile
	case uicc.INSTerminateEF:
		return (*Card).terminateEF
	case uicc.INSTerminateDF:
		return (*Card).terminateDF
	case uicc.INSTerminateCard:
		return (*Card).terminateCard
	}
	return nil
}

func proprietary(ins byte) handler {
	switch ins {
	case uicc.INSStatus:
		return (*Card).status
	case uicc.INSIncrease:
		return (*Card).increase
	case uicc.INSResizeFile:
		return (*Card).resizeFile
	case uicc.INSRetrieveData:
		return (*Card).retrieveData
	case uicc.INSSetData:
		return (*Card).setData
	case usim.INSGetIdentity:
		return (*Card).getIdentity
	case uicc.INSSuspend:
		return (*Card).suspendUICC
	case cat.INSTerminalProfile, insTerminalCapability:
		return (*Card).takeNote
	}
	return nil
}

// takeNote answers what the terminal tells about itself.
func (c *Card) takeNote(*channel, *apdu.Command) apdu.StatusWord { return apdu.SWOK }

// reply2 answers a command that sends nothing and expects data: Le has to be
// right, or 6Cxx tells the right one (TS 102 221, 7.3.1.1.2).
func (c *Card) reply2(cmd *apdu.Command, data []byte) apdu.StatusWord {
	if expected(cmd) != len(data) {
		return 0x6C00 | apdu.StatusWord(byte(len(data)))
	}
	c.out = append(c.out, data...)
	return apdu.SWOK
}

// expected is Ne, where a command of 4 bytes counts as one with Le 00, which it
// becomes over T=0.
func expected(cmd *apdu.Command) int {
	if cmd.Ne == 0 {
		return apdu.MaxShortNe
	}
	return cmd.Ne
}

// reply4 answers a command that sends and expects data: at once where Le is
// enough, by 61xx and GET RESPONSE otherwise (TS 102 221, 7.3.1.1.4).
func (c *Card) reply4(cmd *apdu.Command, data []byte) apdu.StatusWord {
	if cmd.Ne >= len(data) && !c.quirk(model.Always61) {
		c.out = append(c.out, data...)
		return apdu.SWOK
	}
	c.buffer = append(c.buffer[:0], data...)
	class := cmd.CLA
	if class != classGSM {
		class &^= 0x80 // GET RESPONSE is interindustry
	}
	c.waiting = response{class, c.buffer}
	return 0x6100 | apdu.StatusWord(byte(len(data)))
}

// replyWarned is reply4 that ends in a warning, which comes before the data where
// these have to be asked for (TS 102 221, 7.3.1.1.4).
func (c *Card) replyWarned(cmd *apdu.Command, data []byte, sw apdu.StatusWord) apdu.StatusWord {
	if done := c.reply4(cmd, data); sw == apdu.SWOK {
		return done
	}
	return sw
}

// getResponse is GET RESPONSE (TS 102 221, 11.2.1).
func (c *Card) getResponse(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case len(c.waiting.data) == 0:
		return apdu.SWConditionsNotSatisfied
	}
	n := expected(cmd)
	if n > len(c.waiting.data) {
		return 0x6C00 | apdu.StatusWord(byte(len(c.waiting.data)))
	}
	c.out = append(c.out, c.waiting.data[:n]...)
	c.waiting.data = c.waiting.data[n:]
	if rest := len(c.waiting.data); rest > 0 {
		return 0x6100 | apdu.StatusWord(byte(rest))
	}
	return apdu.SWOK
}

// store hands changes to the storage; 6581 where they could not be kept, and
// then the card must not act on them.
func (c *Card) store(changes ...change) apdu.StatusWord {
	if c.storage == nil {
		return apdu.SWOK
	}
	if err := c.storage.write(changes...); err != nil {
		return apdu.SWMemoryProblem
	}
	return apdu.SWOK
}
