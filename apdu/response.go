package apdu

import (
	"encoding/binary"
	"fmt"
)

// Response is a response APDU: data and the status word behind it
// (ISO/IEC 7816-3, 12.1; TS 102 221, 10.2).
type Response struct {
	Data []byte // 0 to 65536 bytes
	SW   StatusWord
}

// ParseResponse decodes a response APDU. Fewer than two bytes are
// ErrMalformed. The data of the result is a part of b, not a copy.
func ParseResponse(b []byte) (Response, error) {
	n := len(b) - 2
	if n < 0 {
		return Response{}, fmt.Errorf("%w: response of %d bytes has no status word", ErrMalformed, len(b))
	}
	return Response{Data: b[:n:n], SW: StatusWord(binary.BigEndian.Uint16(b[n:]))}, nil
}

// Bytes encodes the response.
func (r Response) Bytes() []byte {
	return r.Append(nil)
}

// Append is Bytes that appends to dst, for callers that reuse a buffer.
func (r Response) Append(dst []byte) []byte {
	dst = append(dst, r.Data...)
	return binary.BigEndian.AppendUint16(dst, uint16(r.SW))
}
