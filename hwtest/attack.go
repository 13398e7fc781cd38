package hwtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mcim/flows"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// Outcome is what became of an attack.
type Outcome string

// The outcomes. Only Refused is what it should be.
const (
	Refused    Outcome = "refused"
	Succeeded  Outcome = "succeeded"
	NotReached Outcome = "not reached" // it was over before the defence could act
)

// Attacked is an attack with its outcome.
type Attacked struct {
	Attack  string  `json:"attack"`
	Verdict Outcome `json:"verdict"`
	Step    string  `json:"step,omitempty"`    // at which it was refused
	Defence string  `json:"defence,omitempty"` // what that said
	Reason  string  `json:"reason,omitempty"`  // why the defence was not reached
}

// WriteText writes the outcome as one line: "refused: NAME at STEP: DEFENCE",
// "succeeded: NAME: no defence acted", or "not reached: NAME: REASON".
func (a *Attacked) WriteText(w io.Writer) error {
	line := fmt.Sprintf("%s: %s", a.Verdict, a.Attack)
	if a.Verdict == Refused {
		line += " at " + a.Step
	}
	_, err := fmt.Fprintf(w, "%s: %s\n", line, strings.ReplaceAll(a.detail(), "\n", "; "))
	return err
}

func (a *Attacked) detail() string {
	switch a.Verdict {
	case Refused:
		return a.Defence
	case NotReached:
		return a.Reason
	default:
		return flows.ErrSucceeded.Error()
	}
}

// Attack mounts an attack on a temporary lab, or on a copy of that in Lab.Dir,
// and leaves the files of a run: the report has the attack as its one negative
// proof. The error is flows.ErrNoAttack, or what kept the attack from being
// mounted; then no file is there.
func (r *Runner) Attack(ctx context.Context, name string) (*Attacked, error) {
	a, err := flows.FindAttack(name)
	if err != nil {
		return nil, err
	}
	x := newRun(r)
	if x.files, err = newArtefacts(r.Out, r.JUnit, x.meter.Label); err != nil {
		return nil, err
	}
	outcome, err := x.attack(ctx, a)
	if err != nil {
		return nil, errors.Join(err, x.files.discard())
	}
	x.report.Procedures = []report.Procedure{}
	x.negative(outcome.negative(a))
	x.report.Conclude()
	return outcome, x.files.commit(&x.report)
}

// attack mounts the attack and tells its outcome from the errors of the
// environment.
func (r *run) attack(ctx context.Context, a flows.Attack) (*Attacked, error) {
	for _, l := range r.listeners() {
		l.Case("attack "+a.Name, a.Text)
	}
	r.watch()
	refusal, err := flows.RunAttack(ctx, r.lab, a.Name, func(w *world.World) (err error) {
		r.report.Environment, err = environment(ctx, w, r.lab)
		r.report.Environment.MCIM = r.Version
		return err
	})
	switch {
	case err == nil:
		return &Attacked{Attack: a.Name, Verdict: Refused, Step: refusal.Step, Defence: refusal.Defence}, nil
	case ctx.Err() != nil:
		return nil, err
	case errors.Is(err, flows.ErrSucceeded):
		return &Attacked{Attack: a.Name, Verdict: Succeeded}, nil
	case errors.Is(err, flows.ErrNotReached):
		return &Attacked{Attack: a.Name, Verdict: NotReached, Reason: err.Error()}, nil
	default:
		return nil, err
	}
}

// negative is the outcome as a negative proof: the defence has to act.
func (a *Attacked) negative(of flows.Attack) report.Negative {
	n := report.Negative{Name: fmt.Sprintf("attack %s: %s", a.Attack, of.Text), Verdict: report.Pass, Detail: a.detail()}
	step := a.Step
	switch a.Verdict {
	case Succeeded:
		step, n.Verdict = of.Steps[0], report.Fail
	case NotReached:
		step, n.Verdict = of.Steps[0], report.NotRun
	}
	n.Procedure, _, _ = strings.Cut(step, ".")
	return n
}
