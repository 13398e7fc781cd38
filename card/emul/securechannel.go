package emul

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/model"
	"mcim/card/securechannel"
)

const (
	// secureContainer is the most bytes of a container that the card takes.
	secureContainer = 240
	// maxSecureData bounds what is collected of one command: more than any command is.
	maxSecureData = 1024
	// defaultChannelLimit is how many commands a connection carries.
	defaultChannelLimit = 65535
	// swIncorrectMAC is the status word of a message that was changed or repeated, and of a
	// wrong proof (ISO/IEC 7816-4, 5.6); TS 102 221 names none.
	swIncorrectMAC apdu.StatusWord = 0x6988
)

// secureChannel is the card's side of TS 102 484: one master and one connection at a time,
// both of which a reset clears.
type secureChannel struct {
	procedure uicc.SecureProcedure // of the blocks in in and out
	in, out   []byte               // of MANAGE SECURE CHANNEL

	master     *securechannel.Master
	connection *securechannel.Connection
	container  int // bytes; 0: the connection has not been started
	incoming   []byte
	missing    int      // blocks of incoming that are to come; -1: none is under way
	outgoing   [][]byte // containers that wait for the terminal

	inside bool // a command out of the channel is being answered
	hidden bool // one was: what waits of its answer is for the channel alone
}

// resetSecureChannel is the state after a reset.
func (c *Card) resetSecureChannel() {
	c.secure = secureChannel{missing: -1}
}

// outside reports whether a command does not come through the channel that the card
// insists on.
func (c *Card) outside() bool {
	return c.layout.SecureChannel == model.SecureRequired && !c.secure.inside
}

// secureCommand finds the commands of the secure channel; nil for others, and on a card
// without a key.
func (c *Card) secureCommand(cla, ins byte) handler {
	switch {
	case c.channelKey.Len() == 0 || cla&0x80 != 0:
		return nil
	case ins == uicc.INSManageSecureChannel:
		return (*Card).manageSecureChannel
	case ins == uicc.INSTransactData:
		return (*Card).transactData
	}
	return nil
}

// keepApart forgets what waits of an answer that came through the channel, before a
// command outside of it could fetch it.
func (c *Card) keepApart(cmd *apdu.Command) {
	s := &c.secure
	if s.hidden && !s.inside && cmd.INS != uicc.INSTransactData {
		c.waiting, c.answered, s.hidden = response{}, response{}, false
	}
}

// tunnel reports whether a command leaves what waits for GET RESPONSE alone: TRANSACT DATA
// carries the command that asks for it.
func (c *Card) tunnel(cmd *apdu.Command) bool {
	return c.secure.hidden && !c.secure.inside && cmd.INS == uicc.INSTransactData
}

// exposes reports whether a command carries a PIN outside of the channel that the card
// insists on.
func (c *Card) exposes(cmd *apdu.Command) bool {
	if !c.outside() || len(cmd.Data) == 0 {
		return false
	}
	switch cmd.INS {
	case uicc.INSVerify, uicc.INSChangePIN, uicc.INSDisablePIN, uicc.INSEnablePIN, uicc.INSUnblockPIN:
		return true
	}
	return false
}

// manageSecureChannel is MANAGE SECURE CHANNEL (TS 102 221, 11.1.20).
func (c *Card) manageSecureChannel(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	s, p, block := &c.secure, uicc.SecureProcedure(cmd.P1), uicc.SecureBlock(cmd.P2)
	switch {
	case s.inside:
		return apdu.SWConditionsNotSatisfied
	case p > uicc.TerminateSA:
		return apdu.SWIncorrectP1P2
	case block.Response() && len(cmd.Data) != 0, !block.Response() && len(cmd.Data) == 0:
		return apdu.SWWrongLength
	case block.Response():
		return c.secureAnswer(cmd, p, block)
	}
	if block.First() {
		s.procedure, s.in, s.out = p, nil, nil
	}
	if p != s.procedure || !block.First() && len(s.in) == 0 {
		return apdu.SWConditionsNotSatisfied
	}
	if s.in = append(s.in, cmd.Data...); len(s.in) > maxSecureData {
		s.in = nil
		return apdu.SWWrongLength
	}
	if !complete(s.in) {
		return uicc.SWDataExpected
	}
	in := s.in
	s.in = nil
	return c.secureProcedure(p, in)
}

// complete reports whether data are as long as their outer data object says; what is no
// data object is complete, for the decoder to refuse.
func complete(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	n, head := int(b[1]), 2
	switch b[1] {
	case 0x81:
		head = 3
	case 0x82:
		head = 4
	}
	if len(b) < head {
		return false
	}
	if head > 2 {
		n = int(binary.BigEndian.Uint16([]byte{0, b[2]}))
	}
	if head == 4 {
		n = int(binary.BigEndian.Uint16(b[2:]))
	}
	return len(b) >= head+n
}

// secureAnswer gives the next block of an answer.
func (c *Card) secureAnswer(cmd *apdu.Command, p uicc.SecureProcedure, block uicc.SecureBlock) apdu.StatusWord {
	s := &c.secure
	if p == uicc.RetrieveEndpoints && block.First() {
		s.procedure, s.out = p, c.endpoints().Bytes()
	}
	if p != s.procedure || len(s.out) == 0 {
		return apdu.SWConditionsNotSatisfied
	}
	n := min(len(s.out), apdu.MaxShortData)
	if sw := c.reply2(cmd, s.out[:n]); sw != apdu.SWOK {
		return sw
	}
	if s.out = s.out[n:]; len(s.out) > 0 {
		return uicc.SWMoreData
	}
	return apdu.SWOK
}

// endpoints is the card as the end of a secure channel: the platform.
func (c *Card) endpoints() uicc.SecureEndpoints {
	channels := byte(uicc.ChannelAPDU)
	if c.layout.SecureChannel == model.SecureRequired {
		channels |= uicc.ChannelRequired
	}
	e := uicc.SecureEndpoints{Endpoints: []uicc.SecureEndpoint{{
		Type: uicc.EndpointPlatform, Transports: uicc.TransportAPDU, Channels: channels, Agreements: uicc.AgreementPreshared,
		MaxContainer: secureContainer,
	}}}
	copy(e.ICCID[:], c.mf.file(uicc.FIDEFICCID).data)
	return e
}

// secureProcedure runs a procedure whose data are complete.
func (c *Card) secureProcedure(p uicc.SecureProcedure, in []byte) apdu.StatusWord {
	switch p {
	case uicc.EstablishMasterSA:
		return c.establishMaster(in)
	case uicc.EstablishConnectionSA:
		return c.establishConnection(in)
	case uicc.StartSecureChannel:
		return c.startSecureChannel(in)
	case uicc.TerminateSA:
		return c.terminateSA(in)
	}
	return apdu.SWIncorrectP1P2 // the endpoints take no data
}

// random16 is 16 bytes of Rand.
func (c *Card) random16() (b [16]byte, ok bool) {
	from := c.Rand
	if from == nil {
		from = rand.Reader
	}
	_, err := io.ReadFull(from, b[:])
	return b, err == nil
}

// establishMaster makes a master security association, in the place of the one before.
func (c *Card) establishMaster(in []byte) apdu.StatusWord {
	request, err := uicc.ParseMasterRequest(in)
	endpoints := c.endpoints()
	switch {
	case err != nil:
		return apdu.SWWrongData
	case request.Agreements&uicc.AgreementPreshared == 0:
		return apdu.SWFunctionNotSupported
	case request.ICCID != endpoints.ICCID || !bytes.Equal(request.UICCApp, endpoints.Endpoints[0].Identifier):
		return apdu.SWReferencedDataNotFound
	}
	id, ok := c.random16()
	if !ok {
		return apdu.SWTechnicalProblem
	}
	m, err := securechannel.NewMaster(c.channelKey, request, id)
	if err != nil {
		return apdu.SWTechnicalProblem
	}
	c.endConnection()
	c.secure.master = m
	c.secure.out = uicc.MasterAnswer{Agreement: uicc.AgreementPreshared | uicc.AgreementExists, ID: id}.Bytes()
	return uicc.SWResponseData
}

// establishConnection makes a connection under the master.
func (c *Card) establishConnection(in []byte) apdu.StatusWord {
	s := &c.secure
	request, err := uicc.ParseConnectionRequest(in)
	algorithms := securechannel.Algorithms()
	switch {
	case err != nil:
		return apdu.SWWrongData
	case s.master == nil || request.Master != s.master.ID:
		return apdu.SWReferencedDataNotFound
	case request.Algorithms.Ciphering&algorithms.Ciphering == 0 || request.Algorithms.Integrity&algorithms.Integrity == 0:
		return apdu.SWFunctionNotSupported
	}
	answer := uicc.ConnectionAnswer{Algorithms: algorithms}
	var okNonce, okID bool
	answer.Nonce, okNonce = c.random16()
	answer.ID, okID = c.random16()
	if !okNonce || !okID {
		return apdu.SWTechnicalProblem
	}
	connection, err := securechannel.NewConnection(s.master, request, answer)
	if err != nil {
		return apdu.SWTechnicalProblem
	}
	c.endConnection()
	s.connection, answer.MAC = connection, connection.CardMAC()
	s.out = answer.Bytes()
	return uicc.SWResponseData
}

// startSecureChannel starts the connection, once the terminal has proved the key.
func (c *Card) startSecureChannel(in []byte) apdu.StatusWord {
	s := &c.secure
	request, err := uicc.ParseStartRequest(in)
	switch {
	case err != nil, request.Algorithms != securechannel.Algorithms(), request.Container == 0, request.Container > secureContainer:
		return apdu.SWWrongData
	case s.connection == nil || request.Connection != s.connection.Answer.ID:
		return apdu.SWReferencedDataNotFound
	case s.container != 0:
		return apdu.SWConditionsNotSatisfied
	}
	if !securechannel.Equal(request.MAC, s.connection.StartMAC(request.Container)) {
		c.endConnection()
		return swIncorrectMAC
	}
	s.container, s.out = int(request.Container), uicc.StartAnswer{}.Bytes()
	return uicc.SWResponseData
}

// terminateSA ends a connection, or the master with it.
func (c *Card) terminateSA(in []byte) apdu.StatusWord {
	s := &c.secure
	request, err := uicc.ParseTerminateRequest(in)
	if err != nil {
		return apdu.SWWrongData
	}
	var want [16]byte
	switch {
	case request.IsMaster && s.master != nil && request.ID == s.master.ID:
		want = s.master.EndMAC()
	case !request.IsMaster && s.connection != nil && request.ID == s.connection.Answer.ID:
		want = s.connection.EndMAC()
	default:
		return apdu.SWReferencedDataNotFound
	}
	if !securechannel.Equal(request.MAC, want) {
		return swIncorrectMAC
	}
	c.endConnection()
	if request.IsMaster {
		s.master = nil
	}
	return apdu.SWOK
}

// endConnection forgets the connection and what is under way on it. Who asks for a new one
// ends the old: it proves nothing, but who can ask can reset the card as well.
func (c *Card) endConnection() {
	s := &c.secure
	s.connection, s.container = nil, 0
	s.incoming, s.missing, s.outgoing = nil, -1, nil
}

// transactData is TRANSACT DATA (TS 102 221, 11.1.21).
func (c *Card) transactData(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	s := &c.secure
	const known = uicc.TransactHasData | uicc.TransactAbort | 0xC0
	switch {
	case s.inside:
		return apdu.SWConditionsNotSatisfied
	case s.container == 0:
		return apdu.SWSecureChannel
	case cmd.P1&^known != 0, uicc.TransactSession(cmd.P1) != 0:
		return apdu.SWIncorrectP1P2
	case cmd.P1&uicc.TransactAbort != 0:
		s.incoming, s.missing, s.outgoing = nil, -1, nil
		return apdu.SWOK
	case cmd.P1&uicc.TransactHasData == 0:
		return c.giveBlock(cmd)
	}
	return c.takeBlock(cmd)
}

// takeBlock takes a block of a message; P2 counts those that follow it down to 0.
func (c *Card) takeBlock(cmd *apdu.Command) apdu.StatusWord {
	s := &c.secure
	container, err := uicc.DecodeContainer(cmd.Data)
	left := int(cmd.P2)
	switch {
	case err != nil:
		return apdu.SWWrongData
	case len(s.outgoing) > 0:
		return apdu.SWConditionsNotSatisfied
	case len(container) > s.container, len(s.incoming)+len(container) > maxSecureData:
		s.incoming, s.missing = nil, -1
		return apdu.SWWrongLength
	case s.missing >= 0 && left != s.missing-1:
		s.incoming, s.missing = nil, -1
		return apdu.SWIncorrectP1P2
	}
	s.incoming, s.missing = append(s.incoming, container...), left
	if left > 0 {
		return uicc.SWTransaction
	}
	message := s.incoming
	s.incoming, s.missing = nil, -1
	return c.perform(message)
}

// perform answers the command in a message. One that was changed or repeated is refused,
// and changes nothing; one past the limit ends the connection.
func (c *Card) perform(message []byte) apdu.StatusWord {
	s := &c.secure
	command, err := s.connection.Unseal(securechannel.Terminal, message)
	switch {
	case err != nil:
		return swIncorrectMAC
	case s.connection.Sent(securechannel.Terminal) > uint32(c.channelLimit):
		c.endConnection()
		return apdu.SWSecureChannel
	case len(command) < 4:
		return apdu.SWWrongData
	}
	sealed, err := s.connection.Seal(securechannel.UICC, c.answerInside(command))
	if err != nil {
		c.endConnection()
		return apdu.SWSecureChannel
	}
	s.outgoing = securechannel.Split(sealed, s.container)
	return uicc.SWTransaction | uicc.TransactMore
}

// answerInside answers a command that came through the channel.
func (c *Card) answerInside(command []byte) []byte {
	s, outer := &c.secure, c.command
	s.inside, s.hidden = true, true
	sw := c.announce(&c.command, c.answer(command))
	s.inside = false
	answer := binary.BigEndian.AppendUint16(bytes.Clone(c.out), uint16(sw))
	c.command, c.out = outer, c.out[:0]
	return answer
}

// giveBlock gives the next container of an answer.
func (c *Card) giveBlock(cmd *apdu.Command) apdu.StatusWord {
	s := &c.secure
	switch {
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(s.outgoing) == 0:
		return apdu.SWConditionsNotSatisfied
	}
	if sw := c.reply2(cmd, uicc.EncodeContainer(s.outgoing[0])); sw != apdu.SWOK {
		return sw
	}
	if s.outgoing = s.outgoing[1:]; len(s.outgoing) > 0 {
		return uicc.SWTransaction | uicc.TransactMore
	}
	return apdu.SWOK
}

// secureObjects is the state for the image: the limit and the key.
func (c *Card) secureObjects() []change {
	if c.channelKey.Len() == 0 {
		return nil
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(c.channelLimit))
	return []change{{objectChannelKey, 0, append(b, c.channelKey.Reveal()...)}}
}

// restoreSecure takes a change that is about the key of the secure channel.
func (c *Card) restoreSecure(ch change) error {
	if ch.offset != 0 || len(ch.data) < 2 {
		return errors.New("a key of the secure channel of the wrong length")
	}
	key := secret.New(ch.data[2:])
	if err := securechannel.CheckKey(key); err != nil {
		return err
	}
	c.channelKey, c.channelLimit = key, int(binary.BigEndian.Uint16(ch.data))
	return nil
}
