package uicc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"mcim/apdu"
)

func TestSecureChannelCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want    string
		command apdu.Command
	}{
		{"007300a000", ManageSecureChannel{Block: FirstResponseBlock, Ne: 256}.Command()},
		{"0073018002aabb", ManageSecureChannel{Procedure: EstablishMasterSA, Block: FirstCommandBlock, Data: []byte{0xAA, 0xBB}}.Command()},
		{"0073020001cc", ManageSecureChannel{Procedure: EstablishConnectionSA, Data: []byte{0xCC}}.Command()},
		{"0075440203800155", TransactData{Session: 1, Remaining: 2, Container: []byte{0x55}}.Command()},
		{"0075c00010", TransactData{Session: 3, Ne: 16}.Command()},
		{"00754200", TransactData{Session: 1, Abort: true, Ne: 16}.Command()},
	} {
		b, err := c.command.Bytes()
		if got := hex.EncodeToString(b); err != nil || got != c.want {
			t.Errorf("%s %v, want %s", got, err, c.want)
		}
	}
	for name, c := range map[string]apdu.Command{
		"procedure":          ManageSecureChannel{Procedure: 5, Block: FirstResponseBlock, Ne: 1}.Command(),
		"answer with data":   ManageSecureChannel{Block: FirstResponseBlock, Data: []byte{1}, Ne: 1}.Command(),
		"answer without Le":  ManageSecureChannel{Block: NextResponseBlock}.Command(),
		"command with Le":    ManageSecureChannel{Block: FirstCommandBlock, Data: []byte{1}, Ne: 1}.Command(),
		"long block":         ManageSecureChannel{Block: FirstCommandBlock, Data: make([]byte, 256)}.Command(),
		"session":            TransactData{Session: 4, Ne: 1}.Command(),
		"container":          TransactData{Container: make([]byte, MaxContainer+1)}.Command(),
		"remaining and none": TransactData{Remaining: 1, Ne: 1}.Command(),
		"no Le":              TransactData{}.Command(),
	} {
		if b, err := c.Bytes(); err == nil {
			t.Errorf("%s: %x, want an error", name, b)
		}
	}
	if c := (TransactData{Container: make([]byte, MaxContainer)}).Command(); len(c.Data) != apdu.MaxShortData {
		t.Errorf("the longest container makes %d bytes", len(c.Data))
	}
}

// secureExamples are one message of each kind.
func secureExamples() [][]byte {
	id := [SecureIDLen]byte{1, 2, 3}
	aes := SecureAlgorithms{CipheringAES, IntegrityCMAC}
	return [][]byte{
		SecureEndpoints{ICCID: [10]byte{0x98}, Endpoints: []SecureEndpoint{{
			EndpointPlatform, TransportAPDU, ChannelAPDU, AgreementPreshared, 240, 7, []byte("id"),
		}}}.Bytes(),
		MasterRequest{[]byte("terminal"), []byte("app"), [10]byte{0x98}, nil, AgreementPreshared}.Bytes(),
		MasterAnswer{AgreementPreshared | AgreementExists, id}.Bytes(),
		ConnectionRequest{aes, id, id}.Bytes(),
		ConnectionAnswer{aes, id, id, id}.Bytes(),
		StartRequest{aes, id, id, 240}.Bytes(),
		StartAnswer{3}.Bytes(),
		TerminateRequest{true, id, id}.Bytes(),
		EncodeContainer([]byte{1, 2, 3}),
	}
}

// recodeSecure decodes and encodes one message of the kind.
func recodeSecure(kind byte, b []byte) ([]byte, error) {
	type message interface{ Bytes() []byte }
	var m message
	var err error
	switch kind {
	case 0:
		m, err = ParseSecureEndpoints(b)
	case 1:
		m, err = ParseMasterRequest(b)
	case 2:
		m, err = ParseMasterAnswer(b)
	case 3:
		m, err = ParseConnectionRequest(b)
	case 4:
		m, err = ParseConnectionAnswer(b)
	case 5:
		m, err = ParseStartRequest(b)
	case 6:
		m, err = ParseStartAnswer(b)
	case 7:
		m, err = ParseTerminateRequest(b)
	default:
		container, err := DecodeContainer(b)
		return EncodeContainer(container), err
	}
	return m.Bytes(), err
}

func TestSecureChannelObjects(t *testing.T) {
	t.Parallel()
	examples := secureExamples()
	for kind, b := range examples {
		if back, err := recodeSecure(byte(kind), b); err != nil || !bytes.Equal(back, b) {
			t.Errorf("kind %d: %x became %x, %v", kind, b, back, err)
		}
		for n := range b {
			if _, err := recodeSecure(byte(kind), b[:n]); !errors.Is(err, ErrSecureChannel) {
				t.Errorf("kind %d cut to %d bytes: %v, want ErrSecureChannel", kind, n, err)
			}
		}
		for other, o := range examples {
			if other == kind {
				continue
			}
			if _, err := recodeSecure(byte(kind), o); !errors.Is(err, ErrSecureChannel) {
				t.Errorf("kind %d took kind %d for its own: %v", kind, other, err)
			}
		}
	}
	if _, err := ParseStartAnswer([]byte{0x73, 3, 0x8F, 1, 4}); !errors.Is(err, ErrSecureChannel) {
		t.Errorf("session 4: %v", err)
	}
}

// FuzzSecureChannel runs the decoders of the secure channel, chosen by the first byte.
func FuzzSecureChannel(f *testing.F) {
	examples := secureExamples()
	for kind, b := range examples {
		f.Add(append([]byte{byte(kind)}, b...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		kind := in[0] % byte(len(examples))
		if back, err := recodeSecure(kind, in[1:]); err == nil && !bytes.Equal(back, in[1:]) {
			t.Errorf("kind %d: %x became %x", kind, in[1:], back)
		}
	})
}
