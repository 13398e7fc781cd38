package card

import (
	"errors"
	"fmt"
)

// ErrATR is the cause of every *ATRError.
var ErrATR = errors.New("damaged ATR")

// ATRError says where an ATR breaks the rules of ISO/IEC 7816-3, 8.2.
type ATRError struct {
	Offset int // of the first byte that is wrong or missing, from 0
	Reason string
}

// Error gives place and reason.
func (e *ATRError) Error() string {
	return fmt.Sprintf("damaged ATR at byte %d: %s", e.Offset, e.Reason)
}

// Unwrap gives ErrATR.
func (e *ATRError) Unwrap() error { return ErrATR }

// InterfaceByte is one of TA, TB, TC and TD of an ATR. Group is its number: the
// TA1 is Kind 'A', Group 1. Protocol is the T of the TD before it, or -1 in the
// first group.
type InterfaceByte struct {
	Kind     byte // 'A' to 'D'
	Group    int  // from 1
	Protocol int  // 0 to 15; 15 marks bytes that hold for all protocols
	Value    byte
}

// Name is the name of the byte in the standard, as in "TA1".
func (i InterfaceByte) Name() string { return fmt.Sprintf("T%c%d", i.Kind, i.Group) }

// ATR is a decoded answer to reset (ISO/IEC 7816-3, 8.2).
type ATR struct {
	Raw        []byte
	Inverse    bool // convention: TS is 3F
	Interface  []InterfaceByte
	Protocols  []int // in the order offered, without 15; 0 where none is named
	Historical []byte
	HasTCK     bool // the check byte is there (and right); cards with T=0 only have none
}

// maxATR is TS and 32 characters behind it.
const maxATR = 33

// ParseATR decodes an ATR, strictly: what is missing, left over or does not fit
// the check byte is an *ATRError. The fields of the result share no memory
// with b.
func ParseATR(b []byte) (ATR, error) {
	p := atrParser{rest: append([]byte(nil), b...)}
	p.atr.Raw = append([]byte(nil), b...)
	if err := p.parse(); err != nil {
		return ATR{}, err
	}
	return p.atr, nil
}

type atrParser struct {
	atr  ATR
	rest []byte
}

func (p *atrParser) parse() error {
	if len(p.rest) > maxATR {
		return &ATRError{maxATR, fmt.Sprintf("%d bytes, at most %d", len(p.rest), maxATR)}
	}
	ts, err := p.next("TS")
	if err != nil {
		return err
	}
	switch ts {
	case 0x3B:
	case 0x3F:
		p.atr.Inverse = true
	default:
		return &ATRError{0, fmt.Sprintf("TS is %02X, want 3B or 3F", ts)}
	}
	t0, err := p.next("T0")
	if err != nil {
		return err
	}
	needTCK, err := p.interfaceBytes(t0)
	if err != nil {
		return err
	}
	return p.tail(int(t0&0x0F), needTCK)
}

func (p *atrParser) offset() int { return len(p.atr.Raw) - len(p.rest) }

func (p *atrParser) next(name string) (byte, error) {
	if len(p.rest) == 0 {
		return 0, &ATRError{p.offset(), name + " is missing"}
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b, nil
}

// interfaceBytes reads the groups announced by T0 and each TD. A check byte
// follows the historical bytes when any protocol but T=0 is named.
func (p *atrParser) interfaceBytes(t0 byte) (needTCK bool, err error) {
	follow, protocol := t0>>4, -1
	for group := 1; follow != 0; group++ {
		present := follow
		follow = 0
		for i, kind := range []byte("ABCD") {
			if present>>i&1 == 0 {
				continue
			}
			b := InterfaceByte{Kind: kind, Group: group, Protocol: protocol}
			if b.Value, err = p.next(b.Name()); err != nil {
				return false, err
			}
			p.atr.Interface = append(p.atr.Interface, b)
			if kind == 'D' {
				follow, protocol = b.Value>>4, int(b.Value&0x0F)
				needTCK = needTCK || protocol != 0
				p.addProtocol(protocol)
			}
		}
	}
	if len(p.atr.Protocols) == 0 {
		p.atr.Protocols = []int{0}
	}
	return needTCK, nil
}

func (p *atrParser) addProtocol(t int) {
	for _, known := range p.atr.Protocols {
		if known == t {
			return
		}
	}
	if t != 15 {
		p.atr.Protocols = append(p.atr.Protocols, t)
	}
}

// tail reads the historical bytes and the check byte.
func (p *atrParser) tail(historical int, needTCK bool) error {
	if len(p.rest) < historical {
		return &ATRError{len(p.atr.Raw), fmt.Sprintf("T0 says %d historical bytes, %d are there", historical, len(p.rest))}
	}
	p.atr.Historical, p.rest = p.rest[:historical:historical], p.rest[historical:]
	if needTCK {
		if _, err := p.next("TCK"); err != nil {
			return err
		}
		var sum byte
		for _, b := range p.atr.Raw[1:p.offset()] {
			sum ^= b
		}
		if sum != 0 {
			return &ATRError{p.offset() - 1, fmt.Sprintf("check byte TCK is wrong by %02X", sum)}
		}
		p.atr.HasTCK = true
	}
	if len(p.rest) > 0 {
		return &ATRError{p.offset(), fmt.Sprintf("%d bytes behind the end", len(p.rest))}
	}
	return nil
}

// Byte looks for an interface byte by kind 'A' to 'D' and group.
func (a ATR) Byte(kind byte, group int) (value byte, ok bool) {
	for _, b := range a.Interface {
		if b.Kind == kind && b.Group == group {
			return b.Value, true
		}
	}
	return 0, false
}
