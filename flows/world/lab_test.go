package world

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mcim/card/trace"
	"mcim/flows/store"
	"mcim/tpm"
)

// TestCreateFails: a lab that could not be made leaves nothing behind.
func TestCreateFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		config Config
		want   error
	}{
		{"no TPM", Config{TPM: "unix:/nowhere"}, tpm.ErrNoTPM},
		{"bad URI", Config{TPM: "nothing"}, tpm.ErrURI},
		{"no file of makers", Config{EKRoots: "/nowhere"}, os.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := tt.config
			c.Dir, c.InProcess = filepath.Join(t.TempDir(), "lab"), true
			if _, err := Create(context.Background(), c); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if _, err := os.Stat(c.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is still there: %v", err)
			}
		})
	}
}

// TestUnfinished: a lab whose making was killed is named as such, and can be
// removed.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	ctx, c := context.Background(), Config{Dir: filepath.Join(t.TempDir(), "lab"), InProcess: true}
	lab, err := store.CreateLab(c.Dir, "test", store.LabConfig{Operators: []string{SHOA, SHOB}, Machines: []string{"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, c); !errors.Is(err, ErrUnfinished) {
		t.Errorf("Open: %v", err)
	}
	if _, err := Look(ctx, c); !errors.Is(err, ErrUnfinished) {
		t.Errorf("Look: %v", err)
	}
	if back, err := Remove(ctx, c); err != nil || len(back.TPM) != 0 {
		t.Errorf("Remove: %+v, %v", back, err)
	}
	if _, err := Open(ctx, c); !errors.Is(err, store.ErrNoLab) {
		t.Errorf("after Remove: %v", err)
	}
}

// TestLookAndRemove: what is shown of a fresh lab, and that another may not look
// while it is held; and the TPM has everything back after Remove.
func TestLookAndRemove(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	c := Config{Dir: filepath.Join(dir, "lab"), TPM: "swtpm:" + filepath.Join(dir, "tpm"), InProcess: true}
	if _, err := Look(ctx, c); !errors.Is(err, store.ErrNoLab) {
		t.Errorf("Look at nothing: %v", err)
	}
	if _, err := Remove(ctx, c); !errors.Is(err, store.ErrNoLab) {
		t.Errorf("Remove of nothing: %v", err)
	}
	w, err := Create(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	var held *store.HeldError
	if _, err := Look(ctx, c); !errors.As(err, &held) {
		t.Errorf("Look while it is held: %v", err)
	}
	if _, err := Remove(ctx, c); !errors.As(err, &held) {
		t.Errorf("Remove while it is held: %v", err)
	}
	if err := w.Machine.Supply(w.Context(ctx)); err == nil {
		t.Error("the machine is supplied by a supplier without provisional identities")
	}
	if err := w.Supplier.Prepare(w.Context(ctx)); err != nil {
		t.Fatal(err)
	}
	err = w.Machine.Supply(w.Context(ctx))
	_, oerr := w.Subscriber.First(ctx, w.Machine.Role(), SHOA, time.Time{})
	if err := errors.Join(err, oerr, w.Close()); err != nil {
		t.Fatal(err)
	}
	c.TPM = "" // the lab knows it
	s, err := Look(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Machine.Supplied || s.Machine.Subscribed || len(s.Operators) != 2 || len(s.Subscriptions) != 1 || len(s.Orders) != 1 {
		t.Errorf("status %+v", s)
	}
	if err := LookTPM(ctx, c, &s); err != nil || len(s.TPM.Occupied) < 12 {
		t.Errorf("TPM %+v, %v", s.TPM, err)
	}
	back, err := Remove(ctx, c)
	if err != nil || len(back.TPM) != len(s.TPM.Occupied) {
		t.Errorf("given back: %+v, %v", back, err)
	}
	left, err := tpm.Open(ctx, "swtpm:"+filepath.Join(dir, "tpm"), tpm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = left.Close() }()
	if err := left.Claim(); err != nil {
		t.Errorf("the range is not free: %v", err)
	}
}

// TestSpent: what counts as spent, and what does not.
func TestSpent(t *testing.T) {
	t.Parallel()
	var s Spent
	for _, command := range [][]byte{
		{0x00, 0x20, 0, 1},                     // question for the counter
		{0x00, 0x20, 0, 1, 8, 1, 2, 3, 4},      // VERIFY
		{0x00, 0xA4, 0, 4, 2, 0x3F, 0},         // SELECT
		{0x00, 0xB0, 0, 0, 0},                  // READ BINARY
		{0x00, 0xD6, 0, 0, 1, 0xFF},            // UPDATE BINARY
		{0x00, 0xDC, 1, 4, 1, 0xFF},            // UPDATE RECORD
		{0x00, 0x88, 0, 0x81, 0x22, 0x10, 0x1}, // AUTHENTICATE
		{0xA0, 0x2C, 0, 0, 16, 0x31, 0x31},     // UNBLOCK CHV
		nil,
	} {
		if err := s.WriteAPDU(trace.Exchange{Command: command}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"NV_Increment", "NV_Read", "EvictControl", "PCR_Extend", "CreatePrimary", "NV_ReadPublic", "NV_UndefineSpace"} {
		if err := s.WriteTPM(trace.TPMExchange{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	want := Spend{PINTries: 2, Auths: 1, CardWrites: 3, NVWrites: 3}
	if s.Total() != want {
		t.Errorf("spent %+v, want %+v", s.Total(), want)
	}
	if got := want.String(); got != "2 PIN tries, 1 AUTHENTICATE, 3 card writes, 3 NV writes" {
		t.Error(got)
	}
	if got := (Spend{}).String(); got != "nothing" {
		t.Error(got)
	}
	if !want.Minus(Spend{Auths: 1}).Within(want) || want.Plus(Spend{Auths: 1}).Within(want) {
		t.Error("Within")
	}
}

// TestBegin: what happens before a procedure's first step counts for the one that
// was said to begin.
func TestBegin(t *testing.T) {
	t.Parallel()
	m := NewMeter(nil)
	m.Begin("P2")
	_ = m.WriteTPM(trace.TPMExchange{})
	if all, _ := m.Counts("P2"); all.TPMCommands != 1 {
		t.Errorf("counts %+v", all)
	}
	if procedure, _ := m.Label(); procedure != "P2" {
		t.Errorf("label %s", procedure)
	}
}
