package emul

import (
	"fmt"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

const (
	// maxQueue is the most proactive commands that wait; more are dropped.
	maxQueue = 64
	// maxProactive is the longest command, in bytes: what FETCH gives.
	maxProactive = apdu.MaxShortNe
)

// toolkit is the proactive state of a card, which a reset clears (TS 102 221, 7.4.2).
type toolkit struct {
	on      bool        // the card is a proactive one
	profile cat.Profile // nil: no TERMINAL PROFILE yet, and the card keeps quiet
	queue   [][]byte
	fetched bool // the first of the queue was fetched and waits for its TERMINAL RESPONSE
}

// Queue lets the card ask for commands, behind those that wait. They are gone with the
// next reset, and wait until the terminal has sent its profile. ErrValue of package cat
// for one that cannot be encoded, or is longer than FETCH can give.
func (c *Card) Queue(commands ...cat.Proactive) error {
	for _, p := range commands {
		b, err := p.Bytes()
		switch {
		case err != nil:
			return err
		case len(b) > maxProactive:
			return fmt.Errorf("%w: a proactive command of %d bytes, FETCH gives %d", cat.ErrValue, len(b), maxProactive)
		}
		c.toolkit.on = true
		c.enqueue(b)
	}
	return nil
}

func (c *Card) enqueue(command []byte) {
	if len(c.toolkit.queue) < maxQueue {
		c.toolkit.queue = append(c.toolkit.queue, command)
	}
}

// resetToolkit is the state after a reset.
func (c *Card) resetToolkit() {
	c.toolkit = toolkit{on: c.toolkit.on || c.layout.Toolkit != nil}
}

// proactive reports whether a proactive session is under way: a command waits for FETCH or
// for its TERMINAL RESPONSE.
func (c *Card) proactive() bool { return c.toolkit.profile != nil && len(c.toolkit.queue) > 0 }

// announce turns 9000 into 91xx where a command waits (TS 102 221, 7.4.2.1).
func (c *Card) announce(cmd *apdu.Command, sw apdu.StatusWord) apdu.StatusWord {
	quiet := !c.proactive() || c.toolkit.fetched || cmd.CLA == classGSM || cmd.INS == cat.INSFetch ||
		cmd.INS == uicc.INSTransactData // the answer inside tells
	if sw != apdu.SWOK || quiet {
		return sw
	}
	return 0x9100 | apdu.StatusWord(byte(len(c.toolkit.queue[0])))
}

// toolkitCommand finds the commands of a proactive card, all of class 80; nil for others.
func (c *Card) toolkitCommand(cla, ins byte) handler {
	if !c.toolkit.on || cla != 0x80 {
		return nil
	}
	switch ins {
	case cat.INSTerminalProfile:
		return (*Card).terminalProfile
	case cat.INSFetch:
		return (*Card).fetch
	case cat.INSTerminalResponse:
		return (*Card).terminalResponse
	case cat.INSEnvelope:
		return (*Card).envelope
	}
	return nil
}

// terminalProfile is TERMINAL PROFILE (TS 102 221, 11.2.1).
func (c *Card) terminalProfile(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) == 0:
		return apdu.SWWrongLength
	}
	first := c.toolkit.profile == nil
	c.toolkit.profile = append(cat.Profile{}, cmd.Data...)
	if first {
		c.occasion(model.OnStart)
	}
	return apdu.SWOK
}

// fetch is FETCH (TS 102 221, 11.2.3). A command that was fetched and not answered may be
// fetched again.
func (c *Card) fetch(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case len(cmd.Data) != 0:
		return apdu.SWWrongLength
	case !c.proactive():
		return apdu.SWConditionsNotSatisfied
	}
	sw := c.reply2(cmd, c.toolkit.queue[0])
	c.toolkit.fetched = c.toolkit.fetched || sw == apdu.SWOK
	return sw
}

// terminalResponse is TERMINAL RESPONSE (TS 102 221, 11.2.4): to the command that was
// fetched, with its command details.
func (c *Card) terminalResponse(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	switch {
	case cmd.P1 != 0 || cmd.P2 != 0:
		return apdu.SWIncorrectP1P2
	case !c.proactive() || !c.toolkit.fetched:
		return apdu.SWConditionsNotSatisfied
	}
	r, err := cat.DecodeResponse(cmd.Data)
	if err != nil {
		return apdu.SWWrongData
	}
	asked, err := cat.DecodeProactive(c.toolkit.queue[0])
	if err == nil && r.Details() != asked.Details() {
		return apdu.SWWrongData
	}
	c.toolkit.queue, c.toolkit.fetched = c.toolkit.queue[1:], false
	const performed = 0x20 // results below it (TS 102 223, 8.12)
	if r.Result().General < performed {
		c.occasion(asked.Details().Type.String())
	}
	return apdu.SWOK
}

// envelope is ENVELOPE (TS 102 221, 11.2.2). While a command waits for its TERMINAL
// RESPONSE the toolkit is busy.
func (c *Card) envelope(_ *channel, cmd *apdu.Command) apdu.StatusWord {
	if cmd.P1 != 0 || cmd.P2 != 0 {
		return apdu.SWIncorrectP1P2
	}
	e, err := cat.DecodeEnvelope(cmd.Data)
	switch {
	case err != nil:
		return apdu.SWWrongData
	case c.toolkit.profile == nil:
		return apdu.SWConditionsNotSatisfied
	case c.toolkit.fetched:
		return apdu.SWToolkitBusy
	}
	name := e.Kind.String()
	if event, ok := e.Event(); ok {
		name = event.String()
	}
	c.occasion(name)
	return apdu.SWOK
}

// occasion lets the card ask for what its toolkit has for the occasion.
func (c *Card) occasion(name string) {
	if c.layout.Toolkit == nil {
		return
	}
	for _, t := range c.layout.Toolkit.Commands {
		if t.On != name {
			continue
		}
		if b, err := t.Command.Bytes(); err == nil { // checked when the layout was read
			c.enqueue(b)
		}
	}
}

// fileChanged asks for REFRESH where a file changed that only ADM may update.
func (c *Card) fileChanged(f *file) {
	t := c.layout.Toolkit
	if t == nil || !t.RefreshOnChange || !c.toolkit.profile.Has("REFRESH") {
		return
	}
	adm := c.model.ADM.Reference
	if c.allowed(f.access, uicc.AccessUpdate, func(ref byte) bool { return ref != adm }) {
		return
	}
	list := cat.FileList{Files: []cat.Path{pathOf(c.mf, f)}}
	details := cat.CommandDetails{Number: 1, Type: cat.TypeRefresh, Qualifier: byte(cat.RefreshFiles)}
	b, err := cat.NewProactive(details, cat.DeviceTerminal, &list).Bytes()
	if err != nil || len(list.Files[0]) == 0 {
		return
	}
	for i, waiting := range c.toolkit.queue {
		if string(waiting) == string(b) && (i > 0 || !c.toolkit.fetched) {
			return
		}
	}
	c.enqueue(b)
}

// pathOf is the path of a file from the MF, where 7FFF stands for the directory of an
// application; nil where the file is not below d.
func pathOf(d *dir, f *file) cat.Path {
	fid := d.fid
	if d.aid != nil {
		fid = uicc.FIDCurrentADF
	}
	if d.file(f.fid) == f {
		return cat.Path{fid, f.fid}
	}
	for _, child := range d.dirs {
		if p := pathOf(child, f); p != nil {
			return append(cat.Path{fid}, p...)
		}
	}
	return nil
}
