package cat

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"

	"mcim/apdu/ef"
)

// Bearer is a bearer description (TS 102 223, 8.52).
type Bearer struct {
	Type       BearerType `json:"type"`
	Parameters ef.Hex     `json:"parameters,omitempty"`
}

func (v *Bearer) fields(c *coder) {
	code(c, &v.Type)
	c.rest(&v.Parameters)
}

// ChannelData is data of a channel (TS 102 223, 8.53).
type ChannelData struct {
	Data ef.Hex `json:"data"`
}

func (v *ChannelData) fields(c *coder) { c.rest(&v.Data) }

// ChannelDataLength is a channel data length (TS 102 223, 8.54): how many bytes wait, or
// how many there is room for; 255 stands for 255 and more.
type ChannelDataLength struct {
	Bytes uint8 `json:"bytes"`
}

func (v *ChannelDataLength) fields(c *coder) { c.u8(&v.Bytes) }

// ChannelStatus is a channel status (TS 102 223, 8.56).
type ChannelStatus struct {
	Channel uint8 `json:"channel"` // 1 to 7; 0: none
	// State is bits 8 to 4 of the first byte: 10 means that the link is established.
	State uint8 `json:"state"`
	Info  uint8 `json:"info"` // 0, or 5: the link was dropped
}

// States of a channel.
const (
	LinkUp      uint8 = 0x10 // bit 8 of the first byte, as State has it
	LinkDropped uint8 = 0x05 // as Info has it
)

func (v *ChannelStatus) fields(c *coder) {
	if v.Channel > 7 || v.State > 0x1F {
		c.fail("channel %d and state %d do not fit one byte", v.Channel, v.State)
	}
	first := v.State<<3 | v.Channel&0x07
	c.u8(&first)
	if !c.writing {
		v.Channel, v.State = first&0x07, first>>3
	}
	c.u8(&v.Info)
}

// String is as in "channel 1 is up".
func (v *ChannelStatus) String() string {
	switch {
	case v.State&LinkUp != 0:
		return fmt.Sprintf("channel %d is up", v.Channel)
	case v.Info == LinkDropped:
		return fmt.Sprintf("channel %d: the link was dropped", v.Channel)
	case v.Channel == 0:
		return "no channel"
	}
	return fmt.Sprintf("channel %d is down", v.Channel)
}

// BufferSize is a buffer size (TS 102 223, 8.55).
type BufferSize struct {
	Bytes uint16 `json:"bytes"`
}

func (v *BufferSize) fields(c *coder) { c.u16(&v.Bytes) }

// TransportLevel is the interface between UICC and terminal (TS 102 223, 8.59).
type TransportLevel struct {
	Protocol Transport `json:"protocol"`
	Port     uint16    `json:"port"`
}

func (v *TransportLevel) fields(c *coder) {
	code(c, &v.Protocol)
	c.u16(&v.Port)
}

// OtherAddress is an IP address (TS 102 223, 8.58). The zero address stands for one that
// the network gives.
type OtherAddress struct {
	IP netip.Addr `json:"ip"`
}

const (
	addressIPv4 = 0x21
	addressIPv6 = 0x57
)

func (v *OtherAddress) fields(c *coder) {
	switch {
	case c.writing && !v.IP.IsValid():
	case c.writing:
		kind := byte(addressIPv6)
		if v.IP.Is4() {
			kind = addressIPv4
		}
		c.put(kind)
		c.put(v.IP.AsSlice()...)
	case len(c.in) > 0:
		kind := c.take(1)[0]
		ip, ok := netip.AddrFromSlice(c.take(len(c.in)))
		if !ok || kind != addressIPv4 && kind != addressIPv6 || ip.Is4() != (kind == addressIPv4) {
			c.fail("no IP address")
			return
		}
		v.IP = ip
	}
}

// AccessName is a network access name (TS 102 223, 8.70; TS 23.003, 9.1).
type AccessName struct {
	Name string `json:"name"` // as in "internet.example"
}

func (v *AccessName) fields(c *coder) {
	if c.writing {
		for label := range strings.SplitSeq(v.Name, ".") {
			if len(label) < 1 || len(label) > 63 {
				c.fail("label %q of a network access name has %d bytes, want 1 to 63", label, len(label))
			}
			c.put(byte(len(label)))
			c.put([]byte(label)...)
		}
		return
	}
	labels := []string{}
	for len(c.in) > 0 && c.err == nil {
		label := c.take(int(c.take(1)[0]))
		if bytes.ContainsFunc(label, func(r rune) bool { return r <= 0x20 || r > 0x7E || r == '.' }) {
			c.fail("no label of a name")
		}
		labels = append(labels, string(label))
	}
	v.Name = strings.Join(labels, ".")
}
