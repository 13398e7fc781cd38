package emul

import (
	"bytes"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card/securechannel"
)

// withChannel is a card with a channel key.
func withChannel(t *testing.T) *Card {
	t.Helper()
	p := testProfile(t)
	p.ChannelKey = random(16)
	c := newCard(t, p)
	c.Rand = zeros{}
	return c
}

// managed sends the data of a procedure in blocks of n bytes; the last status word.
func managed(t *testing.T, c *Card, p uicc.SecureProcedure, data []byte, n int) (sw apdu.StatusWord) {
	t.Helper()
	block := uicc.FirstCommandBlock
	for _, part := range securechannel.Split(data, n) {
		if sw != 0 && sw != uicc.SWDataExpected {
			t.Fatalf("%v before the end", sw)
		}
		sw = sent(t, c, uicc.ManageSecureChannel{Procedure: p, Block: block, Data: part}.Command()).SW
		block = uicc.NextCommandBlock
	}
	return sw
}

func sent(t *testing.T, c *Card, cmd apdu.Command) apdu.Response {
	t.Helper()
	b, err := cmd.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Transmit(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	r, err := apdu.ParseResponse(bytes.Clone(answer))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestManageSecureChannelRefuses has a refusal for each field, and blocks of each size.
func TestManageSecureChannelRefuses(t *testing.T) {
	t.Parallel()
	c := withChannel(t)
	good := uicc.MasterRequest{Terminal: bytes.Repeat([]byte{'t'}, 64), TerminalApp: []byte("app"), ICCID: c.endpoints().ICCID, Agreements: uicc.AgreementPreshared}
	gba, foreign, noApp := good, good, good
	gba.Agreements, foreign.ICCID[0], noApp.UICCApp = uicc.AgreementGBA, 0xFF, []byte("app")
	connect := uicc.ConnectionRequest{Algorithms: securechannel.Algorithms()}
	des := connect
	des.Algorithms.Ciphering = 1
	start := uicc.StartRequest{Algorithms: securechannel.Algorithms(), Container: 1}
	large := start
	large.Container = secureContainer + 1
	for _, s := range []struct {
		name string
		p    uicc.SecureProcedure
		data []byte
		want apdu.StatusWord
	}{
		{"a connection without a master", uicc.EstablishConnectionSA, connect.Bytes(), apdu.SWReferencedDataNotFound},
		{"a start without a connection", uicc.StartSecureChannel, start.Bytes(), apdu.SWReferencedDataNotFound},
		{"the end of nothing", uicc.TerminateSA, uicc.TerminateRequest{}.Bytes(), apdu.SWReferencedDataNotFound},
		{"GBA", uicc.EstablishMasterSA, gba.Bytes(), apdu.SWFunctionNotSupported},
		{"another card", uicc.EstablishMasterSA, foreign.Bytes(), apdu.SWReferencedDataNotFound},
		{"another endpoint", uicc.EstablishMasterSA, noApp.Bytes(), apdu.SWReferencedDataNotFound},
		{"no objects", uicc.EstablishMasterSA, []byte{0x73, 0x00}, apdu.SWWrongData},
		{"data for the endpoints", uicc.RetrieveEndpoints, []byte{0x73, 0x00}, apdu.SWIncorrectP1P2},
		{"more than there is room for", uicc.EstablishMasterSA, append([]byte{0x73, 0x82, 0x7F, 0x00}, make([]byte, maxSecureData)...), apdu.SWWrongLength},
		{"a master", uicc.EstablishMasterSA, good.Bytes(), uicc.SWResponseData},
		{"3DES", uicc.EstablishConnectionSA, des.Bytes(), apdu.SWFunctionNotSupported},
		{"a connection", uicc.EstablishConnectionSA, connect.Bytes(), uicc.SWResponseData},
		{"containers that are too large", uicc.StartSecureChannel, large.Bytes(), apdu.SWWrongData},
		{"a start without proof", uicc.StartSecureChannel, start.Bytes(), swIncorrectMAC},
		{"a start after it", uicc.StartSecureChannel, start.Bytes(), apdu.SWReferencedDataNotFound},
		{"an end without proof", uicc.TerminateSA, uicc.TerminateRequest{IsMaster: true}.Bytes(), swIncorrectMAC},
	} {
		for _, n := range []int{255, 50, 1} {
			if n == 1 && len(s.data) > maxSecureData {
				continue
			}
			if s.name == "a start without proof" && n != 255 {
				managed(t, c, uicc.EstablishConnectionSA, connect.Bytes(), 255) // the last one ended it
			}
			if sw := managed(t, c, s.p, s.data, n); sw != s.want {
				t.Errorf("%s in blocks of %d: %v, want %v", s.name, n, sw, s.want)
			}
		}
	}
	for name, line := range map[string]string{
		"another procedure's answer": "0073 03 A0 00 = 6985", "a procedure that is none": "0073 05 A0 00 = 6A86",
		"a next block first": "0073 02 00 01 73 = 6985", "an answer with data": "0073 01 A0 01 00 = 6700",
		"TRANSACT DATA without a channel": "0075 00 00 00 = 6989", "the other class": "8073 00 A0 00 = 6D00",
	} {
		t.Run(name, func(t *testing.T) { run(t, c, line) })
	}
	if r := sent(t, newCard(t, testProfile(t)), uicc.ManageSecureChannel{Block: uicc.FirstResponseBlock, Ne: 256}.Command()); r.SW != apdu.SWInstructionNotSupported {
		t.Errorf("a card without a key: %v, want 6D00", r.SW)
	}
}
