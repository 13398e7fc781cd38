package card

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// Errors of logical channels.
var (
	// ErrChannelNumber says that the card opened a channel which cannot be.
	ErrChannelNumber = errors.New("card opened an impossible logical channel")
	// ErrChannelOwner says that the channel belongs to another Session.
	ErrChannelOwner = errors.New("logical channel of another session")
)

// OpenChannel opens a logical channel that the card chooses (TS 102 221,
// 11.1.17) and gives a Session on it. A card without a free one answers 6881 or
// 6A81, as a *CommandError.
func (s *Session) OpenChannel(ctx context.Context) (*Session, error) {
	epoch := s.link.epoch
	data, err := s.Do(ctx, uicc.ManageChannel{}.Command())
	if err != nil {
		return nil, err
	}
	if len(data) != 1 || data[0] == 0 || data[0] > MaxChannel {
		return nil, fmt.Errorf("%w: the number is %X, want one byte of 1 to %d", ErrChannelNumber, data, MaxChannel)
	}
	return s.on(int(data[0]), epoch), nil
}

// OpenNamedChannel opens the logical channel n, 1 to 19. A card that has no such
// channel answers 6A86 or 6881, one on which it is open already 6985, as a
// *CommandError.
func (s *Session) OpenNamedChannel(ctx context.Context, n int) (*Session, error) {
	if n < 1 || n > MaxChannel {
		return nil, fmt.Errorf("%w: %d, want 1 to %d", ErrChannelNumber, n, MaxChannel)
	}
	epoch := s.link.epoch
	if _, err := s.Do(ctx, uicc.ManageChannel{Channel: byte(n)}.Command()); err != nil {
		return nil, err
	}
	return s.on(n, epoch), nil
}

// on is the Session on a channel that was just opened, which belongs to it. A reset since
// epoch has closed it already.
func (s *Session) on(n, epoch int) *Session {
	other := &Session{link: s.link, channel: n, epoch: epoch}
	if epoch == s.link.epoch {
		s.link.open[n] = other
	}
	return other
}

// CloseChannel closes the Session's channel. It does nothing on a channel that
// is closed already; the basic channel is never closed.
func (s *Session) CloseChannel(ctx context.Context) error {
	if err := s.usable(); s.channel == 0 || errors.Is(err, ErrChannelClosed) {
		return nil
	} else if err != nil {
		return err
	}
	c := uicc.ManageChannel{Close: true, Channel: byte(s.channel)}.Command()
	r, err := s.exchange(ctx, c) // on the basic channel
	switch {
	case err != nil:
		return err
	case !r.SW.OK():
		return &CommandError{Command: CommandName(c), SW: r.SW}
	}
	s.closed = true
	delete(s.link.open, s.channel)
	return nil
}

// Leaks gives the logical channels, in their order, that Sessions of this card have
// opened since its last reset and not closed. A card has few, and nobody else can
// close them: there should be none when one is done.
func (s *Session) Leaks() []int { return slices.Sorted(maps.Keys(s.link.open)) }

// closesAnothers tells that a command closes a channel that another Session has.
func (s *Session) closesAnothers(c apdu.Command) bool {
	if c.INS != uicc.INSManageChannel || c.P1 != p1CloseChannel {
		return false
	}
	owner, open := s.link.open[int(c.P2)]
	return open && owner != s
}

// P1 of MANAGE CHANNEL (TS 102 221, 11.1.17.2).
const (
	p1OpenChannel  = 0x00
	p1CloseChannel = 0x80
)

// noteChannel keeps the list of open channels after a command that the caller wrote
// himself.
func (s *Session) noteChannel(c apdu.Command, r apdu.Response) {
	if c.INS != uicc.INSManageChannel || !r.SW.OK() {
		return
	}
	switch n := int(c.P2); {
	case c.P1 == p1CloseChannel:
		delete(s.link.open, n)
	case c.P1 == p1OpenChannel && n != 0:
		s.link.open[n] = s
	case c.P1 == p1OpenChannel && len(r.Data) == 1 && r.Data[0] != 0:
		s.link.open[int(r.Data[0])] = s
	}
}
