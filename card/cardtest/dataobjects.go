package cardtest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/apdu"
	"mcim/apdu/tlv"
	"mcim/apdu/uicc"
	"mcim/card"
)

// objectCases are the cases about files of BER-TLV structure.
func (s suite) objectCases() []suiteCase {
	adm := s.facts.ADM1.Len() > 0
	return []suiteCase{
		{"data objects are set, read and deleted", adm, s.setsObjects},
		{"what does not fit a file of data objects is refused", adm, s.refusesObjects},
		{"a transfer that is broken off leaves no object", adm, s.breaksTransfers},
		{"a dry run lists the data objects that it would set", adm, s.listsObjects},
	}
}

const objectRoom = 800 // bytes

// objectFile makes an EF of BER-TLV structure.
func (s suite) objectFile(t *testing.T, change func(*card.GuardConfig)) (*card.Session, *card.Guard, card.File) {
	t.Helper()
	session, guard, df := s.admin(t, nil)
	ef := inside(df, fidEF)
	must(t, guard.Create(t.Context(), ef, newFile(uicc.FileDescriptor{Type: uicc.BERTLV, Shareable: true}, objectRoom)))
	if change != nil {
		config := card.GuardConfig{ATR: guard.Model().ATRs[0].Value, Allow: []string{s.facts.ICCID}}
		change(&config)
		guard = card.NewGuard(session, config)
	}
	return session, guard, ef
}

func (s suite) bytes(n int) []byte {
	b, random := make([]byte, n), s.random()
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

func (s suite) setsObjects(t *testing.T) {
	ctx := t.Context()
	session, guard, ef := s.objectFile(t, nil)
	if fcp, err := session.Select(ctx, ef); err != nil || fcp.Descriptor.Type != uicc.BERTLV || fcp.Size.N < objectRoom {
		t.Errorf("%+v %v", fcp, err)
	}
	if tags, err := session.ObjectTags(ctx, ef); err != nil || len(tags) != 0 {
		t.Errorf("tags of an empty file: %X %v", tags, err)
	}
	objects := []tlv.TLV{
		tlv.New(0x80), tlv.New(0x5F20, s.bytes(127)), tlv.New(0xBF8101, s.bytes(255-6)), tlv.New(0xA1, s.bytes(300)),
	}
	for _, o := range objects {
		must(t, guard.SetObject(ctx, ef, o.Tag, o.Value))
	}
	objects[1].Value = s.bytes(2) // shorter, and so behind the others
	must(t, guard.SetObject(ctx, ef, objects[1].Tag, objects[1].Value))
	for _, o := range objects {
		if got, err := session.ReadObject(ctx, ef, o.Tag); err != nil || !bytes.Equal(got, o.Value) {
			t.Errorf("object %X: %x %v, want %x", o.Tag, got, err, o.Value)
		}
	}
	must(t, guard.DeleteObject(ctx, ef, 0xA1))
	if _, err := session.ReadObject(ctx, ef, 0xA1); !errors.Is(err, apdu.ErrNotFound) {
		t.Errorf("a deleted object: %v", err)
	}
	tags, err := session.ObjectTags(ctx, ef)
	if d := cmp.Diff([]uint32{0x80, 0xBF8101, 0x5F20}, tags); err != nil || d != "" {
		t.Error(err, d)
	}
	all, err := session.ReadObjects(ctx, ef)
	if d := cmp.Diff([]tlv.TLV{objects[0], objects[2], objects[1]}, all); err != nil || d != "" {
		t.Error(err, d)
	}
}

func (s suite) refusesObjects(t *testing.T) {
	ctx := t.Context()
	session, guard, ef := s.objectFile(t, nil)
	must(t, guard.SetObject(ctx, ef, 0x80, s.bytes(500)))
	for name, c := range map[string]struct{ got, want error }{
		"larger than the file":      {guard.SetObject(ctx, ef, 0x81, make([]byte, objectRoom)), card.ErrSize},
		"larger than what is left":  {guard.SetObject(ctx, ef, 0x81, make([]byte, 400)), apdu.SWNotEnoughMemory},
		"a short one that is":       {guard.SetObject(ctx, ef, 0x82, make([]byte, 200)), nil},
		"the tag of the list":       {guard.SetObject(ctx, ef, uicc.TagList, nil), uicc.ErrField},
		"no tag":                    {guard.SetObject(ctx, ef, 0, nil), uicc.ErrField},
		"the list is deleted":       {guard.DeleteObject(ctx, ef, uicc.TagList), uicc.ErrField},
		"nothing is deleted":        {guard.DeleteObject(ctx, ef, 0x99), apdu.ErrNotFound},
		"another structure":         {guard.SetObject(ctx, card.InMF(uicc.FIDEFICCID), 0x80, nil), card.ErrFileKind},
		"another structure deleted": {guard.DeleteObject(ctx, card.InMF(uicc.FIDEFICCID), 0x80), card.ErrFileKind},
		"another structure read":    {second(session.ReadObject(ctx, card.InMF(uicc.FIDEFICCID), 0x80)), card.ErrFileKind},
		"bytes of it":               {second(session.ReadFile(ctx, ef)), card.ErrFileKind},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	if _, err := session.Select(ctx, ef); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Do(ctx, uicc.ReadBinary{Ne: 1}.Command()); !errors.Is(err, apdu.SWWrongStructure) {
		t.Errorf("READ BINARY: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// breaksTransfers: blocks follow each other, and nothing comes between them that selects.
func (s suite) breaksTransfers(t *testing.T) {
	ctx := t.Context()
	session, guard, ef := s.objectFile(t, nil)
	value := s.bytes(400)
	must(t, guard.SetObject(ctx, ef, 0x80, value))
	next := uicc.RetrieveData{Block: uicc.NextBlock, Ne: 10}.Command()
	send := func(what string, c apdu.Command, want apdu.StatusWord, data []byte) {
		t.Helper()
		r, err := session.Send(ctx, c)
		if err != nil || r.SW != want || data != nil && !bytes.Equal(r.Data, data) {
			t.Errorf("%s: %x %v %v, want %x %v", what, r.Data, r.SW, err, data, want)
		}
	}
	if _, err := session.Select(ctx, ef); err != nil {
		t.Fatal(err)
	}
	whole := tlv.New(0x80, value).Append(nil)
	send("a block without a first one", next, apdu.SWConditionsNotSatisfied, nil)
	send("the first block", uicc.RetrieveData{Block: uicc.FirstBlock, Tag: 0x80, Ne: apdu.MaxShortNe}.Command(), uicc.SWMoreData, whole[:256])
	send("the next one", next, uicc.SWMoreData, whole[256:266])
	send("that again", uicc.RetrieveData{Block: uicc.PreviousBlock, Ne: 10}.Command(), uicc.SWMoreData, whole[256:266])
	send("the one behind it", next, uicc.SWMoreData, whole[266:276])
	set := func(what string, block uicc.DataBlock, data []byte, want apdu.StatusWord) {
		t.Helper()
		command := append([]byte{0x80, uicc.INSSetData, 0, byte(block), byte(len(data))}, data...)
		b, err := guard.Raw(ctx, command)
		r, errParse := apdu.ParseResponse(b)
		if err := errors.Join(err, errParse); err != nil || r.SW != want {
			t.Errorf("%s: %v %v, want %v", what, r.SW, err, want)
		}
	}
	set("SET DATA in between", uicc.NextBlock, []byte{1}, apdu.SWConditionsNotSatisfied)
	if _, err := session.Select(ctx, ef); err != nil {
		t.Fatal(err)
	}
	send("a block behind a selection", next, apdu.SWConditionsNotSatisfied, nil)
	set("a first block", uicc.FirstBlock, whole[:apdu.MaxShortData], uicc.SWDataExpected)
	if _, err := session.Select(ctx, ef); err != nil {
		t.Fatal(err)
	}
	set("its second one behind a selection", uicc.NextBlock, whole[apdu.MaxShortData:], apdu.SWConditionsNotSatisfied)
	if tags, err := session.ObjectTags(ctx, ef); err != nil || len(tags) != 0 {
		t.Errorf("after the break: %X %v", tags, err)
	}
}

func (s suite) listsObjects(t *testing.T) {
	ctx := t.Context()
	session, guard, ef := s.objectFile(t, func(c *card.GuardConfig) { c.DryRun = true })
	must(t, guard.SetObject(ctx, ef, 0x80, make([]byte, 400)))
	if tags, err := session.ObjectTags(ctx, ef); err != nil || len(tags) != 0 {
		t.Errorf("a dry run set %X %v", tags, err)
	}
	want := []card.Step{{Command: "SET DATA", File: ef.String(), Tag: 0x80, Length: 400, Right: "ADM1", Proof: "read back"}}
	if d := cmp.Diff(want, guard.Plan()); d != "" {
		t.Error(d)
	}
}
