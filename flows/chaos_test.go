package flows

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mcim/flows/sho"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/tpm"
)

// kills is how many points TestChaos kills the procedures at; `make chaos` asks
// for more than the ordinary tests.
var kills = flag.Int("chaos", 6, "how many times TestChaos kills the procedures")

const (
	// loopEvery is after how many kills a lab is also killed while it starts again,
	// loopKills times in a row: a TPM that takes offence at an unorderly stop says so
	// at the fourth one.
	loopEvery, loopKills = 16, 5
	// pointsOfStart is how many points every lab comes to that starts again: the
	// machine attaches (P7.2, P7.3).
	pointsOfStart = 4
	// killers is how many labs are killed at the same time.
	killers = 4
	// cutsOfLab is how many changes of one lab are cut, one after the other.
	cutsOfLab = 5
)

// The environment of a child of TestChaos.
const (
	chaosDir  = "MCIM_CHAOS_LAB"  // folder of the lab
	chaosDo   = "MCIM_CHAOS_DO"   // one of the deeds
	chaosKill = "MCIM_CHAOS_KILL" // point at which the child kills itself: its text, or its number among those of the run
)

// deeds are what a child does to its lab.
var deeds = map[string]func(context.Context, *Run) error{
	"first": first,
	"P8a": func(ctx context.Context, r *Run) error {
		return inOrder(ctx, r.Bootstrap, func(ctx context.Context) error { return r.change(ctx, wire.InTRE) })
	},
	"P8c": func(ctx context.Context, r *Run) error {
		return inOrder(ctx, r.Bootstrap,
			func(ctx context.Context) error { return r.World.Machine.UseUICC(wire.At(ctx, "P8c")) },
			func(ctx context.Context) error { return r.change(ctx, wire.InUICC) })
	},
	"resume": resume,
}

func first(ctx context.Context, r *Run) error {
	return inOrder(ctx, r.Supply, r.Bootstrap, r.Provision)
}

// inOrder does one after the other, up to the first that fails.
func inOrder(ctx context.Context, do ...func(context.Context) error) error {
	for _, f := range do {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(chaosDir); dir != "" {
		os.Exit(chaosChild(dir, os.Getenv(chaosDo), os.Getenv(chaosKill)))
	}
	flag.Parse()
	os.Exit(m.Run())
}

// chaosChild does one deed in its own process. It prints each point that it comes
// to, and kills itself at the one it is told.
func chaosChild(dir, do, at string) int {
	ctx := context.Background()
	d := &doomed{out: bufio.NewWriter(os.Stdout), at: at}
	w, err := openAgain(ctx, world.Config{
		Dir: dir, Command: "chaos " + do, InProcess: true, OnPoint: d.point,
		Meter: world.NewMeter(func(e wire.Event) {
			if e.End {
				d.point(e.Path + " ends")
			} else {
				d.point(e.Path + " starts")
			}
		}),
	})
	if err == nil {
		err = errors.Join(notLockedOut(w.TPM), deeds[do](ctx, NewRun(w)))
		if err == nil {
			err = d.served(ctx, w)
		}
		err = errors.Join(err, w.Close())
	}
	_ = d.out.Flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// doomed is what a child hears of itself: the points of the journals, and where a
// step starts and ends.
type doomed struct {
	mu   sync.Mutex
	out  *bufio.Writer
	at   string
	seen int
}

func (d *doomed) point(point string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen++
	fmt.Fprintf(d.out, "point %s\n", point)
	if point == d.at || strconv.Itoa(d.seen) == d.at {
		_ = d.out.Flush()
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// served prints which subscriptions of the machine give service, by placement.
func (d *doomed) served(ctx context.Context, w *world.World) error {
	list, err := subscriptions(ctx, w)
	for _, s := range list {
		if s.State == sho.Active {
			d.mu.Lock()
			fmt.Fprintf(d.out, "served %s %s\n", s.Placement, s.IMSI)
			d.mu.Unlock()
		}
	}
	return err
}

// openAgain opens the lab of a process that was killed a moment ago: its swtpm
// may be about to end.
func openAgain(ctx context.Context, c world.Config) (*world.World, error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		w, err := world.OpenOrCreate(ctx, c)
		var inUse *tpm.InUseError
		if err == nil || !errors.As(err, &inUse) || time.Now().After(deadline) {
			return w, err
		}
	}
}

// notLockedOut asks the TPM itself (TPM_PT_LOCKOUT_COUNTER and TPMA_PERMANENT, TPM
// 2.0 Library, Part 2, 6.13 and 8.6).
func notLockedOut(t *tpm.TPM) error {
	info, err := t.Info()
	if err == nil && (info.LockoutCount != 0 || info.InLockout) {
		err = fmt.Errorf("the TPM counts %d failed authorizations, in lockout: %v", info.LockoutCount, info.InLockout)
	}
	return err
}

// resume starts the lab again after a cut and judges what it finds: the order
// that was cut is finished, the machine has exactly one subscription in each
// placement that is in use, which is the old one or the new one on both sides,
// and it gets service by it.
func resume(ctx context.Context, r *Run) error {
	w := r.World
	supplied, err := w.Supplied(ctx)
	if err != nil {
		return err
	}
	if supplied {
		err = w.Resume(ctx)
	} else {
		err = first(ctx, r)
	}
	if err != nil {
		return err
	}
	pending, err := w.RO.Pending(ctx)
	if err != nil {
		return err
	}
	if len(pending) != 0 {
		return fmt.Errorf("orders that are not finished: %v", pending)
	}
	return consistent(ctx, w)
}

// subscriptions are all that the home operators have in their books.
func subscriptions(ctx context.Context, w *world.World) ([]sho.Info, error) {
	var all []sho.Info
	for _, operator := range w.SHOs {
		list, err := operator.Subscriptions(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func consistent(ctx context.Context, w *world.World) error {
	list, err := subscriptions(ctx, w)
	if err != nil {
		return err
	}
	served := map[wire.Placement][]string{}
	for _, s := range list {
		if err := honest(ctx, w, s); err != nil {
			return err
		}
		if s.State == sho.Active {
			served[s.Placement] = append(served[s.Placement], s.IMSI)
		}
	}
	for _, placement := range []wire.Placement{wire.InTRE, wire.InUICC} {
		if len(served[placement]) != 1 {
			return fmt.Errorf("subscriptions that are served in the %s: %v, want one", placement, served[placement])
		}
	}
	attached := w.VNO.Attached(w.Machine.Role())
	placement, err := w.Machine.Placement(ctx)
	if err != nil {
		return err
	}
	if attached != served[placement][0] {
		return fmt.Errorf("attached as %s in the %s, but served there is %v", attached, placement, served[placement])
	}
	return nil
}

// honest says whether a subscription gives service if and only if its operator
// says so, and whether the TRE has forgotten one that is closed.
func honest(ctx context.Context, w *world.World, s sho.Info) error {
	challenged := w.Machine.Request(wire.At(ctx, "P7.2"), s.IMSI)
	held, err := w.Machine.Holds(s.IMSI)
	if err != nil {
		return err
	}
	switch s.State {
	case sho.Active:
		if challenged != nil {
			return fmt.Errorf("no service by %s: %w", s.IMSI, challenged)
		}
		if !held && s.Placement == wire.InTRE {
			return fmt.Errorf("the TRE does not have the subscription %s, which is active", s.IMSI)
		}
	case sho.Closed:
		if !at("P7.2", "closed")(challenged) {
			return errors.Join(fmt.Errorf("the closed subscription %s is not refused as such", s.IMSI), challenged)
		}
		if held {
			return fmt.Errorf("the TRE still has the subscription %s, which is closed", s.IMSI)
		}
	default:
		return fmt.Errorf("the subscription %s is left %s", s.IMSI, s.State)
	}
	return nil
}

// mustCut are the procedures of which every numbered step is cut, if there are kills
// enough, with the deed in which they run.
var mustCut = []struct{ procedure, do string }{{"P8a", "P8a"}, {"P8c", "P8c"}, {"P1", "first"}, {"P2", "first"}}

// TestChaos kills the procedures with SIGKILL, at the points of the journals and
// where a step starts and ends, and starts the same lab again: each step of P8a,
// P8c, P1 and P2 first, then each other point, then any, as far as -chaos allows.
func TestChaos(t *testing.T) {
	t.Parallel()
	c := &chaos{T: t, prepared: t.TempDir(), points: map[string][]string{}, hits: map[cut]int{}}
	c.points["first"], c.served = dryRun(t, c.prepared, "first")
	for _, do := range []string{"P8a", "P8c"} {
		c.points[do], _ = dryRun(t, c.copy(t), do)
	}
	plan := c.plan(*kills)
	t.Run("kills", func(t *testing.T) {
		for n := range min(killers, len(plan)) {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				k := &killer{T: t, chaos: c, labs: map[string]*lab{}}
				for ; n < len(plan); n += killers {
					k.cut(n, plan[n])
				}
			})
		}
	})
	c.report()
}

// chaos is one run of TestChaos.
type chaos struct {
	*testing.T
	prepared string              // lab in which the first provisioning has ended
	served   map[string]string   // there: IMSI by placement
	points   map[string][]string // by deed, each once, in the order in which they come

	mu       sync.Mutex
	hits     map[cut]int
	kills    int
	old, new int // what the subscription that was to change is after the kills
}

// killer does a part of the kills, beside others.
type killer struct {
	*testing.T
	chaos *chaos
	labs  map[string]*lab // that are being cut, by deed
}

// lab is one that is killed again and again.
type lab struct {
	dir    string
	cuts   int
	served map[string]string // IMSI by placement, since it was judged last
}

// cut is one kill.
type cut struct{ do, point string }

// steps are the numbered steps that the point lies in, outer ones first.
func (c cut) steps() []string {
	path, _, _ := strings.Cut(c.point, " ")
	return strings.Split(path, "/")
}

// dryRun does a deed to its end and gives the points that it comes to, and what is
// served then.
func dryRun(t *testing.T, dir, do string) ([]string, map[string]string) {
	t.Helper()
	out, err := child(dir, do, "")
	if err != nil {
		t.Fatalf("%s without a kill: %v: %s", do, err, tail(out))
	}
	var list []string
	for _, point := range lines(out, "point ") {
		if !slices.Contains(list, point) {
			list = append(list, point)
		}
	}
	return list, served(out)
}

// served is what a child said of the subscriptions that give service: the IMSI, by
// placement.
func served(out []byte) map[string]string {
	m := map[string]string{}
	for _, line := range lines(out, "served ") {
		placement, imsi, _ := strings.Cut(line, " ")
		m[placement] = imsi
	}
	return m
}

// copy is a copy of the prepared lab, with the modes of its files.
func (c *chaos) copy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("cp", "-a", c.prepared+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// plan is that many cuts: one in each step of mustCut, then one at each point that is
// left, then any.
func (c *chaos) plan(count int) []cut {
	var systematic, rest []cut
	for do, points := range c.points {
		for _, point := range points {
			rest = append(rest, cut{do, point})
		}
	}
	shuffle(rest)
	for _, m := range mustCut {
		for n := range steps[m.procedure] {
			step := fmt.Sprintf("%s.%d", m.procedure, n+1)
			i := slices.IndexFunc(rest, func(p cut) bool { return p.do == m.do && slices.Contains(p.steps(), step) })
			if i < 0 {
				c.Fatalf("%s has no point at which it can be killed", step)
			}
			systematic = append(systematic, rest[i])
			rest = slices.Delete(rest, i, i+1)
		}
	}
	shuffle(systematic)
	c.Logf("%d points, %d steps of P8a, P8c, P1 and P2", len(systematic)+len(rest), len(systematic))
	all := append(systematic, rest...)
	for len(all) < count {
		all = append(all, all[rand.IntN(len(all))])
	}
	return all[:count]
}

func shuffle(list []cut) {
	slices.SortFunc(list, func(a, b cut) int { return strings.Compare(a.do+a.point, b.do+b.point) })
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

// cut kills a lab at a point, some labs also while they start again, and has it
// judged when it has started.
func (k *killer) cut(n int, at cut) {
	l, again := k.lab(at.do), 0
	if n%loopEvery == 0 {
		again = loopKills
	}
	out, err := child(l.dir, at.do, at.point)
	if !killed(err) {
		k.Errorf("kill %d: %s was not killed at %q: %v: %s", n, at.do, at.point, err, tail(out))
		delete(k.labs, at.do)
		return
	}
	k.chaos.hit(at)
	for range again {
		out, err := child(l.dir, "resume", strconv.Itoa(1+rand.IntN(pointsOfStart)))
		if !killed(err) {
			k.Errorf("kill %d, %s at %q: the lab was not killed as it started again: %v: %s", n, at.do, at.point, err, tail(out))
			break
		}
		points := lines(out, "point ")
		k.chaos.hit(cut{"resume", points[len(points)-1]})
	}
	if out, err = child(l.dir, "resume", ""); err != nil {
		k.Errorf("kill %d, %s at %q and %d times more: the lab does not start again: %v: %s", n, at.do, at.point, again, err, tail(out))
		delete(k.labs, at.do)
		return
	}
	k.compare(n, at, l, out)
}

// lab is the one that the next cut of a deed goes into.
func (k *killer) lab(do string) *lab {
	l := k.labs[do]
	if l == nil || l.cuts == cutsOfLab || do == "first" {
		if l != nil {
			_ = os.RemoveAll(l.dir)
		}
		l = &lab{}
		if do == "first" {
			l.dir = k.TempDir()
		} else {
			l.dir, l.served = k.chaos.copy(k.T), k.chaos.served
		}
		k.labs[do] = l
	}
	l.cuts++
	return l
}

func (c *chaos) hit(at cut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hits[at]++
	c.kills++
}

// ordered are the points from which on an order has been contracted, so that it is
// finished whatever happens.
var ordered = map[string]string{"P8a": "P8a.2 starts", "P8c": "P8c.1 begin"}

// compare wants the subscription that was to be changed to be the new one if the
// change had been contracted, else the old one; and the other one as it was.
func (k *killer) compare(n int, at cut, l *lab, out []byte) {
	c, now := k.chaos, served(out)
	changes := map[string]string{"P8a": string(wire.InTRE), "P8c": string(wire.InUICC)}[at.do]
	points := c.points[at.do]
	isNew := slices.Index(points, at.point) >= slices.Index(points, ordered[at.do])
	for placement, imsi := range l.served {
		if (imsi != now[placement]) != (isNew && placement == changes) {
			k.Errorf("kill %d, %s at %q: the subscription in the %s was %s and is %s", n, at.do, at.point, placement, imsi, now[placement])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case at.do == "first":
	case isNew:
		c.new++
	default:
		c.old++
	}
	l.served = now
}

// report prints how often each point was hit, and wants a hit in every step of
// mustCut if there were kills enough for them.
func (c *chaos) report() {
	for _, do := range []string{"first", "P8a", "P8c"} {
		for _, point := range c.points[do] {
			c.Logf("%3d x %s: %s", c.hits[cut{do, point}], do, point)
		}
	}
	bySteps, again := map[string]int{}, 0
	for at, count := range c.hits {
		if at.do == "resume" {
			again += count
		}
		for _, step := range at.steps() {
			bySteps[step] += count
		}
	}
	wanted := 0
	for _, m := range mustCut {
		wanted += steps[m.procedure]
		var list []string
		for n := range steps[m.procedure] {
			step := fmt.Sprintf("%s.%d", m.procedure, n+1)
			list = append(list, fmt.Sprintf("%s %d", step, bySteps[step]))
			if bySteps[step] == 0 && *kills >= wanted {
				c.Errorf("%s was not hit in %d kills", step, *kills)
			}
		}
		c.Logf("hits by step: %s", strings.Join(list, ", "))
	}
	c.Logf("%d kills, %d of them of labs that started again; afterwards %d subscriptions were the old one, %d the new one",
		c.kills, again, c.old, c.new)
}

// child runs a deed in a process of its own and gives what it printed.
func child(dir, do, kill string) ([]byte, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), chaosDir+"="+dir, chaosDo+"="+do, chaosKill+"="+kill)
	return cmd.CombinedOutput()
}

// killed says whether a child ended by SIGKILL.
func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// lines are the ends of the lines that begin so.
func lines(out []byte, prefix string) []string {
	var list []string
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			list = append(list, rest)
		}
	}
	return list
}

func tail(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-3):], []byte("\n"))
}
