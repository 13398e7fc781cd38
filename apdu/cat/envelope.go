package cat

import (
	"fmt"

	"mcim/apdu/ef"
	"mcim/apdu/tlv"
)

// EnvelopeKind is what an ENVELOPE carries, its tag (TS 101 220, table 7.17).
type EnvelopeKind = Named[envelopeNames]

// Kinds of ENVELOPE.
const (
	EnvelopeSMSPP         EnvelopeKind = 0xD1
	EnvelopeCellBroadcast EnvelopeKind = 0xD2
	EnvelopeMenu          EnvelopeKind = 0xD3
	EnvelopeCallControl   EnvelopeKind = 0xD4
	EnvelopeMOSMS         EnvelopeKind = 0xD5
	EnvelopeEvent         EnvelopeKind = 0xD6
	EnvelopeTimer         EnvelopeKind = 0xD7
	EnvelopeUSSD          EnvelopeKind = 0xD9
)

type envelopeNames struct{}

func (envelopeNames) names() map[byte]string { return envelopes }

var envelopes = map[byte]string{
	0xD1: "SMS-PP download", 0xD2: "cell broadcast download", 0xD3: "menu selection", 0xD4: "call control",
	0xD5: "MO short message control", 0xD6: "event download", 0xD7: "timer expiration", 0xD9: "USSD download",
	0xDA: "MMS transfer status", 0xDB: "MMS notification download", 0xDC: "terminal application",
	0xDD: "geographical location", 0xDE: "envelope container", 0xDF: "ProSe report",
}

// Envelope is what the terminal tells the UICC (TS 102 223, 7; TS 31.111, 7).
type Envelope struct {
	Kind    EnvelopeKind `json:"kind"`
	Objects Objects      `json:"objects"`
}

// NewEnvelope is an envelope from a device to the UICC.
func NewEnvelope(kind EnvelopeKind, from Device, objects ...Object) Envelope {
	return Envelope{kind, append(List(&DeviceIdentities{from, DeviceUICC}), List(objects...)...)}
}

// SMSPP is SMS-PP download (TS 31.111, 7.1.1): the address of the service centre and an
// SMS-DELIVER.
func SMSPP(address Address, tpdu []byte) Envelope {
	return NewEnvelope(EnvelopeSMSPP, DeviceNetwork, &address, &SMSTPDU{ef.Hex(tpdu)})
}

// MenuSelection tells that the user chose an item of the menu, or wants help about it
// (TS 102 223, 7.2).
func MenuSelection(item uint8, help bool) Envelope {
	e := NewEnvelope(EnvelopeMenu, DeviceKeypad, &ItemID{item})
	if help {
		e.Objects = append(e.Objects, List(&HelpRequest{})...)
	}
	return e
}

// TimerExpiration tells that a timer ended (TS 102 223, 7.4); value is how long it ran.
func TimerExpiration(id uint8, value TimerValue) Envelope {
	return NewEnvelope(EnvelopeTimer, DeviceTerminal, &TimerID{id}, &value)
}

// EventDownload tells of an event (TS 102 223, 7.5). The event list is in front of the
// device identities there.
func EventDownload(e Event, from Device, objects ...Object) Envelope {
	head := List(&EventList{[]Event{e}}, &DeviceIdentities{from, DeviceUICC})
	return Envelope{EnvelopeEvent, append(head, List(objects...)...)}
}

// DataAvailable tells that data wait in a channel (TS 102 223, 7.5.10); n is how many.
func DataAvailable(s ChannelStatus, n int) Envelope {
	return EventDownload(EventDataAvailable, DeviceTerminal, &s, &ChannelDataLength{uint8(min(n, 0xFF))})
}

// ChannelStatusEvent tells that a channel changed (TS 102 223, 7.5.11).
func ChannelStatusEvent(s ChannelStatus) Envelope {
	return EventDownload(EventChannelStatus, DeviceTerminal, &s)
}

// LocationStatusEvent tells of a change of service (TS 102 223, 7.5.4).
func LocationStatusEvent(s Service, at *Location) Envelope {
	e := EventDownload(EventLocationStatus, DeviceTerminal, &LocationStatus{s})
	if at != nil {
		e.Objects = append(e.Objects, List(at)...)
	}
	return e
}

// CallControl asks whether a call may be set up to the address (TS 31.111, 7.3.1).
func CallControl(address Address, at Location) Envelope {
	return NewEnvelope(EnvelopeCallControl, DeviceTerminal, &address, &at)
}

// DecodeEnvelope decodes the data of an ENVELOPE, strictly: Bytes of the result is b. The
// error wraps ErrMalformed.
func DecodeEnvelope(b []byte) (Envelope, error) {
	if len(b) == 0 {
		return Envelope{}, fmt.Errorf("%w: an envelope of 0 bytes", ErrMalformed)
	}
	if _, ok := envelopes[b[0]]; !ok {
		return Envelope{}, fmt.Errorf("%w: no envelope has the tag %02X", ErrMalformed, b[0])
	}
	objects, err := inside(b, uint32(b[0]))
	return Envelope{EnvelopeKind(b[0]), objects}, err
}

// Bytes encodes the envelope; ErrValue where a data object does not hold its fields.
func (e Envelope) Bytes() ([]byte, error) {
	b, err := e.Objects.Bytes()
	if err != nil {
		return nil, err
	}
	if _, ok := envelopes[byte(e.Kind)]; !ok {
		return nil, fmt.Errorf("%w: no envelope has the tag %02X", ErrValue, byte(e.Kind))
	}
	return tlv.New(uint32(e.Kind), b).Append(nil), nil
}

// Event is the event of an event download; false for other kinds.
func (e Envelope) Event() (Event, bool) {
	list, ok := Find[EventList](e.Objects)
	if e.Kind != EnvelopeEvent || !ok || len(list.Events) != 1 {
		return 0, false
	}
	return list.Events[0], true
}

// Name is the kind in words, as in "event download, data available".
func (e Envelope) Name() string {
	if event, ok := e.Event(); ok {
		return e.Kind.String() + ", " + event.String()
	}
	return e.Kind.String()
}

// Words are the data objects in words.
func (e Envelope) Words() []string { return e.Objects.Words() }
