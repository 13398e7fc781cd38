package ef

import (
	"mcim/apdu/usim"
)

// IMSI is EF.IMSI (TS 31.102, 4.2.2).
type IMSI struct {
	IMSI usim.IMSI `json:"imsi"` // 6 to 15 digits
}

func (v *IMSI) fields(c *coder) { whole(c, &v.IMSI, usim.DecodeIMSI, usim.IMSI.Encode) }

// AccessClasses is EF.ACC (TS 31.102, 4.2.15).
type AccessClasses struct {
	Classes []int `json:"classes"` // 0 to 9 and 11 to 15
}

func (v *AccessClasses) fields(c *coder) {
	var acc usim.ACC
	if c.writing {
		for _, class := range v.Classes {
			if class < 0 || class > 15 {
				c.fail("access class %d, want 0 to 9 or 11 to 15", class)
				return
			}
			acc |= 1 << class
		}
	}
	whole(c, &acc, usim.DecodeACC, usim.ACC.Encode)
	if c.writing {
		return
	}
	v.Classes = []int{}
	for class := range 16 {
		if acc.Has(class) {
			v.Classes = append(v.Classes, class)
		}
	}
}

// operationModes are those of byte 1 of EF.AD (TS 31.102, 4.2.18).
var operationModes = names{
	0x00: "normal", 0x80: "type_approval", 0x01: "normal_and_specific_facilities",
	0x81: "type_approval_and_specific_facilities", 0x02: "maintenance_off_line", 0x04: "cell_test",
}

// AdministrativeData is EF.AD of a USIM (TS 31.102, 4.2.18).
type AdministrativeData struct {
	Mode string `json:"mode"`
	// Facilities are bytes 2 and 3.
	Facilities []string `json:"facilities"`
	MNCLength  uint8    `json:"mnc_length"` // digits of the MNC in the IMSI, 2 or 3
	RFU        Hex      `json:"rfu,omitempty"`
}

func (v *AdministrativeData) fields(c *coder) {
	c.enum(&v.Mode, operationModes)
	c.flags(&v.Facilities, 2, "ciphering_indicator", "csg_display_control", "prose_services", "extended_drx")
	c.u8(&v.MNCLength)
	if v.MNCLength != 2 && v.MNCLength != 3 {
		c.fail("an MNC of %d digits, want 2 or 3", v.MNCLength)
	}
	c.rest(&v.RFU)
}

// ISIMAdministrativeData is EF.AD of an ISIM (TS 31.103, 4.2.5).
type ISIMAdministrativeData struct {
	Mode       string   `json:"mode"`
	Facilities []string `json:"facilities"` // bytes 2 and 3
	RFU        Hex      `json:"rfu,omitempty"`
}

func (v *ISIMAdministrativeData) fields(c *coder) {
	c.enum(&v.Mode, operationModes)
	c.flags(&v.Facilities, 2)
	c.rest(&v.RFU)
}

// enabledServices are those of EF.EST.
var enabledServices = names{1: "fixed_dialling", 2: "barred_dialling", 3: "apn_control"}

// Enabled is EF.EST, which services the user has enabled (TS 31.102, 4.2.47).
type Enabled struct {
	Enabled []string `json:"enabled"`
}

func (v *Enabled) fields(c *coder) {
	list := []int{}
	if c.writing {
		for _, s := range v.Enabled {
			list = append(list, int(c.code(s, enabledServices)))
		}
	}
	services(c, &list)
	if c.writing {
		return
	}
	v.Enabled = []string{}
	for _, s := range list {
		if s > 0xFF {
			c.fail("a table with service %d, want 255 at most", s)
			return
		}
		v.Enabled = append(v.Enabled, enabledServices.name(uint8(s)))
	}
}

// SIMServices is EF.SST of DF.GSM (TS 51.011, 10.3.7): numbers of services, from 1.
type SIMServices struct {
	Allocated []int `json:"allocated"`
	Activated []int `json:"activated"`
}

func (v *SIMServices) fields(c *coder) {
	var bits []int
	if c.writing {
		for _, s := range v.Allocated {
			bits = append(bits, 2*s-1)
		}
		for _, s := range v.Activated {
			bits = append(bits, 2*s)
		}
	}
	services(c, &bits)
	if c.writing {
		return
	}
	v.Allocated, v.Activated = []int{}, []int{}
	for _, bit := range bits {
		if bit%2 == 1 {
			v.Allocated = append(v.Allocated, (bit+1)/2)
		} else {
			v.Activated = append(v.Activated, bit/2)
		}
	}
}

// ProviderName is EF.SPN (TS 31.102, 4.2.12).
type ProviderName struct {
	// Display: plmn_at_home asks to show the network's name beside the provider's
	// in the home network, name_hidden_abroad not to show the provider's elsewhere.
	Display []string `json:"display"`
	Name    Alpha    `json:"name"`
}

func (v *ProviderName) fields(c *coder) {
	c.flags(&v.Display, 1, "plmn_at_home", "name_hidden_abroad")
	c.alpha(&v.Name, c.left())
}

// Phase is EF.Phase of DF.GSM (TS 51.011, 10.3.19).
type Phase struct {
	Phase string `json:"phase"`
}

func (v *Phase) fields(c *coder) {
	c.enum(&v.Phase, names{0: "phase_1", 2: "phase_2", 3: "phase_2_with_profile_download"})
}

// EnhancedAKA is EF.eAKA (TS 31.102, 4.2.114).
type EnhancedAKA struct {
	Support []string `json:"support"`
	RFU     Hex      `json:"rfu,omitempty"`
}

func (v *EnhancedAKA) fields(c *coder) {
	c.flags(&v.Support, 1, "enhanced_sqn")
	c.rest(&v.RFU)
}

// WarningConfig is EF.PWS (TS 31.102, 4.2.96).
type WarningConfig struct {
	// Ignore are the networks whose warnings are not shown.
	Ignore []string `json:"ignore"`
	RFU    Hex      `json:"rfu,omitempty"`
}

func (v *WarningConfig) fields(c *coder) {
	c.flags(&v.Ignore, 1, "home_and_equivalent", "visited")
	c.rest(&v.RFU)
}

// PairingStatus is a record of EF.IPS (TS 31.102, 4.2.101).
type PairingStatus struct {
	Status string `json:"status"` // OK or KO
	Device uint8  `json:"device_record"`
	RFU    uint8  `json:"rfu"`
}

func (v *PairingStatus) fields(c *coder) {
	c.text(&v.Status, 2)
	c.u8(&v.Device)
	c.u8(&v.RFU)
}

// PairingDevice is a record of EF.IPD (TS 31.102, 4.2.102): one of the two, as
// digits.
type PairingDevice struct {
	IMEI   *string `json:"imei,omitempty"`
	IMEISV *string `json:"imeisv,omitempty"`
}

func (v *PairingDevice) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0x80, &v.IMEI, deviceDigits)
		optional(o, 0x81, &v.IMEISV, deviceDigits)
	})
}

func deviceDigits(c *coder, p *string) {
	n := len(c.in)
	if c.writing {
		n = (len(*p) + 1) / 2
	}
	c.digits(p, n)
}

// DepersonalizationKeys is EF.DCK (TS 31.102, 4.2.49): codes of 8 digits.
type DepersonalizationKeys struct {
	Network       Key `json:"network"`
	NetworkSubset Key `json:"network_subset"`
	Provider      Key `json:"service_provider"`
	Corporate     Key `json:"corporate"`
}

const controlKeyBytes = 4

func (v *DepersonalizationKeys) fields(c *coder) {
	c.key(&v.Network, controlKeyBytes)
	c.key(&v.NetworkSubset, controlKeyBytes)
	c.key(&v.Provider, controlKeyBytes)
	c.key(&v.Corporate, controlKeyBytes)
}

// HiddenKey is EF.Hiddenkey, the code that shows hidden entries of the phone book
// (TS 31.102, 4.2.42): the half-bytes are its 4 to 8 digits.
type HiddenKey struct {
	Key Key `json:"hidden_key"`
}

func (v *HiddenKey) fields(c *coder) { c.key(&v.Key, controlKeyBytes) }

func identityFiles() []File {
	imsi := func() content { return &IMSI{} }
	acc := func() content { return &AccessClasses{} }
	ad := func() content { return &AdministrativeData{} }
	spn := func() content { return &ProviderName{} }
	return []File{
		{Name: "EF.IMSI", Dir: DirUSIM, FID: usim.EFIMSI, SFI: usim.SFIIMSI, Structure: Transparent, Clause: "TS 31.102, 4.2.2", new: imsi},
		{Name: "EF.UST", Dir: DirUSIM, FID: usim.EFUST, SFI: usim.SFIUST, Structure: Transparent, Clause: "TS 31.102, 4.2.8", ones: true, new: func() content { return &Services{} }},
		{Name: "EF.SPN", Dir: DirUSIM, FID: 0x6F46, Structure: Transparent, Clause: "TS 31.102, 4.2.12", new: spn},
		{Name: "EF.ACC", Dir: DirUSIM, FID: usim.EFACC, SFI: usim.SFIACC, Structure: Transparent, Clause: "TS 31.102, 4.2.15", new: acc},
		{Name: "EF.AD", Dir: DirUSIM, FID: usim.EFAD, SFI: usim.SFIAD, Structure: Transparent, Clause: "TS 31.102, 4.2.18", new: ad},
		{Name: "EF.Hiddenkey", Dir: DirUSIM, FID: 0x6FC3, Structure: Transparent, Clause: "TS 31.102, 4.2.42", Secret: true, new: func() content { return &HiddenKey{} }},
		{Name: "EF.EST", Dir: DirUSIM, FID: 0x6F56, SFI: 0x05, Structure: Transparent, Clause: "TS 31.102, 4.2.47", new: func() content { return &Enabled{} }},
		{Name: "EF.DCK", Dir: DirUSIM, FID: 0x6F2C, Structure: Transparent, Clause: "TS 31.102, 4.2.49", Secret: true, new: func() content { return &DepersonalizationKeys{} }},
		{Name: "EF.PWS", Dir: DirUSIM, FID: 0x6FEC, Structure: Transparent, Clause: "TS 31.102, 4.2.96", new: func() content { return &WarningConfig{} }},
		{Name: "EF.IPS", Dir: DirUSIM, FID: 0x6FF1, Structure: Cyclic, Clause: "TS 31.102, 4.2.101", new: func() content { return &PairingStatus{} }},
		{Name: "EF.IPD", Dir: DirUSIM, FID: 0x6FF2, Structure: LinearFixed, Clause: "TS 31.102, 4.2.102", new: func() content { return &PairingDevice{} }},
		{Name: "EF.eAKA", Dir: DirUSIM, FID: 0x6F01, Structure: Transparent, Clause: "TS 31.102, 4.2.114", new: func() content { return &EnhancedAKA{} }},
		{Name: "EF.AD", Dir: DirISIM, FID: usim.EFAD, SFI: usim.SFIAD, Structure: Transparent, Clause: "TS 31.103, 4.2.5", new: func() content { return &ISIMAdministrativeData{} }},
		{Name: "EF.IST", Dir: DirISIM, FID: 0x6F07, SFI: 0x07, Structure: Transparent, Clause: "TS 31.103, 4.2.7", ones: true, new: func() content { return &ISIMServices{} }},
		{Name: "EF.IMSI", Dir: DirGSM, FID: usim.EFIMSI, Structure: Transparent, Clause: "TS 51.011, 10.3.2", new: imsi},
		{Name: "EF.SST", Dir: DirGSM, FID: 0x6F38, Structure: Transparent, Clause: "TS 51.011, 10.3.7", ones: true, new: func() content { return &SIMServices{} }},
		{Name: "EF.SPN", Dir: DirGSM, FID: 0x6F46, Structure: Transparent, Clause: "TS 51.011, 10.3.11", new: spn},
		{Name: "EF.ACC", Dir: DirGSM, FID: usim.EFACC, Structure: Transparent, Clause: "TS 51.011, 10.3.15", new: acc},
		{Name: "EF.Phase", Dir: DirGSM, FID: 0x6FAE, Structure: Transparent, Clause: "TS 51.011, 10.3.19", new: func() content { return &Phase{} }},
		{Name: "EF.AD", Dir: DirGSM, FID: usim.EFAD, Structure: Transparent, Clause: "TS 51.011, 10.3.18", new: ad},
	}
}
