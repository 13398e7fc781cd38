package cardtest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/toolkit"
)

// toolkitCases are the cases about the card application toolkit: about what the card
// "toolkit" of package card/model asks for.
func (s suite) toolkitCases() []suiteCase {
	on := s.facts.Toolkit
	return []suiteCase{
		{"what a card asks for is served", on, s.servesToolkit},
		{"a channel of the card reaches a server", on, s.servesChannel},
		{"a server that is not listed is refused", on, s.refusesServer},
		{"toolkit commands out of turn are refused", on, s.refusesOutOfTurn},
	}
}

// fixedClock is a time that the first sleeper moves. All others sleep until their context
// ends, so that what wakes a terminal then is a server.
type fixedClock struct {
	mu    sync.Mutex
	now   time.Time
	moved bool
}

// Now implements toolkit.Clock.
func (c *fixedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep implements toolkit.Clock.
func (c *fixedClock) Sleep(ctx context.Context, d time.Duration) error {
	if c.move(d) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (c *fixedClock) move(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.moved
	if first {
		c.now, c.moved = c.now.Add(d), true
	}
	return first
}

// terminal puts a terminal on the card; the time is always the same.
func (s suite) terminal(t *testing.T, config toolkit.Config) (*card.Session, *toolkit.Terminal) {
	t.Helper()
	session := s.session(t)
	config.Clock = &fixedClock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	terminal, err := toolkit.Start(t.Context(), session, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(terminal.Close)
	return session, terminal
}

// asked is what the card asked for, in words.
func asked(terminal *toolkit.Terminal) string {
	var names []string
	for _, e := range terminal.Log() {
		names = append(names, e.Command+e.Envelope)
	}
	return strings.Join(names, "|")
}

const atStart = "SET UP EVENT LIST|POLL INTERVAL|PROVIDE LOCAL INFORMATION, date, time and time zone|TIMER MANAGEMENT, start|DISPLAY TEXT"

func (s suite) servesToolkit(t *testing.T) {
	session, terminal := s.terminal(t, toolkit.Config{})
	if got := asked(terminal); got != atStart {
		t.Errorf("at the start %s, want %s", got, atStart)
	}
	if !terminal.Log()[4].Refused || terminal.Log()[3].Refused || terminal.PollInterval() != 30*time.Second {
		t.Errorf("%+v", terminal.Log())
	}
	if iccid, err := session.ICCID(t.Context()); err != nil || iccid != s.facts.ICCID {
		t.Errorf("ICCID %q %v", iccid, err)
	}
	if err := terminal.Poll(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err := session.Send(t.Context(), uicc.Status{Data: uicc.StatusNothing}.Command()); err != nil || r.SW != apdu.SWOK {
		t.Errorf("after a reset, without a profile: %v %v", r.SW, err)
	}
}

// mirror is a connection to a server that sends back the first 5 bytes, once it is let.
func mirror(t *testing.T, let <-chan struct{}) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 5)
		if _, err := far.Read(b); err == nil {
			<-let
			_, _ = far.Write(b) // an error shows as data that never come
		}
	}()
	t.Cleanup(func() {
		_ = far.Close()
		<-done
	})
	return near
}

// next waits until something happens, and tells the card.
func next(t *testing.T, terminal *toolkit.Terminal) {
	t.Helper()
	if err := terminal.Wait(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := terminal.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (s suite) servesChannel(t *testing.T) {
	let := make(chan struct{})
	_, terminal := s.terminal(t, toolkit.Config{
		Allow: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7")},
		Dial:  func(context.Context, netip.AddrPort) (net.Conn, error) { return mirror(t, let), nil },
	})
	next(t, terminal)
	close(let)
	next(t, terminal)
	want := atStart + "|timer expiration|OPEN CHANNEL|SEND DATA, send|event download, data available|RECEIVE DATA|GET CHANNEL STATUS|CLOSE CHANNEL"
	if got := asked(terminal); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !slices.ContainsFunc(terminal.Log(), func(e toolkit.Entry) bool { return slices.Contains(e.Answered, "channel data: 68656c6c6f") }) {
		t.Error("the data did not come back")
	}
}

func (s suite) refusesServer(t *testing.T) {
	_, terminal := s.terminal(t, toolkit.Config{})
	next(t, terminal)
	last := terminal.Log()[len(terminal.Log())-1]
	if last.Command != "OPEN CHANNEL" || !last.Refused || !strings.Contains(last.Why, "127.0.0.1:7") {
		t.Errorf("%+v", last)
	}
}

func (s suite) refusesOutOfTurn(t *testing.T) {
	session, ctx := s.session(t), t.Context()
	send := func(c apdu.Command, want apdu.StatusWord) apdu.Response {
		t.Helper()
		r, err := session.Send(ctx, c)
		if err != nil || r.SW != want {
			t.Fatalf("%s: %v %v, want %v", card.CommandName(c), r.SW, err, want)
		}
		r.Data = slices.Clone(r.Data)
		return r
	}
	menu := cat.MenuSelection(1, false).Command()
	details := cat.CommandDetails{Number: 9, Type: cat.TypeMoreTime}
	stray := cat.NewResponse(details, cat.Result{}).Command()
	send(cat.Fetch{Ne: 11}.Command(), apdu.SWConditionsNotSatisfied)
	send(menu, apdu.SWConditionsNotSatisfied)
	send(stray, apdu.SWConditionsNotSatisfied)
	first, err := session.Send(ctx, cat.TerminalProfile{Profile: toolkit.DefaultProfile()}.Command())
	if err != nil || first.SW.SW1() != 0x91 {
		t.Fatalf("TERMINAL PROFILE: %v %v", first.SW, err)
	}
	send(stray, apdu.SWConditionsNotSatisfied)
	r := send(cat.Fetch{Ne: int(first.SW.SW2())}.Command(), apdu.SWOK)
	p, err := cat.DecodeProactive(r.Data)
	if err != nil {
		t.Fatal(err)
	}
	send(menu, apdu.SWToolkitBusy)
	send(stray, apdu.SWWrongData)
	last, err := session.Send(ctx, cat.NewResponse(p.Details(), cat.Result{}).Command())
	if err != nil || last.SW.SW1() != 0x91 {
		t.Errorf("TERMINAL RESPONSE: %v %v", last.SW, err)
	}
}
