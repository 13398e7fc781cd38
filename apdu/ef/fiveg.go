package ef

// AccessIdentities is EF.UAC_AIC (TS 31.102, 4.4.11.7).
type AccessIdentities struct {
	Identities []string `json:"identities"`
	RFU        Hex      `json:"rfu,omitempty"`
}

func (v *AccessIdentities) fields(c *coder) {
	c.flags(&v.Identities, 1, "multimedia_priority", "mission_critical")
	c.rest(&v.RFU)
}

// SUCIInfo is EF.SUCI_Calc_Info (TS 31.102, 4.4.11.8): how a terminal conceals the
// SUPI.
type SUCIInfo struct {
	// Schemes are in the order of preference.
	Schemes []ProtectionScheme `json:"schemes"`
	Keys    *[]HomeKey         `json:"home_network_keys,omitempty"`
	Other   []Object           `json:"other,omitempty"`
}

// ProtectionScheme is a protection scheme (TS 33.501, annex C) and its key.
type ProtectionScheme struct {
	Scheme string `json:"scheme"`
	// Key is the place of its key in the list, from 1; 0 is none.
	Key uint8 `json:"key_index"`
}

// HomeKey is a public key of the home network.
type HomeKey struct {
	ID uint8 `json:"id"`
	// Key is an X25519 key of 32 bytes for profile A, a point of secp256r1 of 33 or
	// 65 bytes for profile B.
	Key Hex `json:"public_key"`
}

var schemes = names{0: "null", 1: "profile_a", 2: "profile_b"}

func (v *SUCIInfo) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0xA0, &v.Schemes, func(c *coder, p *[]ProtectionScheme) {
			entries(c, p, filling(2), func(c *coder, s *ProtectionScheme) {
				c.enum(&s.Scheme, schemes)
				c.u8(&s.Key)
			})
		})
		optional(o, 0xA1, &v.Keys, homeKeys)
		o.others(&v.Other)
	})
}

func homeKeys(c *coder, p *[]HomeKey) {
	c.nested(func(o *objects) {
		if !c.writing {
			*p = []HomeKey{}
		}
		for i := 0; c.writing && i < len(*p) || !c.writing && len(o.list) > 0 && c.err == nil; i++ {
			if !c.writing {
				*p = append(*p, HomeKey{})
			}
			required(o, 0x80, &(*p)[i].ID, byteField)
			required(o, 0x81, &(*p)[i].Key, bytesField)
		}
	})
}

// SUPI is EF.SUPI_NAI (TS 31.102, 4.4.11.10): one of three kinds of a network
// access identifier.
type SUPI struct {
	NSI *string `json:"network_specific,omitempty"`
	GLI *string `json:"global_line,omitempty"`
	GCI *string `json:"global_cable,omitempty"`
}

func (v *SUPI) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0x80, &v.NSI, textField)
		optional(o, 0x81, &v.GLI, textField)
		optional(o, 0x82, &v.GCI, textField)
	})
}

// RoutingIndicator is EF.Routing_Indicator (TS 31.102, 4.4.11.11).
type RoutingIndicator struct {
	Digits string `json:"routing_indicator"` // 1 to 4 digits
	RFU    Hex    `json:"rfu,omitempty"`
}

func (v *RoutingIndicator) fields(c *coder) {
	c.digits(&v.Digits, 2)
	c.rest(&v.RFU)
}

// TrustedNames is EF.TN3GPPSNN (TS 31.102, 4.4.11.13): names of serving networks
// of trusted non-3GPP access.
type TrustedNames struct {
	Names []string `json:"serving_network_names"`
}

func (v *TrustedNames) fields(c *coder) {
	c.objects(func(o *objects) { repeated(o, 0x80, &v.Names, textField) })
}

// DisasterRoaming is EF.DRI (TS 31.102, 4.4.11.17).
type DisasterRoaming struct {
	Enabled []string `json:"enabled"`
	// Present are the parameters that the file has. The bytes of the others are kept
	// all the same.
	Present    []string `json:"present"`
	Wait       Hex      `json:"roaming_wait_range"` // 2 bytes (TS 24.501, 9.11.3.84)
	Return     Hex      `json:"return_wait_range"`
	Applicable uint8    `json:"applicability"` // of the list of a visited network
	// PLMNs is the list of networks for a disaster as it is, and what follows.
	PLMNs Hex `json:"disaster_plmns,omitempty"`
}

func (v *DisasterRoaming) fields(c *coder) {
	c.flags(&v.Enabled, 1, "disaster_roaming")
	c.present(&v.Present, "roaming_wait_range", "return_wait_range", "applicability", "disaster_plmns")
	c.hex(&v.Wait, 2)
	c.hex(&v.Return, 2)
	c.u8(&v.Applicable)
	c.rest(&v.PLMNs)
}

// DRX is EF.5GSEDRX (TS 31.102, 4.4.11.18).
type DRX struct {
	Access []string `json:"access"`
	Cycle  uint8    `json:"edrx_cycle"` // TS 24.008, 10.5.5.32
	RFU    Hex      `json:"rfu,omitempty"`
}

func (v *DRX) fields(c *coder) {
	c.flags(&v.Access, 1, "ng_ran", "satellite_ng_ran")
	c.u8(&v.Cycle)
	c.rest(&v.RFU)
}

// NSWO is EF.5GNSWO_CONF (TS 31.102, 4.4.11.19): whether authentication for
// offload to a WLAN conceals the SUPI as 5G does.
type NSWO struct {
	Use string `json:"5g_nswo"`
	RFU Hex    `json:"rfu,omitempty"`
}

func (v *NSWO) fields(c *coder) {
	c.enum(&v.Use, names{0: "disabled", 1: "enabled"})
	c.rest(&v.RFU)
}

// KAUSFDerivation is EF.KAUSF_DERIVATION (TS 31.102, 4.4.11.21).
type KAUSFDerivation struct {
	Config []string `json:"config"`
	RFU    Hex      `json:"rfu,omitempty"`
}

func (v *KAUSFDerivation) fields(c *coder) {
	c.flags(&v.Config, 1, "use_msk")
	c.rest(&v.RFU)
}

func fivegFiles() []File {
	return []File{
		{Name: "EF.UAC_AIC", Dir: Dir5GS, FID: 0x4F06, SFI: 0x06, Structure: Transparent, Clause: "TS 31.102, 4.4.11.7", new: func() content { return &AccessIdentities{} }},
		{Name: "EF.SUCI_Calc_Info", Dir: Dir5GS, FID: 0x4F07, SFI: 0x07, Structure: Transparent, Clause: "TS 31.102, 4.4.11.8", new: func() content { return &SUCIInfo{} }},
		{Name: "EF.SUPI_NAI", Dir: Dir5GS, FID: 0x4F09, SFI: 0x09, Structure: Transparent, Clause: "TS 31.102, 4.4.11.10", new: func() content { return &SUPI{} }},
		{Name: "EF.Routing_Indicator", Dir: Dir5GS, FID: 0x4F0A, SFI: 0x0A, Structure: Transparent, Clause: "TS 31.102, 4.4.11.11", new: func() content { return &RoutingIndicator{} }},
		{Name: "EF.TN3GPPSNN", Dir: Dir5GS, FID: 0x4F0C, SFI: 0x0C, Structure: Transparent, Clause: "TS 31.102, 4.4.11.13", new: func() content { return &TrustedNames{} }},
		{Name: "EF.DRI", Dir: Dir5GS, FID: 0x4F0F, SFI: 0x0F, Structure: Transparent, Clause: "TS 31.102, 4.4.11.17", new: func() content { return &DisasterRoaming{} }},
		{Name: "EF.5GSEDRX", Dir: Dir5GS, FID: 0x4F10, SFI: 0x10, Structure: Transparent, Clause: "TS 31.102, 4.4.11.18", new: func() content { return &DRX{} }},
		{Name: "EF.5GNSWO_CONF", Dir: Dir5GS, FID: 0x4F11, SFI: 0x11, Structure: Transparent, Clause: "TS 31.102, 4.4.11.19", new: func() content { return &NSWO{} }},
		{Name: "EF.KAUSF_DERIVATION", Dir: Dir5GS, FID: 0x4F16, SFI: 0x16, Structure: Transparent, Clause: "TS 31.102, 4.4.11.21", new: func() content { return &KAUSFDerivation{} }},
	}
}
