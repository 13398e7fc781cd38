package uicc

import (
	"encoding/hex"
	"errors"

	"mcim/apdu"
	"mcim/apdu/secret"
)

// Key references (TS 102 221, 9.5.1, table 9.3).
const (
	RefPIN1         byte = 0x01
	RefADM1         byte = 0x0A // ADM1 to ADM5 are 0A to 0E
	RefUniversalPIN byte = 0x11
	RefPIN2         byte = 0x81
	RefADM6         byte = 0x8A // ADM6 to ADM10 are 8A to 8E
)

// LocalRef is the bit of a key reference that is the application's own: the
// application has to be selected for it (TS 102 221, 9.5.1).
const LocalRef byte = 0x80

const (
	pinBytes     = 8
	classGSM     = 0xA0
	chv1         = 0x01 // P2 in class A0 (TS 51.011, 9.2.9 to 9.2.13)
	chv2         = 0x02
	unblockCHV1  = 0x00
	p1Replace    = 0x80 // in P1 of DISABLE PIN, with the reference below
	refBits      = 0x1F
	nameVerify   = "VERIFY PIN"
	nameChange   = "CHANGE PIN"
	nameDisable  = "DISABLE PIN"
	nameEnable   = "ENABLE PIN"
	nameUnblock  = "UNBLOCK PIN"
	noFormInGSM  = "key %02X has no form in class A0, which knows PIN1 and PIN2"
	noSwitchCHV2 = "class A0 disables and enables PIN1 only, not key %02X"
)

// Verify is VERIFY PIN (TS 102 221, 11.1.9), in class A0 VERIFY CHV (TS 51.011,
// 9.2.9). The data of its APDU is the secret itself, not a copy.
type Verify struct {
	Ref byte // key reference: RefPIN1 and its like
	// PIN is 8 bytes as PadPIN makes them. Empty, the command asks for the retry
	// counter: 63Cx or 6983, and 9000 where no PIN is needed. That form is safe
	// only on a card that is known to be a UICC; class A0 does not have it.
	PIN secret.Bytes
}

// Command encodes the command.
func (v Verify) Command() apdu.Command {
	if n := v.PIN.Len(); n != 0 && n != pinBytes {
		return invalid(nameVerify, "PIN of %d bytes, want 8", n)
	}
	return apdu.Command{CLA: classBasic, INS: INSVerify, P2: v.Ref, Data: v.PIN.Reveal()}
}

// GSM encodes the command in class A0, for PIN1 and PIN2.
func (v Verify) GSM() apdu.Command {
	if v.PIN.Len() == 0 {
		return invalid(nameVerify, "no PIN; class A0 tells no counter by it")
	}
	return inGSM(nameVerify, v.Command(), v.Ref)
}

// ChangePIN is CHANGE PIN (TS 102 221, 11.1.10), in class A0 CHANGE CHV (TS
// 51.011, 9.2.10). A wrong old PIN spends a try.
type ChangePIN struct {
	Ref      byte         // key reference
	Old, New secret.Bytes // 8 bytes each, as PadPIN makes them
}

// Command encodes the command.
func (c ChangePIN) Command() apdu.Command {
	return pair(nameChange, INSChangePIN, c.Ref, c.Old, c.New)
}

// GSM encodes the command in class A0, for PIN1 and PIN2.
func (c ChangePIN) GSM() apdu.Command { return inGSM(nameChange, c.Command(), c.Ref) }

// DisablePIN is DISABLE PIN (TS 102 221, 11.1.11), in class A0 DISABLE CHV (TS
// 51.011, 9.2.11). A wrong PIN spends a try.
type DisablePIN struct {
	// Replacement is the key reference of the PIN that is asked for instead, which
	// can be RefUniversalPIN only; 0 is none. It is sent as P1 80 with the number of
	// the key in the low five bits.
	Replacement byte
	Ref         byte         // key reference
	PIN         secret.Bytes // 8 bytes
}

// Command encodes the command.
func (d DisablePIN) Command() apdu.Command {
	c := single(nameDisable, INSDisablePIN, d.Ref, d.PIN)
	switch d.Replacement {
	case 0:
	case RefUniversalPIN:
		c.P1 = p1Replace | d.Replacement&refBits
	default:
		return invalid(nameDisable, "replacement by key %02X, want the universal PIN, 11", d.Replacement)
	}
	return c
}

// GSM encodes the command in class A0, for PIN1 without replacement.
func (d DisablePIN) GSM() apdu.Command {
	if d.Replacement != 0 {
		return invalid(nameDisable, "class A0 has no universal PIN")
	}
	return switchGSM(nameDisable, d.Command(), d.Ref)
}

// EnablePIN is ENABLE PIN (TS 102 221, 11.1.12), in class A0 ENABLE CHV (TS 51.011,
// 9.2.12). A wrong PIN spends a try.
type EnablePIN struct {
	Ref byte         // key reference
	PIN secret.Bytes // 8 bytes
}

// Command encodes the command.
func (e EnablePIN) Command() apdu.Command { return single(nameEnable, INSEnablePIN, e.Ref, e.PIN) }

// GSM encodes the command in class A0, for PIN1.
func (e EnablePIN) GSM() apdu.Command { return switchGSM(nameEnable, e.Command(), e.Ref) }

// UnblockPIN is UNBLOCK PIN (TS 102 221, 11.1.13), in class A0 UNBLOCK CHV (TS
// 51.011, 9.2.13). A wrong PUK spends one of ten tries, the last of which cannot be
// given back.
type UnblockPIN struct {
	Ref byte // key reference of the PIN
	// PUK and NewPIN are 8 bytes each. Both empty, the command asks for the retry
	// counter of the PUK; class A0 does not have that form.
	PUK, NewPIN secret.Bytes
}

// Command encodes the command.
func (u UnblockPIN) Command() apdu.Command {
	if u.PUK.Len() == 0 && u.NewPIN.Len() == 0 {
		return apdu.Command{CLA: classBasic, INS: INSUnblockPIN, P2: u.Ref}
	}
	return pair(nameUnblock, INSUnblockPIN, u.Ref, u.PUK, u.NewPIN)
}

// GSM encodes the command in class A0, for PIN1 and PIN2.
func (u UnblockPIN) GSM() apdu.Command {
	if u.PUK.Len() == 0 {
		return invalid(nameUnblock, "no PUK; class A0 tells no counter by it")
	}
	c := inGSM(nameUnblock, u.Command(), u.Ref)
	if c.Err == nil && c.P2 == chv1 {
		c.P2 = unblockCHV1
	}
	return c
}

// single is a command that carries one code.
func single(name string, ins, ref byte, pin secret.Bytes) apdu.Command {
	if n := pin.Len(); n != pinBytes {
		return invalid(name, "PIN of %d bytes, want 8", n)
	}
	return apdu.Command{CLA: classBasic, INS: ins, P2: ref, Data: pin.Reveal()}
}

// pair is a command that carries the code that is presented, and a new PIN.
func pair(name string, ins, ref byte, code, fresh secret.Bytes) apdu.Command {
	if code.Len() != pinBytes || fresh.Len() != pinBytes {
		return invalid(name, "codes of %d and %d bytes, want 8 each", code.Len(), fresh.Len())
	}
	data := append(append(make([]byte, 0, 2*pinBytes), code.Reveal()...), fresh.Reveal()...)
	return apdu.Command{CLA: classBasic, INS: ins, P2: ref, Data: data}
}

// inGSM is the command in class A0.
func inGSM(name string, c apdu.Command, ref byte) apdu.Command {
	switch {
	case c.Err != nil:
		return c
	case ref == RefPIN1:
		c.P2 = chv1
	case ref == RefPIN2:
		c.P2 = chv2
	default:
		return invalid(name, noFormInGSM, ref)
	}
	c.CLA = classGSM
	return c
}

// switchGSM is inGSM for what concerns CHV1 alone.
func switchGSM(name string, c apdu.Command, ref byte) apdu.Command {
	if c.Err == nil && ref != RefPIN1 {
		return invalid(name, noSwitchCHV2, ref)
	}
	return inGSM(name, c, ref)
}

// Errors of PadPIN and its like; their texts do not repeat the input.
var (
	// ErrPIN: no PIN.
	ErrPIN = errors.New("a PIN is 4 to 8 decimal digits")
	// ErrPUK: no PUK.
	ErrPUK = errors.New("a PUK is 8 decimal digits")
	// ErrADMText: no ADM in text.
	ErrADMText = errors.New("an ADM in text is 8 printable ASCII characters")
	// ErrADMHex: no ADM in hexadecimal digits.
	ErrADMHex = errors.New("an ADM in hexadecimal is 16 digits without spaces, for 8 bytes")
)

// PadPIN encodes a PIN of 4 to 8 decimal digits: ASCII digits behind which FF
// fills up to 8 bytes (TS 102 221, 9.5.1). The error is ErrPIN.
func PadPIN(digits string) (secret.Bytes, error) {
	if len(digits) < 4 || len(digits) > pinBytes || !isDigits(digits) {
		return secret.Bytes{}, ErrPIN
	}
	pin := []byte(digits)
	for len(pin) < pinBytes {
		pin = append(pin, 0xFF)
	}
	return secret.New(pin), nil
}

// PUK encodes an unblock PIN, which always has 8 decimal digits (TS 102 221, 9.5.1).
// The error is ErrPUK.
func PUK(digits string) (secret.Bytes, error) {
	if len(digits) != pinBytes || !isDigits(digits) {
		return secret.Bytes{}, ErrPUK
	}
	return secret.New([]byte(digits)), nil
}

// ADMText takes the 8 bytes of an administrative code that is written as text. A
// shorter one is not filled up, for nobody says with what. The error is ErrADMText.
func ADMText(text string) (secret.Bytes, error) {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return secret.Bytes{}, ErrADMText
		}
	}
	if len(text) != pinBytes {
		return secret.Bytes{}, ErrADMText
	}
	return secret.New([]byte(text)), nil
}

// ADMHex takes the 8 bytes of an administrative code that is written in hexadecimal
// digits, of either case. The error is ErrADMHex.
func ADMHex(digits string) (secret.Bytes, error) {
	code, err := hex.DecodeString(digits)
	if err != nil || len(code) != pinBytes {
		return secret.Bytes{}, ErrADMHex
	}
	return secret.New(code), nil
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
