package securechannel

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Errors of a Channel, beside ErrTampered, ErrReplayed and ErrKeyLength.
var (
	// ErrNoChannel: the card has no endpoint for a secure channel of this kind.
	ErrNoChannel = errors.New("the card offers no secure channel")
	// ErrKey: the card does not have the key, or what answers is not the card.
	ErrKey = errors.New("the card does not know the key of the secure channel")
	// ErrExpired: the card does not have the connection any more: it was used up,
	// terminated, or reset away.
	ErrExpired = errors.New("the secure channel is over")
	// ErrRefused: the card took a message for a changed or repeated one.
	ErrRefused = errors.New("the card refused a message of the secure channel")
	// ErrBroken: an earlier failure ended the channel. Reset opens it anew.
	ErrBroken = errors.New("the secure channel is broken")
)

// Options are the settings of a Channel; the zero value is right for most.
type Options struct {
	// Rand gives the terminal's nonces; nil is crypto/rand. A seeded one makes a channel
	// that can be repeated.
	Rand io.Reader
	// Terminal is the terminal's name for the key, 1 to 64 bytes; nil is "mcim".
	Terminal []byte
}

// Channel is a card.Card behind a secure channel. It serves one caller at a time.
type Channel struct {
	under      card.Card
	key        secret.Bytes
	o          Options
	master     *Master
	connection *Connection
	container  int // bytes
	session    byte
	broken     error
	closed     bool
}

// Open opens a secure channel on a card, which stays the channel's until Close. The card
// has to be on: it is not reset. Errors are those of the card, ErrKeyLength, ErrNoChannel,
// ErrKey, ErrRefused (the card found that the key is another), and uicc.ErrSecureChannel for
// answers that are none. The card is still the caller's then.
func Open(ctx context.Context, c card.Card, key secret.Bytes, o Options) (*Channel, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Terminal == nil {
		o.Terminal = []byte("mcim")
	}
	ch := &Channel{under: c, key: key, o: o}
	if err := ch.establish(ctx); err != nil {
		return nil, fmt.Errorf("open a secure channel: %w", err)
	}
	return ch, nil
}

// establish runs the procedures of MANAGE SECURE CHANNEL, in the order of TS 102 484.
func (c *Channel) establish(ctx context.Context) error {
	endpoints, endpoint, err := c.endpoint(ctx)
	if err != nil {
		return err
	}
	if err := c.establishMaster(ctx, endpoints, endpoint); err != nil {
		return err
	}
	if err := c.establishConnection(ctx); err != nil {
		return err
	}
	return c.start(ctx, endpoint)
}

// endpoint finds the platform's.
func (c *Channel) endpoint(ctx context.Context) (e uicc.SecureEndpoints, p uicc.SecureEndpoint, err error) {
	b, err := c.manage(ctx, uicc.RetrieveEndpoints, nil, true)
	if errors.Is(err, apdu.ErrUnsupported) {
		return e, p, fmt.Errorf("%w: %w", ErrNoChannel, err)
	}
	if err == nil {
		e, err = uicc.ParseSecureEndpoints(b)
	}
	if err != nil {
		return e, p, err
	}
	for _, p := range e.Endpoints {
		if p.Type == uicc.EndpointPlatform && p.Transports&uicc.TransportAPDU != 0 && p.Channels&uicc.ChannelAPDU != 0 &&
			p.Agreements&uicc.AgreementPreshared != 0 && p.MaxContainer > 0 {
			return e, p, nil
		}
	}
	return e, p, fmt.Errorf("%w: none of its %d endpoints is the platform's, by APDU and with pre-shared keys", ErrNoChannel, len(e.Endpoints))
}

func (c *Channel) establishMaster(ctx context.Context, e uicc.SecureEndpoints, p uicc.SecureEndpoint) error {
	request := uicc.MasterRequest{
		Terminal: c.o.Terminal, TerminalApp: []byte("card/securechannel"), ICCID: e.ICCID, UICCApp: p.Identifier,
		Agreements: uicc.AgreementPreshared,
	}
	b, err := c.manage(ctx, uicc.EstablishMasterSA, request.Bytes(), true)
	if err != nil {
		return err
	}
	answer, err := uicc.ParseMasterAnswer(b)
	switch {
	case err != nil:
		return err
	case answer.Agreement&^uicc.AgreementExists != uicc.AgreementPreshared:
		return fmt.Errorf("%w: it wants key agreement %02X, not pre-shared keys", ErrNoChannel, answer.Agreement)
	}
	c.master, err = NewMaster(c.key, request, answer.ID)
	return err
}

// establishConnection ends with the proof of the card.
func (c *Channel) establishConnection(ctx context.Context) error {
	request := uicc.ConnectionRequest{Algorithms: Algorithms(), Master: c.master.ID}
	if _, err := io.ReadFull(c.o.Rand, request.Nonce[:]); err != nil {
		return fmt.Errorf("make a nonce: %w", err)
	}
	b, err := c.manage(ctx, uicc.EstablishConnectionSA, request.Bytes(), true)
	if err != nil {
		return err
	}
	answer, err := uicc.ParseConnectionAnswer(b)
	switch {
	case err != nil:
		return err
	case answer.Algorithms != Algorithms():
		return fmt.Errorf("%w: it chose algorithms %02X %02X that were not offered", ErrNoChannel, answer.Algorithms.Ciphering, answer.Algorithms.Integrity)
	}
	if c.connection, err = NewConnection(c.master, request, answer); err != nil {
		return err
	}
	if !Equal(answer.MAC, c.connection.CardMAC()) {
		return fmt.Errorf("%w: CSAMAC is wrong; nothing secret was sent", ErrKey)
	}
	return nil
}

func (c *Channel) start(ctx context.Context, p uicc.SecureEndpoint) error {
	container := min(p.MaxContainer, uicc.MaxContainer)
	b, err := c.manage(ctx, uicc.StartSecureChannel, uicc.StartRequest{
		Algorithms: Algorithms(), Connection: c.connection.Answer.ID, MAC: c.connection.StartMAC(container), Container: container,
	}.Bytes(), true)
	if err != nil {
		return err
	}
	answer, err := uicc.ParseStartAnswer(b)
	if err != nil {
		return err
	}
	c.session, c.container = answer.Session, int(container)
	return nil
}

// manage sends the data of a procedure in blocks and collects its answer, if it has one.
func (c *Channel) manage(ctx context.Context, p uicc.SecureProcedure, data []byte, answers bool) ([]byte, error) {
	block := uicc.FirstCommandBlock
	parts := Split(data, apdu.MaxShortData)
	for i, part := range parts {
		r, err := c.send(ctx, uicc.ManageSecureChannel{Procedure: p, Block: block, Data: part}.Command())
		if err != nil {
			return nil, err
		}
		last := i == len(parts)-1
		if !last && r.SW != uicc.SWDataExpected || last && r.SW != uicc.SWResponseData && !r.SW.OK() {
			return nil, refused("MANAGE SECURE CHANNEL", r.SW)
		}
		block = uicc.NextCommandBlock
	}
	if !answers {
		return nil, nil
	}
	var out []byte
	block = uicc.FirstResponseBlock
	for range card.DefaultRounds {
		r, err := c.send(ctx, uicc.ManageSecureChannel{Procedure: p, Block: block, Ne: apdu.MaxShortNe}.Command())
		if err != nil {
			return nil, err
		}
		out = append(out, r.Data...)
		switch {
		case r.SW.OK():
			return out, nil
		case r.SW != uicc.SWMoreData:
			return nil, refused("MANAGE SECURE CHANNEL", r.SW)
		}
		block = uicc.NextResponseBlock
	}
	return nil, fmt.Errorf("%w: the answer to MANAGE SECURE CHANNEL does not end", uicc.ErrSecureChannel)
}

// Status words by which a card ends or refuses a channel. That of a wrong MAC is the one of
// ISO/IEC 7816-4 for secure messaging, since TS 102 221 names none.
const swIncorrectMAC apdu.StatusWord = 0x6988

// refused is the error of a status word, with the cause that a caller acts on.
func refused(command string, sw apdu.StatusWord) error {
	err := error(&card.CommandError{Command: command, SW: sw})
	switch sw {
	case swIncorrectMAC:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	case apdu.SWSecureChannel:
		return fmt.Errorf("%w: %w; open it anew", ErrExpired, err)
	}
	return err
}

// send sends one command of the channel itself, and again with the right Le where the card
// asks for it. The data of the response are the card's.
func (c *Channel) send(ctx context.Context, command apdu.Command) (apdu.Response, error) {
	for range 2 {
		b, err := command.Bytes()
		if err != nil {
			return apdu.Response{}, err
		}
		answer, err := c.under.Transmit(ctx, b)
		if err != nil {
			return apdu.Response{}, fmt.Errorf("%s: %w", card.CommandName(command), err)
		}
		r, err := apdu.ParseResponse(answer)
		if err != nil || r.SW.SW1() != 0x6C || command.Ne == 0 {
			return r, err
		}
		if command.Ne = int(r.SW.SW2()); command.Ne == 0 {
			command.Ne = apdu.MaxShortNe
		}
	}
	return apdu.Response{}, fmt.Errorf("%s: %w: it asks for another Le a second time", card.CommandName(command), card.ErrResponseLoop)
}

// Transmit implements card.Card: the command and its answer travel protected. After a
// failure the state of the card is not known, and all further commands are ErrBroken until
// Reset. Errors of its own are ErrTampered and ErrReplayed for answers, ErrRefused and
// ErrExpired where the card says so.
func (c *Channel) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	switch {
	case c.closed:
		return nil, fmt.Errorf("%w: the secure channel was closed", card.ErrRemoved)
	case len(command) < 4:
		return nil, fmt.Errorf("%w: %d bytes, a command has at least 4", card.ErrCommand, len(command))
	case c.broken != nil:
		return nil, fmt.Errorf("%w: %w; reset the card", ErrBroken, c.broken)
	}
	answer, err := c.exchange(ctx, command)
	if err != nil {
		c.broken = err
		return nil, fmt.Errorf("secure channel: %w", err)
	}
	return answer, nil
}

// exchange is one transaction: the protected command in containers, then the answer.
func (c *Channel) exchange(ctx context.Context, command []byte) ([]byte, error) {
	sealed, err := c.connection.Seal(Terminal, command)
	if err != nil {
		return nil, err
	}
	parts := Split(sealed, c.container)
	if len(parts) > 0xFF {
		return nil, fmt.Errorf("%w: %d bytes are more than 255 containers of %d", card.ErrCommand, len(command), c.container)
	}
	for i, part := range parts {
		left := len(parts) - 1 - i
		r, err := c.send(ctx, uicc.TransactData{Session: c.session, Remaining: byte(left), Container: part}.Command())
		if err != nil {
			return nil, err
		}
		if !c.goesOn(r.SW) || (left == 0) != more(r.SW) {
			return nil, refused("TRANSACT DATA", r.SW)
		}
	}
	return c.collect(ctx)
}

// collect fetches the answer.
func (c *Channel) collect(ctx context.Context) ([]byte, error) {
	var sealed []byte
	for range card.DefaultRounds {
		r, err := c.send(ctx, uicc.TransactData{Session: c.session, Ne: apdu.MaxShortNe}.Command())
		if err != nil {
			return nil, err
		}
		if !r.SW.OK() && (!c.goesOn(r.SW) || !more(r.SW)) {
			return nil, refused("TRANSACT DATA", r.SW)
		}
		part, err := uicc.DecodeContainer(r.Data)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTampered, err)
		}
		sealed = append(sealed, part...)
		if r.SW.OK() {
			return c.unseal(sealed)
		}
	}
	return nil, fmt.Errorf("%w: the answer to TRANSACT DATA does not end", ErrTampered)
}

// unseal takes the protection off an answer, which has a status word at least.
func (c *Channel) unseal(sealed []byte) ([]byte, error) {
	answer, err := c.connection.Unseal(UICC, sealed)
	if err != nil {
		return nil, err
	}
	if len(answer) < 2 {
		return nil, fmt.Errorf("%w: an answer of %d bytes has no status word", uicc.ErrSecureChannel, len(answer))
	}
	return answer, nil
}

// goesOn tells that the transaction of this session is under way.
func (c *Channel) goesOn(sw apdu.StatusWord) bool {
	return sw.SW1() == uicc.SWTransaction.SW1() && uicc.TransactSession(sw.SW2()) == c.session
}

// more tells that blocks wait for the terminal.
func more(sw apdu.StatusWord) bool { return sw&uicc.TransactMore != 0 }

// Reset implements card.Card: it resets the card, which ends the channel, and opens it
// anew. The error is that of either.
func (c *Channel) Reset(ctx context.Context) ([]byte, error) {
	if c.closed {
		return nil, fmt.Errorf("%w: the secure channel was closed", card.ErrRemoved)
	}
	atr, err := c.under.Reset(ctx)
	if err != nil {
		c.broken = err
		return nil, err
	}
	atr = bytes.Clone(atr)
	if c.broken = c.establish(ctx); c.broken != nil {
		return nil, fmt.Errorf("open the secure channel after a reset: %w", c.broken)
	}
	return atr, nil
}

// Terminate ends the connection and the master on the card. The Channel is ErrBroken then,
// and the card, which stays open, is the caller's again.
func (c *Channel) Terminate(ctx context.Context) error {
	if c.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, c.broken)
	}
	c.broken = fmt.Errorf("%w: it was terminated", ErrExpired)
	request := uicc.TerminateRequest{IsMaster: true, ID: c.master.ID, MAC: c.master.EndMAC()}
	_, err := c.manage(ctx, uicc.TerminateSA, request.Bytes(), false)
	return err
}

// Close implements card.Card: it closes the card. The channel on it ends with its next
// reset or power down.
func (c *Channel) Close() error {
	c.closed = true
	c.master, c.connection = nil, nil
	return c.under.Close()
}
