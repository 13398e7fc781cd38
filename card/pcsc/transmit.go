//go:build cgo

package pcsc

// #cgo pkg-config: libpcsclite
// #cgo noescape transmit
// #cgo nocallback transmit
// #include <winscard.h>
//
// // transmit gives the length of the response, or the error code below zero.
// static long long transmit(SCARDHANDLE card, DWORD protocol, const BYTE *command, DWORD n, BYTE *response, DWORD room) {
// 	LONG rv = SCardTransmit(card, protocol == SCARD_PROTOCOL_T1 ? SCARD_PCI_T1 : SCARD_PCI_T0,
// 		command, n, NULL, response, &room);
// 	return rv == SCARD_S_SUCCESS ? (long long)room : -(long long)(rv & 0xFFFFFFFF);
// }
import "C"

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/ebfe/scard"
)

// maxResponse is the room that the library takes at most, MAX_BUFFER_SIZE_EXTENDED.
const maxResponse = 4 + 3 + 1<<16 + 3 + 2

// transmitter is SCardTransmit on an open card. The one of scard makes a buffer of
// 64 KiB for each command, and the garbage collector that it keeps busy takes as
// long as the command itself.
type transmitter struct {
	handle   C.SCARDHANDLE
	response []byte
}

// newTransmitter takes the handle out of a card of scard, which has no method for
// it.
func newTransmitter(c *scard.Card) (*transmitter, error) {
	h := reflect.ValueOf(c).Elem().FieldByName("handle")
	if !h.IsValid() || !h.CanUint() {
		return nil, errors.New("this version of github.com/ebfe/scard keeps the handle of a card elsewhere")
	}
	return &transmitter{handle: C.SCARDHANDLE(h.Uint()), response: make([]byte, maxResponse)}, nil
}

// transmit sends a command of at least one byte. The response is valid until the
// next one.
func (t *transmitter) transmit(protocol scard.Protocol, command []byte) ([]byte, error) {
	n := C.transmit(t.handle, C.DWORD(protocol), (*C.BYTE)(unsafe.Pointer(&command[0])), C.DWORD(len(command)),
		(*C.BYTE)(unsafe.Pointer(&t.response[0])), maxResponse)
	if n < 0 {
		return nil, scard.Error(-n)
	}
	return t.response[:n], nil
}
