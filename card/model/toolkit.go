package model

import (
	"encoding/json"
	"fmt"

	"mcim/apdu/cat"
)

// Toolkit is the toolkit application of a card: what it asks of the terminal, and when.
type Toolkit struct {
	// RefreshOnChange: a file that only ADM may update and that was updated is followed by
	// REFRESH with its path, if the terminal's profile has REFRESH.
	RefreshOnChange bool
	Commands        []ToolkitCommand
}

// OnStart is the occasion of what a card asks for once it has the terminal profile.
const OnStart = "start"

// ToolkitCommand is a proactive command on an occasion.
type ToolkitCommand struct {
	// On is OnStart, the name of an event (cat.Event) or of another envelope
	// (cat.EnvelopeKind) that the terminal sends, or a type of command (cat.Type) that the
	// terminal says to have performed.
	On      string
	Command cat.Proactive
}

// toolkitDocument is the toolkit of a card in its file.
type toolkitDocument struct {
	RefreshOnChange bool `toml:"refresh_on_change"`
	Command         []commandDocument
}

// commandDocument is a proactive command: as hex, or by named fields.
type commandDocument struct {
	On        string
	Hex       hexBytes
	Type      string
	Qualifier uint8
	To        string // device; "" is the terminal
	Objects   []any
}

// setToolkit takes the toolkit; without one it is that of the card that is extended.
func (d *cardDocument) setToolkit(c *Card) *mistake {
	if d.Toolkit == nil {
		return nil
	}
	t, err := d.Toolkit.toolkit()
	if err != nil {
		return &mistake{"toolkit", 0, "toolkit: " + err.Error()}
	}
	c.Toolkit = t
	return nil
}

// toolkit gives the toolkit.
func (d *toolkitDocument) toolkit() (*Toolkit, error) {
	t := &Toolkit{RefreshOnChange: d.RefreshOnChange}
	for i, c := range d.Command {
		p, err := c.command(i)
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", i+1, err)
		}
		if !isOccasion(c.On) {
			return nil, fmt.Errorf("command %d: on %q, want start, an event, an envelope or a type of command", i+1, c.On)
		}
		t.Commands = append(t.Commands, ToolkitCommand{c.On, p})
	}
	return t, nil
}

func isOccasion(name string) bool {
	var event cat.Event
	var kind cat.EnvelopeKind
	var command cat.Type
	text := []byte(name)
	return name == OnStart || event.UnmarshalText(text) == nil || kind.UnmarshalText(text) == nil || command.UnmarshalText(text) == nil
}

// maxProactive is the longest proactive command that FETCH gives, in bytes.
const maxProactive = 256

func (c *commandDocument) command(i int) (cat.Proactive, error) {
	p, err := c.decode(i)
	if err != nil {
		return p, err
	}
	b, err := p.Bytes()
	if err == nil && len(b) > maxProactive {
		err = fmt.Errorf("a proactive command of %d bytes, FETCH gives %d", len(b), maxProactive)
	}
	return p, err
}

func (c *commandDocument) decode(i int) (cat.Proactive, error) {
	if c.Hex != nil {
		if c.Type != "" || c.Qualifier != 0 || c.To != "" || c.Objects != nil {
			return cat.Proactive{}, fmt.Errorf("hex is the whole command: leave out type, qualifier, to and objects")
		}
		return cat.DecodeProactive(c.Hex)
	}
	details := cat.CommandDetails{Number: uint8(i%254 + 1), Qualifier: c.Qualifier}
	if err := details.Type.UnmarshalText([]byte(c.Type)); err != nil {
		return cat.Proactive{}, fmt.Errorf("type: %w", err)
	}
	to := cat.DeviceTerminal
	if c.To != "" {
		if err := to.UnmarshalText([]byte(c.To)); err != nil {
			return cat.Proactive{}, fmt.Errorf("to: %w", err)
		}
	}
	doc, err := json.Marshal(c.Objects)
	if err != nil {
		return cat.Proactive{}, err
	}
	var objects cat.Objects
	if err := json.Unmarshal(doc, &objects); err != nil {
		return cat.Proactive{}, err
	}
	p := cat.NewProactive(details, to)
	p.Objects = append(p.Objects, objects...)
	return p, nil
}
