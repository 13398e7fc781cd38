package measure_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"mcim/tpm"
	"mcim/tpm/measure"
	"mcim/tpm/tpmtest"
)

func TestCannedBootReplaysIntoTPM(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	log := measure.CannedBoot()
	if wrong := log.Check(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14); len(wrong) > 0 {
		t.Fatal(wrong[0])
	}
	if err := measure.Extend(m, log); err != nil {
		t.Fatal(err)
	}
	want := log.Replay()
	for _, pcr := range append(measure.PolicyPCRs(), 1, 3, 5) {
		if want[pcr] == (measure.Digest{}) {
			t.Errorf("the boot measures nothing into PCR %d", pcr)
		}
	}
	var pcrs []int
	for pcr := range measure.PCRCount {
		pcrs = append(pcrs, pcr)
	}
	got, err := measure.Read(m, pcrs...)
	if err != nil {
		t.Fatal(err)
	}
	for pcr, v := range want {
		if got[pcr] != v {
			t.Errorf("PCR %d differs from the replay", pcr)
		}
	}
	before := m.Commands()
	if err := measure.Extend(m, log); err != nil {
		t.Errorf("again: %v", err)
	}
	if n := m.Commands() - before; n > 3 {
		t.Errorf("the second time extends (%d commands)", n)
	}
	log.Add(4, measure.EVEFIAction, []byte("one more"))
	if err := measure.Extend(m, log); err != nil {
		t.Errorf("the rest of a longer log: %v", err)
	}
	if err := measure.Extend(m, measure.CannedBoot()); !errors.Is(err, measure.ErrState) {
		t.Errorf("another boot than the one that was: %v", err)
	}
}

func TestExtendLeavesForeignPCRsAlone(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenDir(t, tpmtest.Dir(t), tpm.Options{Foreign: true})
	var refused *tpm.TakeOverError
	if err := measure.Extend(m, measure.CannedBoot()); !errors.As(err, &refused) {
		t.Errorf("boot of a machine that is not ours: %v", err)
	}
	if err := measure.Extend(m, measure.CannedBoot(), measure.Register); err != nil {
		t.Errorf("our register: %v", err)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	m := tpmtest.OpenBlank(t)
	for _, pcr := range []int{-1, 24} {
		if _, err := measure.Read(m, pcr); err == nil {
			t.Errorf("PCR %d was read", pcr)
		}
	}
	got, err := measure.Read(m, 14, 0, 14)
	if err != nil || len(got) != 2 {
		t.Errorf("%d values, %v", len(got), err)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var log measure.Log
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			log.AddMeasured(rapid.IntRange(0, 23).Draw(t, "pcr"), measure.EventType(rapid.Uint32().Draw(t, "type")),
				rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data"), rapid.SliceOf(rapid.Byte()).Draw(t, "measured"))
		}
		back, err := measure.Parse(log.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.Bytes(), log.Bytes()) {
			t.Fatal("another log came back")
		}
		if diff := cmp.Diff(log.Replay(), back.Replay()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// twoBanks is a log as firmware with SHA-1 and SHA-256 banks writes it, the
// digests of the second event in the other order.
func twoBanks() []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 105, 2)
	spec = le.AppendUint32(spec, 2)
	for _, v := range []uint16{4, 20, 0x0B, 32} {
		spec = le.AppendUint16(spec, v)
	}
	spec = append(spec, 3, 'a', 'b', 'c')
	out := le.AppendUint32(le.AppendUint32(nil, 0), 3)
	out = append(out, make([]byte, 20)...)
	out = append(le.AppendUint32(out, uint32(len(spec))), spec...)
	data := []byte("data")
	d := sha256.Sum256(data)
	sha1 := append(le.AppendUint16(nil, 4), make([]byte, 20)...)
	sha2 := append(le.AppendUint16(nil, 0x0B), d[:]...)
	for _, digests := range [][]byte{slices.Concat(sha1, sha2), slices.Concat(sha2, sha1)} {
		out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, 4), 5), 2)
		out = append(out, digests...)
		out = append(le.AppendUint32(out, uint32(len(data))), data...)
	}
	return out
}

func TestLogOfRealFirmware(t *testing.T) {
	t.Parallel()
	log, err := measure.Parse(twoBanks())
	if err != nil {
		t.Fatal(err)
	}
	if len(log.Events) != 2 || len(log.Check(4)) != 0 || len(log.Events[0].Others) != 1 {
		t.Errorf("%+v", log)
	}
	if !bytes.Equal(log.Bytes(), twoBanks()) {
		t.Error("it does not encode to the same bytes")
	}
	log.AddTRE(measure.Register, measure.TREVersion)
	if longer, err := measure.Parse(log.Bytes()); err != nil || len(longer.Events) != 3 {
		t.Errorf("log of the firmware with our own event: %v", err)
	}
	path := filepath.Join(t.TempDir(), "log")
	if _, err := measure.ReadMachine(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
	if err := os.WriteFile(path, twoBanks(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := measure.ReadMachine(path); err != nil {
		t.Error(err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	good := measure.CannedBoot().Bytes()
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	first := len(measure.Log{}.Bytes()) // where the first event begins
	for name, b := range map[string][]byte{
		"empty":                 {},
		"cut in the header":     good[:40],
		"cut in an event":       good[:len(good)-1],
		"bytes behind":          append(bytes.Clone(good), 0),
		"PCR of the header":     change(0, 1),
		"type of the header":    change(4, 4),
		"digest of the header":  change(8, 1),
		"Spec ID Event02":       change(32+14, '2'),
		"no algorithm":          change(56, 0),
		"many algorithms":       change(56, 0xFF),
		"SHA-1 only":            change(60, 4, 0, 20, 0),
		"SHA-256 of 31 bytes":   change(60, 0x0B, 0, 31, 0),
		"vendor info too long":  change(64, 1),
		"PCR 24":                change(first, 24),
		"no digest":             change(first+8, 0),
		"two digests":           change(first+8, 2),
		"unknown algorithm":     change(first+12, 0x0C),
		"length beyond the end": change(first+12+2+32, 0xFF, 0xFF, 0xFF, 0xFF),
	} {
		if _, err := measure.Parse(b); !errors.Is(err, measure.ErrLog) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := twoBanks()
	copy(twice[64:], []byte{0x0B, 0, 32, 0})
	copy(twice[60:], []byte{0x0B, 0, 32, 0})
	if _, err := measure.Parse(twice); !errors.Is(err, measure.ErrLog) {
		t.Errorf("an algorithm twice: %v", err)
	}
}

func TestCheckFindsForgedEvents(t *testing.T) {
	t.Parallel()
	log := measure.CannedBoot()
	i := slices.IndexFunc(log.Events, func(e measure.Event) bool { return bytes.Contains(e.Data, []byte("S\x00e\x00c\x00u\x00r\x00e\x00B")) })
	log.Events[i].Data = bytes.Clone(log.Events[i].Data)
	log.Events[i].Data[len(log.Events[i].Data)-1] = 0 // Secure Boot is off, the digest says on
	wrong := log.Check(measure.PolicyPCRs()...)
	if len(wrong) != 1 || wrong[0].Index != i || !errors.Is(wrong[0], measure.ErrDigest) {
		t.Errorf("changed data: %v", wrong)
	}
	if log.Replay()[7] != measure.CannedBoot().Replay()[7] {
		t.Error("the replay should not have seen it")
	}
	if wrong := log.Check(0, 2, 4); len(wrong) > 0 {
		t.Errorf("other PCRs: %v", wrong)
	}
	log = measure.CannedBoot()
	log.Add(4, 0x12345678, []byte("x"))
	log.Add(1, 0x12345678, []byte("x"))
	if wrong := log.Check(measure.PolicyPCRs()...); len(wrong) != 1 || !errors.Is(wrong[0], measure.ErrEventType) || wrong[0].PCR != 4 {
		t.Errorf("unknown type: %v", wrong)
	}
	log = measure.CannedBoot()
	log.Add(0, measure.EVNoAction, []byte("x"))
	if wrong := log.Check(0); len(wrong) != 1 {
		t.Errorf("an event without action has a digest: %v", wrong)
	}
}

func TestStartupLocality(t *testing.T) {
	t.Parallel()
	var log measure.Log
	log.Events = append(log.Events, measure.Event{PCR: 0, Type: measure.EVNoAction, Data: []byte("StartupLocality\x00\x03")})
	log.Add(0, measure.EVSeparator, make([]byte, 4))
	d := sha256.Sum256(make([]byte, 4))
	if want := sha256.Sum256(append(append(make([]byte, 31), 3), d[:]...)); log.Replay()[0] != want {
		t.Error("PCR 0 does not begin with the locality")
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	log := measure.CannedBoot()
	ref := measure.Derive("build 1", log, append(measure.PolicyPCRs(), 15)...)
	replay := log.Replay()
	for pcr, v := range ref.Values() {
		if v != replay[pcr] {
			t.Errorf("PCR %d", pcr)
		}
	}
	b, err := ref.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	back, err := measure.ParseReference(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ref, back); diff != "" {
		t.Error(diff)
	}
	swapped := ref
	swapped.PCRs = slices.Clone(ref.PCRs)
	slices.Reverse(swapped.PCRs)
	wrong, err := swapped.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"cut": b[:len(b)-1], "longer": append(bytes.Clone(b), 0), "order": wrong, "empty": nil, "text": []byte("\x61x")} {
		if _, err := measure.ParseReference(b); !errors.Is(err, measure.ErrReference) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzMeasure(f *testing.F) {
	f.Add(measure.CannedBoot().Bytes())
	f.Add(twoBanks())
	ref, err := measure.Derive("b", measure.CannedBoot(), 0, 7).Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ref)
	f.Fuzz(func(t *testing.T, b []byte) {
		if log, err := measure.Parse(b); err == nil {
			log.Replay()
			log.Check(measure.PolicyPCRs()...)
			if !bytes.Equal(log.Bytes(), b) {
				t.Error("a log encodes to something else")
			}
		}
		if ref, err := measure.ParseReference(b); err == nil {
			ref.Values()
			if again, err := ref.Bytes(); err != nil || !bytes.Equal(again, b) {
				t.Error("a reference encodes to something else")
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	log := measure.CannedBoot().Bytes()
	for b.Loop() {
		if _, err := measure.Parse(log); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCheckRegister: the PCRs that can be the TRE's own, and those that cannot.
func TestCheckRegister(t *testing.T) {
	t.Parallel()
	for pcr := range uint(26) {
		err := measure.CheckRegister(pcr)
		if ours := pcr >= 10 && pcr <= 15; ours != (err == nil) || err != nil && !errors.Is(err, measure.ErrNotOurs) {
			t.Errorf("PCR %d: %v", pcr, err)
		}
		if err == nil && pcr != measure.Register && slices.Contains(measure.PolicyPCRs(), int(pcr)) {
			t.Errorf("PCR %d is in the policy twice", pcr)
		}
	}
}
