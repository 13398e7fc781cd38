package cardtest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"mcim/apdu"
	"mcim/apdu/uicc"
	"mcim/card"
)

// Kind is a way in which a card misbehaves.
type Kind int

// Faults.
const (
	// Mute: the command reaches the card and no answer comes; ErrTimeout.
	Mute Kind = iota
	// Lost: the command does not reach the card, no answer comes; ErrTimeout.
	Lost
	// Removed: the card is pulled out before the command; ErrRemoved from there on.
	Removed
	// Answer: the card is not asked, the bytes of Answer come.
	Answer
	// Short: the answer of the card is cut to one byte.
	Short
	// Slow: the answer comes after Wait; ErrTimeout where the caller waits no longer.
	// The card has done the command either way.
	Slow
	// WrongSW: the status word of the card's answer becomes SW.
	WrongSW
	// Endless: there is always more data to come, 61FF.
	Endless
	// Flip: the bit Bit of the answer is the other way round, counted from the highest
	// of the first byte.
	Flip
	// Worn: memory that takes no more writes. An UPDATE is answered SW, 9000 for memory
	// that does not notice, and changes nothing; other commands are as ever.
	Worn
	// Cut: power fails after byte Bytes of an UPDATE went into the memory of a card that
	// does not write in one piece; ErrTimeout until Reset.
	Cut
)

// Fault is one misbehaviour.
type Fault struct {
	// At is the command that it happens to, from 0; of Worn and Cut the UPDATE.
	At     int
	Kind   Kind
	Answer []byte // of Kind Answer
	Wait   time.Duration
	SW     apdu.StatusWord
	Bit    int
	Bytes  int
	// Always repeats the fault for all commands from At on.
	Always bool
}

// Faulty is a card.Card with faults.
type Faulty struct {
	card    card.Card
	faults  []Fault
	sent    int
	updates int
	removed bool
	dead    bool // without power since a Cut
}

// NewFaulty puts faults on a card.
func NewFaulty(c card.Card, faults ...Fault) *Faulty {
	return &Faulty{card: c, faults: faults}
}

// Sent counts the commands so far, those with a fault included.
func (f *Faulty) Sent() int { return f.sent }

// Transmit implements card.Card.
func (f *Faulty) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	if f.removed {
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	if f.dead {
		return nil, fmt.Errorf("without power by the test: %w", card.ErrTimeout)
	}
	fault := f.next(command)
	if fault == nil {
		return f.card.Transmit(ctx, command)
	}
	switch fault.Kind {
	case Answer:
		return fault.Answer, nil
	case Endless:
		return []byte{0x61, 0xFF}, nil
	case Worn:
		return []byte{fault.SW.SW1(), fault.SW.SW2()}, nil
	case Cut:
		return nil, f.cut(ctx, command, fault.Bytes)
	case Lost:
		return nil, fmt.Errorf("lost by the test: %w", card.ErrTimeout)
	case Removed:
		f.removed = true
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	answer, err := f.card.Transmit(ctx, command)
	if err != nil {
		return nil, err
	}
	return fault.spoil(ctx, bytes.Clone(answer))
}

// spoil is the fault in an answer of the card.
func (f *Fault) spoil(ctx context.Context, answer []byte) ([]byte, error) {
	switch f.Kind {
	case Short:
		return answer[:1], nil
	case WrongSW:
		return append(answer[:len(answer)-2], f.SW.SW1(), f.SW.SW2()), nil
	case Flip:
		if f.Bit < 8*len(answer) {
			answer[f.Bit/8] ^= 0x80 >> (f.Bit % 8)
		}
		return answer, nil
	case Slow:
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("slowed by the test: %w: %w", card.ErrTimeout, ctx.Err())
		case <-time.After(f.Wait):
			return answer, nil
		}
	}
	return nil, fmt.Errorf("muted by the test: %w", card.ErrTimeout)
}

func isUpdate(command []byte) bool {
	return len(command) > 1 && (command[1] == uicc.INSUpdateBinary || command[1] == uicc.INSUpdateRecord)
}

// cut lets the first n bytes of an UPDATE into the memory, and the power fail.
func (f *Faulty) cut(ctx context.Context, command []byte, n int) error {
	f.dead = true
	c, err := apdu.ParseCommand(command)
	if err != nil {
		return err
	}
	n = min(n, len(c.Data))
	torn := bytes.Clone(c.Data[:n])
	if c.INS == uicc.INSUpdateRecord { // which is written whole: the rest is what was there
		reading := []byte{c.CLA, uicc.INSReadRecord, c.P1, c.P2, byte(len(c.Data))}
		old, err := f.card.Transmit(ctx, reading)
		if err != nil || len(old) != len(c.Data)+2 {
			return fmt.Errorf("read the record that is to be torn: %x, %w", old, err)
		}
		torn = append(torn, old[n:len(c.Data)]...)
	}
	if c.Data = torn; n > 0 {
		b, err := c.Bytes()
		if err != nil {
			return err
		}
		if answer, err := f.card.Transmit(ctx, b); err != nil || !bytes.Equal(answer, []byte{0x90, 0x00}) {
			return fmt.Errorf("tear the file: %x, %w", answer, err)
		}
	}
	return fmt.Errorf("power cut by the test: %w", card.ErrTimeout)
}

// next finds the fault of a command.
func (f *Faulty) next(command []byte) *Fault {
	n, update := f.sent, -1
	if f.sent++; isUpdate(command) {
		update = f.updates
		f.updates++
	}
	for i, fault := range f.faults {
		at, always := n, fault.Always
		if fault.Kind == Worn || fault.Kind == Cut {
			at, always = update, fault.Kind == Worn
		}
		if at == fault.At || always && at > fault.At {
			return &f.faults[i]
		}
	}
	return nil
}

// Reset implements card.Card. A card that was pulled out stays out.
func (f *Faulty) Reset(ctx context.Context) ([]byte, error) {
	if f.removed {
		return nil, fmt.Errorf("pulled out by the test: %w", card.ErrRemoved)
	}
	f.dead = false
	return f.card.Reset(ctx)
}

// Close implements card.Card.
func (f *Faulty) Close() error { return f.card.Close() }
