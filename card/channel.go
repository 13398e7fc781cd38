package card

import (
	"context"
	"errors"
	"fmt"

	"mcim/apdu/uicc"
)

// ErrChannelNumber says that the card opened a channel which cannot be.
var ErrChannelNumber = errors.New("card opened an impossible logical channel")

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
	return &Session{link: s.link, channel: int(data[0]), epoch: epoch}, nil
}

// CloseChannel closes the Session's channel. It does nothing on a channel that
// is closed already; the basic channel is never closed.
func (s *Session) CloseChannel(ctx context.Context) error {
	if s.channel == 0 || s.usable() != nil {
		return nil
	}
	s.closed = true
	basic := &Session{link: s.link, epoch: s.epoch}
	_, err := basic.Do(ctx, uicc.ManageChannel{Close: true, Channel: byte(s.channel)}.Command())
	return err
}
