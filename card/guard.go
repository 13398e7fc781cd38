package card

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/card/model"
)

// Causes of a *RefusalError, with model.ErrUnknown for a card without a model.
var (
	// ErrTriesUnknown: the retry counter cannot be read.
	ErrTriesUnknown = errors.New("retry counter cannot be read")
	// ErrTriesLow: fewer tries are left than the floor.
	ErrTriesLow = errors.New("too few tries left")
	// ErrNotAllowed: the ICCID is not on the list of cards that may be written.
	ErrNotAllowed = errors.New("card is not on the allow list")
	// ErrSize: the data do not fit the file.
	ErrSize = errors.New("data do not fit the file")
	// ErrDryRun: a dry run cannot answer for a command that is not sent.
	ErrDryRun = errors.New("dry run")
	// ErrNoPIN: no PIN was given.
	ErrNoPIN = errors.New("no PIN given")
	// ErrPINState: the PIN is not in the state that the command is for.
	ErrPINState = errors.New("not for a PIN in this state")
)

// RefusalError says that the Guard did not send a command, and nothing was
// spent. errors.Is finds the cause.
type RefusalError struct {
	What  string // the operation, as in "VERIFY PIN 01"
	Why   string // what was found
	Try   string // what to do
	Cause error  // one of those above
}

// Error gives all four.
func (e *RefusalError) Error() string {
	return fmt.Sprintf("refused %s: %v: %s; %s", e.What, e.Cause, e.Why, e.Try)
}

// Unwrap gives the cause.
func (e *RefusalError) Unwrap() error { return e.Cause }

// DefaultFloor is the floor of a Guard that names none: the last try of a PIN
// is never spent.
const DefaultFloor = 2

// GuardConfig is what a Guard goes by.
type GuardConfig struct {
	// ATR is the card's; its model is found by it. A card without a model can be
	// verified a PIN of, where it tells the counter, but not written.
	ATR []byte
	// Allow lists the ICCIDs, as digits, of the cards that may be written.
	Allow []string
	// Spare says that nothing can be lost on the card: it ends with the process, or
	// is a recording. It need not be on the list.
	Spare bool
	// Floor is the least number of tries of a PIN, PUK or ADM that must be left before
	// it is presented. Less than DefaultFloor is taken for it.
	Floor int
	// SpendLastTry is the ICCID, as digits, of the one card for which Floor does not
	// count: its last try may be spent, and a counter that it does not tell is no
	// reason to stop. The Guard reads EF.ICCID itself.
	SpendLastTry string
	// Destroy is the ICCID, as digits, of the one card on which files may be deleted,
	// made smaller or terminated, which cannot be undone. The Guard reads EF.ICCID itself.
	Destroy string
	// Refused remembers the PINs that a card has refused; nil is one of this Guard
	// alone.
	Refused *Refused
	// DryRun records what would be done and sends no command that writes or
	// spends.
	DryRun bool
}

// Step is one command of a plan: what writes or spends.
type Step struct {
	Command string // as in "UPDATE BINARY"
	File    string // empty for a command about a PIN
	Ref     byte   // key reference, of a command about a PIN
	Tries   int    // tries left before it, of the PIN or PUK presented; -1 unknown
	Record  int    // from 1, of UPDATE RECORD
	Offset  int    // bytes, of UPDATE BINARY
	Tag     uint32 // of the data object, of SET DATA
	Length  int    // bytes of data
	Right   string // what the card's access rule asks for, as in "ADM1"
	Proof   string // how it is known that the write arrived
	Context string // of AUTHENTICATE: "3G", "GSM", "GBA" and so on
	// Irreversible says that it cannot be undone.
	Irreversible bool
}

// Guard is the only way in which this program presents a PIN, PUK or ADM, writes a
// card or lets it authenticate:
//
//   - before it presents a code it reads the retry counter, and refuses when that is
//     below the floor or cannot be read, or when the card has refused that code before;
//   - it writes only to cards of a known model with an ICCID on the allow list,
//     which it reads itself, checks that the data fit, and reads back.
//
// What it refuses is a *RefusalError. How much may be spent in all is for who owns
// the Card to bound. It is not safe for concurrent use.
type Guard struct {
	session  *Session
	config   GuardConfig
	model    *model.Model
	modelErr error // why there is no model
	allowed  int   // 1 + the link's state at which the ICCID was found allowed
	kind     kind
	plan     []Step
}

// NewGuard puts a Guard on a Session. It sends nothing.
func NewGuard(s *Session, config GuardConfig) *Guard {
	config.Floor = max(config.Floor, DefaultFloor)
	if config.Refused == nil {
		config.Refused = &Refused{}
	}
	g := &Guard{session: s, config: config}
	g.model, g.modelErr = model.Find(config.ATR)
	return g
}

// DryRun tells whether the Guard sends nothing that writes or spends.
func (g *Guard) DryRun() bool { return g.config.DryRun }

// Model is the card's, nil where none is known.
func (g *Guard) Model() *model.Model { return g.model }

// Plan gives the commands that write or spend, in their order: those that a dry
// run did not send, or those that were sent.
func (g *Guard) Plan() []Step { return slices.Clone(g.plan) }

// MayWrite tells whether the card may be written at all: its model is known, and its
// ICCID, which is read, on the allow list. The errors are those of UpdateBinary.
func (g *Guard) MayWrite(ctx context.Context) error { return g.authorize(ctx, "to write") }

// authorize lets writes pass to an allowed card of a known model only.
func (g *Guard) authorize(ctx context.Context, what string) error {
	if g.model == nil {
		return &RefusalError{what, g.modelErr.Error(), "add a model for this card (package card/model)", model.ErrUnknown}
	}
	return g.listed(ctx, what)
}

// listed lets pass what is done to a spare card or to one on the allow list. The ICCID
// is read once for each reset of the card.
func (g *Guard) listed(ctx context.Context, what string) error {
	epoch := g.session.link.state() + 1
	if g.allowed == epoch {
		return nil
	}
	iccid, err := g.session.ICCID(ctx)
	if err != nil {
		return fmt.Errorf("cannot tell which card this is: %w", err)
	}
	if !g.config.Spare && !slices.Contains(g.config.Allow, iccid) {
		return &RefusalError{what, "its ICCID is " + iccid, "add it with --allow " + iccid + " if this card may be changed", ErrNotAllowed}
	}
	g.allowed = epoch
	return nil
}
