package trace

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// The layers of a packet. A capture has a link type for GSMTAP only inside UDP,
// so each exchange is an UDP packet on loopback, with the port of GSMTAP.
const (
	pcapMagic   = 0xA1B23C4D // times in nanoseconds
	linkTypeRaw = 101        // packets begin with the IP header
	snapLen     = 65535

	ipLen     = 20
	udpLen    = 8
	gsmtapLen = 16
	// maxPayload is what is left of an IP packet for command and response.
	maxPayload = 65535 - ipLen - udpLen - gsmtapLen

	protocolUDP   = 17
	gsmtapPort    = 4729
	gsmtapVersion = 2
	gsmtapSIM     = 4 // type; subtype 0 is an APDU
)

// Pcap writes a capture file (pcap) in which each exchange is a GSMTAP packet of
// type SIM: command, response data, status word. Wireshark and tshark decode it.
// It may be used from any goroutine, and writes nothing more after an error.
type Pcap struct {
	mu  sync.Mutex
	w   io.Writer
	n   int
	err error
}

// NewPcap writes the file header to w, and later one Write for each packet.
func NewPcap(w io.Writer) (*Pcap, error) {
	h := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	h = binary.LittleEndian.AppendUint16(h, 2) // version 2.4
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...) // time zone and accuracy, unused
	h = binary.LittleEndian.AppendUint32(h, snapLen)
	h = binary.LittleEndian.AppendUint32(h, linkTypeRaw)
	if _, err := w.Write(h); err != nil {
		return nil, fmt.Errorf("capture file: %w", err)
	}
	return &Pcap{w: w}, nil
}

// WriteAPDU writes an exchange with a card; it implements Sink. What does not fit
// into an IP packet is cut off at the end, which only extended lengths of nearly
// 64 KiB come to.
func (p *Pcap) WriteAPDU(e Exchange) error {
	payload := append(append([]byte(nil), e.Command...), e.Response...)
	payload = payload[:min(len(payload), maxPayload)]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.n++
	if _, err := p.w.Write(record(e.Time, uint16(p.n), payload)); err != nil {
		p.err = fmt.Errorf("capture is incomplete from packet %d on: %w", p.n, err)
	}
	return p.err
}

// Err is the first error of writing, if there was one.
func (p *Pcap) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// record is a packet with the header that the file puts before each.
func record(t time.Time, id uint16, payload []byte) []byte {
	n := ipLen + udpLen + gsmtapLen + len(payload)
	b := make([]byte, 0, 16+n)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Unix()))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Nanosecond()))
	b = binary.LittleEndian.AppendUint32(b, uint32(n)) // bytes that follow
	b = binary.LittleEndian.AppendUint32(b, uint32(n)) // bytes that there were
	b = append(b, ipHeader(id, n)...)
	return append(b, udp(payload)...)
}

// ipHeader is an IPv4 header (RFC 791) for a packet of n bytes in all.
func ipHeader(id uint16, n int) []byte {
	h := []byte{0x45, 0}
	h = binary.BigEndian.AppendUint16(h, uint16(n))
	h = binary.BigEndian.AppendUint16(h, id)
	h = append(h, 0x40, 0, 64, protocolUDP, 0, 0) // not to be fragmented, 64 hops, checksum below
	h = append(h, 127, 0, 0, 1, 127, 0, 0, 1)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return h
}

// udp is an UDP packet (RFC 768) with a GSMTAP header and its payload.
func udp(payload []byte) []byte {
	n := uint16(udpLen + gsmtapLen + len(payload))
	b := make([]byte, 0, n)
	b = binary.BigEndian.AppendUint16(b, gsmtapPort)
	b = binary.BigEndian.AppendUint16(b, gsmtapPort)
	b = binary.BigEndian.AppendUint16(b, n)
	b = append(b, 0, 0)                                     // checksum below
	b = append(b, gsmtapVersion, gsmtapLen/4, gsmtapSIM, 0) // length in words
	b = append(b, make([]byte, gsmtapLen-4)...)             // radio fields, and subtype APDU
	b = append(b, payload...)
	pseudo := append([]byte{127, 0, 0, 1, 127, 0, 0, 1, 0, protocolUDP}, byte(n>>8), byte(n))
	sum := checksum(pseudo, b)
	if sum == 0 {
		sum = 0xFFFF // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(b[6:], sum)
	return b
}

// checksum is that of RFC 1071. Each part but the last has an even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, b := range parts {
		for ; len(b) > 1; b = b[2:] {
			sum += uint32(binary.BigEndian.Uint16(b))
		}
		if len(b) == 1 {
			sum += uint32(b[0]) << 8
		}
	}
	for sum > 0xFFFF {
		sum = sum>>16 + sum&0xFFFF
	}
	return ^uint16(sum)
}
