package hwtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/card"
	"mcim/card/proc"
	"mcim/flows"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// Listener hears of a run as it goes on, of steps from several goroutines.
type Listener interface {
	Case(id, title string)
	Step(wire.Event)
	Proof(name string) // a negative proof begins; its steps follow
	Negative(report.Negative)
}

// Runner runs cases on a lab and judges them. The zero value runs the whole Suite
// in software and leaves nothing behind.
type Runner struct {
	// Lab says what the lab stands on. Where its Dir is empty the lab is a
	// temporary one: removed at the end, and what it has in a TPM given back. A lab
	// that is there is gone on with: what was cut in it is finished, and what it has
	// behind it left out. Run sets Meter and Spent, and adds to Sinks.
	Lab world.Config
	// Cases are run in this order; nil is Suite().
	Cases []Case
	// Budget is the most that may be spent in all; nil is what the cases declare.
	Budget *world.Spend
	// Version of mcim, for the report.
	Version string
	// Out is a folder for report.json, trace.jsonl, trace.pcap and log.jsonl;
	// empty writes none. JUnit is a file for JUnit XML; empty writes none.
	Out, JUnit string
	// Listeners hear of the run.
	Listeners []Listener
}

// run is one Run on its way.
type run struct {
	*Runner
	lab       world.Config
	temporary bool
	folder    *proc.Temp // of a temporary lab in software
	meter     *world.Meter
	spent     *world.Spent
	reserved  world.Spend // for giving back at the end
	files     *artefacts
	world     *world.World
	flow      *flows.Run
	report    report.Report
	stop      string // why the cases that follow are not run; empty while they are
}

// Run runs the cases. What failed is in the report; the error is what kept the
// run from being made or ended: a lab, a reader, a TPM, a file, or ctx. Where the
// run had begun there is a report beside the error.
func (r *Runner) Run(ctx context.Context) (*report.Report, error) {
	x := newRun(r)
	var err error
	if x.files, err = newArtefacts(r.Out, r.JUnit, x.meter.Label); err != nil {
		return nil, err
	}
	if err := x.prepare(ctx); err != nil {
		return nil, errors.Join(err, x.files.discard())
	}
	err = errors.Join(x.all(ctx), x.finish())
	if len(x.report.Procedures) == 0 {
		return nil, errors.Join(err, x.files.discard())
	}
	x.count()
	x.report.Conclude()
	if err != nil { // what was not ended has not passed
		x.report.Verdict = report.Fail
	}
	return &x.report, errors.Join(err, x.files.commit(&x.report))
}

// newRun is what has not begun: it may spend the budget, before a case says what
// that may.
func newRun(r *Runner) *run {
	x := &run{Runner: r, lab: r.Lab, spent: &world.Spent{}, flow: flows.NewRun(nil)}
	x.meter = world.NewMeter(x.step)
	x.lab.Meter, x.lab.Spent, x.lab.Refused = x.meter, x.spent, &card.Refused{}
	if x.Cases == nil {
		x.Cases = Suite()
	}
	if x.Budget != nil {
		x.spent.Bound(*x.Budget)
	}
	return x
}

// prepare looks at what is there before anything is made.
func (r *run) prepare(ctx context.Context) error {
	known, err := r.look(ctx)
	if err != nil {
		return err
	}
	if err := ready(ctx, r.lab, known != nil); err != nil {
		return err
	}
	if r.lab.Dir != "" {
		return nil
	}
	return r.makeTemporary()
}

// makeTemporary makes the folder of a temporary lab. Only that of one in software
// may go with this process: of another it has keys that hardware goes on with.
func (r *run) makeTemporary() (err error) {
	r.temporary = true
	if r.lab.Card != "" || r.lab.TPM != "" {
		r.lab.Dir, err = temporaryLab(r.lab)
		return err
	}
	if r.folder, err = proc.NewTemp("", "lab"); err != nil {
		return err
	}
	r.lab.Dir = r.folder.Dir
	return nil
}

// step passes a step on to the listeners.
func (r *run) step(e wire.Event) {
	for _, l := range r.listeners() {
		l.Step(e)
	}
}

func (r *run) listeners() []Listener {
	if r.files == nil {
		return r.Listeners
	}
	return append(r.files.listeners(), r.Listeners...)
}

// all runs the cases in their order.
func (r *run) all(ctx context.Context) error {
	for _, c := range r.Cases {
		if err := r.one(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// one runs a case, if nothing speaks against it. The error is that of the
// environment.
func (r *run) one(ctx context.Context, c Case) error {
	if r.stop == "" {
		r.stop = r.unaffordable(c)
	}
	var err error
	if r.stop == "" {
		// Before the case is announced: what the lab stands on may not be there.
		r.meter.Begin(c.Procedures[0].ID)
		r.spent.Bound(r.spent.Total().Plus(c.Spends))
		if err = r.open(ctx); err != nil && r.spent.Refused() == nil {
			return err
		}
	}
	for _, l := range r.listeners() {
		l.Case(c.ID, c.Title)
	}
	if r.stop != "" {
		r.skip(ctx, c)
		return nil
	}
	if err == nil {
		r.reserved = r.reserved.Plus(r.frees(c))
		err = c.run(r.flow, ctx)
	}
	err = r.overspent(err)
	r.judge(c, err)
	r.prove(ctx, c)
	r.checkLink()
	if r.stop != "" {
		return r.environment(ctx, c, err)
	}
	return nil
}

// overspent is the failure of what has just run, first of all that it asked for
// more than the case declares, whatever was made of that.
func (r *run) overspent(failure error) error {
	return cmp.Or(r.spent.Refused(), failure)
}

// checkLink fails a case whose counts are not those of the virtual reader.
func (r *run) checkLink() {
	if r.stop != "" { // a command that was cut is in one count alone
		return
	}
	if err := r.world.CheckLink(); err != nil {
		r.fail(err)
	}
}

// fail is the verdict on the procedure that was judged last.
func (r *run) fail(reason error) {
	last := &r.report.Procedures[len(r.report.Procedures)-1]
	last.Verdict, last.Reason = report.Fail, reason.Error()
	r.stop = fmt.Sprintf("%s did not pass: %v", last.ID, reason)
}

// unaffordable says why the budget is too small for a case; empty if it is not. One
// that begins has what it declares, and no more.
func (r *run) unaffordable(c Case) string {
	if r.Budget == nil {
		return ""
	}
	need := c.Spends.Plus(r.frees(c))
	left := r.Budget.Minus(r.spent.Total()).Minus(r.reserved)
	if need.Within(left) {
		return ""
	}
	return fmt.Sprintf("%s would spend up to %s, and what is left of the budget is %s", c.ID, need, left)
}

// frees is what it takes at the end to give back what a case has used of hardware
// that is not the lab's own.
func (r *run) frees(c Case) world.Spend {
	var s world.Spend
	if r.temporary && r.lab.TPM != "" {
		s.NVWrites = c.Frees.NVWrites
	}
	if r.temporary && r.lab.Card != "" {
		s.PINTries, s.Auths, s.CardWrites = c.Frees.PINTries, c.Frees.Auths, c.Frees.CardWrites
	}
	return s
}

// open opens the lab, or makes it, if it is not open.
func (r *run) open(ctx context.Context) error {
	if r.world != nil {
		return nil
	}
	r.watch()
	w, err := world.OpenOrCreate(ctx, r.lab)
	if err != nil {
		return err
	}
	r.world, r.flow = w, flows.NewRun(w)
	before := r.report.Environment.Before
	r.report.Environment, err = environment(ctx, w, r.lab)
	r.report.Environment.MCIM = r.Version
	r.earlier(before)
	return err
}

// watch has the lab tell all that is to be counted and kept.
func (r *run) watch() {
	r.lab.Sinks = append(slices.Clone(r.lab.Sinks), r.files.sinks()...)
	r.lab.Logger = r.files.logger()
}

// skip enters a case that is not run.
func (r *run) skip(ctx context.Context, c Case) {
	for _, p := range c.Procedures {
		r.enter(c, p, report.NotRun, r.stop)
	}
	r.prove(ctx, c)
}

func (r *run) enter(c Case, p Procedure, v report.Verdict, reason string) {
	r.report.Procedures = append(r.report.Procedures, report.Procedure{
		ID: p.ID, Title: p.Title, Placement: string(c.Placement), Verdict: v, Reason: reason, Steps: []report.Step{}, Finished: p.begun(),
	})
}

func (r *run) negative(n report.Negative) {
	r.report.Negatives = append(r.report.Negatives, n)
	for _, l := range r.listeners() {
		l.Negative(n)
	}
}

// judge enters the verdict on each procedure of a case that ended with failure,
// or nil. A procedure passes when each of its numbered steps ended well.
func (r *run) judge(c Case, failure error) {
	blamed := false
	for _, p := range c.Procedures {
		v, reason := verdict(p, r.meter.Steps(p.ID), failure)
		blamed = blamed || v == report.Fail
		r.enter(c, p, v, reason)
		if v != report.Pass && r.stop == "" {
			r.stop = fmt.Sprintf("%s did not pass: %s", p.ID, reason)
		}
	}
	if failure != nil && !blamed {
		r.fail(failure)
	}
}

func verdict(p Procedure, events []wire.Event, failure error) (report.Verdict, string) {
	missing := p.missing(events)
	if len(missing) == 0 {
		return report.Pass, ""
	}
	for _, e := range events {
		if e.Err != nil {
			return report.Fail, e.Err.Error()
		}
	}
	if failure != nil {
		return report.NotRun, fmt.Sprintf("not seen: %v; the run was cut by: %v", missing, failure)
	}
	return report.Fail, fmt.Sprintf("steps that were not seen: %v", missing)
}

// prove runs the negative proofs of a case while nothing has failed, and enters
// those that are not run.
func (r *run) prove(ctx context.Context, c Case) {
	for _, p := range c.Procedures {
		if p.begun() { // a proof needs what this run has not seen
			continue
		}
		for _, proof := range r.flow.Proofs(p.ID) {
			n := report.Negative{Procedure: p.ID, Name: proof.Name, Verdict: report.NotRun, Detail: r.stop}
			if r.stop == "" {
				n.Verdict, n.Detail = r.attempt(ctx, p, proof)
			}
			r.negative(n)
		}
	}
}

// attempt runs one proof.
func (r *run) attempt(ctx context.Context, p Procedure, proof flows.Proof) (report.Verdict, string) {
	for _, l := range r.listeners() {
		l.Proof(proof.Name)
	}
	r.meter.Proof(p.ID)
	refusal, err := proof.Run(ctx)
	r.meter.Proof("")
	if err = r.overspent(err); err != nil {
		r.stop = err.Error()
		return report.Fail, r.stop
	}
	return report.Pass, refusal
}

// finish ends the lab, and has for that what the cases that ran have set aside.
func (r *run) finish() error {
	r.spent.Bound(r.spent.Total().Plus(r.reserved))
	return r.close()
}

// count enters steps and counts, once all has ended that can count.
func (r *run) count() {
	for i := range r.report.Procedures {
		p := &r.report.Procedures[i]
		all, _ := r.meter.Counts(p.ID)
		p.APDUs, p.LinkBytes, p.TPMCommands, p.Messages = all.APDUs, all.LinkBytes, all.TPMCommands, all.Messages
		p.Seconds = all.Time.Seconds()
		for _, e := range r.meter.Steps(p.ID) {
			s := report.Step{Name: e.Name, Path: e.Path, From: e.From, To: e.To, Text: e.Text, Verdict: report.Pass}
			switch {
			case e.Err != nil:
				s.Verdict, s.Reason = report.Fail, e.Err.Error()
			case !e.End:
				s.Verdict, s.Reason = report.NotRun, "it was cut"
			}
			p.Steps = append(p.Steps, s)
		}
	}
}
