package cat

import (
	"fmt"

	"mcim/apdu/tlv"
)

// tagProactive is the tag of a proactive command (TS 101 220, table 7.17).
const tagProactive = 0xD0

// Proactive is a proactive command (TS 102 223, 6.6): its first two data objects are the
// command details and the device identities.
type Proactive struct {
	Objects Objects `json:"objects"`
}

// NewProactive is a command from the UICC to a device.
func NewProactive(details CommandDetails, to Device, objects ...Object) Proactive {
	return Proactive{append(List(&details, &DeviceIdentities{DeviceUICC, to}), List(objects...)...)}
}

// DecodeProactive decodes what FETCH gives, strictly: Bytes of the result is b. The error
// wraps ErrMalformed.
func DecodeProactive(b []byte) (Proactive, error) {
	objects, err := inside(b, tagProactive)
	if err != nil {
		return Proactive{}, err
	}
	p := Proactive{objects}
	if len(objects) < 2 {
		return p, fmt.Errorf("%w: a proactive command has command details and device identities", ErrMalformed)
	}
	if _, ok := objects[0].Object.(*CommandDetails); !ok {
		return p, fmt.Errorf("%w: a proactive command begins with command details", ErrMalformed)
	}
	if _, ok := objects[1].Object.(*DeviceIdentities); !ok {
		return p, fmt.Errorf("%w: device identities follow the command details", ErrMalformed)
	}
	return p, nil
}

// inside decodes the data objects within one BER-TLV data object with the tag.
func inside(b []byte, tag uint32) (Objects, error) {
	list, err := tlv.Decode(b)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	case len(list) != 1 || list[0].Tag != tag:
		return nil, fmt.Errorf("%w: want one data object %02X", ErrMalformed, tag)
	}
	return DecodeObjects(list[0].Value)
}

// Bytes encodes the command; ErrValue where a data object does not hold its fields.
func (p Proactive) Bytes() ([]byte, error) {
	b, err := p.Objects.Bytes()
	if err != nil {
		return nil, err
	}
	return tlv.New(tagProactive, b).Append(nil), nil
}

// Details are the command details; zero where there are none.
func (p Proactive) Details() CommandDetails {
	d, _ := Find[CommandDetails](p.Objects)
	return d
}

// Devices are the device identities; zero where there are none.
func (p Proactive) Devices() DeviceIdentities {
	d, _ := Find[DeviceIdentities](p.Objects)
	return d
}

// Name is the command in words, as in "REFRESH, UICC reset".
func (p Proactive) Name() string { return p.Details().Name() }

// Name is the type of command, and what its qualifier says where that has a name.
func (d CommandDetails) Name() string {
	name := d.Type.String()
	switch d.Type {
	case TypeRefresh:
		return name + ", " + Refresh(d.Qualifier).String()
	case TypeProvideLocal:
		return name + ", " + Local(d.Qualifier).String()
	case TypeTimerManagement:
		return name + ", " + Timer(d.Qualifier).String()
	case TypeSendData:
		if d.Qualifier&SendImmediately == 0 {
			return name + ", store"
		}
		return name + ", send"
	}
	return name
}

// SendImmediately is the bit of the qualifier of SEND DATA that asks to send what is in
// the buffer; without it the data are stored (TS 102 223, 8.6).
const SendImmediately = 0x01

// Words are the data objects behind command details and device identities in words.
func (p Proactive) Words() []string { return p.Objects[min(2, len(p.Objects)):].Words() }

// Response is a TERMINAL RESPONSE (TS 102 223, 6.8).
type Response struct {
	Objects Objects `json:"objects"`
}

// NewResponse answers a command with those details. What a response need not have is
// marked so that the UICC may do without (TS 102 223, 6.8).
func NewResponse(details CommandDetails, result Result, objects ...Object) Response {
	head := List(&details, &DeviceIdentities{DeviceTerminal, DeviceUICC}, &result)
	head[1].Optional = true
	for _, o := range objects {
		head = append(head, Part{Optional: true, Object: o})
	}
	return Response{head}
}

// DecodeResponse decodes the data of a TERMINAL RESPONSE, strictly. The error wraps
// ErrMalformed.
func DecodeResponse(b []byte) (Response, error) {
	objects, err := DecodeObjects(b)
	r := Response{objects}
	if err != nil {
		return r, err
	}
	if _, ok := Find[CommandDetails](objects); !ok {
		return r, fmt.Errorf("%w: a terminal response has command details", ErrMalformed)
	}
	if _, ok := Find[Result](objects); !ok {
		return r, fmt.Errorf("%w: a terminal response has a result", ErrMalformed)
	}
	return r, nil
}

// Bytes encodes the response; ErrValue where a data object does not hold its fields.
func (r Response) Bytes() ([]byte, error) { return r.Objects.Bytes() }

// Details are those of the command that is answered.
func (r Response) Details() CommandDetails {
	d, _ := Find[CommandDetails](r.Objects)
	return d
}

// Result is how the command ended.
func (r Response) Result() Result {
	v, _ := Find[Result](r.Objects)
	return v
}

// Words are the result and the data objects behind it in words.
func (r Response) Words() []string {
	var rest Objects
	for _, p := range r.Objects {
		switch p.Object.(type) {
		case *CommandDetails, *DeviceIdentities:
		default:
			rest = append(rest, p)
		}
	}
	return rest.Words()
}
