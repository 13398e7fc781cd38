package device

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"mcim/card"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/pcsc"
	"mcim/card/trace"
)

// ErrURI is returned for a card URI of no known form.
var ErrURI = errors.New("not a card URI: use pcsc:INDEX, pcsc:NAME, emul:usim, emul:IMAGE or replay:FILE")

// ErrNoImage is returned for a card image that is not there.
var ErrNoImage = errors.New("the file does not exist, and no card model has that name: check the path, or use emul:usim")

// presence is how long a card that was just put into a reader may take to be
// seen; pcscd looks every 0.4 s.
const presence = time.Second

// Card is an open card with what is known of where it is.
type Card struct {
	card.Card
	URI      string
	Reader   string // name; empty for a card in this process
	Driver   string // who made the reader or its driver, where that is told
	Protocol string // "T=0" or "T=1"; empty for a card in this process
	// Real says that the card may be a physical one: everything in a PC/SC reader
	// is treated so.
	Real bool
	// Spare says that nothing can be lost on the card: it ends with the process, or
	// is a recording.
	Spare bool
	// ATR is that of the last reset of a card that Keep keeps open, which is to go on
	// where it is; nil for a card that is to be reset first.
	ATR []byte
}

// Check tells whether uri has a known form, without opening anything; ErrURI if
// it has not.
func Check(uri string) error {
	_, _, err := split(uri)
	return err
}

// split gives scheme and name of a URI.
func split(uri string) (scheme, name string, err error) {
	scheme, name, _ = strings.Cut(uri, ":")
	name = strings.Trim(name, `"`)
	if name == "" || scheme != "pcsc" && scheme != "emul" && scheme != "replay" {
		return "", "", fmt.Errorf("%q: %w", uri, ErrURI)
	}
	return scheme, name, nil
}

// Open opens the card that uri names; deadline bounds each call to a reader, 0
// is that of package pcsc. Errors are ErrURI, ErrNoImage, those of pcsc.Open, of
// emul.Open and of trace.OpenCassette.
func Open(ctx context.Context, uri string, deadline time.Duration) (*Card, error) {
	if k, ok := ctx.Value(keptKey{}).(*kept); ok && k.URI == uri {
		return k.open(), nil
	}
	scheme, name, err := split(uri)
	switch {
	case err != nil:
		return nil, err
	case scheme == "pcsc":
		return openReader(ctx, uri, name, deadline)
	case scheme == "replay":
		return openRecording(uri, name)
	default:
		return openEmulated(uri, name)
	}
}

func openReader(ctx context.Context, uri, name string, deadline time.Duration) (*Card, error) {
	c, err := pcsc.Open(ctx, name, pcsc.Options{Deadline: deadline, Wait: presence})
	if err != nil {
		return nil, err
	}
	return &Card{Card: c, URI: uri, Reader: c.Reader(), Driver: c.Driver(ctx), Protocol: c.Protocol(), Real: true}, nil
}

func openRecording(uri, name string) (*Card, error) {
	c, err := trace.OpenCassette(name)
	if err != nil {
		return nil, err
	}
	return &Card{Card: c, URI: uri, Spare: true}, nil
}

// openEmulated takes name for a model before it takes it for an image; write
// ./usim for an image of that name. A file *.toml is a model.
func openEmulated(uri, name string) (*Card, error) {
	_, err := model.CardByName(name)
	open, spare := openImage, err == nil || emul.IsFile(name)
	if spare {
		open = freshCard
	}
	c, err := open(uri, name)
	if err != nil {
		return nil, err
	}
	return &Card{Card: c, URI: uri, Spare: spare}, nil
}

func freshCard(_, model string) (*emul.Card, error) {
	p, err := emul.RandomProfile(model)
	if err == nil {
		return emul.New(p)
	}
	if emul.IsFile(model) {
		err = fmt.Errorf("%w; a file *.toml here is a card model, a profile belongs to --profile", err)
	}
	return nil, err
}

func openImage(uri, name string) (*emul.Card, error) {
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", uri, ErrNoImage)
	}
	return emul.Open(name, nil)
}
