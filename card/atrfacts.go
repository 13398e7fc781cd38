package card

import (
	"errors"
	"fmt"
)

// Speed is what TA1 offers (ISO/IEC 7816-3, 8.3, tables 7 and 8).
type Speed struct {
	Fi      int // clock rate conversion integer; 0 where TA1 has a reserved value
	Di      int // baud rate adjustment integer; 0 where TA1 has a reserved value
	FmaxKHz int // highest clock; 0 where TA1 has a reserved value
}

// Tables 7 and 8, by the upper and the lower half of TA1.
var (
	fiTable   = [16]int{372, 372, 558, 744, 1116, 1488, 1860, 0, 0, 512, 768, 1024, 1536, 2048, 0, 0}
	fmaxTable = [16]int{4000, 5000, 6000, 8000, 12000, 16000, 20000, 0, 0, 5000, 7500, 10000, 15000, 20000, 0, 0}
	diTable   = [16]int{0, 1, 2, 4, 8, 16, 32, 64, 12, 20, 0, 0, 0, 0, 0, 0}
)

// Speed decodes TA1; without TA1 it is 372/1 at 5 MHz, as 11 would be.
func (a ATR) Speed() Speed {
	ta1, ok := a.Byte('A', 1)
	if !ok {
		ta1 = 0x11
	}
	return Speed{Fi: fiTable[ta1>>4], Di: diTable[ta1&0x0F], FmaxKHz: fmaxTable[ta1>>4]}
}

// BitRate is the rate on the link in bit/s at a clock of kHz: f times Di over
// Fi. It is 0 where TA1 has a reserved value.
func (s Speed) BitRate(kHz int) int {
	if s.Fi == 0 || s.Di == 0 {
		return 0
	}
	return kHz * 1000 * s.Di / s.Fi
}

// Voltage classes of ISO/IEC 7816-3, 5.1.3.
const (
	ClassA = 1 << iota // 5 V
	ClassB             // 3 V
	ClassC             // 1.8 V
)

// Supply is what the first TA behind T=15 says (ISO/IEC 7816-3, 8.3).
type Supply struct {
	Known   bool // false: the ATR does not say, class A is meant
	Classes byte // ClassA | ClassB | ClassC
	// ClockStop is 0 not supported, 1 in the low state only, 2 in the high
	// state only, 3 no preference.
	ClockStop byte
}

// Supply decodes voltage classes and clock stop.
func (a ATR) Supply() Supply {
	for _, b := range a.Interface {
		if b.Kind == 'A' && b.Protocol == 15 {
			return Supply{true, b.Value & 0x3F, b.Value >> 6}
		}
	}
	return Supply{Classes: ClassA}
}

// ClassNames lists the classes as letters, as in "ABC"; RFU bits are left out.
func (s Supply) ClassNames() string {
	var names []byte
	for i, name := range []byte("ABC") {
		if s.Classes>>i&1 == 1 {
			names = append(names, name)
		}
	}
	return string(names)
}

// ErrHistorical says that the historical bytes are no compact TLV objects. They
// need not be: that alone makes no ATR damaged.
var ErrHistorical = errors.New("historical bytes are no compact TLV objects")

// CompactTLV is a data object of the historical bytes (ISO/IEC 7816-4, 12.1.1.2).
type CompactTLV struct {
	Tag   byte // 0 to 15; 3 card service data, 7 card capabilities
	Value []byte
}

// Tags of compact TLV objects that a UICC has (TS 102 221, 6.3.1).
const (
	TagCardService      = 3
	TagCardCapabilities = 7
)

// HistoricalTLVs decodes the historical bytes of categories 80 and 00
// (ISO/IEC 7816-4, 12.1.1). Other categories and damaged objects are
// ErrHistorical. The status indicator of category 00, the last three bytes, is
// given as an object with tag 8.
func (a ATR) HistoricalTLVs() ([]CompactTLV, error) {
	if len(a.Historical) == 0 {
		return nil, nil
	}
	category, rest := a.Historical[0], a.Historical[1:]
	var status []byte
	switch {
	case category == 0x80:
	case category == 0x00 && len(rest) >= 3:
		rest, status = rest[:len(rest)-3], rest[len(rest)-3:]
	default:
		return nil, fmt.Errorf("%w: category %02X with %d bytes", ErrHistorical, category, len(rest))
	}
	var list []CompactTLV
	for len(rest) > 0 {
		tag, n := rest[0]>>4, int(rest[0]&0x0F)
		if len(rest) < 1+n {
			return nil, fmt.Errorf("%w: object %X says %d bytes, %d are left", ErrHistorical, tag, n, len(rest)-1)
		}
		list = append(list, CompactTLV{tag, rest[1 : 1+n]})
		rest = rest[1+n:]
	}
	if status != nil {
		list = append(list, CompactTLV{8, status})
	}
	return list, nil
}

// Capabilities are the card capabilities (ISO/IEC 7816-4, 12.1.1.9; TS 102 221,
// 6.3.1).
type Capabilities struct {
	BySFI           bool // files can be selected by short file identifier
	ByPartialAID    bool // applications by the first bytes of their name
	ByPath          bool
	ByFID           bool
	ExtendedLength  bool
	CommandChaining bool
	// Channels is the highest number of logical channels, the basic one
	// included: 1 to 8, where 8 stands for eight or more.
	Channels int
}

// Capabilities decodes the card capabilities; ok is false where the ATR has none.
func (a ATR) Capabilities() (c Capabilities, ok bool) {
	list, err := a.HistoricalTLVs()
	if err != nil {
		return c, false
	}
	for _, o := range list {
		if o.Tag != TagCardCapabilities || len(o.Value) == 0 || len(o.Value) > 3 {
			continue
		}
		c.ByPartialAID = o.Value[0]&0x40 != 0
		c.ByPath = o.Value[0]&0x20 != 0
		c.ByFID = o.Value[0]&0x10 != 0
		c.BySFI = o.Value[0]&0x04 != 0
		c.Channels = 1
		if len(o.Value) == 3 {
			third := o.Value[2]
			c.CommandChaining = third&0x80 != 0
			c.ExtendedLength = third&0x40 != 0
			if third&0x18 != 0 { // the card or the terminal assigns channels
				c.Channels = int(third&0x07) + 1
			}
		}
		return c, true
	}
	return c, false
}
