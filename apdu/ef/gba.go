package ef

// Bootstrapping is EF.GBABP (TS 31.102, 4.2.79; TS 31.103, 4.2.9): what names a
// bootstrapped key, not the key.
type Bootstrapping struct {
	RAND     Hex    `json:"rand"`
	BTID     string `json:"b_tid"`
	Lifetime string `json:"key_lifetime"`
}

func (v *Bootstrapping) fields(c *coder) {
	c.prefixed(func(c *coder) { bytesField(c, &v.RAND) })
	c.prefixed(func(c *coder) { c.allText(&v.BTID) })
	c.prefixed(func(c *coder) { c.allText(&v.Lifetime) })
}

// NAFID names a network application function: its domain name and the identifier
// of the protocol (TS 33.220, 4.5.2).
type NAFID struct {
	FQDN     string `json:"fqdn"`
	Protocol Hex    `json:"ua_protocol"` // 5 bytes
}

const protocolBytes = 5

func nafID(c *coder, p *NAFID) {
	n := len(p.FQDN)
	if !c.writing {
		n = len(c.in) - protocolBytes
	}
	c.text(&p.FQDN, n)
	c.hex(&p.Protocol, protocolBytes)
}

// NAF is a record of EF.GBANL (TS 31.102, 4.2.83; TS 31.103, 4.2.10).
type NAF struct {
	ID   *NAFID  `json:"naf_id,omitempty"`
	BTID *string `json:"b_tid,omitempty"`
}

func (v *NAF) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0x80, &v.ID, nafID)
		optional(o, 0x81, &v.BTID, textField)
	})
}

// KeyCentre is a record of EF.NAFKCA (TS 31.102, 4.2.87; TS 31.103, 4.2.11).
type KeyCentre struct {
	Address string `json:"naf_key_centre"`
}

func (v *KeyCentre) fields(c *coder) {
	c.objects(func(o *objects) { required(o, 0x80, &v.Address, textField) })
}

// ServiceKeys is a record of EF.MSK (TS 31.102, 4.2.80): which MBMS service keys
// of a domain the card has, not the keys.
type ServiceKeys struct {
	Domain Hex         `json:"key_domain"` // 3 bytes
	Keys   []KeyStamps `json:"keys"`
}

// KeyStamps names a key and the counter of the last message with it.
type KeyStamps struct {
	ID      Hex    `json:"msk_id"` // 4 bytes
	Counter uint32 `json:"timestamp_counter"`
}

func (v *ServiceKeys) fields(c *coder) {
	c.hex(&v.Domain, 3)
	n := uint8(len(v.Keys))
	if len(v.Keys) > 0xFF {
		c.fail("%d keys, want 255 at most", len(v.Keys))
	}
	c.u8(&n)
	if !c.writing {
		if 8*int(n) > len(c.in) {
			c.fail("%d keys do not fit the %d bytes left", n, len(c.in))
			return
		}
		v.Keys = make([]KeyStamps, n)
	}
	for i := range v.Keys {
		c.hex(&v.Keys[i].ID, 4)
		c.u32(&v.Keys[i].Counter)
	}
}

// UserKey is a record of EF.MUK (TS 31.102, 4.2.81): which MBMS user key the card
// has, not the key.
type UserKey struct {
	ID      *UserKeyID `json:"muk_id,omitempty"`
	Counter *uint32    `json:"timestamp_counter,omitempty"`
}

// UserKeyID is the two parts of the identifier of a MBMS user key.
type UserKeyID struct {
	IDr *string `json:"muk_idr,omitempty"`
	IDi *string `json:"muk_idi,omitempty"`
}

func (v *UserKey) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0xA0, &v.ID, func(c *coder, id *UserKeyID) {
			c.nested(func(o *objects) {
				optional(o, 0x80, &id.IDr, textField)
				optional(o, 0x82, &id.IDi, textField)
			})
		})
		optional(o, 0x81, &v.Counter, countField)
	})
}

func gbaFiles() []File {
	bootstrapping := func() content { return &Bootstrapping{} }
	naf := func() content { return &NAF{} }
	centre := func() content { return &KeyCentre{} }
	return []File{
		{Name: "EF.GBABP", Dir: DirUSIM, FID: 0x6FD6, Structure: Transparent, Clause: "TS 31.102, 4.2.79", new: bootstrapping},
		{Name: "EF.MSK", Dir: DirUSIM, FID: 0x6FD7, Structure: LinearFixed, Clause: "TS 31.102, 4.2.80", new: func() content { return &ServiceKeys{} }},
		{Name: "EF.MUK", Dir: DirUSIM, FID: 0x6FD8, Structure: LinearFixed, Clause: "TS 31.102, 4.2.81", new: func() content { return &UserKey{} }},
		{Name: "EF.GBANL", Dir: DirUSIM, FID: 0x6FDA, Structure: LinearFixed, Clause: "TS 31.102, 4.2.83", new: naf},
		{Name: "EF.NAFKCA", Dir: DirUSIM, FID: 0x6FDD, Structure: LinearFixed, Clause: "TS 31.102, 4.2.87", new: centre},
		{Name: "EF.GBABP", Dir: DirISIM, FID: 0x6FD5, Structure: Transparent, Clause: "TS 31.103, 4.2.9", new: bootstrapping},
		{Name: "EF.GBANL", Dir: DirISIM, FID: 0x6FD7, Structure: LinearFixed, Clause: "TS 31.103, 4.2.10", new: naf},
		{Name: "EF.NAFKCA", Dir: DirISIM, FID: 0x6FDD, Structure: LinearFixed, Clause: "TS 31.103, 4.2.11", new: centre},
	}
}
