package vno_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mcim/flows/vno"
	"mcim/flows/wire"
	"mcim/flows/wire/wiretest"
)

const (
	pcid    = "999700000000001"
	imsi    = "001010000000001"
	machine = "m2me/1"
)

// world is a VNO among scripted parties.
type world struct {
	*wiretest.Lab
	vno     *vno.VNO
	machine *wire.Node
	notices []wire.AttachedNotice
}

func newWorld(t *testing.T, change func(*vno.Config)) *world {
	w := &world{Lab: wiretest.New(t)}
	c := vno.Config{
		NodeConfig: w.Config("vno"),
		Homes:      map[string]string{"99970": "ro", "00101": "sho-a", "001012": "sho-b"},
		RO:         "ro",
	}
	if change != nil {
		change(&c)
	}
	w.vno = vno.New(c)
	if err := w.vno.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.vno.Close() })
	for _, home := range []string{"ro", "sho-a"} {
		w.Script(home, w.home)
	}
	w.machine = w.Script(machine, func(s *wire.Server) {
		wire.PathWake.Handle(s, []string{"vno"}, func(context.Context, wire.Peer, wire.WakeRequest) (wire.Empty, error) {
			return wire.Empty{}, nil
		})
	})
	return w
}

// home knows pcid and imsi; RES is that of want.
func (w *world) home(s *wire.Server) {
	vector := func(fill byte) func(context.Context, wire.Peer, wire.VectorRequest) (wire.Vector, error) {
		return func(_ context.Context, _ wire.Peer, req wire.VectorRequest) (wire.Vector, error) {
			if req.Identity != pcid && req.Identity != imsi {
				return wire.Vector{}, wire.Refuse("", "unknown identity")
			}
			return wire.Vector{XRES: want(fill), RAND: [16]byte{fill}, Restricted: req.Identity == pcid}, nil
		}
	}
	allow := []string{"vno"}
	wire.PathVectors.Handle(s, allow, vector(1))
	wire.PathResync.Handle(s, allow, vector(2))
	wire.PathAttached.Handle(s, allow, func(_ context.Context, _ wire.Peer, n wire.AttachedNotice) (wire.Empty, error) {
		w.notices = append(w.notices, n)
		return wire.Empty{}, nil
	})
}

func want(fill byte) []byte { return bytes.Repeat([]byte{fill}, 8) }

func (w *world) attach(n *wire.Node, step, identity string) (wire.Challenge, error) {
	ctx := wire.At(w.T.Context(), step)
	return wire.Ask(ctx, n.Contacts, "vno", wire.PathAttach, wire.AttachRequest{Identity: identity, Address: n.Server.Addr()})
}

func (w *world) answer(n *wire.Node, step string, req wire.AnswerRequest) (wire.Attached, error) {
	return wire.Ask(wire.At(w.T.Context(), step), n.Contacts, "vno", wire.PathAnswer, req)
}

func (w *world) attached(step, identity string) {
	w.T.Helper()
	c, err := w.attach(w.machine, step, identity)
	if err != nil {
		w.T.Fatal(err)
	}
	if _, err := w.answer(w.machine, step, wire.AnswerRequest{Session: c.Session, RES: want(1)}); err != nil {
		w.T.Fatal(err)
	}
}

func TestAttachByProvisionalIdentityGivesRestrictedBearer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, err := w.attach(w.machine, "P2.3", pcid)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.answer(w.machine, "P2.7", wire.AnswerRequest{Session: c.Session, RES: want(1)})
	if err != nil || !got.Restricted || got.Again != nil {
		t.Errorf("attached %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"P2.4", "P2.8"}, w.Begun()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]wire.AttachedNotice{{Identity: pcid, Machine: machine}}, w.notices); diff != "" {
		t.Error(diff)
	}
	if got := w.vno.Attached(machine); got != pcid {
		t.Errorf("attached by %q", got)
	}
	if _, err := w.answer(w.machine, "P2.7", wire.AnswerRequest{Session: c.Session, RES: want(1)}); err == nil {
		t.Error("one challenge was answered twice")
	}
}

func TestAttachIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, err := w.attach(w.machine, "P2.3", "310150123456789")
	wiretest.Refused(t, err, wire.ErrRefused, "P2.3")
	_, err = w.attach(w.machine, "P7.2", "001010000000002")
	wiretest.Refused(t, err, wire.ErrRefused, "P7.2")
	_, err = w.attach(w.machine, "P2.3", "1")
	wiretest.Refused(t, err, wire.ErrRefused, "P2.3")

	c, err := w.attach(w.machine, "P2.3", pcid)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.answer(w.Script("m2me/2", nil), "P2.7", wire.AnswerRequest{Session: c.Session, RES: want(1)})
	wiretest.Refused(t, err, wire.ErrRefused, "P2.7")
	_, err = w.answer(w.machine, "P2.7", wire.AnswerRequest{Session: c.Session, RES: want(9)})
	wiretest.Refused(t, err, wire.ErrRefused, "P2.7")
	if c, err = w.attach(w.machine, "P2.3", pcid); err != nil {
		t.Fatal(err)
	}
	w.Pass(2 * time.Minute)
	_, err = w.answer(w.machine, "P2.7", wire.AnswerRequest{Session: c.Session, RES: want(1)})
	wiretest.Refused(t, err, wire.ErrRefused, "P2.7")

	w.attached("P2.7", pcid)
	_, err = w.attach(w.Script("m2me/3", nil), "P2.3", pcid)
	wiretest.Refused(t, err, wire.ErrRefused, "P2.3")
}

func TestSynchronisationFailureIsRelayedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, err := w.attach(w.machine, "P7.2", imsi)
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.answer(w.machine, "P7.3", wire.AnswerRequest{Session: c.Session, AUTS: make([]byte, 14)})
	if err != nil || got.Again == nil || got.Again.RAND != [16]byte{2} {
		t.Fatalf("after AUTS: %+v, %v", got, err)
	}
	again := got.Again.Session
	if got, err = w.answer(w.machine, "P7.3", wire.AnswerRequest{Session: again, RES: want(2)}); err != nil || got.Restricted {
		t.Errorf("second challenge: %+v, %v", got, err)
	}
	if c, err = w.attach(w.machine, "P7.2", imsi); err != nil {
		t.Fatal(err)
	}
	if got, err = w.answer(w.machine, "P7.3", wire.AnswerRequest{Session: c.Session, AUTS: make([]byte, 14)}); err != nil {
		t.Fatal(err)
	}
	_, err = w.answer(w.machine, "P7.3", wire.AnswerRequest{Session: got.Again.Session, AUTS: make([]byte, 14)})
	wiretest.Refused(t, err, wire.ErrRefused, "P7.3")
}

func TestRestrictedBearerReachesRegistrationOperatorAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	gateway, err := w.Directory.Address("vno")
	if err != nil {
		t.Fatal(err)
	}
	reach := func(n *wire.Node, bearer, target string) error {
		addr, err := w.Directory.Address(target)
		if err != nil {
			t.Fatal(err)
		}
		way := wire.NewBearer(n.Identity, gateway, "vno", bearer, wire.ClientOptions{})
		s, err := wire.Dial(t.Context(), n.Identity, addr, target, wire.ClientOptions{Dial: way.Dial})
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	wiretest.Refused(t, reach(w.machine, pcid, "ro"), wire.ErrRefused, "P2.8")
	w.attached("P2.7", pcid)
	if err := reach(w.machine, pcid, "ro"); err != nil {
		t.Error(err)
	}
	wiretest.Refused(t, reach(w.machine, pcid, "sho-a"), wire.ErrRefused, "P2.8")
	wiretest.Refused(t, reach(w.machine, imsi, "ro"), wire.ErrRefused, "P2.8")
	ro := w.Script("ro", w.home)
	if err := reach(ro, "", machine); err != nil {
		t.Error(err)
	}
	wiretest.Refused(t, reach(ro, "", "sho-a"), wire.ErrUnavailable, "P2.8")
	if got := w.vno.Refused(); got != 4 {
		t.Errorf("%d connections refused, want 4", got)
	}
	w.attached("P7.3", imsi)
	if err := reach(w.machine, imsi, "sho-a"); err != nil {
		t.Errorf("operational bearer: %v", err)
	}
}

func TestWakeReachesSubscriberOfThatHomeAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.attached("P7.3", imsi)
	wake := func(role, identity string) error {
		_, err := wire.Ask(t.Context(), w.Script(role, nil).Contacts, "vno", wire.PathWakeVNO, wire.WakeRequest{IMSI: identity})
		return err
	}
	if err := wake("sho-a", imsi); err != nil {
		t.Error(err)
	}
	wiretest.Refused(t, wake("sho-b", imsi), wire.ErrNotFound, "")
	wiretest.Refused(t, wake("sho-a", pcid), wire.ErrNotFound, "")
	wiretest.Refused(t, wake("subscriber", imsi), wire.ErrRefused, "")
}

func TestFalseNetworkTakesEveryAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *vno.Config) { c.FalseNetwork = true })
	c, err := w.attach(w.machine, "P2.3", pcid)
	if err != nil || c.AUTN == [16]byte{} {
		t.Fatal(err)
	}
	if _, err := w.answer(w.machine, "P2.7", wire.AnswerRequest{Session: c.Session, RES: []byte{1}}); err != nil {
		t.Error(err)
	}
	if len(w.notices) != 0 {
		t.Error("the false network spoke to the home")
	}
}
