package cardtest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
)

// pairingCases are the cases about the terminals that a card is paired with.
func (s suite) pairingCases() []suiteCase {
	applies := s.facts.ADM1.Len() > 0 && s.facts.Pairing
	return []suiteCase{
		{"a terminal is paired, a foreign one is not", applies, s.pairs},
		{"a terminal is paired only where it may be written", applies, s.refusesPairing},
	}
}

const (
	pairingStatus  = 0x6FF1
	pairingDevices = 0x6FF2
)

// pairingGuard is a guard with ADM1 verified, and one for another card.
func (s suite) pairingGuard(t *testing.T) (session *card.Session, guard, stranger *card.Guard) {
	t.Helper()
	session = s.session(t)
	atr, err := session.Reset(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	config := card.GuardConfig{ATR: bytes.Clone(atr), Allow: []string{s.facts.ICCID}}
	guard = card.NewGuard(session, config)
	config.Allow = []string{"8900000000000000000"}
	must(t, guard.Verify(t.Context(), uicc.RefADM1, s.facts.ADM1))
	return session, guard, card.NewGuard(session, config)
}

// pairs writes two terminals into EF.IPD, holds three against them, and puts both files
// back.
func (s suite) pairs(t *testing.T) {
	ctx := t.Context()
	session, guard, _ := s.pairingGuard(t)
	status, devices := card.InApp(s.facts.App, pairingStatus), card.InApp(s.facts.App, pairingDevices)
	before, err := session.ReadRecords(ctx, status)
	must(t, err)
	named, err := session.ReadRecords(ctx, devices)
	must(t, err)
	own, version, foreign := "359881234567890", "3598812345678901", "359881234567899"
	if _, err := guard.Pair(ctx, s.facts.App, ef.PairingDevice{IMEI: &own}); !errors.Is(err, card.ErrUnpaired) {
		t.Errorf("a card that names no terminal: %v, want ErrUnpaired", err)
	}
	codec, _ := ef.Find(ef.DirUSIM, pairingDevices)
	for i, d := range []ef.PairingDevice{{IMEI: &own}, {IMEISV: &version}} {
		data, err := codec.Encode(d, len(named[i]))
		must(t, err)
		must(t, guard.UpdateRecord(ctx, devices, i+1, data))
	}
	for _, c := range []struct {
		terminal ef.PairingDevice
		want     card.Pairing
		newest   string
	}{
		{ef.PairingDevice{IMEI: &own}, card.Pairing{Paired: true, Record: 1, Written: true}, "OK\x01\xFF"},
		{ef.PairingDevice{IMEI: &own}, card.Pairing{Paired: true, Record: 1}, "OK\x01\xFF"},
		{ef.PairingDevice{IMEI: &foreign, IMEISV: &version}, card.Pairing{Paired: true, Record: 2, Written: true}, "OK\x02\xFF"},
		{ef.PairingDevice{IMEI: &foreign}, card.Pairing{Written: true}, "KO\x00\xFF"},
	} {
		got, err := guard.Pair(ctx, s.facts.App, c.terminal)
		if err != nil || got != c.want {
			t.Errorf("%+v %v, want %+v", got, err, c.want)
		}
		records, err := session.ReadRecords(ctx, status)
		if err != nil || string(records[0]) != c.newest {
			t.Errorf("EF.IPS begins with %q, %v; want %q", records[0], err, c.newest)
		}
	}
	if _, err := guard.Pair(ctx, s.facts.App, ef.PairingDevice{}); !errors.Is(err, ef.ErrContent) {
		t.Errorf("no terminal: %v, want ErrContent", err)
	}
	for i := range 2 {
		must(t, guard.UpdateRecord(ctx, devices, i+1, named[i]))
	}
	for _, r := range slices.Backward(before) {
		must(t, guard.UpdateCyclic(ctx, status, r))
	}
}

// refusesPairing: a card that is not on the list keeps its status.
func (s suite) refusesPairing(t *testing.T) {
	ctx := t.Context()
	session, guard, stranger := s.pairingGuard(t)
	devices := card.InApp(s.facts.App, pairingDevices)
	own := "359881234567890"
	codec, _ := ef.Find(ef.DirUSIM, pairingDevices)
	named, err := session.ReadRecords(ctx, devices)
	must(t, err)
	data, err := codec.Encode(ef.PairingDevice{IMEI: &own}, len(named[0]))
	must(t, err)
	must(t, guard.UpdateRecord(ctx, devices, 1, data))
	_, err = stranger.Pair(ctx, s.facts.App, ef.PairingDevice{IMEI: &own})
	if !errors.Is(err, card.ErrNotAllowed) {
		t.Errorf("a card that is not on the list: %v, want ErrNotAllowed", err)
	}
	if records, err := session.ReadRecords(ctx, card.InApp(s.facts.App, pairingStatus)); err != nil || records[0][0] != 0xFF {
		t.Errorf("EF.IPS begins with %x, %v", records[0], err)
	}
	must(t, guard.UpdateRecord(ctx, devices, 1, named[0]))
}
