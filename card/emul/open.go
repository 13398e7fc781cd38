package emul

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card/model"
)

// ICCIDError is returned by Open for an image of another card than the profile
// describes.
type ICCIDError struct {
	Image      string // path
	Have, Want string // ICCID of the image and of the profile
}

// Error says which cards they are.
func (e *ICCIDError) Error() string {
	return fmt.Sprintf("%s is the image of card %s, the profile is of card %s; name another image, or leave the profile out",
		e.Image, e.Have, e.Want)
}

// Open makes a card whose state lies in the file image, with the key that seals
// its secrets in image.key beside it; both have mode 0600. An image that exists
// wins over the profile, which may then be nil; a profile of another ICCID is
// an *ICCIDError. Where there is no image the profile makes one.
//
// The card keeps the image locked until Close: a second Open is ErrImageBusy.
// Other errors are ErrImageDamaged, ErrImageVersion, ErrImageKey, those of New,
// and those of the file system.
func Open(path string, p *Profile) (*Card, error) {
	im, changes, err := openImage(path, p != nil)
	if err != nil {
		return nil, fmt.Errorf("open the card image: %w", err)
	}
	c, err := im.card(changes, p)
	if err != nil {
		_ = im.close()
		return nil, err
	}
	return c, nil
}

// card makes the card of the image, or of the profile where the image is new.
func (im *image) card(changes []change, p *Profile) (*Card, error) {
	if im.file == nil {
		return im.create(p)
	}
	c, err := restore(changes, im.version)
	if err != nil {
		return nil, fmt.Errorf("open the card image: %s: %w: %w", im.path, ErrImageDamaged, err)
	}
	if p != nil {
		have, err := uicc.DecodeICCID(c.mf.own(uicc.FIDEFICCID).data)
		if err != nil {
			return nil, fmt.Errorf("open the card image: %s: %w", im.path, err)
		}
		if have != p.ICCID {
			return nil, &ICCIDError{im.path, have, p.ICCID}
		}
	}
	im.snapshot, c.storage = c.snapshot, im
	if im.version != imageVersion {
		// What this version may append, an older one could not read.
		if err := im.compact(); err != nil {
			return nil, fmt.Errorf("bring the card image to version %d: %w", imageVersion, err)
		}
	}
	return c, nil
}

// create makes the first image of a card.
func (im *image) create(p *Profile) (*Card, error) {
	c, err := New(*p)
	if err != nil {
		return nil, err
	}
	return im.keep(c)
}

// keep makes the first image of the card, and then keeps it.
func (im *image) keep(c *Card) (*Card, error) {
	im.snapshot, c.storage = c.snapshot, im
	if err := im.compact(); err != nil {
		return nil, fmt.Errorf("create the card image: %w", err)
	}
	return c, nil
}

// snapshot is the whole state, for the image.
func (c *Card) snapshot() []change {
	var counters []byte
	var all []change
	for i, text := range c.layout.Texts {
		all = append(all, change{[]object{objectModel, objectBase}[i], 0, text})
	}
	all = append(all, c.gbaObjects()...)
	all = append(all, c.secureObjects()...)
	if c.authLeft != nil {
		all = append(all, change{objectAuthLeft, 0, binary.BigEndian.AppendUint32(nil, *c.authLeft)})
	}
	for _, p := range c.pins {
		counters = append(counters, p.bytes()...)
		all = append(all, change{objectPIN | p.object, 0, p.value.Reveal()})
		if p.unblock.Len() > 0 {
			all = append(all, change{objectUnblock | p.object, 0, p.unblock.Reveal()})
		}
	}
	all = append(all, change{objectCounters, 0, counters})
	all = append(all, c.structure()...)
	for _, f := range c.files {
		all = append(all, change{f.id, 0, f.data})
	}
	return all
}

// layoutOf finds the card that an image of that version is of.
func layoutOf(changes []change, version uint32) (*model.Card, error) {
	if len(changes) == 0 || changes[0].object != objectModel {
		return nil, errors.New("it does not begin with the card model")
	}
	if version == oldVersion {
		if name := string(changes[0].data); name != "usim" {
			return nil, fmt.Errorf("version 1 has no card model %q", name)
		}
		return model.CardByName(model.Version1)
	}
	texts := [][]byte{changes[0].data}
	if len(changes) > 1 && changes[1].object == objectBase {
		texts = append(texts, changes[1].data)
	}
	return model.RestoreCard(texts)
}

// Directories beside the applications (TS 51.011, 10).
const (
	fidTelecom = 0x7F10
	fidGSM     = 0x7F20
)

// restore makes a card out of the changes of an image of that version. The files
// that there are come from the card model, all of what is in them from the image.
func restore(changes []change, version uint32) (*Card, error) {
	l, err := layoutOf(changes, version)
	if err != nil {
		return nil, err
	}
	t, err := templateOf(l)
	if err != nil {
		return nil, err
	}
	c := begin(t.fork())
	seen := map[object]bool{}
	for _, ch := range changes {
		if err := c.restore(ch); err != nil {
			return nil, fmt.Errorf("object %08X: %w", uint32(ch.object), err)
		}
		seen[ch.object] = true
	}
	missing := map[object]bool{}
	for _, ch := range c.snapshot() {
		if !seen[ch.object] {
			missing[ch.object] = true
		}
	}
	for _, dir := range []uint16{fidGSM, fidTelecom} { // images of before have no EF.ARR of theirs
		delete(missing, fileObject(dir, usim.EFARR))
	}
	for o := range missing {
		return nil, fmt.Errorf("object %08X is missing", uint32(o))
	}
	return c, nil
}

// placeholder is a profile whose every value will be replaced.
func placeholder() Profile {
	zeros := func(n int) secret.Bytes { return secret.New(make([]byte, n)) }
	return Profile{
		ICCID: "000000000000000000", IMSI: "000000",
		PIN1: secret.New([]byte("0000")), PUK1: secret.New([]byte("00000000")),
		K: zeros(16), OPc: zeros(16), ADM1: zeros(8),
	}
}

// restore makes one change that the image holds.
func (c *Card) restore(ch change) error {
	switch ch.object {
	case objectModel, objectBase:
		return nil
	case objectCounters:
		return c.restoreCounters(ch)
	case objectAuthLeft:
		if ch.offset != 0 || len(ch.data) != 4 {
			return errors.New("a counter of the wrong length")
		}
		left := binary.BigEndian.Uint32(ch.data)
		c.authLeft = &left
		return nil
	}
	if ch.object == objectChannelKey {
		return c.restoreSecure(ch)
	}
	if found, err := c.restoreGBA(ch); found {
		return err
	}
	if found, err := c.restoreStructure(ch); found {
		return err
	}
	for _, p := range c.pins {
		value := &p.value
		switch ch.object {
		case objectUnblock | p.object:
			value = &p.unblock
		case objectPIN | p.object:
		default:
			continue
		}
		if ch.offset != 0 || len(ch.data) != pinBytes {
			return errors.New("a code of the wrong length")
		}
		*value = secret.New(ch.data)
		return nil
	}
	return c.restoreFile(ch)
}

func (c *Card) restoreFile(ch change) error {
	for _, f := range c.files {
		if f.id != ch.object {
			continue
		}
		if f == c.keyFile && ch.offset == 0 { // its length depends on the algorithm
			c.replace(f, f.with(bytes.Clone(ch.data)))
			return nil
		}
		if f.limit != 0 && c.restoreObjects(f, ch) {
			return nil
		}
		if ch.offset+len(ch.data) > len(f.data) {
			return errors.New("more than the file holds")
		}
		if !bytes.Equal(f.data[ch.offset:ch.offset+len(ch.data)], ch.data) {
			f = c.writable(f)
			copy(f.data[ch.offset:], ch.data)
			c.reviseRules(f)
		}
		return nil
	}
	return errors.New("unknown")
}

func (c *Card) restoreCounters(ch change) error {
	data := ch.data
	for i := ch.offset / pinStateLen; len(data) >= pinStateLen && i < len(c.pins); i++ {
		p := c.pins[i]
		s := pinState{pinMode(data[0]), data[1], data[2]}
		if int(s.tries) > p.Tries || int(s.unblocks) > p.PUKTries || !c.canBe(p, s.mode) {
			return errors.New("a counter out of bounds")
		}
		p.pinState, data = s, data[pinStateLen:]
	}
	if len(data) != 0 || ch.offset%pinStateLen != 0 {
		return errors.New("counters of the wrong length")
	}
	return nil
}

// OpenFork makes the new image path as a copy of the image from, with a key file of its
// own, and opens it. From there on the two know nothing of each other. Both are the same
// card, with its ICCID and its keys: only one of them should meet a network. An image that
// exists is never replaced, that is fs.ErrExist; the other errors are those of Open, which
// the image from gives back when OpenFork returns.
func OpenFork(path, from string) (*Card, error) {
	exists := fmt.Errorf("fork the card image: %s: %w; name a new file", path, fs.ErrExist)
	if _, err := os.Lstat(path); err == nil {
		return nil, exists
	}
	if _, err := os.Stat(from); err != nil {
		return nil, fmt.Errorf("fork the card image: %w", err)
	}
	first, err := Open(from, nil)
	if err != nil {
		return nil, err
	}
	s := first.Snapshot()
	if err := first.Close(); err != nil {
		return nil, err
	}
	im, _, err := openImage(path, true)
	if err != nil {
		return nil, fmt.Errorf("fork the card image: %w", err)
	}
	c, err := s.Fork(), exists
	if im.file == nil { // else another process has just made it
		c, err = im.keep(c)
	}
	if err != nil {
		_ = im.close()
		return nil, err
	}
	return c, nil
}
