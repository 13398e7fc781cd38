package emul

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

// Codes are the codes that not every card has: the card model says which. The zero value
// is right for all: what is empty is as PIN1, PUK1 or ADM1.
type Codes struct {
	PIN2, Universal    secret.Bytes    // 4 to 8 digits
	PUK2, UniversalPUK secret.Bytes    // 8 digits
	ADMs               [9]secret.Bytes // ADM2 to ADM10, 8 bytes each
}

// codes takes the codes that not every card has.
func (d *document) codes(c *Codes) error {
	for _, f := range []struct {
		value *string
		set   *secret.Bytes
	}{{d.PIN2, &c.PIN2}, {d.PUK2, &c.PUK2}, {d.Universal, &c.Universal}, {d.UniversalPUK, &c.UniversalPUK}} {
		if f.value != nil {
			*f.set = secret.New([]byte(cmp.Or(*f.value, "-"))) // told, and wrong
		}
	}
	for i, value := range []*string{d.ADM2, d.ADM3, d.ADM4, d.ADM5, d.ADM6, d.ADM7, d.ADM8, d.ADM9, d.ADM10} {
		if value == nil {
			continue
		}
		b, err := hex.DecodeString(*value)
		if err != nil || len(b) != pinBytes {
			return &ProfileError{Field: string(model.ADMName(i + 2)), Reason: "want 16 hexadecimal digits without spaces"}
		}
		c.ADMs[i] = secret.New(b)
	}
	return nil
}

// checkCodes looks at the lengths of codes, and that the card has them.
func (p *Profile) checkCodes(l *model.Card) error {
	has := func(w model.Who) bool {
		ref, _ := w.KeyRef(l.Family.ADM.Reference)
		return slices.ContainsFunc(l.PINs, func(q model.PIN) bool { return q.Ref == ref })
	}
	for _, f := range []struct {
		field    string
		who      model.Who
		value    secret.Bytes
		optional bool
		puk      bool
	}{
		{"pin1", model.PIN1, p.PIN1, false, false}, {"puk1", model.PIN1, p.PUK1, false, true},
		{"pin2", model.PIN2, p.PIN2, true, false}, {"puk2", model.PIN2, p.PUK2, true, true},
		{"universal", model.Universal, p.Universal, true, false}, {"universal_puk", model.Universal, p.UniversalPUK, true, true},
	} {
		switch _, err := uicc.PadPIN(string(f.value.Reveal())); {
		case f.optional && f.value.Len() == 0:
		case f.puk && (err != nil || f.value.Len() != pinBytes):
			return &ProfileError{Field: f.field, Reason: "want 8 digits"}
		case err != nil:
			return &ProfileError{Field: f.field, Reason: "want 4 to 8 digits"}
		case !has(f.who):
			return &ProfileError{Field: f.field, Reason: "the card " + l.Name + " has no such code"}
		}
	}
	for i, value := range p.ADMs {
		who := model.ADMName(i + 2)
		switch {
		case value.Len() == 0:
		case value.Len() != pinBytes:
			return &ProfileError{Field: string(who), Reason: fmt.Sprintf("want %d bytes", pinBytes)}
		case !has(who):
			return &ProfileError{Field: string(who), Reason: "the card " + l.Name + " has no such code"}
		}
	}
	return nil
}

// codes are the first values of a code and its PUK.
func (b *builder) codes(p Profile, m model.PIN) (code, puk secret.Bytes) {
	pad := func(digits secret.Bytes) secret.Bytes {
		pin, err := uicc.PadPIN(string(digits.Reveal()))
		b.must(nil, err)
		return pin
	}
	switch m.Ref {
	case uicc.RefPIN1:
		return pad(p.PIN1), pad(p.PUK1)
	case uicc.RefPIN2:
		return pad(either(p.PIN2, p.PIN1)), pad(either(p.PUK2, p.PUK1))
	case uicc.RefUniversalPIN:
		return pad(either(p.Universal, p.PIN1)), pad(either(p.UniversalPUK, p.PUK1))
	}
	if i := admIndex(m.Ref); i > 0 && m.Ref != b.card.model.ADM.Reference {
		return either(p.ADMs[i-1], p.ADM1), secret.Bytes{}
	}
	return p.ADM1, secret.Bytes{}
}

// either is the value of a code, or the one that stands for it where there is none.
func either(value, other secret.Bytes) secret.Bytes {
	if value.Len() == 0 {
		return other
	}
	return value
}

// admIndex is 1 to 9 for ADM2 to ADM10, by the key reference; 0 for ADM1.
func admIndex(ref byte) int {
	if ref >= uicc.RefADM6 {
		return int(ref-uicc.RefADM6) + 5
	}
	return int(ref - uicc.RefADM1)
}
