package cardtest

import (
	"errors"
	"slices"
	"testing"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
)

// channelCases are the cases about logical channels up to 19.
func (s suite) channelCases() []suiteCase {
	channels := !s.facts.NoChannels
	return []suiteCase{
		{"all channels have a selection of their own", channels, s.allChannels},
		{"a channel is closed by its session", channels, s.ownsChannel},
		{"a channel is opened by its number", channels, s.namedChannel},
	}
}

// closeAll closes the channels, and wants none to be left.
func closeAll(t *testing.T, basic *card.Session, open []*card.Session) {
	t.Helper()
	for _, o := range open {
		if err := o.CloseChannel(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if left := basic.Leaks(); len(left) > 0 {
		t.Errorf("channels %d are open", left)
	}
}

func (s suite) allChannels(t *testing.T) {
	ctx, basic := t.Context(), s.session(t)
	var open []*card.Session
	var numbers []int
	for range card.MaxChannel {
		other, err := basic.OpenChannel(ctx)
		if isStatusWord(err) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		open, numbers = append(open, other), append(numbers, other.Channel())
	}
	slices.Sort(numbers)
	if !slices.Equal(basic.Leaks(), numbers) || s.facts.Channels != 0 && len(open) != s.facts.Channels-1 {
		t.Errorf("%d were opened, the open ones are %d", numbers, basic.Leaks())
	}
	files := []card.File{card.InMF(uicc.FIDEFICCID), card.InMF(uicc.FIDEFDIR), card.InMF(), card.InApp(s.facts.App)}
	for i, o := range open {
		if _, err := o.Select(ctx, files[i%len(files)]); err != nil {
			t.Errorf("channel %d: %v", o.Channel(), err)
		}
	}
	for i, o := range open {
		_, err := o.Do(ctx, uicc.ReadBinary{Ne: 1}.Command())
		if transparent := i%len(files) == 0; (err == nil) != transparent {
			t.Errorf("channel %d, where %s is selected: %v", o.Channel(), files[i%len(files)], err)
		}
	}
	closeAll(t, basic, open)
	if len(open) == 0 {
		t.Fatal("the card has no channel but the basic one")
	}
	if _, err := open[0].Select(ctx, card.InMF()); !errors.Is(err, card.ErrChannelClosed) {
		t.Errorf("a closed channel: %v", err)
	}
}

func (s suite) ownsChannel(t *testing.T) {
	ctx, basic := t.Context(), s.session(t)
	other, err := basic.OpenChannel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	closing := uicc.ManageChannel{Close: true, Channel: byte(other.Channel())}.Command()
	if _, err := basic.Send(ctx, closing); !errors.Is(err, card.ErrChannelOwner) {
		t.Errorf("closed by another session: %v", err)
	}
	if _, err := other.Select(ctx, card.InMF()); err != nil {
		t.Error(err)
	}
	closeAll(t, basic, []*card.Session{other})
	if _, err := basic.Do(ctx, apdu.Command{INS: uicc.INSManageChannel, P1: 0x80}); !isStatusWord(err) {
		t.Errorf("the basic channel was closed: %v", err)
	}
	if _, err := basic.Select(ctx, card.InMF()); err != nil {
		t.Error(err)
	}
}

func (s suite) namedChannel(t *testing.T) {
	ctx, basic := t.Context(), s.session(t)
	n := max(s.facts.Channels, 2) - 1
	other, err := basic.OpenNamedChannel(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	if other.Channel() != n {
		t.Errorf("channel %d, want %d", other.Channel(), n)
	}
	if _, err := other.Select(ctx, card.InApp(s.facts.App)); err != nil {
		t.Error(err)
	}
	if _, err := basic.OpenNamedChannel(ctx, n); !isStatusWord(err) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := basic.OpenNamedChannel(ctx, card.MaxChannel+1); !errors.Is(err, card.ErrChannelNumber) {
		t.Errorf("channel 20: %v", err)
	}
	closeAll(t, basic, []*card.Session{other})
}
