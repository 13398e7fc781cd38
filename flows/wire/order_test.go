package wire

import (
	"errors"
	"testing"
	"time"
)

func TestVerifyOrder(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC()
	ca, err := NewCA("test", now)
	if err != nil {
		t.Fatal(err)
	}
	identity := func(role string) *Identity {
		id, err := ca.Identity(role, now)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ro, subscriber, sho := identity("ro"), identity("subscriber"), identity("sho-b")
	for name, c := range map[string]struct {
		change func(m *Mandate, id *string, owner, orderer **Identity)
		ok     bool
	}{
		"right":          {func(*Mandate, *string, **Identity, **Identity) {}, true},
		"another id":     {func(_ *Mandate, id *string, _, _ **Identity) { *id = "x" }, false},
		"another SHO":    {func(_ *Mandate, _ *string, _, o **Identity) { *o = identity("sho-c") }, false},
		"no SHO":         {func(_ *Mandate, _ *string, _, o **Identity) { *o = ro }, false},
		"no subscriber":  {func(_ *Mandate, _ *string, s, _ **Identity) { *s = sho }, false},
		"expired":        {func(m *Mandate, _ *string, _, _ **Identity) { m.Expires = now.Add(-1) }, false},
		"of the future":  {func(m *Mandate, _ *string, _, _ **Identity) { m.Made = now.Add(1) }, false},
		"to itself":      {func(m *Mandate, _ *string, _, _ **Identity) { m.OldSHO, m.OldIMSI = "sho-b", "1" }, false},
		"no old IMSI":    {func(m *Mandate, _ *string, _, _ **Identity) { m.OldSHO = "sho-a" }, false},
		"a change":       {func(m *Mandate, _ *string, _, _ **Identity) { m.OldSHO, m.OldIMSI = "sho-a", "1" }, true},
		"no machine":     {func(m *Mandate, _ *string, _, _ **Identity) { m.Machine = "sho-a" }, false},
		"long id":        {func(m *Mandate, _ *string, _, _ **Identity) { m.ID = string(make([]byte, 65)) }, false},
		"new not an SHO": {func(m *Mandate, _ *string, _, _ **Identity) { m.NewSHO = "ro" }, false},
	} {
		m := Mandate{ID: "1", Machine: MachineRole("1"), Placement: InTRE, NewSHO: "sho-b", Made: now, Expires: now}
		id, owner, orderer := "", subscriber, sho
		c.change(&m, &id, &owner, &orderer)
		if id == "" {
			id = OrderID(m)
		}
		mandate, err := SignAs(owner, TypeMandate, m)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := SignAs(orderer, TypeOrder, Order{ID: id, Mandate: mandate})
		if err != nil {
			t.Fatal(err)
		}
		got, err := VerifyOrder(ro, signed, now)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (got.Subscriber != "subscriber" || got.Mandate != m) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestMandateNamesItsProcedure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m               Mandate
		procedure, step string
	}{
		{Mandate{Placement: InTRE}, "P4", "P1.9"},
		{Mandate{Placement: InTRE, OldSHO: "sho-a"}, "P8a", "P8a.2"},
		{Mandate{Placement: InUICC, OldSHO: "sho-a"}, "P8c", "P8c.1"},
	} {
		if c.m.Procedure() != c.procedure || c.m.OrderStep() != c.step {
			t.Errorf("%+v: %s, %s", c.m, c.m.Procedure(), c.m.OrderStep())
		}
	}
}
