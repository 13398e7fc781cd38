package dump

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/emul"
)

// objectCard is a card with a file of data objects in the place of EF.UICCIARI.
func objectCard(t *testing.T) (*emul.Card, *card.Session, *card.Guard, card.File) {
	t.Helper()
	ctx := t.Context()
	c, p := newCard(t)
	session := card.NewSession(c, card.Options{})
	atr, err := session.Reset(ctx)
	if err != nil {
		t.Fatal(err)
	}
	guard := card.NewGuard(session, card.GuardConfig{ATR: atr, Allow: []string{p.ICCID}})
	f := card.InApp(guard.Model().AID, 0x6FE7)
	fcp := uicc.FCP{
		Descriptor: uicc.FileDescriptor{Type: uicc.BERTLV, Shareable: true}, LifeCycle: uicc.LifeCycleActivated, Size: uicc.NewSize(600), SFI: uicc.NoSFI,
		Rules: []uicc.AccessRule{{Access: 0x7F, Conditions: []uicc.Condition{{Kind: uicc.Always}}}},
	}
	if _, err := session.Select(ctx, card.InApp(guard.Model().AID)); err != nil {
		t.Fatal(err)
	}
	if err := guard.Verify(ctx, uicc.RefADM1, p.ADM1); err != nil {
		t.Fatal(err)
	}
	if err := guard.Create(ctx, f, fcp); err != nil {
		t.Fatal(err)
	}
	return c, session, guard, f
}

// TestReadObjects: the objects of a file of BER-TLV structure are in the document, and
// compared by tag.
func TestReadObjects(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, session, guard, place := objectCard(t)
	for tag, value := range map[uint32][]byte{0x80: {1, 2}, 0x5F20: make([]byte, 300)} {
		if err := guard.SetObject(ctx, place, tag, value); err != nil {
			t.Fatal(err)
		}
	}
	before := read(t, c, Options{})
	f := find(t, before, "ADF.USIM/EF.UICCIARI")
	got := map[ef.Tag]int{}
	for _, o := range f.Objects {
		got[o.Tag] = len(o.Value)
	}
	if d := cmp.Diff(map[ef.Tag]int{0x80: 2, 0x5F20: 300}, got); d != "" || f.Structure != BERTLV || f.Error != "" || len(f.Content()) != 2 {
		t.Errorf("%s %q %q %d", d, f.Structure, f.Error, len(f.Content()))
	}
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b)
	if err != nil || len(Compare(before, again).Differences) != 0 {
		t.Errorf("a document differs from itself: %v", err)
	}
	if _, err := session.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if err := guard.SetObject(ctx, place, 0x80, []byte{3}); err != nil {
		t.Fatal(err)
	}
	want := []Difference{{"ADF.USIM/EF.UICCIARI", "object 80", "0102", "03"}}
	if d := cmp.Diff(want, Compare(before, read(t, c, Options{})).Differences); d != "" {
		t.Error(d)
	}
}
