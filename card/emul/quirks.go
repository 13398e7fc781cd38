package emul

import (
	"slices"

	"mcim/apdu"
	"mcim/card/model"
)

// quirk reports whether the card has a habit.
func (c *Card) quirk(q model.Quirk) bool { return slices.Contains(c.layout.Quirks, q) }

// bend changes an answer as the card's quirks have it.
func (c *Card) bend(cmd *apdu.Command, sw apdu.StatusWord) apdu.StatusWord {
	announced := sw.SW1() == 0x61 || sw.SW1() == 0x9F && cmd.CLA == classGSM
	switch {
	case sw.SW1() == 0x6C && c.quirk(model.RefusesLe):
		return apdu.SWWrongLength
	case announced && c.quirk(model.Swallows61):
		c.out = append(c.out, c.waiting.data...)
		c.waiting = response{}
		return apdu.SWOK
	}
	return sw
}
