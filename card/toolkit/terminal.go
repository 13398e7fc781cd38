package toolkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Errors of a Terminal.
var (
	// ErrEndless: the card asked for one command after the other without end. Reset it,
	// or use it without a terminal profile.
	ErrEndless = errors.New("card never stops asking")
	// ErrBusy: the card answered 9300 to the ENVELOPE each time.
	ErrBusy = errors.New("the card's toolkit is busy")
)

// Defaults of Config.
const (
	DefaultRounds = 64
	DefaultBusy   = 10
	// busyPause is the time between two tries of an ENVELOPE.
	busyPause = 100 * time.Millisecond
	// maxResets is how many resets a card gets by REFRESH on one occasion.
	maxResets = 3
)

// Config is how a Terminal behaves; the zero value suits a machine without display.
type Config struct {
	// Profile is sent to the card; nil is DefaultProfile.
	Profile cat.Profile
	// Policy answers commands by their type; what is not in it is answered by the default
	// of the type (see the table in policy.go).
	Policy map[cat.Type]Handler
	// Allow are the servers that the card may open a channel to.
	Allow []netip.AddrPort
	// Dial opens the connection of a channel; nil is TCP.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Clock is the time; nil is that of the machine.
	Clock Clock
	// Rounds is the most proactive commands after one command of the terminal; 0 is
	// DefaultRounds.
	Rounds int
	// Busy is how often an ENVELOPE is sent that the card answers by 9300; 0 is
	// DefaultBusy.
	Busy int
	// Refresh is told of a REFRESH, before the card is answered: see Refresh. An error
	// tells the card that the terminal is unable to. nil accepts those that concern files
	// and applications, and refuses steering of roaming.
	Refresh func(ctx context.Context, r Refresh) error
	// IMEI and IMEISV are for PROVIDE LOCAL INFORMATION; "" tells none.
	IMEI, IMEISV string
	// Language is for PROVIDE LOCAL INFORMATION; "" is "en".
	Language string
	// Location is for PROVIDE LOCAL INFORMATION; nil: no service.
	Location *cat.Location
	// Heard gets each entry of the log at once; nil: nobody does.
	Heard func(Entry)
}

// Clock is the time of a Terminal.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends, and gives its error then.
	Sleep(ctx context.Context, d time.Duration) error
}

// DefaultProfile is what this package does itself: a machine without display and keypad,
// with timers, TCP channels and REFRESH.
func DefaultProfile() cat.Profile {
	p, _ := cat.NewProfile(maxChannels, // the names are tested
		"profile download", "SMS-PP download", "SMS-PP download answered by 9300", "timer expiration", "command result",
		"MORE TIME", "POLL INTERVAL", "POLLING OFF", "REFRESH", "PROVIDE LOCAL INFORMATION (location, IMEI)",
		"SET UP EVENT LIST", "event location status", "event data available", "event channel status",
		"TIMER MANAGEMENT (start, stop)", "TIMER MANAGEMENT (get current value)",
		"PROVIDE LOCAL INFORMATION (date, time and time zone)", "PROVIDE LOCAL INFORMATION (language)", "LANGUAGE NOTIFICATION",
		"OPEN CHANNEL", "CLOSE CHANNEL", "RECEIVE DATA", "SEND DATA", "GET CHANNEL STATUS", "no display", "no keypad",
		"TCP client, remote", "PROVIDE LOCAL INFORMATION (IMEISV)", "REFRESH (steering of roaming)")
	return p
}

// Terminal plays the terminal to one card.
type Terminal struct {
	session *card.Session // basic channel
	config  Config
	log     []Entry
	told    int                // entries of the log that Config.Heard got
	events  map[cat.Event]bool // that the card wants to be told of
	timers  [maxTimers + 1]timer
	bearers [maxChannels + 1]*channel
	arrived chan struct{} // something happened in a channel
	poll    time.Duration // that the card asked for; 0: none
	resets  int           // by REFRESH since the last command of the terminal
	err     error
}

// Start sends the terminal profile and does what the card asks for then. The Session has
// to be on the basic channel, and the card fresh from its reset. Errors are those of the
// Session, a *card.CommandError for a card that refuses the profile, and ErrEndless.
func Start(ctx context.Context, s *card.Session, config Config) (*Terminal, error) {
	t := &Terminal{session: s, config: config, arrived: make(chan struct{}, 1)}
	if t.config.Profile == nil {
		t.config.Profile = DefaultProfile()
	}
	if t.config.Clock == nil {
		t.config.Clock = machineClock{}
	}
	if t.config.Rounds <= 0 {
		t.config.Rounds = DefaultRounds
	}
	if t.config.Busy <= 0 {
		t.config.Busy = DefaultBusy
	}
	if t.config.Dial == nil {
		t.config.Dial = dialTCP
	}
	s.OnProactive(t.serve)
	if _, err := s.Do(ctx, cat.TerminalProfile{Profile: t.config.Profile}.Command()); err != nil {
		t.Close()
		return nil, err
	}
	return t, t.takeError()
}

// Close ends the channels; the card is no longer served.
func (t *Terminal) Close() {
	t.session.OnProactive(nil)
	t.closeChannels()
}

// Log is what the card asked for and was told, in its order.
func (t *Terminal) Log() []Entry { return t.log }

// PollInterval is how often the card wants to be polled; 0: it does not.
func (t *Terminal) PollInterval() time.Duration { return t.poll }

// takeError gives the failure of the service since the last time.
func (t *Terminal) takeError() error {
	err := t.err
	t.err = nil
	return err
}

// serve does what the card asks for, from the command of n bytes that waits until the card
// is quiet. A failure is kept for takeError: the command of the terminal after which the
// card asked was done.
func (t *Terminal) serve(ctx context.Context, n int) {
	t.resets = 0
	for range t.config.Rounds {
		r, err := t.one(ctx, n)
		if err != nil {
			t.err = err
			return
		}
		if r.SW.SW1() != 0x91 {
			return
		}
		n = waiting(r.SW)
	}
	t.err = fmt.Errorf("%w: after %d proactive commands; reset the card", ErrEndless, t.config.Rounds)
}

// waiting is the length that 91xx tells, 1 to 256.
func waiting(sw apdu.StatusWord) int {
	if sw.SW2() == 0 {
		return apdu.MaxShortNe
	}
	return int(sw.SW2())
}

// one fetches a command, and answers it.
func (t *Terminal) one(ctx context.Context, n int) (apdu.Response, error) {
	b, err := t.session.Do(ctx, cat.Fetch{Ne: n}.Command())
	if err != nil {
		return apdu.Response{}, err
	}
	e := Entry{Bytes: ef.Hex(append([]byte{}, b...))}
	var a Answer
	p, err := cat.DecodeProactive(b)
	if err != nil {
		a = Answer{Result: cat.Result{General: cat.ResultDataUnknown}, Why: err.Error()}
	} else {
		a = t.answer(ctx, p)
	}
	e.describe(p, a)
	if a.reset {
		t.note(e)
		return t.resetCard(ctx)
	}
	response := cat.NewResponse(p.Details(), a.Result, a.Objects...)
	e.Answered = response.Words()
	t.note(e)
	r, err := t.session.Send(ctx, response.Command())
	if err == nil {
		err = refusal("TERMINAL RESPONSE", r.SW)
	}
	return r, err
}

func refusal(command string, sw apdu.StatusWord) error {
	if sw.OK() {
		return nil
	}
	return &card.CommandError{Command: command, SW: sw}
}

// Envelope sends an envelope, and once more where the toolkit is busy (TS 102 221,
// 7.4.2.2). The response is the card's, 9000 where it asked for more and was served; a
// refusal is a *card.CommandError. Other errors are ErrBusy, ErrEndless and those of the
// Session.
func (t *Terminal) Envelope(ctx context.Context, e cat.Envelope) (apdu.Response, error) {
	return t.envelope(ctx, e.Command(), e.Name(), e.Words())
}

// RawEnvelope is Envelope for bytes, which need be none.
func (t *Terminal) RawEnvelope(ctx context.Context, b []byte) (apdu.Response, error) {
	name, words := "ENVELOPE of no known form", []string(nil)
	if e, err := cat.DecodeEnvelope(b); err == nil {
		name, words = e.Name(), e.Words()
	}
	c := apdu.Command{CLA: 0x80, INS: cat.INSEnvelope, Data: b, Ne: apdu.MaxShortNe}
	return t.envelope(ctx, c, name, words)
}

func (t *Terminal) envelope(ctx context.Context, c apdu.Command, name string, words []string) (apdu.Response, error) {
	at := len(t.log)
	t.log = append(t.log, Entry{}) // in front of what the card asks for next
	defer func() { t.tell(at) }()
	for try := 1; ; try++ {
		r, err := t.session.Send(ctx, c)
		if err != nil {
			t.log[at] = Entry{Envelope: name, Fields: words, Status: err.Error()}
			return r, err
		}
		if r.SW == apdu.SWToolkitBusy && try < t.config.Busy {
			if err = t.config.Clock.Sleep(ctx, busyPause); err == nil {
				continue
			}
		}
		t.log[at] = Entry{Envelope: name, Fields: words, Status: r.SW.Error(), Data: ef.Hex(append([]byte{}, r.Data...))}
		if r.SW == apdu.SWToolkitBusy && err == nil {
			return r, fmt.Errorf("%w: 9300 to %s, %d times; try again later", ErrBusy, name, try)
		}
		return r, errors.Join(err, refusal("ENVELOPE", r.SW), t.takeError())
	}
}

// Poll lets the card speak: by STATUS, and by telling it of timers that ended and of what
// happened in its channels. Errors are those of Envelope.
func (t *Terminal) Poll(ctx context.Context) error {
	if _, err := t.session.Do(ctx, uicc.Status{Data: uicc.StatusNothing}.Command()); err != nil {
		return err
	}
	return errors.Join(t.takeError(), t.tellTimers(ctx), t.tellChannels(ctx))
}

// Wait waits until a timer ends, something happens in a channel, the card wants to be
// polled, or d is over; then Poll. It gives the error of ctx.
func (t *Terminal) Wait(ctx context.Context, d time.Duration) error {
	if t.poll > 0 {
		d = min(d, t.poll)
	}
	now := t.config.Clock.Now()
	for _, x := range t.timers {
		if x.running {
			d = min(d, max(x.ends.Sub(now), 0))
		}
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	slept := make(chan error, 1)
	go func() { slept <- t.config.Clock.Sleep(waiting, d) }()
	for !t.news() {
		select {
		case <-t.arrived:
		case err := <-slept:
			return err
		}
	}
	return ctx.Err()
}

// LocationChanged tells the card of a change of service, where it wants to know.
func (t *Terminal) LocationChanged(ctx context.Context, s cat.Service, at *cat.Location) error {
	t.config.Location = at
	if !t.events[cat.EventLocationStatus] {
		return nil
	}
	_, err := t.Envelope(ctx, cat.LocationStatusEvent(s, at))
	return err
}

// machineClock is the time of this machine.
type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
