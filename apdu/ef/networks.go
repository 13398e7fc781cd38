package ef

import (
	"encoding/hex"
	"fmt"
	"strings"

	"mcim/apdu/usim"
)

// PLMN is a network (TS 23.003, 2.2): "262-01", or "none" for FFFFFF. Bytes that are
// no network are "0xffff00". In EF.OPL and EF.OPL5G, D stands for any digit.
type PLMN string

const plmnBytes = 3

const noPLMN PLMN = "none"

// plmn is a network in 3 bytes (TS 24.008, 10.5.1.3).
func plmn(c *coder, p *PLMN) {
	if c.writing {
		c.putPLMN(*p, "0123456789")
		return
	}
	b := [plmnBytes]byte(c.take(plmnBytes))
	v, err := usim.DecodePLMN(b)
	*p = PLMN(v.String())
	if err != nil {
		*p = PLMN(fmt.Sprintf("0x%x", b))
	}
}

// wildPLMN is a network in 3 bytes in which D stands for any digit (TS 31.102,
// 4.2.59).
func wildPLMN(c *coder, p *PLMN) {
	if c.writing {
		c.putPLMN(*p, wildDigits)
		return
	}
	b := c.take(plmnBytes)
	digits := ""
	for _, at := range plmnOrder {
		switch d := int(b[at/2] >> (4 * (at % 2)) & 0x0F); {
		case d < len(wildDigits) && wildDigits[d] != ' ':
			digits += wildDigits[d : d+1]
		case at != 3 || d != 0x0F:
			*p = PLMN(fmt.Sprintf("0x%x", b))
			return
		}
	}
	*p = PLMN(digits[:3] + "-" + digits[3:])
}

// wildDigits are those of a network with places for any digit.
const wildDigits = "0123456789   D"

// plmnOrder is where the digits of the MCC and the MNC are in the half-bytes of a
// network, the third of the MNC last; F is there where it has two.
var plmnOrder = []int{0, 1, 2, 4, 5, 3}

func (c *coder) putPLMN(p PLMN, digits string) {
	if raw, ok := strings.CutPrefix(string(p), "0x"); ok {
		if b, err := hex.DecodeString(raw); err == nil && len(b) == plmnBytes {
			c.put(b...)
			return
		}
	}
	b := filling(plmnBytes)
	mcc, mnc, _ := strings.Cut(string(p), "-")
	good := len(mcc) == 3 && (len(mnc) == 2 || len(mnc) == 3)
	for i := 0; good && i < len(mcc+mnc); i++ {
		d, at := strings.IndexByte(digits, (mcc + mnc)[i]), plmnOrder[i]
		good = d >= 0 && digits[d] != ' '
		b[at/2] = b[at/2]&^(0x0F<<(4*(at%2))) | byte(d)<<(4*(at%2))
	}
	if !good && p != noPLMN {
		c.fail("network %q: want one as 262-01, or none", p)
	}
	c.put(b...)
}

// Networks is EF.FPLMN (TS 31.102, 4.2.16) and EF.EHPLMN (4.2.84).
type Networks struct {
	PLMNs []PLMN `json:"plmns"`
}

func (v *Networks) fields(c *coder) { entries(c, &v.PLMNs, filling(plmnBytes), plmn) }

// SelectorList is EF.PLMNwAcT (TS 31.102, 4.2.5), EF.OPLMNwAcT (4.2.53) and
// EF.HPLMNwAcT (4.2.54): networks in the order of preference.
type SelectorList struct {
	Entries []Selector `json:"entries"`
}

// Selector is a network and the access technologies to look for it with.
type Selector struct {
	PLMN   PLMN     `json:"plmn"`
	Access []string `json:"access"`
}

// accessBits are the technologies from the lowest bit on (TS 31.102, 4.2.5). Of
// E-UTRAN and GSM, the bit alone means all their kinds.
var accessBits = []string{
	"", "", "gsm_without_ec", "ec_gsm_iot", "cdma2000_1xrtt", "cdma2000_hrpd", "gsm_compact", "gsm",
	"", "", "satellite_ng_ran", "ng_ran", "eutran_nb_s1", "eutran_wb_s1", "eutran", "utran",
}

func (v *SelectorList) fields(c *coder) {
	entries(c, &v.Entries, []byte{0xFF, 0xFF, 0xFF, 0, 0}, func(c *coder, s *Selector) {
		plmn(c, &s.PLMN)
		c.flags(&s.Access, 2, accessBits...)
	})
}

// SearchPeriod is EF.HPPLMN (TS 31.102, 4.2.6): the period between searches for a
// network of higher priority, in units of 6 minutes as a rule; 0 is no search.
type SearchPeriod struct {
	Period uint8 `json:"period"`
}

func (v *SearchPeriod) fields(c *coder) { c.u8(&v.Period) }

// HomeDisplay is EF.EHPLMNPI (TS 31.102, 4.2.85): which equivalent home networks a
// terminal shows.
type HomeDisplay struct {
	Show string `json:"show"`
}

func (v *HomeDisplay) fields(c *coder) {
	c.enum(&v.Show, names{0: "no_preference", 1: "highest_priority_only", 2: "all"})
}

// LastNetwork is EF.LRPLMNSI (TS 31.102, 4.2.86): where a terminal registers after
// it has been switched on.
type LastNetwork struct {
	RegisterOn string `json:"register_on"`
}

func (v *LastNetwork) fields(c *coder) {
	c.enum(&v.RegisterOn, names{0: "last_network", 1: "home_network"})
}

// DisplayedAsHome is EF.SPDI (TS 31.102, 4.2.66): networks that are shown with the
// name of the provider.
type DisplayedAsHome struct {
	PLMNs []PLMN   `json:"plmns"`
	Other []Object `json:"other,omitempty"`
}

func (v *DisplayedAsHome) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0xA3, v, func(c *coder, v *DisplayedAsHome) {
			c.nested(func(o *objects) {
				required(o, 0x80, &v.PLMNs, plmnsField)
				o.others(&v.Other)
			})
		})
	})
}

func plmnsField(c *coder, p *[]PLMN) { entries(c, p, filling(plmnBytes), plmn) }

// NetworkNames is a record of EF.PNN (TS 31.102, 4.2.58).
type NetworkNames struct {
	Full  NetworkName  `json:"full"`
	Short *NetworkName `json:"short,omitempty"`
	// Additional is information about the network as in TS 31.102.
	Additional *Alpha   `json:"additional,omitempty"`
	Other      []Object `json:"other,omitempty"`
}

func (v *NetworkNames) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0x43, &v.Full, networkName)
		optional(o, 0x45, &v.Short, networkName)
		optional(o, 0x80, &v.Additional, alphaField)
		o.others(&v.Other)
	})
}

// AreaName is a record of EF.OPL (TS 31.102, 4.2.59): the areas of a network that
// have a name in EF.PNN.
type AreaName struct {
	PLMN PLMN  `json:"plmn"`     // D stands for any digit
	From Hex   `json:"area_low"` // first location area or tracking area code
	To   Hex   `json:"area_high"`
	Name uint8 `json:"pnn_record"` // 0: the name is taken elsewhere
}

func (v *AreaName) fields(c *coder) {
	wildPLMN(c, &v.PLMN)
	c.hex(&v.From, 2)
	c.hex(&v.To, 2)
	c.u8(&v.Name)
}

// AreaName5G is a record of EF.OPL5G (TS 31.102, 4.4.11.9).
type AreaName5G struct {
	PLMN PLMN  `json:"plmn"`    // D stands for any digit
	From Hex   `json:"tac_low"` // first tracking area code
	To   Hex   `json:"tac_high"`
	Name uint8 `json:"pnn_record"` // 0: the name is taken elsewhere
}

func (v *AreaName5G) fields(c *coder) {
	wildPLMN(c, &v.PLMN)
	c.hex(&v.From, 3)
	c.hex(&v.To, 3)
	c.u8(&v.Name)
}

// Cooperative is EF.CNL (TS 31.102, 4.2.50): networks for which the terminal is
// personalised.
type Cooperative struct {
	Networks []CooperativeNetwork `json:"networks"`
}

// CooperativeNetwork is an entry of EF.CNL; FF in a code is no restriction.
type CooperativeNetwork struct {
	PLMN      PLMN  `json:"plmn"`
	Subset    uint8 `json:"network_subset"`
	Provider  uint8 `json:"service_provider"`
	Corporate uint8 `json:"corporate"`
}

func (v *Cooperative) fields(c *coder) {
	entries(c, &v.Networks, filling(6), func(c *coder, n *CooperativeNetwork) {
		plmn(c, &n.PLMN)
		c.u8(&n.Subset)
		c.u8(&n.Provider)
		c.u8(&n.Corporate)
	})
}

// SearchMultiplier is EF.MCHPPLMN (TS 31.102, 4.4.11.20): by what the period of
// EF.HPPLMN is multiplied under NG-RAN by satellite.
type SearchMultiplier struct {
	Multiplier uint8 `json:"multiplier"`
}

func (v *SearchMultiplier) fields(c *coder) { c.u8(&v.Multiplier) }

func networkFiles() []File {
	list := func() content { return &Networks{} }
	selectors := func() content { return &SelectorList{} }
	period := func() content { return &SearchPeriod{} }
	return []File{
		{Name: "EF.PLMNwAcT", Dir: DirUSIM, FID: 0x6F60, SFI: 0x0A, Structure: Transparent, Clause: "TS 31.102, 4.2.5", new: selectors},
		{Name: "EF.HPPLMN", Dir: DirUSIM, FID: usim.EFHPPLMN, SFI: usim.SFIHPPLMN, Structure: Transparent, Clause: "TS 31.102, 4.2.6", ones: true, new: period},
		{Name: "EF.FPLMN", Dir: DirUSIM, FID: usim.EFFPLMN, SFI: usim.SFIFPLMN, Structure: Transparent, Clause: "TS 31.102, 4.2.16", ones: true, new: list},
		{Name: "EF.CNL", Dir: DirUSIM, FID: 0x6F32, Structure: Transparent, Clause: "TS 31.102, 4.2.50", ones: true, new: func() content { return &Cooperative{} }},
		{Name: "EF.OPLMNwAcT", Dir: DirUSIM, FID: 0x6F61, SFI: 0x11, Structure: Transparent, Clause: "TS 31.102, 4.2.53", new: selectors},
		{Name: "EF.HPLMNwAcT", Dir: DirUSIM, FID: 0x6F62, SFI: 0x13, Structure: Transparent, Clause: "TS 31.102, 4.2.54", new: selectors},
		{Name: "EF.PNN", Dir: DirUSIM, FID: 0x6FC5, SFI: 0x19, Structure: LinearFixed, Clause: "TS 31.102, 4.2.58", new: func() content { return &NetworkNames{} }},
		{Name: "EF.OPL", Dir: DirUSIM, FID: 0x6FC6, SFI: 0x1A, Structure: LinearFixed, Clause: "TS 31.102, 4.2.59", new: func() content { return &AreaName{} }},
		{Name: "EF.SPDI", Dir: DirUSIM, FID: 0x6FCD, SFI: 0x1B, Structure: Transparent, Clause: "TS 31.102, 4.2.66", new: func() content { return &DisplayedAsHome{} }},
		{Name: "EF.EHPLMN", Dir: DirUSIM, FID: 0x6FD9, SFI: 0x1D, Structure: Transparent, Clause: "TS 31.102, 4.2.84", ones: true, new: list},
		{Name: "EF.EHPLMNPI", Dir: DirUSIM, FID: 0x6FDB, Structure: Transparent, Clause: "TS 31.102, 4.2.85", new: func() content { return &HomeDisplay{} }},
		{Name: "EF.LRPLMNSI", Dir: DirUSIM, FID: 0x6FDC, Structure: Transparent, Clause: "TS 31.102, 4.2.86", new: func() content { return &LastNetwork{} }},
		{Name: "EF.OPL5G", Dir: Dir5GS, FID: 0x4F08, SFI: 0x08, Structure: LinearFixed, Clause: "TS 31.102, 4.4.11.9", new: func() content { return &AreaName5G{} }},
		{Name: "EF.MCHPPLMN", Dir: Dir5GS, FID: 0x4F15, SFI: 0x15, Structure: Transparent, Clause: "TS 31.102, 4.4.11.20", ones: true, new: func() content { return &SearchMultiplier{} }},
		{Name: "EF.PLMNsel", Dir: DirGSM, FID: 0x6F30, Structure: Transparent, Clause: "TS 51.011, 10.3.4", ones: true, new: list},
		{Name: "EF.HPPLMN", Dir: DirGSM, FID: usim.EFHPPLMN, Structure: Transparent, Clause: "TS 51.011, 10.3.5", ones: true, new: period},
		{Name: "EF.FPLMN", Dir: DirGSM, FID: usim.EFFPLMN, Structure: Transparent, Clause: "TS 51.011, 10.3.16", ones: true, new: list},
		{Name: "EF.PLMNwAcT", Dir: DirGSM, FID: 0x6F60, Structure: Transparent, Clause: "TS 51.011, 10.3.35", new: selectors},
		{Name: "EF.OPLMNwAcT", Dir: DirGSM, FID: 0x6F61, Structure: Transparent, Clause: "TS 51.011, 10.3.36", new: selectors},
		{Name: "EF.HPLMNwAcT", Dir: DirGSM, FID: 0x6F62, Structure: Transparent, Clause: "TS 51.011, 10.3.37", new: selectors},
	}
}
