package wire

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// StepHeader is the HTTP header that carries the path of the step in which a
// request is made, so that the handler's steps and counts belong to it.
const StepHeader = "Mcim-Step"

// stepPath is what a path may look like; anything else from another role is
// dropped. Paths only label; nothing is decided by them that costs anything.
var stepPath = regexp.MustCompile(`^P[0-9]{1,2}[a-d]?(\.[0-9]{1,2})?(/P[0-9]{1,2}[a-d]?(\.[0-9]{1,2})?){0,5}$`)

// Event is the beginning or the end of a step: one arrow of a message chart of
// TR 33.812 digest, 4.4.
type Event struct {
	// Path is the steps around this one and itself, as in "P8a.8/P5c.4".
	Path string
	// Name is the step itself, as in "P5c.4".
	Name string
	// From and To are role names; equal where a role does the step by itself.
	From, To string
	// Text says in a few words what happens.
	Text string
	// End is false at the beginning and true at the end.
	End bool
	// Err is why the step failed; only at the end.
	Err error
	// Time is the system's clock.
	Time time.Time
}

// Observer gets the events of steps, from several goroutines at once. It must
// not call back into the role.
type Observer func(Event)

type (
	pathKey     struct{}
	observerKey struct{}
)

// WithObserver makes Step report to o; a nil o changes nothing.
func WithObserver(ctx context.Context, o Observer) context.Context {
	if o == nil {
		return ctx
	}
	return context.WithValue(ctx, observerKey{}, o)
}

// WithPath labels ctx with a whole path, as it came in StepHeader; a path that
// is none leaves ctx without a label.
func WithPath(ctx context.Context, path string) context.Context {
	if len(path) > 100 || !stepPath.MatchString(path) {
		path = ""
	}
	return context.WithValue(ctx, pathKey{}, path)
}

// Path is the path of the step that ctx belongs to, empty outside of steps.
func Path(ctx context.Context) string {
	path, _ := ctx.Value(pathKey{}).(string)
	return path
}

// Procedure is the innermost procedure that ctx belongs to: "P5c" within the
// path "P8a.8/P5c.4", empty outside of steps.
func Procedure(ctx context.Context) string {
	path := Path(ctx)
	return procedure(path[strings.LastIndex(path, "/")+1:])
}

// At labels ctx with the step name without reporting it: for work that belongs
// to a step that another role reports. A step follows one of the same procedure
// and lies within one of another procedure.
func At(ctx context.Context, name string) context.Context {
	path := Path(ctx)
	last := path[strings.LastIndex(path, "/")+1:]
	if procedure(last) == procedure(name) {
		path = strings.TrimSuffix(strings.TrimSuffix(path, last), "/")
	}
	if path != "" {
		name = path + "/" + name
	}
	return WithPath(ctx, name)
}

// Step runs f as the step name, "P6.5" of a procedure in TR 33.812 digest, 4.4:
// the observer in ctx hears of its beginning and end, and the ctx of f carries
// the step's path. The error of f comes back as an Error that has a Step; the
// innermost one stays.
func Step(ctx context.Context, name, from, to, text string, f func(context.Context) error) error {
	ctx = At(ctx, name)
	observe, _ := ctx.Value(observerKey{}).(Observer)
	if observe == nil {
		observe = func(Event) {}
	}
	event := Event{Path: Path(ctx), Name: name, From: from, To: to, Text: text, Time: time.Now()}
	observe(event)
	err := f(ctx)
	if err != nil {
		err = AsError(err, name)
	}
	event.End, event.Err, event.Time = true, err, time.Now()
	observe(event)
	return err
}

// procedure is "P5c" of "P5c.4".
func procedure(step string) string {
	p, _, _ := strings.Cut(step, ".")
	return p
}
