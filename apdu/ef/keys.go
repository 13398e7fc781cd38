package ef

import "mcim/apdu/usim"

// Keys is EF.Keys (TS 31.102, 4.2.3) and EF.KeysPS (4.2.4).
type Keys struct {
	KSI uint8 `json:"ksi"` // key set identifier; 7: no key
	CK  Key   `json:"ck"`
	IK  Key   `json:"ik"`
}

func (v *Keys) fields(c *coder) {
	c.u8(&v.KSI)
	c.key(&v.CK, 16)
	c.key(&v.IK, 16)
}

// GSMKey is EF.Kc and EF.KcGPRS (TS 31.102, 4.4.3.1 and 4.4.3.2; TS 51.011, 10.3.3
// and 10.3.32).
type GSMKey struct {
	Kc   Key   `json:"kc"`
	CKSN uint8 `json:"cksn"` // ciphering key sequence number; 7: no key
}

func (v *GSMKey) fields(c *coder) {
	c.key(&v.Kc, 8)
	c.u8(&v.CKSN)
}

// NASAlgorithms are the algorithms of a NAS security context (TS 24.301, 9.9.3.23;
// TS 24.501, 9.11.3.34).
type NASAlgorithms struct {
	Ciphering uint8 `json:"ciphering"` // 4 bits
	Integrity uint8 `json:"integrity"` // 4 bits
}

func algorithms(c *coder, p *NASAlgorithms) {
	b := p.Ciphering<<4 | p.Integrity
	if c.writing && (p.Ciphering > 0x0F || p.Integrity > 0x0F) {
		c.fail("algorithms %d and %d, want 0 to 15", p.Ciphering, p.Integrity)
	}
	c.u8(&b)
	if !c.writing {
		p.Ciphering, p.Integrity = b>>4, b&0x0F
	}
}

// NASContext is a record of EF.EPSNSC (TS 31.102, 4.2.92).
type NASContext struct {
	KSI        *uint8         `json:"ksi_asme,omitempty"`
	KASME      *Key           `json:"k_asme,omitempty"`
	Uplink     *uint32        `json:"uplink_nas_count,omitempty"`
	Downlink   *uint32        `json:"downlink_nas_count,omitempty"`
	Algorithms *NASAlgorithms `json:"algorithms,omitempty"`
}

func (v *NASContext) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0xA0, v, func(c *coder, v *NASContext) {
			c.nested(func(o *objects) {
				optional(o, 0x80, &v.KSI, byteField)
				optional(o, 0x81, &v.KASME, keyField)
				optional(o, 0x82, &v.Uplink, countField)
				optional(o, 0x83, &v.Downlink, countField)
				optional(o, 0x84, &v.Algorithms, algorithms)
			})
		})
	})
}

// NASContext5G is a record of EF.5GS3GPPNSC (TS 31.102, 4.4.11.4) and
// EF.5GSN3GPPNSC (4.4.11.5).
type NASContext5G struct {
	KSI           *uint8         `json:"ng_ksi,omitempty"`
	KAMF          *Key           `json:"k_amf,omitempty"`
	Uplink        *uint32        `json:"uplink_nas_count,omitempty"`
	Downlink      *uint32        `json:"downlink_nas_count,omitempty"`
	Algorithms    *NASAlgorithms `json:"algorithms,omitempty"`
	EPSAlgorithms *NASAlgorithms `json:"eps_algorithms,omitempty"`
}

func (v *NASContext5G) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0xA0, v, func(c *coder, v *NASContext5G) {
			c.nested(func(o *objects) {
				optional(o, 0x80, &v.KSI, byteField)
				optional(o, 0x81, &v.KAMF, keyField)
				optional(o, 0x82, &v.Uplink, countField)
				optional(o, 0x83, &v.Downlink, countField)
				optional(o, 0x84, &v.Algorithms, algorithms)
				optional(o, 0x85, &v.EPSAlgorithms, algorithms)
			})
		})
	})
}

// AuthKeys5G is EF.5GAUTHKEYS (TS 31.102, 4.4.11.6).
type AuthKeys5G struct {
	KAUSF *Key `json:"k_ausf,omitempty"`
	KSEAF *Key `json:"k_seaf,omitempty"`
	// SOR is the counter of steering of roaming, UPU that of UE parameter updates.
	SOR *uint16 `json:"sor_counter,omitempty"`
	UPU *uint16 `json:"upu_counter,omitempty"`
}

func (v *AuthKeys5G) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0x80, &v.KAUSF, keyField)
		optional(o, 0x81, &v.KSEAF, keyField)
		optional(o, 0x82, &v.SOR, wordField)
		optional(o, 0x83, &v.UPU, wordField)
	})
}

func keyFiles() []File {
	keys := func() content { return &Keys{} }
	gsm := func() content { return &GSMKey{} }
	nsc := func() content { return &NASContext5G{} }
	return []File{
		{Name: "EF.Keys", Dir: DirUSIM, FID: usim.EFKeys, SFI: usim.SFIKeys, Structure: Transparent, Clause: "TS 31.102, 4.2.3", Secret: true, new: keys},
		{Name: "EF.KeysPS", Dir: DirUSIM, FID: usim.EFKeysPS, SFI: usim.SFIKeysPS, Structure: Transparent, Clause: "TS 31.102, 4.2.4", Secret: true, new: keys},
		{Name: "EF.EPSNSC", Dir: DirUSIM, FID: usim.EFEPSNSC, SFI: usim.SFIEPSNSC, Structure: LinearFixed, Clause: "TS 31.102, 4.2.92", Secret: true, new: func() content { return &NASContext{} }},
		{Name: "EF.Kc", Dir: DirGSMAccess, FID: 0x4F20, SFI: 0x01, Structure: Transparent, Clause: "TS 31.102, 4.4.3.1", Secret: true, new: gsm},
		{Name: "EF.KcGPRS", Dir: DirGSMAccess, FID: 0x4F52, SFI: 0x02, Structure: Transparent, Clause: "TS 31.102, 4.4.3.2", Secret: true, new: gsm},
		{Name: "EF.5GS3GPPNSC", Dir: Dir5GS, FID: 0x4F03, SFI: 0x03, Structure: LinearFixed, Clause: "TS 31.102, 4.4.11.4", Secret: true, new: nsc},
		{Name: "EF.5GSN3GPPNSC", Dir: Dir5GS, FID: 0x4F04, SFI: 0x04, Structure: LinearFixed, Clause: "TS 31.102, 4.4.11.5", Secret: true, new: nsc},
		{Name: "EF.5GAUTHKEYS", Dir: Dir5GS, FID: 0x4F05, SFI: 0x05, Structure: Transparent, Clause: "TS 31.102, 4.4.11.6", Secret: true, new: func() content { return &AuthKeys5G{} }},
		{Name: "EF.Kc", Dir: DirGSM, FID: 0x6F20, Structure: Transparent, Clause: "TS 51.011, 10.3.3", Secret: true, new: gsm},
		{Name: "EF.KcGPRS", Dir: DirGSM, FID: 0x6F52, Structure: Transparent, Clause: "TS 51.011, 10.3.32", Secret: true, new: gsm},
	}
}
