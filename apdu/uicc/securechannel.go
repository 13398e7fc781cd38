package uicc

import (
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/tlv"
)

// Instruction bytes of the secure channel (10.1.2, table 10.5).
const (
	INSManageSecureChannel byte = 0x73
	INSTransactData        byte = 0x75
)

// Status words of blocks that follow each other (10.2.1; 11.1.20.1, 11.1.21.1).
const (
	SWMoreData     apdu.StatusWord = 0x62F1 // also of RETRIEVE DATA: a block of the answer, others follow
	SWResponseData apdu.StatusWord = 0x62F3 // of MANAGE SECURE CHANNEL: done, the answer waits
	SWDataExpected apdu.StatusWord = 0x63F1 // also of SET DATA: block taken, more are missing
	// SWTransaction is that of TRANSACT DATA while a transaction is under way: in SW2
	// are the session number and TransactMore. The table of SW2 is not public; its bits
	// are this project's reading.
	SWTransaction apdu.StatusWord = 0x9200
	// TransactMore in SW2 of SWTransaction: blocks wait for the terminal.
	TransactMore = 0x01
)

// ErrSecureChannel is returned for data of the secure channel that do not decode.
var ErrSecureChannel = errors.New("malformed data of a secure channel")

// SecureProcedure is P1 of MANAGE SECURE CHANNEL (11.1.20.1, table 11.21a).
type SecureProcedure byte

// Procedures.
const (
	RetrieveEndpoints SecureProcedure = iota
	EstablishMasterSA
	EstablishConnectionSA
	StartSecureChannel
	TerminateSA
)

// SecureBlock is P2 of MANAGE SECURE CHANNEL (11.1.20.1, table 11.21b).
type SecureBlock byte

// Blocks.
const (
	FirstCommandBlock  SecureBlock = 0x80
	NextCommandBlock   SecureBlock = 0x00
	FirstResponseBlock SecureBlock = 0xA0
	NextResponseBlock  SecureBlock = 0x20
)

// Response tells a block of the answer from one of the command.
func (b SecureBlock) Response() bool { return b&0x20 != 0 }

// First tells the first block from those behind it.
func (b SecureBlock) First() bool { return b&0x80 != 0 }

// ManageSecureChannel is one block of MANAGE SECURE CHANNEL (11.1.20). What goes to the
// card and what comes back are data objects of tag 73, cut into blocks of at most 255
// bytes.
type ManageSecureChannel struct {
	Procedure SecureProcedure
	Block     SecureBlock
	Data      []byte // 1 to 255 bytes of a command block
	Ne        int    // bytes of a response block, 1 to 256
}

// Command gives the APDU.
func (m ManageSecureChannel) Command() apdu.Command {
	c := apdu.Command{CLA: classBasic, INS: INSManageSecureChannel, P1: byte(m.Procedure), P2: byte(m.Block), Data: m.Data, Ne: m.Ne}
	switch {
	case m.Procedure > TerminateSA:
		c.Err = fmt.Errorf("MANAGE SECURE CHANNEL: procedure %d, want 0 to 4", m.Procedure)
	case m.Block.Response() != (len(m.Data) == 0), m.Block.Response() != (m.Ne > 0):
		c.Err = errors.New("MANAGE SECURE CHANNEL: a block of the command has data, one of the answer has Le")
	case len(m.Data) > apdu.MaxShortData, m.Ne > apdu.MaxShortNe:
		c.Err = fmt.Errorf("MANAGE SECURE CHANNEL: block of %d bytes, Le %d; at most 255 and 256", len(m.Data), m.Ne)
	}
	return c
}

// Bits of P1 of TRANSACT DATA (11.1.21.2, table 11.30).
const (
	// TransactHasData: the command carries a block.
	TransactHasData = 0x04
	// TransactAbort ends the session's transaction.
	TransactAbort = 0x02

	transactShift = 6 // of the session number
	// MaxTransactSession is the highest session number.
	MaxTransactSession = 3
)

// MaxContainer is the most bytes of a container, which with its tag and length has to fit
// into one command.
const MaxContainer = 252

// tagContainer is that of the data object around a container. Table 11.32 is not public:
// the tag is this project's reading.
const tagContainer = 0x80

// TransactData is one block of TRANSACT DATA (11.1.21): to the card where it has a
// container, from the card where it has not.
type TransactData struct {
	Session   byte // 0 to 3, as the card gave it when the channel was started
	Abort     bool // ends the transaction; nothing else counts then
	Remaining byte // blocks to the card that follow this one
	Container []byte
	Ne        int // bytes of a block from the card, 1 to 256
}

// Command gives the APDU.
func (t TransactData) Command() apdu.Command {
	c := apdu.Command{CLA: classBasic, INS: INSTransactData, P1: t.Session << transactShift}
	switch {
	case t.Session > MaxTransactSession:
		c.Err = fmt.Errorf("TRANSACT DATA: session %d, want 0 to %d", t.Session, MaxTransactSession)
	case t.Abort:
		c.P1 |= TransactAbort
	case len(t.Container) > MaxContainer:
		c.Err = fmt.Errorf("TRANSACT DATA: container of %d bytes, at most %d", len(t.Container), MaxContainer)
	case len(t.Container) > 0:
		c.P1 |= TransactHasData
		c.P2, c.Data = t.Remaining, EncodeContainer(t.Container)
	case t.Remaining != 0 || t.Ne < 1 || t.Ne > apdu.MaxShortNe:
		c.Err = fmt.Errorf("TRANSACT DATA: without data, %d blocks to follow and Le %d; want none, and 1 to 256", t.Remaining, t.Ne)
	default:
		c.Ne = t.Ne
	}
	return c
}

// TransactSession is the session number in P1 of TRANSACT DATA and in SW2 of its answer.
func TransactSession(b byte) byte { return b >> transactShift }

// EncodeContainer puts a container into its data object.
func EncodeContainer(container []byte) []byte {
	return tlv.Encode(tlv.TLV{Tag: tagContainer, Value: container})
}

// DecodeContainer takes it out. What is no such object is ErrSecureChannel.
func DecodeContainer(b []byte) ([]byte, error) {
	list, err := tlv.Decode(b)
	if err != nil || len(list) != 1 || list[0].Tag != tagContainer || len(list[0].Value) == 0 {
		return nil, fmt.Errorf("%w: want one data object of tag %02X", ErrSecureChannel, tagContainer)
	}
	return list[0].Value, nil
}
