package usim

import (
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
)

// ContextLocalKey is P2 of AUTHENTICATE in the local key establishment context (7.1.2).
const ContextLocalKey byte = 0x86

// INSAuthenticateTLV is AUTHENTICATE with the odd instruction byte, whose data is
// BER-TLV (TS 102 221, 11.1.16.2).
const INSAuthenticateTLV byte = 0x89

// P1 of AUTHENTICATE with the odd instruction byte (TS 102 221, 11.1.16.2).
const (
	FirstBlock    byte = 0x80 // of the data
	FirstResponse byte = 0xA0 // asks for the first block of the answer
)

// Data objects of the context (7.1.2.6). No example of this coding is published, so
// they stand here as this project reads the clause.
const (
	tagLocalKey            = 0x73
	tagLocalMode           = 0x80
	tagNAFID               = 0x81
	tagTerminalID          = 0x82
	tagTerminalApplication = 0x83
	tagUICCApplication     = 0x84
	tagRANDx               = 0x85
	tagCounterLimit        = 0x86
	tagRequestMAC          = 0x87
	tagKeyIdentifier       = 0x88
	tagResponseMAC         = 0x89
)

// Modes of the context.
const (
	modeDerive = 0x01
	modeCheck  = 0x02
)

const macBytes = 16

// ErrLocalKey is returned for bytes that are no answer in the local key context; the
// text does not repeat them.
var ErrLocalKey = errors.New("malformed answer to AUTHENTICATE in the local key context")

// LocalKeyDerive is AUTHENTICATE in the local key context, key derivation mode
// (7.1.2.6; TS 33.110, 4.5.2). No value may be empty.
type LocalKeyDerive struct {
	NAFID               []byte // of the key centre
	TerminalID          []byte
	TerminalApplication []byte
	UICCApplication     []byte
	RANDx               [16]byte
	CounterLimit        []byte
	MAC                 [16]byte // of the terminal, under Ks_local
}

// Command encodes the command; the answer is fetched with LocalKeyFetch. An empty
// value, and more than a short command has room for, is uicc.ErrField in its Err.
func (l LocalKeyDerive) Command() apdu.Command {
	for _, v := range [][]byte{l.NAFID, l.TerminalID, l.TerminalApplication, l.UICCApplication, l.CounterLimit} {
		if len(v) == 0 {
			return apdu.Command{Err: fmt.Errorf("AUTHENTICATE: %w: an empty value in the local key context", uicc.ErrField)}
		}
	}
	return localKeyCommand(
		tlv.New(tagLocalMode, []byte{modeDerive}), tlv.New(tagNAFID, l.NAFID), tlv.New(tagTerminalID, l.TerminalID),
		tlv.New(tagTerminalApplication, l.TerminalApplication), tlv.New(tagUICCApplication, l.UICCApplication),
		tlv.New(tagRANDx, l.RANDx[:]), tlv.New(tagCounterLimit, l.CounterLimit), tlv.New(tagRequestMAC, l.MAC[:]),
	)
}

// LocalKeyCheck is AUTHENTICATE in the local key context, key availability check mode
// (7.1.2.6): is there a Ks_local under this identifier?
type LocalKeyCheck struct {
	KeyIdentifier []byte // at least 1 byte
}

// Command encodes the command; the status word is the answer. An empty identifier,
// and one that a short command has no room for, is uicc.ErrField in its Err.
func (l LocalKeyCheck) Command() apdu.Command {
	if len(l.KeyIdentifier) == 0 {
		return apdu.Command{Err: fmt.Errorf("AUTHENTICATE: %w: an empty key identifier", uicc.ErrField)}
	}
	return localKeyCommand(tlv.New(tagLocalMode, []byte{modeCheck}), tlv.New(tagKeyIdentifier, l.KeyIdentifier))
}

// LocalKeyFetch asks for the answer to LocalKeyDerive.
func LocalKeyFetch() apdu.Command {
	return apdu.Command{INS: INSAuthenticateTLV, P1: FirstResponse, P2: ContextLocalKey, Ne: apdu.MaxShortNe}
}

func localKeyCommand(objects ...tlv.TLV) apdu.Command {
	data := tlv.Encode(tlv.Nest(tagLocalKey, objects...))
	if len(data) > maxShort {
		return apdu.Command{Err: fmt.Errorf("AUTHENTICATE: %w: %d bytes in the local key context, at most 255 fit", uicc.ErrField, len(data))}
	}
	return apdu.Command{INS: INSAuthenticateTLV, P1: FirstBlock, P2: ContextLocalKey, Data: data}
}

// DecodeLocalKey decodes the data of the command, as a card gets it: one of the two
// results is not nil. It is strict: Command of the result has the same data. The error
// wraps uicc.ErrField.
func DecodeLocalKey(data []byte) (*LocalKeyDerive, *LocalKeyCheck, error) {
	values, err := localKeyValues(data)
	if err != nil || len(values) == 0 || values[0].Tag != tagLocalMode || len(values[0].Value) != 1 {
		return nil, nil, fmt.Errorf("AUTHENTICATE: %w: no mode in the data of the local key context", uicc.ErrField)
	}
	var command apdu.Command
	var derive *LocalKeyDerive
	var check *LocalKeyCheck
	switch mode := values[0].Value[0]; mode {
	case modeDerive:
		if derive = decodeLocalDerive(values[1:]); derive != nil {
			command = derive.Command()
		}
	case modeCheck:
		if len(values) == 2 {
			check = &LocalKeyCheck{values[1].Value}
			command = check.Command()
		}
	}
	if command.Err != nil || string(command.Data) != string(data) {
		return nil, nil, fmt.Errorf("AUTHENTICATE: %w: mode, order or length of the data objects in the local key context", uicc.ErrField)
	}
	return derive, check, nil
}

// decodeLocalDerive takes the values in their order; nil where one is missing or RANDx
// or MAC has another length. The tags are compared by the caller.
func decodeLocalDerive(v []tlv.TLV) *LocalKeyDerive {
	if len(v) != 7 || len(v[4].Value) != keyBytes || len(v[6].Value) != macBytes {
		return nil
	}
	return &LocalKeyDerive{
		NAFID: v[0].Value, TerminalID: v[1].Value, TerminalApplication: v[2].Value, UICCApplication: v[3].Value,
		RANDx: [keyBytes]byte(v[4].Value), CounterLimit: v[5].Value, MAC: [macBytes]byte(v[6].Value),
	}
}

// localKeyValues are the data objects in the one object of the context.
func localKeyValues(data []byte) ([]tlv.TLV, error) {
	list, err := tlv.Decode(data)
	if err != nil {
		return nil, err
	}
	if len(list) != 1 || list[0].Tag != tagLocalKey {
		return nil, tlv.ErrMalformed
	}
	return list[0].Children()
}

// LocalKeyResponse is the answer in key derivation mode (7.1.2.6).
type LocalKeyResponse struct {
	MAC [16]byte // of the card, under Ks_local
}

// Encode encodes the answer.
func (r LocalKeyResponse) Encode() []byte {
	return tlv.Encode(tlv.Nest(tagLocalKey, tlv.New(tagResponseMAC, r.MAC[:])))
}

// ParseLocalKey decodes the answer in key derivation mode. It is strict: Encode of the
// result is data. The error wraps ErrLocalKey.
func ParseLocalKey(data []byte) (LocalKeyResponse, error) {
	values, err := localKeyValues(data)
	if err != nil {
		return LocalKeyResponse{}, fmt.Errorf("%w: %w", ErrLocalKey, err)
	}
	if len(values) != 1 || values[0].Tag != tagResponseMAC || len(values[0].Value) != macBytes {
		return LocalKeyResponse{}, fmt.Errorf("%w: want a MAC of 16 bytes alone", ErrLocalKey)
	}
	return LocalKeyResponse{[macBytes]byte(values[0].Value)}, nil
}
