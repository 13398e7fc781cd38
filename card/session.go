package card

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// Errors of a Session.
var (
	// ErrResponseLoop: the card announced more and more data, or one wrong length
	// after the other. What it had done by then is unknown; reset it.
	ErrResponseLoop = errors.New("card never ends its response")
	// ErrChannelClosed: the logical channel was closed, or a reset closed it.
	ErrChannelClosed = errors.New("logical channel is closed")
)

// DefaultRounds is enough for the longest response there is, 65536 bytes by
// GET RESPONSE of 256 each, with a few repetitions.
const DefaultRounds = 264

// Options are the settings of a Session; the zero value is right for most cards.
type Options struct {
	// T0 leaves out the Le of case 4 commands, which the protocol T=0 cannot send
	// (ISO/IEC 7816-3, 12.2.4): the card then answers 61xx. Set it for readers
	// that do not do that by themselves.
	T0 bool
	// Rounds is the most commands that one Send may become, 1 or more; 0 means
	// DefaultRounds.
	Rounds int
}

// Session drives a Card by the transport rules of TS 102 221, 7.3, on one
// logical channel. It serves one caller at a time, as the Card does; Sessions
// on other channels of the same Card share its turn.
type Session struct {
	link    *link
	channel int
	epoch   int // the link's at the time the channel was opened
	closed  bool
	files   selection
}

// link is what the Sessions of one Card share.
type link struct {
	card    Card
	options Options
	epoch   int // counts resets
	forgets int // counts Forget
	// proactive answers what the card asks of the terminal; nil: nobody does. While it
	// runs, serving is set.
	proactive func(ctx context.Context, n int)
	serving   bool
	// open are the logical channels that were opened since the last reset, with the
	// Session that each belongs to.
	open      map[int]*Session
	suspended bool // until Resume or a reset
	class     byte // in which files are selected: 00, A0, or classUnasked
}

// reset is what a reset does to all Sessions: what they remember is of before it, and
// their channels are closed.
func (l *link) reset() {
	l.epoch++
	clear(l.open)
	l.suspended = false
	l.class = classUnasked
}

// state counts what may have changed the card: a reset or a REFRESH.
func (l *link) state() int { return l.epoch + l.forgets }

// NewSession is a Session on the basic channel.
func NewSession(c Card, o Options) *Session {
	if o.Rounds <= 0 {
		o.Rounds = DefaultRounds
	}
	return &Session{link: &link{card: c, options: o, open: map[int]*Session{}, class: classUnasked}}
}

// Channel is the logical channel of the Session, 0 to 19.
func (s *Session) Channel() int { return s.channel }

// Reset resets the card and gives its ATR. The Session stays usable on the
// basic channel only; all others are closed by the reset.
func (s *Session) Reset(ctx context.Context) ([]byte, error) {
	s.link.reset()
	s.files = selection{forgets: s.link.forgets}
	if s.channel == 0 {
		s.epoch = s.link.epoch
	}
	atr, err := s.link.card.Reset(ctx)
	if err != nil {
		return nil, fmt.Errorf("reset: %w", err)
	}
	return atr, nil
}

// Forget drops what all Sessions on the card remember of its files: which application is
// selected and what EF.DIR has. Call it when the card says that they changed (REFRESH).
func (s *Session) Forget() { s.link.forgets++ }

// OnProactive lets handle answer the card's proactive commands, for all Sessions on the
// card: after a command that ended 91xx it is called with the length that FETCH has to ask
// for, 1 to 256, before Send returns 9000 in its place. What handle itself sends gets 91xx
// as it is. nil ends it. Package card/toolkit has such a handler.
func (s *Session) OnProactive(handle func(ctx context.Context, n int)) { s.link.proactive = handle }

// serveProactive lets the handler do its work, once for each command of a caller.
func (s *Session) serveProactive(ctx context.Context, r apdu.Response) apdu.Response {
	l := s.link
	if r.SW.SW1() != swProactive || l.proactive == nil || l.serving {
		return r
	}
	r.Data = bytes.Clone(r.Data) // the Card's, whose next answer may use it
	l.serving = true
	defer func() { l.serving = false }()
	l.proactive(ctx, waiting(r.SW))
	r.SW = apdu.SWOK
	return r
}

// swProactive is SW1 of success with a proactive command pending (TS 102 221, 7.4.2.1).
const swProactive = 0x91

// Do is Send for commands that have to succeed: it returns the data, and a
// *CommandError for every status word but success. What is about files is sent in class
// A0 to a card that knows no other (IsSIM).
func (s *Session) Do(ctx context.Context, c apdu.Command) ([]byte, error) {
	r, err := s.sendOn(ctx, c)
	if err != nil {
		return nil, err
	}
	if !r.SW.OK() {
		return nil, &CommandError{Command: CommandName(c), SW: r.SW}
	}
	return r.Data, nil
}

// Send sends a command, written for the basic channel, on the Session's channel
// and follows the card until the response is complete: 61xx and 9Fxx by GET
// RESPONSE, 6Cxx by repetition with the right Le, a warning without the data
// that the command asks for by GET RESPONSE. The response has all data and the
// final status word; a status word is no error. Errors are those of the Card,
// ErrResponseLoop, ErrClass, ErrChannelClosed, ErrChannelOwner, ErrSuspended, and
// ErrCommand for a command that cannot be encoded.
func (s *Session) Send(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if err := s.usable(); err != nil {
		return apdu.Response{}, err
	}
	class, err := ClassOn(c.CLA, s.channel)
	if err != nil {
		return apdu.Response{}, err
	}
	c.CLA = class
	switch c.INS {
	case uicc.INSSelect, uicc.INSCreateFile, uicc.INSDeleteFile: // another directory may be current
		s.files.current = ""
	}
	if s.closesAnothers(c) {
		return apdu.Response{}, fmt.Errorf("%w: channel %d; it is for that one to close", ErrChannelOwner, c.P2)
	}
	r, err := s.exchange(ctx, c)
	if err != nil {
		return r, err
	}
	s.noteChannel(c, r)
	return s.serveProactive(ctx, r), nil
}

func (s *Session) usable() error {
	if s.files.forgets != s.link.forgets {
		s.files = selection{forgets: s.link.forgets}
	}
	switch {
	case s.link.suspended:
		return fmt.Errorf("%w: resume or reset it first", ErrSuspended)
	case s.channel == 0:
		s.adoptEpoch()
		return nil
	case s.closed:
		return fmt.Errorf("%w: channel %d", ErrChannelClosed, s.channel)
	case s.epoch != s.link.epoch:
		return fmt.Errorf("%w: channel %d ended with the reset of the card; open a new one", ErrChannelClosed, s.channel)
	}
	return nil
}

// adoptEpoch forgets what was selected before another Session reset the card.
func (s *Session) adoptEpoch() {
	if s.epoch != s.link.epoch {
		s.epoch, s.files = s.link.epoch, selection{forgets: s.link.forgets}
	}
}

// exchange is the one place that follows a card through its procedure status
// words (TS 102 221, 7.3.1.1 and 10.2.1; TS 51.011, 9.4).
func (s *Session) exchange(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	var out apdu.Response
	next := c
	for range s.link.options.Rounds {
		r, err := s.transmit(ctx, next)
		if err != nil {
			return apdu.Response{}, fmt.Errorf("%s: %w", CommandName(c), err)
		}
		ne := waiting(r.SW)
		switch {
		case r.SW.SW1() == 0x6C && next.Case() != 3:
			if ne == next.Ne {
				return apdu.Response{}, fmt.Errorf("%s: %w: it wants %d bytes asked for, and refuses just that", CommandName(c), ErrResponseLoop, ne)
			}
			next.Ne = ne
		case r.SW.SW1() == 0x61, r.SW.SW1() == 0x9F && c.CLA == classGSM:
			out.Data = append(out.Data, r.Data...)
			next = getResponse(c, ne)
		case out.SW == 0 && withholds(c, r):
			out.SW = r.SW
			next = getResponse(c, apdu.MaxShortNe)
		default:
			return finish(out, r), nil
		}
	}
	return apdu.Response{}, fmt.Errorf("%s: %w: still going on after %d commands; reset the card", CommandName(c), ErrResponseLoop, s.link.options.Rounds)
}

// withholds tells that a case 4 command ended in a warning while its data still
// wait, as T=0 has it (TS 102 221, 7.3.1.1.4). 63Cx comes without data.
func withholds(c apdu.Command, r apdu.Response) bool {
	if _, counter := r.SW.Retries(); counter {
		return false
	}
	return c.Case() == 4 && len(r.Data) == 0 && (r.SW.SW1() == 0x62 || r.SW.SW1() == 0x63)
}

// finish puts the last response behind what was collected. After a warning
// that had to be asked for its data the warning is the final status word.
func finish(out, last apdu.Response) apdu.Response {
	if out.SW != 0 && !last.SW.OK() {
		return out // no data behind the warning
	}
	out.Data = append(out.Data, last.Data...)
	if out.SW == 0 {
		out.SW = last.SW
	}
	return out
}

// waiting is the number of bytes in SW2 of 61xx, 6Cxx and 9Fxx, 1 to 256.
func waiting(sw apdu.StatusWord) int {
	if sw.SW2() == 0 {
		return apdu.MaxShortNe
	}
	return int(sw.SW2())
}

// getResponse asks for what waits behind c, on its channel and without secure
// messaging (TS 102 221, 10.1.2, table 10.5).
func getResponse(c apdu.Command, ne int) apdu.Command {
	g := uicc.GetResponse{Ne: ne}.Command()
	if c.CLA == classGSM {
		g.CLA = classGSM
		return g
	}
	channel, _ := ClassChannel(c.CLA)
	g.CLA, g.Err = ClassOn(g.CLA, channel)
	return g
}

// transmit sends one command as it is. The data of the response are the Card's.
func (s *Session) transmit(ctx context.Context, c apdu.Command) (apdu.Response, error) {
	if s.link.options.T0 && c.Case() == 4 && !c.Extended && len(c.Data) <= apdu.MaxShortData {
		c.Ne = 0
	}
	b, err := c.Bytes()
	if err != nil {
		return apdu.Response{}, fmt.Errorf("%w: %w", ErrCommand, err)
	}
	answer, err := s.link.card.Transmit(ctx, b)
	if err != nil {
		return apdu.Response{}, err
	}
	return apdu.ParseResponse(answer)
}
