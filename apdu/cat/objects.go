package cat

import (
	"fmt"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/usim"
)

// Object is a data object with named fields; the types of this package implement it.
type Object interface {
	// Tag is the tag value, without the comprehension required flag.
	Tag() uint16
	fields(c *coder)
}

// CommandDetails are the command details (TS 102 223, 8.6).
type CommandDetails struct {
	Number    uint8 `json:"number"` // 1 to 254
	Type      Type  `json:"type"`
	Qualifier uint8 `json:"qualifier"`
}

func (v *CommandDetails) fields(c *coder) {
	c.u8(&v.Number)
	code(c, &v.Type)
	c.u8(&v.Qualifier)
}

// DeviceIdentities are the device identities (TS 102 223, 8.7).
type DeviceIdentities struct {
	Source      Device `json:"source"`
	Destination Device `json:"destination"`
}

func (v *DeviceIdentities) fields(c *coder) {
	code(c, &v.Source)
	code(c, &v.Destination)
}

// Result is the result (TS 102 223, 8.12).
type Result struct {
	General General `json:"general"`
	Info    ef.Hex  `json:"info,omitempty"` // additional information, as General has it
}

func (v *Result) fields(c *coder) {
	code(c, &v.General)
	c.rest(&v.Info)
}

// String is the result in words.
func (v *Result) String() string {
	switch {
	case len(v.Info) == 0:
		return v.General.String()
	case v.General == ResultBearerError:
		return fmt.Sprintf("%s, %s", v.General, BearerProblem(v.Info[0]))
	}
	return fmt.Sprintf("%s, %x", v.General, []byte(v.Info))
}

// Duration is a duration (TS 102 223, 8.8).
type Duration struct {
	Unit     Unit  `json:"unit"`
	Interval uint8 `json:"interval"` // 1 to 255 units
}

func (v *Duration) fields(c *coder) {
	code(c, &v.Unit)
	c.u8(&v.Interval)
}

// String is as in "30 seconds".
func (v *Duration) String() string { return fmt.Sprintf("%d %s", v.Interval, v.Unit) }

// AlphaIdentifier is an alpha identifier (TS 102 223, 8.2).
type AlphaIdentifier struct {
	Text ef.Alpha `json:"text"`
}

func (v *AlphaIdentifier) fields(c *coder) { c.alpha(&v.Text) }

// Address is an address, a dialling number (TS 102 223, 8.1).
type Address struct {
	TON    uint8  `json:"ton_npi"` // 0x91: international
	Number string `json:"number"`
}

func (v *Address) fields(c *coder) {
	c.u8(&v.TON)
	c.digits(&v.Number)
}

// SSString is an SS string (TS 31.111, 8.14).
type SSString struct {
	TON    uint8  `json:"ton_npi"`
	Number string `json:"number"`
}

func (v *SSString) fields(c *coder) {
	c.u8(&v.TON)
	c.digits(&v.Number)
}

// SMSTPDU is a TPDU of a short message (TS 31.111, 8.13; TS 23.040).
type SMSTPDU struct {
	TPDU ef.Hex `json:"tpdu"`
}

func (v *SMSTPDU) fields(c *coder) { c.rest(&v.TPDU) }

// CellBroadcast is a page of a cell broadcast (TS 31.111, 8.5).
type CellBroadcast struct {
	Page ef.Hex `json:"page"`
}

func (v *CellBroadcast) fields(c *coder) { c.rest(&v.Page) }

// ToneID is a tone (TS 102 223, 8.16).
type ToneID struct {
	Tone Tone `json:"tone"`
}

func (v *ToneID) fields(c *coder) { code(c, &v.Tone) }

// Item is an item of a menu (TS 102 223, 8.9).
type Item struct {
	ID   uint8    `json:"id"` // 1 to 255
	Text ef.Alpha `json:"text"`
}

func (v *Item) fields(c *coder) {
	c.u8(&v.ID)
	c.alpha(&v.Text)
}

// ItemID is an item identifier (TS 102 223, 8.10).
type ItemID struct {
	ID uint8 `json:"id"`
}

func (v *ItemID) fields(c *coder) { c.u8(&v.ID) }

// ResponseLength bounds what the user enters (TS 102 223, 8.11).
type ResponseLength struct {
	Min uint8 `json:"min"` // characters
	Max uint8 `json:"max"` // characters; 255: no limit
}

func (v *ResponseLength) fields(c *coder) {
	c.u8(&v.Min)
	c.u8(&v.Max)
}

// FileList is a file list (TS 102 223, 8.18): paths from 3F00 or 7FFF on, the latter
// the directory of the current application.
type FileList struct {
	Files []Path `json:"files"`
}

// Path is a path of file identifiers, of which the first is 3F00 or 7FFF.
type Path []uint16

// Identifiers that begin a path.
const (
	fidMF         = 0x3F00
	fidCurrentADF = 0x7FFF
)

// MarshalText gives the path as in "3F00/7FFF/6F07".
func (p Path) MarshalText() ([]byte, error) {
	parts := []string{}
	for _, fid := range p {
		parts = append(parts, fmt.Sprintf("%04X", fid))
	}
	return []byte(strings.Join(parts, "/")), nil
}

// UnmarshalText reads such a path.
func (p *Path) UnmarshalText(text []byte) error {
	*p = nil
	for part := range strings.SplitSeq(string(text), "/") {
		var fid uint16
		if n, err := fmt.Sscanf(part, "%04X", &fid); err != nil || n != 1 || len(part) != 4 {
			return fmt.Errorf("%w: path %q, want file identifiers of 4 digits with / between them", ErrValue, text)
		}
		*p = append(*p, fid)
	}
	return nil
}

// String is the path as in "3F00/7FFF/6F07".
func (p Path) String() string {
	b, _ := p.MarshalText() // never fails
	return string(b)
}

// begins reports whether fid is the first one of another path than p.
func (p Path) begins(fid uint16) bool {
	return fid == fidMF || fid == fidCurrentADF && (len(p) != 1 || p[0] != fidMF)
}

func (v *FileList) fields(c *coder) {
	n := uint8(len(v.Files))
	c.u8(&n)
	if c.writing {
		for _, p := range v.Files {
			for _, fid := range p {
				c.u16(&fid)
			}
		}
		return
	}
	v.Files = []Path{}
	for len(c.in) > 0 && c.err == nil {
		var fid uint16
		c.u16(&fid)
		last := len(v.Files) - 1
		switch {
		case last < 0 || v.Files[last].begins(fid):
			v.Files = append(v.Files, Path{fid})
		default:
			v.Files[last] = append(v.Files[last], fid)
		}
	}
	if len(v.Files) != int(n) {
		c.fail("%d files, want %d", len(v.Files), n)
	}
}

// Location is a location information (TS 31.111, 8.19). Rest is the extended cell
// identity, if any.
type Location struct {
	PLMN ef.PLMN `json:"plmn"`
	LAC  uint16  `json:"lac"`
	Cell uint16  `json:"cell"`
	Rest ef.Hex  `json:"rest,omitempty"`
}

func (v *Location) fields(c *coder) {
	plmn(c, &v.PLMN)
	c.u16(&v.LAC)
	c.u16(&v.Cell)
	c.rest(&v.Rest)
}

func plmn(c *coder, p *ef.PLMN) {
	if !c.writing {
		v, err := usim.DecodePLMN([3]byte(c.take(3)))
		if err != nil {
			c.fail("no network")
		}
		*p = ef.PLMN(v.String())
		return
	}
	mcc, mnc, _ := strings.Cut(strings.TrimSuffix(string(*p), "none"), "-")
	b, err := usim.PLMN{MCC: mcc, MNC: mnc}.Encode()
	if err != nil {
		c.fail("network %q, want digits as in 262-01", *p)
	}
	c.put(b[:]...)
}

// IMEI is an IMEI (TS 102 223, 8.20): 15 digits.
type IMEI struct {
	Digits string `json:"digits"`
}

func (v *IMEI) fields(c *coder) { identity(c, &v.Digits, "*", 15) }

// IMEISV is an IMEISV (TS 102 223, 8.74): 16 digits.
type IMEISV struct {
	Digits string `json:"digits"`
}

func (v *IMEISV) fields(c *coder) { identity(c, &v.Digits, "3", 16) }

// identity is n digits behind a half byte that says what they are: A an odd number of
// digits of an IMEI, which digits has as *, and 3 an even one of an IMEISV (TS 24.008,
// 10.5.1.4).
func identity(c *coder, p *string, kind string, n int) {
	s := kind + *p
	c.digits(&s)
	digits, ok := strings.CutPrefix(s, kind)
	if !ok || len(digits) != n {
		c.fail("no identity of %d digits", n)
	}
	if !c.writing {
		*p = digits
	}
}

// HelpRequest tells that the user wants help (TS 102 223, 8.21).
type HelpRequest struct{}

func (v *HelpRequest) fields(*coder) {}

// ImmediateResponse asks to go on at once (TS 102 223, 8.43).
type ImmediateResponse struct{}

func (v *ImmediateResponse) fields(*coder) {}

// EventList is an event list (TS 102 223, 8.25).
type EventList struct {
	Events []Event `json:"events"`
}

func (v *EventList) fields(c *coder) { codes(c, &v.Events) }

// LocationStatus is a location status (TS 102 223, 8.27).
type LocationStatus struct {
	Service Service `json:"service"`
}

func (v *LocationStatus) fields(c *coder) { code(c, &v.Service) }

// Icon is an icon identifier (TS 102 223, 8.31).
type Icon struct {
	Qualifier uint8 `json:"qualifier"` // 0: it explains itself
	ID        uint8 `json:"id"`        // record in EF.IMG
}

func (v *Icon) fields(c *coder) {
	c.u8(&v.Qualifier)
	c.u8(&v.ID)
}

// TimerID is a timer identifier (TS 102 223, 8.37).
type TimerID struct {
	ID uint8 `json:"id"` // 1 to 8
}

func (v *TimerID) fields(c *coder) { c.u8(&v.ID) }

// TimerValue is a timer value (TS 102 223, 8.38).
type TimerValue struct {
	Hours   uint8 `json:"hours"` // 0 to 23
	Minutes uint8 `json:"minutes"`
	Seconds uint8 `json:"seconds"`
}

func (v *TimerValue) fields(c *coder) {
	c.semiOctet(&v.Hours)
	c.semiOctet(&v.Minutes)
	c.semiOctet(&v.Seconds)
}

// String is as in "01:02:03".
func (v *TimerValue) String() string {
	return fmt.Sprintf("%02d:%02d:%02d", v.Hours, v.Minutes, v.Seconds)
}

// DateTime is a date, time and time zone (TS 102 223, 8.39).
type DateTime struct {
	Year   uint8 `json:"year"` // 0 to 99
	Month  uint8 `json:"month"`
	Day    uint8 `json:"day"`
	Hour   uint8 `json:"hour"`
	Minute uint8 `json:"minute"`
	Second uint8 `json:"second"`
	Zone   uint8 `json:"zone"` // as coded: quarters of an hour, bit 4 minus; 255: unknown
}

func (v *DateTime) fields(c *coder) {
	for _, p := range []*uint8{&v.Year, &v.Month, &v.Day, &v.Hour, &v.Minute, &v.Second} {
		c.semiOctet(p)
	}
	c.u8(&v.Zone)
}

// DTMF is a DTMF string (TS 102 223, 8.44).
type DTMF struct {
	Digits string `json:"digits"`
}

func (v *DTMF) fields(c *coder) { c.digits(&v.Digits) }

// Language is a language (TS 102 223, 8.45): two letters of ISO 639.
type Language struct {
	Code string `json:"code"`
}

func (v *Language) fields(c *coder) { c.text(&v.Code) }

// AID is the identifier of an application (TS 102 223, 8.60).
type AID struct {
	AID ef.Hex `json:"aid"`
}

func (v *AID) fields(c *coder) { c.rest(&v.AID) }

// URL is a URL (TS 102 223, 8.48).
type URL struct {
	URL string `json:"url"`
}

func (v *URL) fields(c *coder) { c.text(&v.URL) }

// ATCommand is an AT command (TS 102 223, 8.40).
type ATCommand struct {
	Text string `json:"text"`
}

func (v *ATCommand) fields(c *coder) { c.text(&v.Text) }

// NetworkSearch is a network search mode (TS 102 223, 8.75).
type NetworkSearch struct {
	Automatic uint8 `json:"automatic"` // 0 manual, 1 automatic
}

func (v *NetworkSearch) fields(c *coder) { c.u8(&v.Automatic) }

// BatteryState is a charge of the battery (TS 102 223, 8.76).
type BatteryState struct {
	Charge Battery `json:"charge"`
}

func (v *BatteryState) fields(c *coder) { code(c, &v.Charge) }

// Technologies are access technologies (TS 102 223, 8.61).
type Technologies struct {
	List []Technology `json:"list"`
}

func (v *Technologies) fields(c *coder) { codes(c, &v.List) }

// RefreshPolicy says when a REFRESH must not wait (TS 102 223, 8.103): bit 1 even if the
// user is in a menu, bit 2 even in a data call, bit 3 even in a voice call.
type RefreshPolicy struct {
	Force uint8 `json:"force"`
}

func (v *RefreshPolicy) fields(c *coder) { c.u8(&v.Force) }

// PLMNs are the networks of a steering of roaming (TS 31.111, 8.90), with the access
// technologies of each.
type PLMNs struct {
	List []PLMNwAcT `json:"list"`
}

// PLMNwAcT is a network with access technologies (TS 31.102, 4.2.5).
type PLMNwAcT struct {
	PLMN ef.PLMN `json:"plmn"`
	AcT  uint16  `json:"act"`
}

// String is as in "262-01 (8000)".
func (p PLMNwAcT) String() string { return fmt.Sprintf("%s (%04X)", p.PLMN, p.AcT) }

func (v *PLMNs) fields(c *coder) {
	if !c.writing {
		v.List = make([]PLMNwAcT, (len(c.in)+4)/5)
	}
	for i := range v.List {
		plmn(c, &v.List[i].PLMN)
		c.u16(&v.List[i].AcT)
	}
}
