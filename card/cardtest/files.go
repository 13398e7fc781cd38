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

// fileCases are the cases about files that are made, used and taken away again.
func (s suite) fileCases() []suiteCase {
	adm := s.facts.ADM1.Len() > 0
	return []suiteCase{
		{"a directory and its files are made and deleted", adm, s.makesFiles},
		{"files are deactivated and terminated", adm, s.turnsFiles},
		{"a cyclic file turns", adm, s.turnsCyclic},
		{"records are searched", adm, s.searchesRecords},
		{"what cannot be undone needs an order", adm, s.refusesToDestroy},
		{"a dry run lists what would be administered", adm, s.listsOrders},
		{"memory ends and is given back", adm, s.fillsMemory},
	}
}

// Files that the cases make.
const (
	fidDF     = 0x5F7A
	fidEF     = 0x6F7A
	fidOther  = 0x6F7B
	testBytes = 40
)

// newFile is the FCP of a file under the rules: anyone reads, ADM1 does the rest.
func newFile(d uicc.FileDescriptor, size int) uicc.FCP {
	adm := []uicc.Condition{uicc.KeyCondition(uicc.RefADM1)}
	f := uicc.FCP{Descriptor: d, LifeCycle: uicc.LifeCycleActivated, SFI: uicc.NoSFI}
	if d.Type == uicc.Directory {
		f.SFI = uicc.SFIFromFID
		f.Rules = []uicc.AccessRule{{Access: 0x7F, Conditions: adm}}
		return f
	}
	f.Size = uicc.NewSize(size)
	f.Rules = []uicc.AccessRule{
		{Access: uicc.AccessRead, Conditions: []uicc.Condition{{Kind: uicc.Always}}},
		{Access: 0x7A, Conditions: adm},
		{HeaderTag: uicc.HeaderINS, Header: []byte{uicc.INSResizeFile, uicc.INSIncrease}, Conditions: adm},
	}
	return f
}

func directoryFCP() uicc.FCP {
	return newFile(uicc.FileDescriptor{Type: uicc.Directory, Shareable: true}, 0)
}

// admin is a session, a guard that may do all with this card, and the directory that it
// has made in the application; the directory is taken away at the end of the test.
func (s suite) admin(t *testing.T, change func(*card.GuardConfig)) (*card.Session, *card.Guard, card.File) {
	t.Helper()
	session, ctx := s.session(t), t.Context()
	atr, err := session.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	config := card.GuardConfig{ATR: bytes.Clone(atr), Allow: []string{s.facts.ICCID}, Destroy: s.facts.ICCID}
	all := card.NewGuard(session, config)
	if change != nil {
		change(&config)
	}
	df := card.InApp(s.facts.App, fidDF)
	if _, err := session.Select(ctx, card.InApp(s.facts.App)); err != nil {
		t.Fatal(err)
	}
	must(t, all.Verify(ctx, uicc.RefADM1, s.facts.ADM1))
	must(t, all.Create(ctx, df, directoryFCP()))
	t.Cleanup(func() {
		if err := all.Delete(context.WithoutCancel(ctx), df); err != nil {
			t.Errorf("the directory is left behind: %v", err)
		}
	})
	return session, card.NewGuard(session, config), df
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inside(df card.File, fid uint16) card.File {
	df.Path = append(slices.Clone(df.Path), fid)
	return df
}

func (s suite) makesFiles(t *testing.T) {
	ctx := t.Context()
	session, guard, df := s.admin(t, nil)
	ef := inside(df, fidEF)
	must(t, guard.Create(ctx, ef, newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, testBytes)))
	data := make([]byte, testBytes)
	random := s.random()
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	must(t, guard.UpdateBinary(ctx, ef, 0, data))
	must(t, guard.Resize(ctx, ef, testBytes+8))
	got, err := session.ReadFile(ctx, ef)
	if want := append(bytes.Clone(data), bytes.Repeat([]byte{0xFF}, 8)...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %x %v, want %x", got, err, want)
	}
	must(t, guard.Resize(ctx, ef, 4))
	if got, err = session.ReadFile(ctx, ef); err != nil || !bytes.Equal(got, data[:4]) {
		t.Errorf("after the cut: %x %v", got, err)
	}
	if err := guard.Create(ctx, ef, directoryFCP()); !errors.Is(err, card.ErrFileThere) {
		t.Errorf("made twice: %v", err)
	}
	must(t, guard.Delete(ctx, ef))
	if _, err := session.Select(ctx, ef); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	var steps []string
	for _, step := range guard.Plan() {
		steps = append(steps, step.Command)
	}
	want := []string{"CREATE FILE", "UPDATE BINARY", "RESIZE FILE", "RESIZE FILE", "DELETE FILE"}
	if d := cmp.Diff(want, steps); d != "" {
		t.Error(d)
	}
}

func (s suite) turnsFiles(t *testing.T) {
	ctx := t.Context()
	session, guard, df := s.admin(t, nil)
	ef := inside(df, fidEF)
	must(t, guard.Create(ctx, ef, newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, 4)))
	must(t, guard.Deactivate(ctx, ef))
	if _, err := session.ReadFile(ctx, ef); !errors.Is(err, apdu.SWReferenceInvalidated) {
		t.Errorf("a deactivated file: %v, want 6984", err)
	}
	if fcp, err := session.Select(ctx, ef); err != nil || fcp.LifeCycle.String() != "deactivated" {
		t.Errorf("%v %v", fcp.LifeCycle, err)
	}
	if err := guard.Deactivate(ctx, ef); !errors.Is(err, card.ErrFileState) {
		t.Errorf("deactivated twice: %v", err)
	}
	must(t, guard.Activate(ctx, ef))
	if _, err := session.ReadFile(ctx, ef); err != nil {
		t.Error(err)
	}
	if err := guard.TerminateDF(ctx, ef); !errors.Is(err, card.ErrFileKind) {
		t.Errorf("TERMINATE DF of an EF: %v", err)
	}
	must(t, guard.TerminateEF(ctx, ef))
	if fcp, err := session.Select(ctx, ef); err != nil || fcp.LifeCycle.String() != "terminated" {
		t.Errorf("%v %v", fcp.LifeCycle, err)
	}
	if err := guard.Activate(ctx, ef); !errors.Is(err, card.ErrFileState) {
		t.Errorf("activated after its end: %v", err)
	}
	if _, err := session.Do(ctx, uicc.ReadBinary{Ne: 1}.Command()); !isStatusWord(err) {
		t.Errorf("a terminated file is read: %v", err)
	}
	must(t, guard.TerminateDF(ctx, df))
}

func (s suite) turnsCyclic(t *testing.T) {
	ctx := t.Context()
	session, guard, df := s.admin(t, nil)
	ef := inside(df, fidEF)
	fcp := newFile(uicc.FileDescriptor{Type: uicc.Cyclic, Shareable: true, RecordLength: 3}, 9)
	must(t, guard.Create(ctx, ef, fcp))
	for _, n := range []byte{1, 2, 3, 4} {
		must(t, guard.UpdateCyclic(ctx, ef, []byte{0, 0, n}))
	}
	sum, err := guard.Increase(ctx, ef, []byte{1, 0})
	if err != nil || !bytes.Equal(sum, []byte{0, 1, 4}) {
		t.Errorf("INCREASE gave %x %v", sum, err)
	}
	records, err := session.ReadRecords(ctx, ef)
	if d := cmp.Diff([][]byte{{0, 1, 4}, {0, 0, 4}, {0, 0, 3}}, records); err != nil || d != "" {
		t.Error(err, d)
	}
	if _, err := guard.Increase(ctx, ef, []byte{0xFF, 0xFF, 0xFF}); !errors.Is(err, apdu.SWIncreaseMaximum) {
		t.Errorf("past the maximum: %v", err)
	}
	if err := guard.UpdateCyclic(ctx, ef, []byte{0}); !errors.Is(err, card.ErrSize) {
		t.Errorf("a short record: %v", err)
	}
}

func (s suite) searchesRecords(t *testing.T) {
	ctx := t.Context()
	session, guard, df := s.admin(t, nil)
	ef := inside(df, fidEF)
	must(t, guard.Create(ctx, ef, newFile(uicc.FileDescriptor{Type: uicc.LinearFixed, Shareable: true, RecordLength: 4}, 12)))
	must(t, guard.UpdateRecord(ctx, ef, 1, []byte("abab")))
	must(t, guard.UpdateRecord(ctx, ef, 3, []byte("xbab")))
	for _, c := range []struct {
		search uicc.SearchRecord
		want   []int
	}{
		{uicc.SearchRecord{Pattern: []byte("ba")}, []int{1, 3}},
		{uicc.SearchRecord{Pattern: []byte("ba"), From: uicc.BackwardFrom}, []int{3, 1}},
		{uicc.SearchRecord{Pattern: []byte("ba"), Offset: 2}, nil},
		{uicc.SearchRecord{Pattern: []byte("ba"), Offset: 'x', After: true}, []int{3}},
		{uicc.SearchRecord{Pattern: []byte{0xFF, 0xFF}, Record: 2}, []int{2}},
	} {
		got, err := session.SearchRecords(ctx, ef, c.search)
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%+v: %v %s", c.search, err, d)
		}
	}
}

// refusesToDestroy: without an order that names this card nothing is deleted, cut or
// terminated.
func (s suite) refusesToDestroy(t *testing.T) {
	for _, named := range []string{"", "8900000000000000000"} {
		t.Run("order for card "+named, func(t *testing.T) { s.refusesWith(t, named) })
	}
}

func (s suite) refusesWith(t *testing.T, named string) {
	ctx := t.Context()
	session, guard, df := s.admin(t, func(c *card.GuardConfig) { c.Destroy = named })
	ef := inside(df, fidEF)
	must(t, guard.Create(ctx, ef, newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, 4)))
	for i, err := range []error{
		guard.Delete(ctx, ef), guard.Resize(ctx, ef, 3), guard.TerminateEF(ctx, ef), guard.TerminateDF(ctx, df), guard.TerminateCard(ctx),
	} {
		var refused *card.RefusalError
		if !errors.As(err, &refused) || !errors.Is(err, card.ErrIrreversible) {
			t.Errorf("order %d: %v", i+1, err)
		}
	}
	if fcp, err := session.Select(ctx, ef); err != nil || !fcp.LifeCycle.Activated() || fcp.Size.N != 4 {
		t.Errorf("%+v %v", fcp, err)
	}
	if err := guard.Delete(ctx, inside(df, fidOther)); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
}

// fillsMemory asks for more than a card has.
func (s suite) fillsMemory(t *testing.T) {
	ctx := t.Context()
	_, guard, df := s.admin(t, nil)
	big := newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, 0xF000)
	var made []card.File
	var err error
	for fid := uint16(0x6F10); err == nil && fid < 0x6F20; fid++ {
		if err = guard.Create(ctx, inside(df, fid), big); err == nil {
			made = append(made, inside(df, fid))
		}
	}
	if !errors.Is(err, apdu.SWNotEnoughMemory) || len(made) == 0 {
		t.Fatalf("%d files of 60 KiB, then %v, want 6A84", len(made), err)
	}
	must(t, guard.Delete(ctx, made[0]))
	must(t, guard.Create(ctx, made[0], big))
}

// listsOrders: a dry run sends nothing that changes the card, and tells the rights.
func (s suite) listsOrders(t *testing.T) {
	ctx := t.Context()
	session, guard, df := s.admin(t, func(c *card.GuardConfig) { c.DryRun, c.Destroy = true, "" })
	ef := inside(df, fidEF)
	must(t, guard.Create(ctx, ef, newFile(uicc.FileDescriptor{Type: uicc.Transparent, Shareable: true}, 4)))
	must(t, guard.Deactivate(ctx, df))
	must(t, guard.TerminateDF(ctx, df))
	must(t, guard.Delete(ctx, df))
	if _, err := session.Select(ctx, ef); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("a dry run made a file: %v", err)
	}
	if fcp, err := session.Select(ctx, df); err != nil || !fcp.LifeCycle.Activated() {
		t.Errorf("a dry run changed the directory: %v %v", fcp.LifeCycle, err)
	}
	want := []card.Step{
		{Command: "CREATE FILE", File: ef.String(), Length: 4, Right: "ADM1", Proof: "by its FCP"},
		{Command: "DEACTIVATE FILE", File: df.String(), Right: "ADM1", Proof: "by its FCP"},
		{Command: "TERMINATE DF", File: df.String(), Right: "ADM1", Proof: "by its FCP", Irreversible: true},
		{Command: "DELETE FILE", File: df.String(), Right: "ADM1", Proof: "by its absence", Irreversible: true},
	}
	if d := cmp.Diff(want, guard.Plan()); d != "" {
		t.Error(d)
	}
}
