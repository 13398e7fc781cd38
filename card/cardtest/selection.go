package cardtest

import (
	"bytes"
	"errors"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
)

// selectionCases are the cases about the ways to name a file.
func (s suite) selectionCases() []suiteCase {
	pin := s.facts.PIN1.Len() > 0
	return []suiteCase{
		{"a file is found by each of its names", true, s.selectsByName},
		{"applications are found by the first bytes of their AID", true, s.selectsOccurrences},
		{"short identifiers", pin && s.facts.SFI != 0, s.shortIdentifiers},
		{"class A0", pin && s.facts.GSM != nil, s.classGSM},
	}
}

func (s suite) selectsByName(t *testing.T) {
	ctx, session := t.Context(), s.session(t)
	want, err := session.Select(ctx, s.facts.Protected)
	if err != nil {
		t.Fatal(err)
	}
	app, err := session.FindApp(ctx, s.facts.App)
	if err != nil {
		t.Fatal(err)
	}
	path := s.facts.Protected.Path
	check := func(name string, got uicc.FCP, err error) {
		t.Helper()
		if err != nil || got.FID != want.FID || got.Size != want.Size {
			t.Errorf("%s: %04X of %d bytes, %v; want %04X of %d", name, got.FID, got.Size.N, err, want.FID, want.Size.N)
		}
	}
	got, err := session.Select(ctx, card.InApp(app, path...))
	check("whole AID", got, err)
	if _, err := session.Select(ctx, card.InApp(app)); err != nil {
		t.Fatal(err)
	}
	got, err = session.SelectBelow(ctx, path...)
	check("path from the current DF", got, err)
	got, err = session.Select(ctx, card.InMF(append([]uint16{uicc.FIDCurrentADF}, path...)...))
	check("path from the MF by 7FFF", got, err)
	if _, err := session.SelectBelow(ctx, 0x6FFE); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("a path that leads nowhere: %v", err)
	}
}

func (s suite) selectsOccurrences(t *testing.T) {
	ctx, session := t.Context(), s.session(t)
	apps, err := session.Apps(ctx)
	if err != nil || len(apps) == 0 {
		t.Fatalf("%d applications, %v", len(apps), err)
	}
	const rid = 5 // bytes that all applications of 3GPP have
	prefix := apps[0][:rid]
	same := func(o uicc.Occurrence, want []byte) {
		t.Helper()
		fcp, err := session.SelectOccurrence(ctx, prefix, o)
		if err != nil || !bytes.Equal(fcp.AID, want) {
			t.Errorf("occurrence %d: %X %v, want %X", o, fcp.AID, err, want)
		}
	}
	last := apps[len(apps)-1]
	for _, aid := range apps {
		if !bytes.HasPrefix(aid, prefix) {
			t.Fatalf("%X is of another provider: the case is for 3GPP alone", aid)
		}
	}
	same(uicc.FirstOrOnly, apps[0])
	for _, aid := range apps[1:] {
		same(uicc.NextOne, aid)
	}
	if _, err := session.SelectOccurrence(ctx, prefix, uicc.NextOne); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("behind the last one: %v", err)
	}
	for i := len(apps) - 2; i >= 0; i-- {
		same(uicc.PreviousOne, apps[i])
	}
	same(uicc.Last, last)
}

func (s suite) shortIdentifiers(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	want, err := session.ReadFile(ctx, s.facts.Protected)
	if err != nil {
		t.Fatal(err)
	}
	want = bytes.Clone(want)
	if _, err := session.Select(ctx, card.InApp(s.facts.App)); err != nil {
		t.Fatal(err)
	}
	got, err := session.ReadShort(ctx, s.facts.SFI, 1, len(want)-1)
	if err != nil || !bytes.Equal(got, want[1:]) {
		t.Errorf("%X %v, want %X", got, err, want[1:])
	}
	if _, err := session.Do(ctx, uicc.ReadBinary{Ne: 1}.Command()); err != nil {
		t.Errorf("it is not the current file: %v", err)
	}
	if _, err := session.Select(ctx, card.InMF()); err != nil {
		t.Fatal(err)
	}
	dir, err := session.ReadRecords(ctx, card.InMF(uicc.FIDEFDIR))
	if err != nil || len(dir) == 0 {
		t.Fatal(err)
	}
	first := bytes.Clone(dir[0])
	if got, err := session.ReadRecordShort(ctx, uicc.SFIEFDIR, 1, len(first)); err != nil || !bytes.Equal(got, first) {
		t.Errorf("record of EF.DIR: %X %v, want %X", got, err, first)
	}
	if _, err := session.ReadShort(ctx, uicc.MaxSFI-1, 0, 1); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("a short identifier of no file: %v", err)
	}
}

func (s suite) classGSM(t *testing.T) {
	ctx := t.Context()
	session, guard := s.guard(t)
	want, err := session.Select(ctx, s.facts.Protected)
	if err != nil {
		t.Fatal(err)
	}
	got, err := session.Select(ctx, card.InGSM(s.facts.GSM...))
	if err != nil || got.Size != want.Size || got.Descriptor.Type != want.Descriptor.Type || !got.LifeCycle.Activated() {
		t.Errorf("%+v %v", got, err)
	}
	if r := card.Right(got.Rules, uicc.AccessRead); r != card.KeyName(uicc.RefPIN1) {
		t.Errorf("class A0 says that %s reads it", r)
	}
	if _, err := session.ReadFile(ctx, card.InGSM(s.facts.GSM...)); !isStatusWord(err) {
		t.Errorf("before PIN1: %v", err)
	}
	if err := guard.Verify(ctx, uicc.RefPIN1, s.facts.PIN1); err != nil {
		t.Fatal(err)
	}
	old, err := session.ReadFile(ctx, card.InGSM(s.facts.GSM...))
	if err != nil {
		t.Fatal(err)
	}
	file, err := session.ReadFile(ctx, s.facts.Protected)
	if err != nil || !bytes.Equal(old, file) {
		t.Errorf("%X in class A0, %X in class 00, %v", old, file, err)
	}
	mf, err := session.Select(ctx, card.InGSM())
	if on, known := mf.PINs.Enabled(uicc.RefPIN1); err != nil || !on || !known {
		t.Errorf("MF: %+v %v", mf.PINs, err)
	}
	if _, err := session.Select(ctx, card.InGSM(0x6FFE)); !isStatusWord(err) {
		t.Errorf("what is not there: %v", err)
	}
}
