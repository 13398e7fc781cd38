package trace

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Exchange is a command and its response, without secrets.
type Exchange struct {
	Time       time.Time
	Command    []byte
	Response   []byte // empty where none came, then Err says why
	Duration   time.Duration
	InCommand  []Range // what was taken out of Command
	InResponse []Range // and of Response
	// Secrets are what was taken out of Command, one for each range, for a sink
	// that keeps their hashes. A recording that was read has none.
	Secrets []secret.Bytes
	Err     error
}

// Reset is a cold reset of a card.
type Reset struct {
	Time     time.Time
	ATR      []byte // empty where none came, then Err says why
	Duration time.Duration
	Err      error
}

// Sink takes exchanges. Writer and Pcap are sinks.
type Sink interface {
	WriteAPDU(Exchange) error
}

// ResetSink is a Sink that takes resets, too. Writer is one.
type ResetSink interface {
	WriteReset(Reset) error
}

// Options say what a Tap takes out. The zero value takes out what the standard
// says is secret.
type Options struct {
	// Redactor has values to take out wherever they occur; nil for none.
	Redactor *Redactor
	// Sensitive are the identifiers of the files with keys (AF20 and AF30 on cards
	// of the model "usim"): what is written to and read from them is taken out.
	// One with an SFI has to have that of its identifier.
	Sensitive []uint16
	// KeepTestKeys leaves the keys in the answers: for a recording of a test card
	// that has to answer AUTHENTICATE when it is replayed. What Redactor has is
	// taken out all the same.
	KeepTestKeys bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Tap gives a card that does what c does and tells the sinks of each exchange.
// Their errors are not the card's, which goes on: ask Writer.Err and Pcap.Err at
// the end.
func Tap(c card.Card, o Options, sinks ...Sink) card.Card {
	if o.Redactor == nil {
		o.Redactor = &Redactor{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &tap{card: c, o: o, rules: newRules(o.Sensitive), sinks: sinks}
}

type tap struct {
	card  card.Card
	o     Options
	rules *rules
	sinks []Sink
}

// Transmit implements card.Card.
func (t *tap) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	start := t.o.Now()
	response, err := t.card.Transmit(ctx, command)
	e := Exchange{Time: start, Duration: t.o.Now().Sub(start), Err: err}
	inCommand, inResponse := t.rules.apply(command, response)
	if t.o.KeepTestKeys {
		inResponse = nil
	}
	e.InCommand = merge(append(inCommand, t.o.Redactor.Ranges(command)...))
	for _, r := range e.InCommand {
		e.Secrets = append(e.Secrets, secret.New(command[r.From:r.To]))
	}
	e.InResponse = merge(append(inResponse, t.o.Redactor.Ranges(response)...))
	e.Command, e.Response = redacted(command, e.InCommand), redacted(response, e.InResponse)
	for _, s := range t.sinks {
		_ = s.WriteAPDU(e) // see Tap
	}
	return response, err
}

// Reset implements card.Card.
func (t *tap) Reset(ctx context.Context) ([]byte, error) {
	t.rules.reset()
	start := t.o.Now()
	atr, err := t.card.Reset(ctx)
	r := Reset{Time: start, ATR: bytes.Clone(atr), Duration: t.o.Now().Sub(start), Err: err}
	for _, s := range t.sinks {
		if taking, ok := s.(ResetSink); ok {
			_ = taking.WriteReset(r) // see Tap
		}
	}
	return atr, err
}

// Close implements card.Card.
func (t *tap) Close() error { return t.card.Close() }

// name is what a command is called, with the file where it selects one.
func name(command []byte) string {
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return "malformed command"
	}
	if c.INS == uicc.INSSelect {
		return fmt.Sprintf("%s %X", card.CommandName(c), c.Data)
	}
	return card.CommandName(c)
}
