package emul

import (
	"encoding/hex"
	"fmt"

	"mcim/apdu/secret"
	"mcim/card/model"
	"mcim/card/securechannel"
)

// channel takes the key of the secure channel.
func (d *document) channel(p *Profile) error {
	if d.ChannelKey == nil {
		return nil
	}
	b, err := hex.DecodeString(*d.ChannelKey)
	if err != nil || len(b) == 0 {
		return &ProfileError{Field: "channel_key", Reason: "want 32 or 64 hexadecimal digits without spaces"}
	}
	p.ChannelKey = secret.New(b)
	return nil
}

// checkChannel looks at the key of the secure channel, which some cards insist on.
func (p *Profile) checkChannel(l *model.Card) error {
	switch {
	case p.ChannelKey.Len() == 0 && l.SecureChannel == model.SecureRequired:
		return &ProfileError{Field: "channel_key", Reason: "missing: the card asks for a secure channel"}
	case p.ChannelKey.Len() == 0 && p.ChannelLimit != 0:
		return &ProfileError{Field: "channel_limit", Reason: "there is no channel_key that it could be for"}
	case p.ChannelKey.Len() != 0 && l.SIM():
		return &ProfileError{Field: "channel_key", Reason: "the card " + l.Name + " knows no secure channel"}
	case p.ChannelLimit < 0 || p.ChannelLimit > defaultChannelLimit:
		return &ProfileError{Field: "channel_limit", Reason: fmt.Sprintf("want 1 to %d, or leave it out", defaultChannelLimit)}
	case p.ChannelKey.Len() == 0:
		return nil
	}
	if securechannel.CheckKey(p.ChannelKey) != nil {
		return &ProfileError{Field: "channel_key", Reason: "want 16 or 32 bytes"}
	}
	return nil
}
