package card

import (
	"context"
	"errors"
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// ErrNoRule is the cause of a *RefusalError: the Guard has no rule by which the
// command could be sent without harm.
var ErrNoRule = errors.New("no rule says what the command may spend")

// effect is what a command does to a card.
type effect int

const (
	effectUnknown effect = iota
	effectReads          // neither writes nor spends
	effectWrites         // writes, or spends what is no try
	effectTries          // may cost a try of a PIN
	effectPUK            // may cost a try of a PUK
)

// effects of the commands by class and instruction: for 0 the interindustry
// classes and A0, for 0x80 the others of TS 102 221, 10.1.1. What is in neither
// is not known, what ends a file or the card for ever (TERMINATE) included.
var effects = map[byte]map[byte]effect{
	0x00: {
		uicc.INSSelect: effectReads, uicc.INSReadBinary: effectReads, uicc.INSReadRecord: effectReads, uicc.INSGetResponse: effectReads,
		uicc.INSStatus: effectReads, uicc.INSManageChannel: effectReads,
		0x12: effectReads, // FETCH, of class A0
		0x84: effectReads, // GET CHALLENGE
		0xA2: effectReads, // SEARCH RECORD
		0xB1: effectReads, // READ BINARY and
		0xB3: effectReads, // READ RECORD with a data object for the offset

		uicc.INSVerify:     effectTries,
		uicc.INSChangePIN:  effectTries,
		uicc.INSDisablePIN: effectTries,
		uicc.INSEnablePIN:  effectTries,

		uicc.INSUnblockPIN: effectPUK,

		uicc.INSUpdateBinary: effectWrites, uicc.INSUpdateRecord: effectWrites, uicc.INSAuthenticate: effectWrites,
		0x04: effectWrites, // DEACTIVATE FILE
		0x10: effectWrites, // TERMINAL PROFILE, of class A0
		0x14: effectWrites, // TERMINAL RESPONSE, of class A0
		0x32: effectWrites, // INCREASE, of class A0
		0x44: effectWrites, // ACTIVATE FILE
		0x89: effectWrites, // AUTHENTICATE with a data object
		0xC2: effectWrites, // ENVELOPE, of class A0
		0xD7: effectWrites, // UPDATE BINARY and
		0xDD: effectWrites, // UPDATE RECORD with a data object for the offset
		0xE0: effectWrites, // CREATE FILE
		0xE4: effectWrites, // DELETE FILE
	},
	0x80: {
		uicc.INSStatus: effectReads,
		0x12:           effectReads, // FETCH
		0x78:           effectReads, // GET IDENTITY
		0xAA:           effectReads, // TERMINAL CAPABILITY
		0xCA:           effectReads, // GET DATA
		0xCB:           effectReads, // RETRIEVE DATA

		0x10: effectWrites, // TERMINAL PROFILE
		0x14: effectWrites, // TERMINAL RESPONSE
		0x32: effectWrites, // INCREASE
		0x76: effectWrites, // SUSPEND UICC
		0xC2: effectWrites, // ENVELOPE
		0xD4: effectWrites, // RESIZE FILE
		0xDB: effectWrites, // SET DATA
	},
}

// effectOf judges a command by its header. A question for a counter, without data,
// reads.
func effectOf(command []byte) effect {
	class := command[0] & 0x80
	if command[0] == classGSM {
		class = 0
	}
	e := effects[class][command[1]]
	question := len(command) == 4 || len(command) == 5 && command[4] == 0
	if (e == effectTries || e == effectPUK) && question {
		return effectReads
	}
	return e
}

// Spends tells whether a command writes to a card, spends something, or is not
// known to do neither. What is too short for a command does not reach a card.
func Spends(command []byte) bool { return len(command) >= 4 && effectOf(command) != effectReads }

// PrepareRaw refuses what Raw would refuse among commands, before the first of
// them is sent: the errors are those of Raw, but for the tries. Where the Guard
// had to find out which card this is, the MF is selected again.
func (g *Guard) PrepareRaw(ctx context.Context, commands ...[]byte) error {
	asked := false
	for _, c := range commands {
		if !Spends(c) {
			continue
		}
		if err := g.mayRaw(ctx, c); err != nil {
			return err
		}
		asked = true
	}
	if !asked {
		return nil
	}
	_, err := g.session.Do(ctx, uicc.SelectFID(uicc.FIDMF).Command())
	return err
}

// Raw sends a command as it is and gives the answer as it comes. One that writes or
// spends goes to cards only that may be written; one that carries a PIN or PUK
// needs a counter that is told, and not below the floor. Errors are *RefusalError,
// with ErrNoRule for a command that the Guard does not know, and those of the card.
func (g *Guard) Raw(ctx context.Context, command []byte) ([]byte, error) {
	if len(command) < 4 {
		return nil, fmt.Errorf("%w: %d bytes, a command has at least 4", ErrCommand, len(command))
	}
	if Spends(command) {
		if err := g.mayRaw(ctx, command); err != nil {
			return nil, err
		}
		if err := g.triesForRaw(ctx, command); err != nil {
			return nil, err
		}
		g.plan = append(g.plan, Step{Command: rawName(command), Length: len(command)})
	}
	g.session.files.current = ""
	return g.session.link.card.Transmit(ctx, command)
}

func rawName(command []byte) string {
	return CommandName(apdu.Command{CLA: command[0], INS: command[1]})
}

// mayRaw lets a command pass that the Guard has a rule for, to an allowed card.
func (g *Guard) mayRaw(ctx context.Context, command []byte) error {
	what := rawName(command)
	if effectOf(command) == effectUnknown {
		return &RefusalError{what, fmt.Sprintf("class %02X, instruction %02X", command[0], command[1]),
			"send it with a tool that knows the card, if you know what it does", ErrNoRule}
	}
	if g.config.DryRun {
		return &RefusalError{what, "nothing was sent", "run it without --dry-run", ErrDryRun}
	}
	return g.authorize(ctx, what)
}

// onOtherChannel tells a class of a logical channel that is not the Session's.
func (g *Guard) onOtherChannel(class byte) bool {
	channel, named := ClassChannel(class)
	return named && channel != g.session.channel
}

// triesForRaw holds a command that carries a PIN or PUK to the floor.
func (g *Guard) triesForRaw(ctx context.Context, command []byte) error {
	ref := command[3]
	if command[0] == classGSM && ref == 0x02 { // CHV2 (TS 51.011, 9.3)
		ref = uicc.RefPIN2
	}
	var tries int
	var err error
	what := fmt.Sprintf("%s %02X", rawName(command), ref)
	if e := effectOf(command); (e == effectTries || e == effectPUK) && g.onOtherChannel(command[0]) && isLocal(ref) {
		return unknownTries(what, "the key is that of the application on another logical channel")
	}
	switch effectOf(command) {
	case effectTries:
		tries, err = g.Tries(ctx, ref)
	case effectPUK:
		if command[0] == classGSM && ref == 0x00 { // UNBLOCK CHV1
			ref = uicc.RefPIN1
		}
		tries, err = g.pukTries(ctx, what, ref)
	default:
		return nil
	}
	switch {
	case err != nil:
		return err
	case tries < g.config.Floor:
		return &RefusalError{what, fmt.Sprintf("%d tries left, the floor is %d", tries, g.config.Floor),
			"make sure of the PIN or PUK, and use a tool that may spend it", ErrTriesLow}
	}
	return nil
}
