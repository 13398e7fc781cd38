package uicc

import (
	"encoding/binary"
	"fmt"

	"mcim/apdu/tlv"
)

// Tags of the data of MANAGE SECURE CHANNEL (11.1.20). Those marked * stand in tables that
// are not public in full: they are this project's reading, out of the gaps between the
// others.
const (
	tagSecure        = 0x73
	tagSecureUICC    = 0x81
	tagEndpoint      = 0x82
	tagTerminal      = 0x83 // *
	tagTerminalApp   = 0x84 // *
	tagMasterUICC    = 0x85 // *
	tagMasterApp     = 0x86 // *
	tagAgreement     = 0x87
	tagMasterSA      = 0x88
	tagAlgorithms    = 0x89
	tagNonce         = 0x8A // *
	tagConnectionSA  = 0x8B
	tagConnectionMAC = 0x8C // *
	tagStartMAC      = 0x8D
	tagContainerSize = 0x8E
	tagSession       = 0x8F // *
)

// Lengths in bytes.
const (
	// SecureIDLen is the length of the identifier of a security association, of a nonce
	// and of a MAC.
	SecureIDLen = 16

	endpointFixed = 7
	iccidLen      = 10
	maxIdentifier = 64
)

// Bits of an endpoint (11.1.20.2): transports, channel types, key agreements.
const (
	TransportAPDU      = 0x01
	ChannelAPDU        = 0x04
	ChannelRequired    = 0x80 // for all communication with the endpoint
	AgreementGBA       = 0x01
	AgreementPreshared = 0x02 // strong pre-shared keys, pre-agreed in a proprietary way
	AgreementExists    = 0x80 // in the answer: there is a pre-shared key already
)

// Types of an endpoint (11.1.20.2).
const (
	EndpointPlatform    = 0x01
	EndpointApplication = 0x02
)

// SecureAlgorithms are ciphering and integrity of a connection, one bit each (11.1.20.4,
// tag 89).
type SecureAlgorithms struct{ Ciphering, Integrity byte }

// Algorithms: AES with 128 bits in CBC mode, and in CMAC mode.
const (
	CipheringAES  = 0x04
	IntegrityCMAC = 0x04
)

// fields encodes data objects of tag 73.
func fields(list ...tlv.TLV) []byte { return tlv.Encode(tlv.Nest(tagSecure, list...)) }

// object is one field.
func object(tag uint32, value ...byte) tlv.TLV { return tlv.TLV{Tag: tag, Value: value} }

// field is one that has to be there, of a length from least to most.
type field struct {
	tag         uint32
	least, most int
}

func exactly(tag uint32, n int) field { return field{tag, n, n} }

// template takes apart what fields made: all objects of want, in their order and nothing
// else.
func template(b []byte, want ...field) ([][]byte, error) {
	list, err := children(b)
	if err != nil {
		return nil, err
	}
	if len(list) != len(want) {
		return nil, fmt.Errorf("%w: %d data objects, want %d", ErrSecureChannel, len(list), len(want))
	}
	values := make([][]byte, len(list))
	for i, t := range list {
		if n := len(t.Value); t.Tag != want[i].tag || n < want[i].least || n > want[i].most {
			return nil, fmt.Errorf("%w: tag %02X with %d bytes, want tag %02X with %d to %d",
				ErrSecureChannel, t.Tag, n, want[i].tag, want[i].least, want[i].most)
		}
		values[i] = t.Value
	}
	return values, nil
}

// children are the objects in tag 73.
func children(b []byte) ([]tlv.TLV, error) {
	list, err := tlv.Decode(b)
	if err != nil || len(list) != 1 || list[0].Tag != tagSecure {
		return nil, fmt.Errorf("%w: want one data object of tag %02X", ErrSecureChannel, tagSecure)
	}
	inner, err := list[0].Children()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSecureChannel, err)
	}
	return inner, nil
}

// SecureEndpoints is the answer to RetrieveEndpoints (11.1.20.2).
type SecureEndpoints struct {
	ICCID     [10]byte // UICC_ID: as in EF.ICCID
	Endpoints []SecureEndpoint
}

// SecureEndpoint is what a secure channel may end at.
type SecureEndpoint struct {
	Type         byte // EndpointPlatform or EndpointApplication
	Transports   byte // Transport bits
	Channels     byte // Channel bits
	Agreements   byte // Agreement bits
	MaxContainer byte // the most bytes of a container
	Port         uint16
	Identifier   []byte // 0 to 64 bytes; of an application its AID
}

// Bytes encodes the answer.
func (e SecureEndpoints) Bytes() []byte {
	list := []tlv.TLV{object(tagSecureUICC, e.ICCID[:]...)}
	for _, p := range e.Endpoints {
		b := []byte{p.Type, p.Transports, p.Channels, p.Agreements, p.MaxContainer}
		b = binary.BigEndian.AppendUint16(b, p.Port)
		list = append(list, object(tagEndpoint, append(b, p.Identifier...)...))
	}
	return fields(list...)
}

// ParseSecureEndpoints decodes it; ErrSecureChannel for what Bytes would not give.
func ParseSecureEndpoints(b []byte) (e SecureEndpoints, err error) {
	list, err := children(b)
	if err != nil {
		return e, err
	}
	if len(list) == 0 || list[0].Tag != tagSecureUICC || len(list[0].Value) != iccidLen {
		return e, fmt.Errorf("%w: it does not begin with a UICC_ID", ErrSecureChannel)
	}
	e.ICCID = [iccidLen]byte(list[0].Value)
	for _, t := range list[1:] {
		v := t.Value
		if t.Tag != tagEndpoint || len(v) < endpointFixed || len(v) > endpointFixed+maxIdentifier {
			return e, fmt.Errorf("%w: tag %02X with %d bytes is no endpoint", ErrSecureChannel, t.Tag, len(v))
		}
		e.Endpoints = append(e.Endpoints, SecureEndpoint{v[0], v[1], v[2], v[3], v[4], binary.BigEndian.Uint16(v[5:]), v[endpointFixed:]})
	}
	return e, nil
}

// MasterRequest asks for a master security association (11.1.20.3, table 11.23).
type MasterRequest struct {
	Terminal    []byte // Terminal_ID, 1 to 64 bytes
	TerminalApp []byte // Terminal_appli_ID, 1 to 64 bytes
	ICCID       [10]byte
	UICCApp     []byte // UICC_appli_ID, 0 to 64 bytes: identifier of the endpoint
	Agreements  byte   // those that the terminal supports
}

// Bytes encodes the request.
func (m MasterRequest) Bytes() []byte {
	return fields(object(tagTerminal, m.Terminal...), object(tagTerminalApp, m.TerminalApp...), object(tagMasterUICC, m.ICCID[:]...),
		object(tagMasterApp, m.UICCApp...), object(tagAgreement, m.Agreements))
}

// ParseMasterRequest decodes it; ErrSecureChannel for what Bytes would not give.
func ParseMasterRequest(b []byte) (m MasterRequest, err error) {
	v, err := template(b, field{tagTerminal, 1, maxIdentifier}, field{tagTerminalApp, 1, maxIdentifier}, exactly(tagMasterUICC, iccidLen),
		field{tagMasterApp, 0, maxIdentifier}, exactly(tagAgreement, 1))
	if err != nil {
		return m, err
	}
	return MasterRequest{v[0], v[1], [iccidLen]byte(v[2]), v[3], v[4][0]}, nil
}

// MasterAnswer is the answer (11.1.20.3, table 11.24).
type MasterAnswer struct {
	Agreement byte // the one that is used, and AgreementExists
	ID        [16]byte
}

// Bytes encodes the answer.
func (m MasterAnswer) Bytes() []byte {
	return fields(object(tagAgreement, m.Agreement), object(tagMasterSA, m.ID[:]...))
}

// ParseMasterAnswer decodes it; ErrSecureChannel for what Bytes would not give.
func ParseMasterAnswer(b []byte) (m MasterAnswer, err error) {
	v, err := template(b, exactly(tagAgreement, 1), exactly(tagMasterSA, SecureIDLen))
	if err != nil {
		return m, err
	}
	return MasterAnswer{v[0][0], [SecureIDLen]byte(v[1])}, nil
}

// ConnectionRequest asks for a connection security association (11.1.20.4, table 11.25).
type ConnectionRequest struct {
	Algorithms SecureAlgorithms // those that the terminal supports
	Master     [16]byte         // MSA_ID
	Nonce      [16]byte         // the terminal's
}

// Bytes encodes the request.
func (c ConnectionRequest) Bytes() []byte {
	return fields(object(tagAlgorithms, c.Algorithms.Ciphering, c.Algorithms.Integrity), object(tagMasterSA, c.Master[:]...), object(tagNonce, c.Nonce[:]...))
}

// ParseConnectionRequest decodes it; ErrSecureChannel for what Bytes would not give.
func ParseConnectionRequest(b []byte) (c ConnectionRequest, err error) {
	v, err := template(b, exactly(tagAlgorithms, 2), exactly(tagMasterSA, SecureIDLen), exactly(tagNonce, SecureIDLen))
	if err != nil {
		return c, err
	}
	return ConnectionRequest{SecureAlgorithms{v[0][0], v[0][1]}, [SecureIDLen]byte(v[1]), [SecureIDLen]byte(v[2])}, nil
}

// ConnectionAnswer is the answer (11.1.20.4, table 11.26).
type ConnectionAnswer struct {
	Algorithms SecureAlgorithms // one of each
	Nonce      [16]byte         // the card's
	ID         [16]byte         // CSA_ID
	MAC        [16]byte         // CSAMAC: the card knows the key
}

// Bytes encodes the answer.
func (c ConnectionAnswer) Bytes() []byte {
	return fields(object(tagAlgorithms, c.Algorithms.Ciphering, c.Algorithms.Integrity), object(tagNonce, c.Nonce[:]...),
		object(tagConnectionSA, c.ID[:]...), object(tagConnectionMAC, c.MAC[:]...))
}

// ParseConnectionAnswer decodes it; ErrSecureChannel for what Bytes would not give.
func ParseConnectionAnswer(b []byte) (c ConnectionAnswer, err error) {
	v, err := template(b, exactly(tagAlgorithms, 2), exactly(tagNonce, SecureIDLen), exactly(tagConnectionSA, SecureIDLen), exactly(tagConnectionMAC, SecureIDLen))
	if err != nil {
		return c, err
	}
	return ConnectionAnswer{SecureAlgorithms{v[0][0], v[0][1]}, [SecureIDLen]byte(v[1]), [SecureIDLen]byte(v[2]), [SecureIDLen]byte(v[3])}, nil
}

// StartRequest starts the secure channel of a connection (11.1.20.5, table 11.27).
type StartRequest struct {
	Algorithms SecureAlgorithms
	Connection [16]byte // CSA_ID
	MAC        [16]byte // SSCMAC: the terminal knows the key
	Container  byte     // bytes of a container, at most the endpoint's
}

// Bytes encodes the request.
func (s StartRequest) Bytes() []byte {
	return fields(object(tagAlgorithms, s.Algorithms.Ciphering, s.Algorithms.Integrity), object(tagConnectionSA, s.Connection[:]...),
		object(tagStartMAC, s.MAC[:]...), object(tagContainerSize, s.Container))
}

// ParseStartRequest decodes it; ErrSecureChannel for what Bytes would not give.
func ParseStartRequest(b []byte) (s StartRequest, err error) {
	v, err := template(b, exactly(tagAlgorithms, 2), exactly(tagConnectionSA, SecureIDLen), exactly(tagStartMAC, SecureIDLen), exactly(tagContainerSize, 1))
	if err != nil {
		return s, err
	}
	return StartRequest{SecureAlgorithms{v[0][0], v[0][1]}, [SecureIDLen]byte(v[1]), [SecureIDLen]byte(v[2]), v[3][0]}, nil
}

// StartAnswer is the answer (11.1.20.5): the session of TRANSACT DATA.
type StartAnswer struct {
	Session byte // 0 to 3
}

// Bytes encodes the answer.
func (s StartAnswer) Bytes() []byte { return fields(object(tagSession, s.Session)) }

// ParseStartAnswer decodes it; ErrSecureChannel for what Bytes would not give.
func ParseStartAnswer(b []byte) (s StartAnswer, err error) {
	v, err := template(b, exactly(tagSession, 1))
	switch {
	case err != nil:
		return s, err
	case v[0][0] > MaxTransactSession:
		return s, fmt.Errorf("%w: session %d, want 0 to %d", ErrSecureChannel, v[0][0], MaxTransactSession)
	}
	return StartAnswer{v[0][0]}, nil
}

// TerminateRequest ends a security association (11.1.20.6, table 11.29). A master ends with
// all its connections. The list of several connections in one request is not supported.
type TerminateRequest struct {
	IsMaster bool
	ID       [16]byte // MSA_ID or CSA_ID
	MAC      [16]byte
}

// Bytes encodes the request.
func (t TerminateRequest) Bytes() []byte {
	tag := uint32(tagConnectionSA)
	if t.IsMaster {
		tag = tagMasterSA
	}
	return fields(tlv.New(tag, t.ID[:], t.MAC[:]))
}

// ParseTerminateRequest decodes it; ErrSecureChannel for what Bytes would not give.
func ParseTerminateRequest(b []byte) (t TerminateRequest, err error) {
	list, err := children(b)
	if err != nil {
		return t, err
	}
	if len(list) != 1 || list[0].Tag != tagMasterSA && list[0].Tag != tagConnectionSA || len(list[0].Value) != 2*SecureIDLen {
		return t, fmt.Errorf("%w: want the identifier of one association and its MAC", ErrSecureChannel)
	}
	v := list[0].Value
	return TerminateRequest{list[0].Tag == tagMasterSA, [SecureIDLen]byte(v), [SecureIDLen]byte(v[SecureIDLen:])}, nil
}
