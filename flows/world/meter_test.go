package world

import (
	"context"
	"errors"
	"testing"

	"mcim/card/trace"
	"mcim/flows/wire"
)

func TestMeterAttributes(t *testing.T) {
	t.Parallel()
	m := NewMeter(nil)
	ctx := wire.WithObserver(context.Background(), m.Observe)
	step := func(ctx context.Context, name string, f func(context.Context)) {
		_ = wire.Step(ctx, name, "a", "b", "text", func(ctx context.Context) error { f(ctx); return nil })
	}
	_ = m.WriteTPM(trace.TPMExchange{}) // before all steps: the supply phase
	step(ctx, "P4.7", func(ctx context.Context) {
		_ = m.WriteTPM(trace.TPMExchange{})
		step(ctx, "P5c.4", func(ctx context.Context) {
			_ = m.WriteTPM(trace.TPMExchange{})
			_ = m.WriteTPM(trace.TPMExchange{})
			m.Message(wire.Path(ctx))
		})
		_ = m.WriteAPDU(trace.Exchange{Command: make([]byte, 5), Response: make([]byte, 2)})
	})
	_ = m.WriteTPM(trace.TPMExchange{}) // between two steps: the one before, P5c began last
	step(ctx, "P8a.8", func(ctx context.Context) {
		step(ctx, "P5c.4", func(ctx context.Context) { _ = m.WriteTPM(trace.TPMExchange{}); m.Message(wire.Path(ctx)) })
	})
	m.Proof("P8a")
	step(ctx, "P7.2", func(ctx context.Context) { _ = m.WriteTPM(trace.TPMExchange{}); m.Message(wire.Path(ctx)) })
	if procedure, label := m.Label(); procedure != "P8a" || label != "negative proof" {
		t.Errorf("label of a proof: %s %s", procedure, label)
	}
	m.Proof("")

	if sum := m.Total(); sum.TPMCommands != 7 || sum.APDUs != 1 || sum.LinkBytes != 7 || sum.Messages != 3 {
		t.Errorf("in all %+v", sum)
	}
	tests := []struct {
		procedure   string
		want, proof Counts
	}{
		{"P1", Counts{TPMCommands: 1}, Counts{}},
		{"P4", Counts{TPMCommands: 1, APDUs: 1, LinkBytes: 7}, Counts{}},
		{"P5c", Counts{TPMCommands: 3, Messages: 1}, Counts{}},
		{"P8a", Counts{TPMCommands: 2, Messages: 2}, Counts{TPMCommands: 1, Messages: 1}},
		{"P7", Counts{}, Counts{}},
	}
	for _, tt := range tests {
		all, proof := m.Counts(tt.procedure)
		all.Time = 0
		if all != tt.want || proof != tt.proof {
			t.Errorf("%s: %+v, proof %+v; want %+v, %+v", tt.procedure, all, proof, tt.want, tt.proof)
		}
	}
	if steps := m.Steps("P8a"); len(steps) != 2 || steps[0].Path != "P8a.8" || steps[1].Path != "P8a.8/P5c.4" || !steps[1].End {
		t.Errorf("steps of P8a: %+v", steps)
	}
}

func TestMeterKeepsTheErrorOfAStep(t *testing.T) {
	t.Parallel()
	m := NewMeter(nil)
	ctx := wire.WithObserver(context.Background(), m.Observe)
	_ = wire.Step(ctx, "P6.8", "m2me", "m2me", "check", func(context.Context) error { return errors.New("old package") })
	steps := m.Steps("P6")
	if len(steps) != 1 || steps[0].Err == nil {
		t.Fatalf("steps %+v, want one with its error", steps)
	}
}
