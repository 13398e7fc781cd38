package world

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/flows/sho"
	"mcim/flows/wire"
	"mcim/tpm"
)

// Status is what is in a lab's folder.
type Status struct {
	Dir           string         `json:"dir"`
	Roles         []string       `json:"roles"`
	Operators     []Operator     `json:"operators"`
	Machine       MachineStatus  `json:"machine"`
	Card          string         `json:"card,omitempty"` // URI of a card that was named
	TPM           TPMStatus      `json:"tpm"`
	Subscriptions []Subscription `json:"subscriptions"`
	Orders        []OpenOrder    `json:"orders"` // that are not over
}

// Operator is a home operator of the lab.
type Operator struct {
	Role string `json:"role"`
	PLMN string `json:"plmn"` // MCC and MNC
}

// MachineStatus is the lab's machine.
type MachineStatus struct {
	Role       string `json:"role"`
	Serial     string `json:"serial"`
	Supplied   bool   `json:"supplied"`   // P1 has ended
	Subscribed bool   `json:"subscribed"` // it has, or had, an MCIM of a home operator
	// Behind is the procedures whose orders have ended well: "P4", "P8a", "P8c".
	Behind []string `json:"behind"`
}

// TPMStatus is what the lab has in the machine's TPM.
type TPMStatus struct {
	URI      string   `json:"uri,omitempty"`      // empty while the lab has no TPM yet
	Range    string   `json:"range,omitempty"`    // what is the lab's
	Register uint     `json:"register,omitempty"` // the PCR of the TRE
	Occupied []Handle `json:"occupied"`
}

// Handle is an NV index or a persistent object.
type Handle struct {
	Handle string `json:"handle"` // as in "0x01800f00"
	What   string `json:"what"`
}

// Subscription is one in the books of a home operator.
type Subscription struct {
	Operator  string         `json:"operator"`
	IMSI      string         `json:"imsi"`
	ICCID     string         `json:"iccid"`
	Placement wire.Placement `json:"placement"`
	State     sho.State      `json:"state"`
	Live      bool           `json:"live"` // seen attached
	Made      bool           `json:"made"` // in this lab, by an order; false for what was in the UICC before
}

// OpenOrder is an order that is not over.
type OpenOrder struct {
	Order     string   `json:"order"`
	Procedure string   `json:"procedure"`
	Machine   string   `json:"machine"`
	Begun     bool     `json:"begun"` // false while it waits for the machine to come
	Done      []string `json:"done"`  // steps that are finished
}

// Look reads what is in the folder of c, without devices. Errors are those of
// store.OpenLab and of the stores.
func Look(ctx context.Context, c Config) (Status, error) {
	w, err := openLab(c)
	if err != nil {
		return Status{}, err
	}
	s, err := Status{}, w.finished()
	if err == nil {
		s, err = w.look(ctx)
	}
	return s, errors.Join(w.damaged(err), w.Close())
}

func (w *World) look(ctx context.Context) (Status, error) {
	machine := wire.MachineRole(w.serial)
	s := Status{
		Dir: w.lab.Dir, Roles: append(slices.Clone(roleNames), machine), Machine: MachineStatus{Role: machine, Serial: w.serial},
		TPM: TPMStatus{Occupied: []Handle{}}, Operators: []Operator{}, Subscriptions: []Subscription{}, Orders: []OpenOrder{},
	}
	if err := w.openStores(ctx); err != nil {
		return s, err
	}
	known, err := w.device(ctx)
	if err != nil {
		return s, err
	}
	s.Card = known.Card
	w.plmns[SHOA] = cmp.Or(known.Home, w.plmns[SHOA])
	if known.Claimed {
		s.TPM.URI, s.TPM.Range, s.TPM.Register = w.tpmURI(known), known.Range.tpm().String(), known.Register
	}
	node, err := w.node(RORole)
	if err != nil {
		return s, err
	}
	if err := w.makeRO(ctx, node); err != nil {
		return s, err
	}
	if s.Machine.Supplied, err = w.Supplied(ctx); err != nil {
		return s, err
	}
	return s, errors.Join(w.lookOrders(ctx, &s), w.lookSubscriptions(ctx, &s))
}

func (w *World) lookOrders(ctx context.Context, s *Status) error {
	orders, err := w.RO.Pending(ctx)
	for _, o := range orders {
		s.Orders = append(s.Orders, OpenOrder{Order: o.Order, Procedure: o.Procedure, Machine: o.Machine, Begun: o.Begun, Done: append([]string{}, o.Steps...)})
	}
	behind, berr := w.RO.Succeeded(ctx)
	slices.Sort(behind)
	s.Machine.Behind = append([]string{}, slices.Compact(behind)...)
	return errors.Join(err, berr)
}

func (w *World) lookSubscriptions(ctx context.Context, s *Status) error {
	for _, name := range []string{SHOA, SHOB} {
		s.Operators = append(s.Operators, Operator{name, w.plmns[name]})
		node, err := w.node(name)
		if err != nil {
			return err
		}
		list, err := sho.New(sho.Config{NodeConfig: node, Store: w.stores[name], PLMN: w.plmns[name], RO: RORole, PVA: PVARole, VNO: VNORole}).Subscriptions(ctx)
		if err != nil {
			return err
		}
		for _, i := range list {
			s.Subscriptions = append(s.Subscriptions, Subscription{name, i.IMSI, i.ICCID, i.Placement, i.State, i.Live, i.Order != ""})
			s.Machine.Subscribed = s.Machine.Subscribed || i.Order != "" && i.State != sho.Pending
		}
	}
	return nil
}

// LookTPM adds to a Status what the lab has in its TPM, which must be reachable.
func LookTPM(ctx context.Context, c Config, s *Status) error {
	return withTPM(ctx, c, func(t *tpm.TPM) error {
		list, err := t.Ours()
		for _, o := range list {
			s.TPM.Occupied = append(s.TPM.Occupied, Handle{fmt.Sprintf("%#08x", uint32(o.Handle)), o.What})
		}
		return err
	})
}
