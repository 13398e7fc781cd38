package ef

import "net/netip"

// PrivateIdentity is EF.IMPI (TS 31.103, 4.2.2).
type PrivateIdentity struct {
	NAI string `json:"impi"`
}

func (v *PrivateIdentity) fields(c *coder) { onlyText(c, &v.NAI) }

// HomeDomain is EF.DOMAIN (TS 31.103, 4.2.3).
type HomeDomain struct {
	Domain string `json:"domain"`
}

func (v *HomeDomain) fields(c *coder) { onlyText(c, &v.Domain) }

// PublicIdentity is a record of EF.IMPU (TS 31.103, 4.2.4).
type PublicIdentity struct {
	URI string `json:"impu"`
}

func (v *PublicIdentity) fields(c *coder) { onlyText(c, &v.URI) }

// IARI is a record of EF.UICCIARI (TS 31.102, 4.2.95; TS 31.103, 4.2.16): an IMS
// application of the card.
type IARI struct {
	IARI string `json:"iari"`
}

func (v *IARI) fields(c *coder) { onlyText(c, &v.IARI) }

// WebRTC is a record of EF.WebRTCURI (TS 31.103, 4.2.20).
type WebRTC struct {
	URI string `json:"webrtc_uri"`
}

func (v *WebRTC) fields(c *coder) { onlyText(c, &v.URI) }

// onlyText is a data object 80 with a text.
func onlyText(c *coder, p *string) {
	c.objects(func(o *objects) { required(o, 0x80, p, textField) })
}

// Address is the address of a server: a domain name or an IP address.
type Address struct {
	Type    string `json:"type"` // fqdn, ipv4 or ipv6
	Address string `json:"address"`
}

var addressTypes = names{0: "fqdn", 1: "ipv4", 2: "ipv6"}

// address is a type and an address up to the end of a data object.
func address(c *coder, p *Address) {
	c.enum(&p.Type, addressTypes)
	switch {
	case p.Type == "fqdn":
		c.allText(&p.Address)
	case p.Type != "ipv4" && p.Type != "ipv6":
		c.fail("address of type %s, want fqdn, ipv4 or ipv6", p.Type)
	case c.writing:
		ip, err := netip.ParseAddr(p.Address)
		if err != nil || ip.Is4() != (p.Type == "ipv4") || ip.Zone() != "" {
			c.fail("%q is no address of type %s", p.Address, p.Type)
		}
		c.put(ip.AsSlice()...)
	default:
		n := map[string]int{"ipv4": 4, "ipv6": 16}[p.Type]
		ip, _ := netip.AddrFromSlice(c.take(n))
		p.Address = ip.String()
	}
}

// ProxyAddress is a record of EF.P-CSCF (TS 31.103, 4.2.8).
type ProxyAddress struct {
	PCSCF Address `json:"p_cscf"`
}

func (v *ProxyAddress) fields(c *coder) {
	c.objects(func(o *objects) { required(o, 0x80, &v.PCSCF, address) })
}

// Gateways is EF.ePDGId (TS 31.102, 4.2.103) and EF.ePDGIdEm
// (4.2.104a): gateways to the
// home network for untrusted access.
type Gateways struct {
	Gateways []Address `json:"epdg"`
}

func (v *Gateways) fields(c *coder) {
	c.objects(func(o *objects) { repeated(o, 0x80, &v.Gateways, address) })
}

// GatewaySelection is EF.ePDGSelection (TS 31.102, 4.2.104) and
// EF.ePDGSelectionEm (4.2.105).
type GatewaySelection struct {
	Entries []GatewayChoice `json:"entries"`
}

// GatewayChoice tells how the name of a gateway is made in a network.
type GatewayChoice struct {
	PLMN     PLMN   `json:"plmn"`
	Priority uint16 `json:"priority"`
	Format   string `json:"fqdn_format"`
}

const choiceBytes = 6

func (v *GatewaySelection) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0x80, &v.Entries, func(c *coder, p *[]GatewayChoice) {
			entries(c, p, filling(choiceBytes), func(c *coder, g *GatewayChoice) {
				plmn(c, &g.PLMN)
				c.u16(&g.Priority)
				c.enum(&g.Format, names{0: "operator_identifier", 1: "location_based"})
			})
		})
	})
}

// FromPreferred is EF.FromPreferred (TS 31.102, 4.2.106; TS 31.103, 4.2.17).
type FromPreferred struct {
	Use []string `json:"use"`
}

func (v *FromPreferred) fields(c *coder) { c.flags(&v.Use, 1, "from_preferred") }

// DataChannel is EF.IMSDCI (TS 31.103, 4.2.23).
type DataChannel struct {
	DataChannel string `json:"ims_data_channel"`
}

func (v *DataChannel) fields(c *coder) {
	c.enum(&v.DataChannel, names{0: "not_allowed", 1: "after_ims_session", 2: "with_ims_session"})
}

func imsFiles() []File {
	iari := func() content { return &IARI{} }
	gateways := func() content { return &Gateways{} }
	selection := func() content { return &GatewaySelection{} }
	preferred := func() content { return &FromPreferred{} }
	return []File{
		{Name: "EF.UICCIARI", Dir: DirUSIM, FID: 0x6FE7, Structure: LinearFixed, Clause: "TS 31.102, 4.2.95", new: iari},
		{Name: "EF.ePDGId", Dir: DirUSIM, FID: 0x6FF3, Structure: Transparent, Clause: "TS 31.102, 4.2.103", new: gateways},
		{Name: "EF.ePDGSelection", Dir: DirUSIM, FID: 0x6FF4, Structure: Transparent, Clause: "TS 31.102, 4.2.104", new: selection},
		{Name: "EF.ePDGIdEm", Dir: DirUSIM, FID: 0x6FF5, Structure: Transparent, Clause: "TS 31.102, 4.2.104a", new: gateways},
		{Name: "EF.ePDGSelectionEm", Dir: DirUSIM, FID: 0x6FF6, Structure: Transparent, Clause: "TS 31.102, 4.2.105", new: selection},
		{Name: "EF.FromPreferred", Dir: DirUSIM, FID: 0x6FF7, Structure: Transparent, Clause: "TS 31.102, 4.2.106", new: preferred},
		{Name: "EF.IMPI", Dir: DirISIM, FID: 0x6F02, SFI: 0x02, Structure: Transparent, Clause: "TS 31.103, 4.2.2", new: func() content { return &PrivateIdentity{} }},
		{Name: "EF.DOMAIN", Dir: DirISIM, FID: 0x6F03, SFI: 0x05, Structure: Transparent, Clause: "TS 31.103, 4.2.3", new: func() content { return &HomeDomain{} }},
		{Name: "EF.IMPU", Dir: DirISIM, FID: 0x6F04, SFI: 0x04, Structure: LinearFixed, Clause: "TS 31.103, 4.2.4", new: func() content { return &PublicIdentity{} }},
		{Name: "EF.P-CSCF", Dir: DirISIM, FID: 0x6F09, Structure: LinearFixed, Clause: "TS 31.103, 4.2.8", new: func() content { return &ProxyAddress{} }},
		{Name: "EF.UICCIARI", Dir: DirISIM, FID: 0x6FE7, Structure: LinearFixed, Clause: "TS 31.103, 4.2.16", new: iari},
		{Name: "EF.FromPreferred", Dir: DirISIM, FID: 0x6FF7, Structure: Transparent, Clause: "TS 31.103, 4.2.17", new: preferred},
		{Name: "EF.WebRTCURI", Dir: DirISIM, FID: 0x6FFA, Structure: LinearFixed, Clause: "TS 31.103, 4.2.20", new: func() content { return &WebRTC{} }},
		{Name: "EF.IMSDCI", Dir: DirISIM, FID: 0x6F0B, Structure: Transparent, Clause: "TS 31.103, 4.2.23", new: func() content { return &DataChannel{} }},
	}
}
