package usim

import (
	"encoding/binary"
	"fmt"
)

// ACC is the content of EF.ACC: bit n is access class n, 0 to 9 and 11 to 15
// (TS 31.102, 4.2.15).
type ACC uint16

const accBit10 ACC = 1 << 10 // not allocated (TS 22.011, 4.2)

// Encode encodes the content of EF.ACC, 2 bytes.
func (a ACC) Encode() ([]byte, error) {
	if a&accBit10 != 0 {
		return nil, fmt.Errorf("%w: access class 10 is not for cards", ErrContent)
	}
	return binary.BigEndian.AppendUint16(nil, uint16(a)), nil
}

// Has reports whether the card belongs to the access class, 0 to 15.
func (a ACC) Has(class int) bool { return class >= 0 && class < 16 && a>>class&1 != 0 }

// DecodeACC decodes the content of EF.ACC.
func DecodeACC(b []byte) (ACC, error) {
	if len(b) != 2 {
		return 0, fmt.Errorf("%w: EF.ACC of %d bytes, want 2", ErrContent, len(b))
	}
	a := ACC(binary.BigEndian.Uint16(b))
	if a&accBit10 != 0 {
		return 0, fmt.Errorf("%w: EF.ACC %X has access class 10", ErrContent, b)
	}
	return a, nil
}

// Service is the number of a service in EF.UST, from 1 (TS 31.102, 4.2.8).
type Service int

// Services that this program looks at.
const (
	ServiceLocalPhoneBook Service = 1
	ServiceSMS            Service = 10
	ServiceSMSParameters  Service = 12
	ServiceMSISDN         Service = 21
	ServiceGSMAccess      Service = 27
	ServiceSMSPPDownload  Service = 28
	ServiceGSMContext     Service = 38
	ServiceEPSMobility    Service = 85
	Service5GSMobility    Service = 122
	ServiceSUCI           Service = 124
)

// UST is the content of EF.UST, the service table: bit 1 of byte 1 is service 1,
// one is available (TS 31.102, 4.2.8). Any bytes are a table.
type UST []byte

// NewUST is a table of at least length bytes with the services available.
func NewUST(length int, services ...Service) UST {
	u := make(UST, length)
	for _, s := range services {
		for s.index() >= len(u) {
			u = append(u, 0)
		}
		u[s.index()] |= s.bit()
	}
	return u
}

// Has reports whether the service is available.
func (u UST) Has(s Service) bool {
	return s > 0 && s.index() < len(u) && u[s.index()]&s.bit() != 0
}

// Encode gives the content of EF.UST.
func (u UST) Encode() ([]byte, error) {
	if len(u) == 0 {
		return nil, fmt.Errorf("%w: EF.UST is empty", ErrContent)
	}
	return u, nil
}

// DecodeUST decodes the content of EF.UST.
func DecodeUST(b []byte) (UST, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: EF.UST is empty", ErrContent)
	}
	return b, nil
}

func (s Service) index() int { return int(s-1) / 8 }
func (s Service) bit() byte  { return 1 << (int(s-1) % 8) }
