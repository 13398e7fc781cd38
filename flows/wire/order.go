package wire

import "time"

// Procedure is the procedure of TR 33.812 digest, 4.4, that the mandate starts:
// "P4" for a first provisioning, "P8a" and "P8c" for a change with the MCIM in
// the TRE and in the UICC.
func (m *Mandate) Procedure() string {
	switch {
	case m.OldSHO == "":
		return "P4"
	case m.Placement == InUICC:
		return "P8c"
	}
	return "P8a"
}

// OrderStep is the step at which the mandate becomes an order at the RO.
func (m *Mandate) OrderStep() string {
	switch m.Procedure() {
	case "P8a":
		return "P8a.2"
	case "P8c":
		return "P8c.1"
	}
	return "P1.9"
}

// check refuses what no mandate can say.
func (m *Mandate) check() error {
	switch {
	case m.ID == "" || len(m.ID) > 64:
		return Refuse("", "the mandate has no usable id")
	case CheckRole(m.Machine) != nil || RoleKind(m.Machine) != KindMachine:
		return Refuse("", "the mandate is for %q, which is no machine", m.Machine)
	case RoleKind(m.NewSHO) != KindSHO:
		return Refuse("", "the mandate is for %q, which is no home operator", m.NewSHO)
	case m.Placement != InTRE && m.Placement != InUICC:
		return Refuse("", "the mandate has the unknown placement %q", m.Placement)
	case m.OldSHO == m.NewSHO:
		return Refuse("", "the mandate changes from %s to itself", m.OldSHO)
	case (m.OldSHO == "") != (m.OldIMSI == ""):
		return Refuse("", "the mandate names the old operator without the old subscription, or the reverse")
	case m.OldSHO == "" && m.Placement == InUICC:
		return Refuse("", "a first provisioning goes into the TRE: the UICC has a subscription already")
	}
	return nil
}

// VerifyMandate checks a mandate: signed by a subscriber, complete, made and not
// expired at now. It returns the subscriber's role name too. The error is
// ErrRefused, without a step.
func VerifyMandate(receiver *Identity, signed Signed[Mandate], now time.Time) (Mandate, string, error) {
	m, subscriber, err := signed.VerifyFrom(receiver, KindSubscriber, TypeMandate)
	if err != nil {
		return m, "", Refuse("", "mandate: %w", err)
	}
	switch {
	case now.After(m.Expires):
		return m, "", Refuse("", "the mandate expired at %s", m.Expires.Format(time.RFC3339))
	case m.Made.After(now):
		return m, "", Refuse("", "the mandate is of the future: it was made at %s", m.Made.Format(time.RFC3339))
	}
	return m, subscriber, m.check()
}

// Ordered is an order with what was verified of it.
type Ordered struct {
	Order      Order
	Mandate    Mandate
	Subscriber string // who signed the mandate
}

// VerifyOrder checks an order: signed by the home operator that the mandate in it
// names as the new one, and the mandate as of VerifyMandate. The error is
// ErrRefused, without a step.
func VerifyOrder(receiver *Identity, signed Signed[Order], now time.Time) (Ordered, error) {
	order, sho, err := signed.VerifyFrom(receiver, KindSHO, TypeOrder)
	if err != nil {
		return Ordered{}, Refuse("", "order: %w", err)
	}
	m, subscriber, err := VerifyMandate(receiver, order.Mandate, now)
	if err != nil {
		return Ordered{}, err
	}
	if m.NewSHO != sho {
		return Ordered{}, Refuse("", "the mandate is for %s, the order comes from %s", m.NewSHO, sho)
	}
	if order.ID != OrderID(m) {
		return Ordered{}, Refuse("", "the order has another id than its mandate gives it")
	}
	return Ordered{order, m, subscriber}, nil
}

// OrderID is the name of the order that a mandate becomes: a mandate is carried
// out once.
func OrderID(m Mandate) string { return m.NewSHO + "." + m.ID }
