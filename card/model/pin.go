package model

import (
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
)

// Who is who may read or update a file: one of the words below, or a code of the card
// by its name: "pin1", "universal", "pin2", "adm1" to "adm10".
type Who string

// The conditions.
const (
	Anyone    Who = "always"
	PIN1      Who = "pin1"
	Universal Who = "universal"
	PIN2      Who = "pin2"
	ADM1      Who = "adm" // the code of the family, which is mostly ADM1
	Nobody    Who = "never"
)

// ADMName is the name of an administrative code, 1 to 10.
func ADMName(n int) Who { return Who(fmt.Sprintf("adm%d", n)) }

// KeyRef is the key reference of a code (TS 102 221, 9.5.1, table 9.3), where adm is
// that of the family's code; ok is false for a word that is no code.
func (w Who) KeyRef(adm byte) (ref byte, ok bool) {
	switch w {
	case ADM1:
		return adm, true
	case PIN1:
		return uicc.RefPIN1, true
	case Universal:
		return uicc.RefUniversalPIN, true
	case PIN2:
		return uicc.RefPIN2, true
	}
	for n := range 5 {
		switch w {
		case ADMName(n + 1):
			return uicc.RefADM1 + byte(n), true
		case ADMName(n + 6):
			return uicc.RefADM6 + byte(n), true
		}
	}
	return 0, false
}

// PIN is a PIN or administrative code that a card has (TS 102 221, 9.5).
type PIN struct {
	Who Who
	Ref byte // key reference
	// Dir is the application whose own code it is, for a key reference with
	// uicc.LocalRef; empty for a code of the whole card.
	Dir      ef.Dir
	Tries    int // after a success, 1 to 15
	PUKTries int // of its PUK, 1 to 15; 0: it has none
}

// isADM tells an administrative code.
func (p PIN) isADM() bool { return strings.HasPrefix(string(p.Who), "adm") }

// Bounds and defaults of counters: what 63Cx can tell (TS 102 221, 10.2.1.5).
const (
	maxTries        = 15
	defaultTries    = 3
	defaultPUKTries = 10
)

// pinDocument is a code in the file of a card.
type pinDocument struct {
	Ref      Who
	Dir      ef.Dir
	Tries    int
	PUKTries int `toml:"puk_tries"`
}

// defaultPINs are the codes of a card that lists none.
func defaultPINs() []pinDocument { return []pinDocument{{Ref: PIN1}, {Ref: ADM1}} }

// setPINs takes the codes of the card.
func (d *cardDocument) setPINs(c *Card) *mistake {
	if d.PIN == nil && c.PINs != nil {
		return nil // those of the card that it extends
	}
	list := d.PIN
	if list == nil {
		list = defaultPINs()
	}
	c.PINs = nil
	for i, one := range list {
		p, reason := one.pin(c)
		if reason == "" && slices.ContainsFunc(c.PINs, func(q PIN) bool { return q.Ref == p.Ref && q.Dir == p.Dir }) {
			reason = "a second time"
		}
		if reason != "" {
			return &mistake{"pin", i, fmt.Sprintf("pin %q: %s", one.Ref, reason)}
		}
		c.PINs = append(c.PINs, p)
	}
	for _, needed := range []Who{PIN1, ADM1} {
		if ref, _ := needed.KeyRef(c.Family.ADM.Reference); c.find(ref, "") == nil {
			return &mistake{"pin", 0, fmt.Sprintf("pin: the card needs %q, key %02X", needed, ref)}
		}
	}
	return nil
}

// pin is the code of the document, or what is wrong with it.
func (d pinDocument) pin(c *Card) (p PIN, reason string) {
	ref, known := d.Ref.KeyRef(c.Family.ADM.Reference)
	if !known {
		return p, `ref: want "pin1", "universal", "pin2" or "adm1" to "adm10"`
	}
	p = PIN{Who: d.Ref, Ref: ref, Dir: d.Dir, Tries: d.Tries, PUKTries: d.PUKTries}
	if p.Tries == 0 {
		p.Tries = defaultTries
	}
	if p.PUKTries == 0 && !p.isADM() {
		p.PUKTries = defaultPUKTries
	}
	switch {
	case p.Tries < 1 || p.Tries > maxTries:
		return p, fmt.Sprintf("tries: want 1 to %d", maxTries)
	case p.isADM() && p.PUKTries != 0:
		return p, "puk_tries: an administrative code has no PUK"
	case p.PUKTries < 0 || p.PUKTries > maxTries:
		return p, fmt.Sprintf("puk_tries: want 1 to %d", maxTries)
	}
	return p, p.setDir(c)
}

// setDir settles whose code it is: the subscription's where the document does not tell.
func (p *PIN) setDir(c *Card) (reason string) {
	local := p.Ref&uicc.LocalRef != 0
	if p.Dir == "" && local {
		p.Dir = c.Home()
	}
	switch {
	case !local && p.Dir != "":
		return "dir: it is a code of the whole card"
	case local && !c.hasApplication(p.Dir):
		return fmt.Sprintf("dir: there is no application %q", p.Dir)
	}
	return ""
}

// hasApplication reports whether codes may be of that directory.
func (c *Card) hasApplication(dir ef.Dir) bool {
	return c.SIM() && dir == c.Home() || slices.ContainsFunc(c.Applications, func(a Application) bool { return a.Dir == dir })
}

// find finds a code; dir counts for those of an application only.
func (c *Card) find(ref byte, dir ef.Dir) *PIN {
	for i := range c.PINs {
		if p := &c.PINs[i]; p.Ref == ref && (p.Dir == "" || p.Dir == dir) {
			return p
		}
	}
	return nil
}

// checkPINs checks that each code has its application, and each file its codes: a card
// may have fewer of both than the one that it extends.
func (c *Card) checkPINs() error {
	for _, p := range c.PINs {
		if p.Dir != "" && !c.hasApplication(p.Dir) {
			return fmt.Errorf("pin %q: there is no application %s", p.Who, p.Dir)
		}
	}
	for i := range c.Files {
		if f := &c.Files[i]; f.Same == "" {
			if err := c.checkWho(f); err != nil {
				return fmt.Errorf("%s: %w", f.Path(), err)
			}
		}
	}
	return nil
}

// checkWho checks that the card has the codes that a file asks for. Files outside of
// applications are opened by the codes of the subscription.
func (c *Card) checkWho(f *CardFile) error {
	app, _, _ := strings.Cut(string(f.Dir), "/")
	if !strings.HasPrefix(app, "ADF.") {
		app = string(c.Home())
	}
	for _, w := range []Who{f.Read, f.Update} {
		if w == Anyone || w == Nobody {
			continue
		}
		ref, ok := w.KeyRef(c.Family.ADM.Reference)
		if !ok {
			return fmt.Errorf("read and update %q, want %s, %s or a code of the card, such as %s, %s or %s", w, Anyone, Nobody, PIN1, ADM1, PIN2)
		}
		if c.find(ref, ef.Dir(app)) == nil {
			return fmt.Errorf("read and update: %s has no code %q: name it in the table pin", app, w)
		}
	}
	return nil
}
