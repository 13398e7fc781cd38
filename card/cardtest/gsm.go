package cardtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
)

// GSMFacts are paths below the MF of files that PIN1 reads and updates in both classes.
type GSMFacts struct {
	Binary  []uint16 // transparent, 4 bytes or more
	Records []uint16 // linear fixed, 2 records or more
	Cyclic  []uint16
}

// gsmCases are the cases about what class A0 writes.
func (s suite) gsmCases() []suiteCase {
	applies := s.facts.PIN1.Len() > 0 && s.facts.Spare && s.facts.GSMWrites != nil
	adm := applies && s.facts.ADM1.Len() > 0
	return []suiteCase{
		{"class A0 updates bytes", applies, s.gsmBinary},
		{"class A0 reads, seeks and updates records", applies, s.gsmRecords},
		{"class A0 turns a cyclic file", applies, s.gsmCyclic},
		{"class A0 increases", adm, s.gsmIncreases},
		{"class A0 invalidates and rehabilitates", adm, s.gsmTurns},
		{"class A0 refuses what it cannot or may not", applies, s.gsmRefuses},
		{"a dry run tells the rights of class A0", applies, s.gsmDryRun},
	}
}

// writer is a session with PIN1 verified, and a guard that may write to this card.
func (s suite) writer(t *testing.T, change func(*card.GuardConfig)) (*card.Session, *card.Guard) {
	t.Helper()
	session := s.session(t)
	atr, err := session.Reset(t.Context())
	must(t, err)
	config := card.GuardConfig{ATR: bytes.Clone(atr), Allow: []string{s.facts.ICCID}}
	if change != nil {
		change(&config)
	}
	must(t, card.NewGuard(session, card.GuardConfig{ATR: config.ATR}).Verify(t.Context(), uicc.RefPIN1, s.facts.PIN1))
	return session, card.NewGuard(session, config)
}

// gsmBinary: what class A0 writes is there in both classes.
func (s suite) gsmBinary(t *testing.T) {
	ctx, path := t.Context(), s.facts.GSMWrites.Binary
	session, guard := s.writer(t, nil)
	old, err := session.ReadFile(ctx, card.InGSM(path...))
	must(t, err)
	want := bytes.Clone(old)
	want[1], want[2] = ^old[1], ^old[2]
	must(t, guard.UpdateBinary(ctx, card.InGSM(path...), 1, want[1:3]))
	for _, f := range []card.File{card.InGSM(path...), card.InMF(path...)} {
		if got, err := session.ReadFile(ctx, f); err != nil || !bytes.Equal(got, want) {
			t.Errorf("class A0 %v: %X %v, want %X", f.ClassA0, got, err, want)
		}
	}
	must(t, guard.UpdateBinary(ctx, card.InMF(path...), 1, old[1:3]))
	if got, err := session.ReadFile(ctx, card.InGSM(path...)); err != nil || !bytes.Equal(got, old) {
		t.Errorf("what class 00 wrote: %X %v, want %X", got, err, old)
	}
}

func (s suite) gsmRecords(t *testing.T) {
	ctx, file := t.Context(), card.InGSM(s.facts.GSMWrites.Records...)
	session, guard := s.writer(t, nil)
	old, err := session.ReadRecords(ctx, file)
	must(t, err)
	old = cloneRecords(old)
	same, err := session.ReadRecords(ctx, card.InMF(file.Path...))
	if d := cmp.Diff(old, same); err != nil || d != "" {
		t.Error("class 00 reads others:", err, d)
	}
	last := len(old)
	pattern := []byte("seek")
	fresh := append(bytes.Clone(pattern), old[0][len(pattern):]...)
	for _, n := range []int{1, last} {
		must(t, guard.UpdateRecord(ctx, file, n, fresh))
	}
	for _, c := range []struct {
		pattern []byte
		want    []int
	}{{pattern, []int{1, last}}, {[]byte("eek"), nil}} {
		if got, err := session.SeekRecords(ctx, file, c.pattern); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("SEEK of %q: %v %v, want %v", c.pattern, got, err, c.want)
		}
	}
	for _, n := range []int{1, last} {
		must(t, guard.UpdateRecord(ctx, file, n, old[n-1]))
	}
	back, err := session.ReadRecords(ctx, file)
	if d := cmp.Diff(old, back); err != nil || d != "" {
		t.Error("not as before:", err, d)
	}
}

func cloneRecords(list [][]byte) [][]byte {
	out := make([][]byte, len(list))
	for i, r := range list {
		out[i] = bytes.Clone(r)
	}
	return out
}

// gsmCyclic pushes all records out of the file, and puts them back.
func (s suite) gsmCyclic(t *testing.T) {
	ctx, file := t.Context(), card.InGSM(s.facts.GSMWrites.Cyclic...)
	session, guard := s.writer(t, nil)
	old, err := session.ReadRecords(ctx, file)
	must(t, err)
	old = cloneRecords(old)
	fresh := bytes.Repeat([]byte{0x55}, len(old[0]))
	must(t, guard.UpdateCyclic(ctx, file, fresh))
	want := append([][]byte{fresh}, old[:len(old)-1]...)
	got, err := session.ReadRecords(ctx, file)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
	for _, r := range slices.Backward(old) {
		must(t, guard.UpdateCyclic(ctx, file, r))
	}
	got, err = session.ReadRecords(ctx, file)
	if d := cmp.Diff(old, got); err != nil || d != "" {
		t.Error("not as before:", err, d)
	}
}

// made makes a file in a directory that class A0 knows, and takes it away at the end of
// the test. It gives its names in class A0 and 00.
func (s suite) made(t *testing.T, fcp uicc.FCP) (session *card.Session, guard *card.Guard, old, file card.File) {
	t.Helper()
	ctx := t.Context()
	dir := card.InGSM(s.facts.GSMWrites.Records...).Directory()
	session, guard = s.writer(t, func(c *card.GuardConfig) { c.Destroy = s.facts.ICCID })
	_, err := session.Select(ctx, card.InApp(s.facts.App))
	must(t, err)
	must(t, guard.Verify(ctx, uicc.RefADM1, s.facts.ADM1))
	old, file = inside(dir, fidEF), inside(card.InMF(dir.Path...), fidEF)
	must(t, guard.Create(ctx, file, fcp))
	t.Cleanup(func() {
		if err := guard.Delete(context.WithoutCancel(ctx), file); err != nil {
			t.Errorf("the file is left behind: %v", err)
		}
	})
	return session, guard, old, file
}

// gsmIncreases: the sum is there in both classes, and one that is too large is refused.
func (s suite) gsmIncreases(t *testing.T) {
	ctx := t.Context()
	session, guard, old, file := s.made(t, newFile(uicc.FileDescriptor{Type: uicc.Cyclic, Shareable: true, RecordLength: 3}, 6))
	must(t, guard.UpdateCyclic(ctx, old, []byte{0, 0, 0xFF}))
	if sum, err := guard.Increase(ctx, old, []byte{0, 1, 2}); err != nil || !bytes.Equal(sum, []byte{0, 2, 1}) {
		t.Errorf("INCREASE gave %X %v", sum, err)
	}
	got, err := session.ReadRecords(ctx, file)
	if d := cmp.Diff([][]byte{{0, 2, 1}, {0, 0, 0xFF}}, got); err != nil || d != "" {
		t.Error("in class 00:", err, d)
	}
	if _, err := guard.Increase(ctx, old, []byte{0xFF, 0xFF, 0xFF}); !errors.Is(err, apdu.SWIncreaseMaximum) {
		t.Errorf("past the maximum: %v, want 9850", err)
	}
	if _, err := guard.Increase(ctx, old, []byte{1}); !errors.Is(err, uicc.ErrField) {
		t.Errorf("by one byte: %v, want ErrField", err)
	}
}

// gsmTurns: INVALIDATE is DEACTIVATE FILE, and both classes see it.
func (s suite) gsmTurns(t *testing.T) {
	ctx := t.Context()
	session, guard, old, file := s.made(t, newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, 4))
	must(t, guard.Deactivate(ctx, old))
	if _, err := session.ReadFile(ctx, old); !errors.Is(err, apdu.StatusWord(0x9810)) {
		t.Errorf("an invalidated file: %v, want 9810", err)
	}
	if fcp, err := session.Select(ctx, file); err != nil || !fcp.LifeCycle.Deactivated() {
		t.Errorf("in class 00: %v %v", fcp.LifeCycle, err)
	}
	if err := guard.Deactivate(ctx, old); !errors.Is(err, card.ErrFileState) {
		t.Errorf("invalidated twice: %v", err)
	}
	must(t, guard.Activate(ctx, old))
	if _, err := session.ReadFile(ctx, old); err != nil {
		t.Error(err)
	}
}

func (s suite) gsmRefuses(t *testing.T) {
	ctx, facts := t.Context(), s.facts.GSMWrites
	binary, records := card.InGSM(facts.Binary...), card.InGSM(facts.Records...)
	session, guard := s.writer(t, nil)
	_, seekErr := session.SeekRecords(ctx, card.InMF(facts.Records...), []byte{1})
	_, kindErr := session.SeekRecords(ctx, binary, []byte{1})
	_, longErr := session.SeekRecords(ctx, records, make([]byte, 17))
	for _, c := range []struct {
		name      string
		err, want error
	}{
		{"bytes that do not fit", guard.UpdateBinary(ctx, binary, 0, make([]byte, 200)), card.ErrSize},
		{"bytes into records", guard.UpdateBinary(ctx, records, 0, []byte{1}), card.ErrFileKind},
		{"a record into bytes", guard.UpdateRecord(ctx, binary, 1, []byte{1}), card.ErrFileKind},
		{"a file that is not there", guard.UpdateBinary(ctx, card.InGSM(0x6FFE), 0, []byte{1}), apdu.StatusWord(0x9404)},
		{"SEEK in class 00", seekErr, card.ErrClass},
		{"SEEK in bytes", kindErr, card.ErrFileKind},
		{"SEEK of 17 bytes", longErr, uicc.ErrField},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	atr, err := session.Reset(ctx)
	must(t, err)
	config := card.GuardConfig{ATR: bytes.Clone(atr)}
	if err := card.NewGuard(session, config).UpdateBinary(ctx, binary, 0, []byte{1}); !errors.Is(err, card.ErrNotAllowed) {
		t.Errorf("a card that is not listed: %v, want ErrNotAllowed", err)
	}
	config.Allow = []string{s.facts.ICCID}
	closed := card.NewGuard(session, config)
	if err := closed.UpdateBinary(ctx, binary, 0, []byte{1}); !errors.Is(err, apdu.StatusWord(0x9804)) {
		t.Errorf("without PIN1: %v, want 9804", err)
	}
	if s.facts.NoChannels {
		return
	}
	other, err := session.OpenChannel(ctx)
	must(t, err)
	if _, err := other.Select(ctx, binary); !errors.Is(err, card.ErrClass) {
		t.Errorf("on channel %d: %v, want ErrClass", other.Channel(), err)
	}
	must(t, other.CloseChannel(ctx))
}

func (s suite) gsmDryRun(t *testing.T) {
	ctx, facts := t.Context(), s.facts.GSMWrites
	session, guard := s.writer(t, func(c *card.GuardConfig) { c.DryRun = true })
	binary, records := card.InGSM(facts.Binary...), card.InGSM(facts.Records...)
	old, err := session.ReadFile(ctx, binary)
	must(t, err)
	fcp, err := session.Select(ctx, records)
	must(t, err)
	n := int(fcp.Descriptor.RecordLength)
	must(t, guard.UpdateBinary(ctx, binary, 0, []byte{^old[0]}))
	must(t, guard.UpdateRecord(ctx, records, 1, make([]byte, n)))
	if got, err := session.ReadFile(ctx, binary); err != nil || !bytes.Equal(got, old) {
		t.Errorf("a dry run wrote: %X %v, want %X", got, err, old)
	}
	right := card.KeyName(uicc.RefPIN1)
	want := []card.Step{
		{Command: "UPDATE BINARY", File: binary.String(), Length: 1, Right: right, Proof: "read back"},
		{Command: "UPDATE RECORD", File: records.String(), Record: 1, Length: n, Right: right, Proof: "read back"},
	}
	if d := cmp.Diff(want, guard.Plan()); d != "" {
		t.Error(d)
	}
}
