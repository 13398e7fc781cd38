package ef

import "mcim/apdu/usim"

// EmergencyCode is a record of EF.ECC (TS 31.102, 4.2.21).
type EmergencyCode struct {
	Code string `json:"code"` // up to 6 digits
	Name Alpha  `json:"name"`
	// Services are the categories of TS 24.008, 10.5.4.33.
	Services []string `json:"services"`
}

const emergencyFixed = 4 // bytes beside the name

func (v *EmergencyCode) fields(c *coder) {
	name := c.left() - emergencyFixed
	c.digits(&v.Code, 3)
	c.alpha(&v.Name, name)
	c.flags(&v.Services, 1, "police", "ambulance", "fire_brigade", "marine_guard", "mountain_rescue", "manual_ecall", "automatic_ecall")
}

// Mailboxes is a record of EF.MBI (TS 31.102, 4.2.62): records of EF.MBDN, 0 is
// none.
type Mailboxes struct {
	Voicemail uint8 `json:"voicemail"`
	Fax       uint8 `json:"fax"`
	Email     uint8 `json:"email"`
	Other     uint8 `json:"other"`
	// Video is absent in records of 4 bytes.
	Video *uint8 `json:"videomail,omitempty"`
}

func (v *Mailboxes) fields(c *coder) {
	c.u8(&v.Voicemail)
	c.u8(&v.Fax)
	c.u8(&v.Email)
	c.u8(&v.Other)
	lastByte(c, &v.Video)
}

// lastByte is a byte that shorter records do not have.
func lastByte(c *coder, p **uint8) {
	if !c.writing {
		if len(c.in) == 0 {
			return
		}
		*p = new(uint8)
	}
	if *p != nil {
		c.u8(*p)
	}
}

// MessagesWaiting is a record of EF.MWIS (TS 31.102, 4.2.63).
type MessagesWaiting struct {
	Waiting   []string `json:"waiting"`
	Voicemail uint8    `json:"voicemail"` // number of messages
	Fax       uint8    `json:"fax"`
	Email     uint8    `json:"email"`
	Other     uint8    `json:"other"`
	// Video is absent in records of 5 bytes.
	Video *uint8 `json:"videomail,omitempty"`
}

func (v *MessagesWaiting) fields(c *coder) {
	c.flags(&v.Waiting, 1, "voicemail", "fax", "email", "other", "videomail")
	c.u8(&v.Voicemail)
	c.u8(&v.Fax)
	c.u8(&v.Email)
	c.u8(&v.Other)
	lastByte(c, &v.Video)
}

// Forwarding is a record of EF.CFIS (TS 31.102, 4.2.64): unconditional call
// forwarding.
type Forwarding struct {
	Profile    uint8    `json:"profile"` // 1 to 4
	Active     []string `json:"active"`
	Number     *Number  `json:"number,omitempty"`
	Capability uint8    `json:"capability_record"`
	Extension  uint8    `json:"extension_record"` // 255: none
}

func (v *Forwarding) fields(c *coder) {
	c.u8(&v.Profile)
	c.flags(&v.Active, 1, "voice", "fax", "data")
	c.number(&v.Number, inBytes)
	c.u8(&v.Capability)
	c.u8(&v.Extension)
}

// CallMeter is EF.ACMmax (TS 31.102, 4.2.7; 0: no limit), and a record of EF.ACM
// (4.2.9), in units of charge.
type CallMeter struct {
	Units uint32 `json:"units"` // 24 bit
}

func (v *CallMeter) fields(c *coder) { c.u24(&v.Units) }

// CallTimer is a record of EF.ICT (TS 31.102, 4.2.35) and EF.OCT (4.2.36).
type CallTimer struct {
	Seconds uint32 `json:"seconds"` // 24 bit
}

func (v *CallTimer) fields(c *coder) { c.u24(&v.Seconds) }

var priorityLevels = []string{"a", "b", "0", "1", "2", "3", "4"}

// Precedence is EF.eMLPP (TS 31.102, 4.2.39): priority levels that are subscribed,
// and those with fast call set-up.
type Precedence struct {
	Levels []string `json:"levels"`
	Fast   []string `json:"fast_setup"`
}

func (v *Precedence) fields(c *coder) {
	c.flags(&v.Levels, 1, priorityLevels...)
	c.flags(&v.Fast, 1, priorityLevels...)
}

// AutomaticAnswer is EF.AAeM (TS 31.102, 4.2.40): priority levels at which a
// terminal answers by itself.
type AutomaticAnswer struct {
	Levels []string `json:"levels"`
}

func (v *AutomaticAnswer) fields(c *coder) { c.flags(&v.Levels, 1, priorityLevels...) }

// NumberURI is a record of EF.FDNURI (TS 31.102, 4.2.97), EF.BDNURI (4.2.98) and
// EF.SDNURI (4.2.99).
type NumberURI struct {
	URI   string   `json:"uri"`
	Name  *Alpha   `json:"name,omitempty"`
	Other []Object `json:"other,omitempty"`
}

func (v *NumberURI) fields(c *coder) {
	c.objects(func(o *objects) {
		required(o, 0x80, &v.URI, textField)
		optional(o, 0x81, &v.Name, alphaField)
		o.others(&v.Other)
	})
}

func callFiles() []File {
	meter := func() content { return &CallMeter{} }
	timer := func() content { return &CallTimer{} }
	uri := func() content { return &NumberURI{} }
	return []File{
		{Name: "EF.ACMmax", Dir: DirUSIM, FID: 0x6F37, Structure: Transparent, Clause: "TS 31.102, 4.2.7", ones: true, new: meter},
		{Name: "EF.ACM", Dir: DirUSIM, FID: 0x6F39, SFI: 0x1C, Structure: Cyclic, Clause: "TS 31.102, 4.2.9", ones: true, new: meter},
		{Name: "EF.ECC", Dir: DirUSIM, FID: usim.EFECC, SFI: usim.SFIECC, Structure: LinearFixed, Clause: "TS 31.102, 4.2.21", new: func() content { return &EmergencyCode{} }},
		{Name: "EF.ICT", Dir: DirUSIM, FID: 0x6F82, Structure: Cyclic, Clause: "TS 31.102, 4.2.35", ones: true, new: timer},
		{Name: "EF.OCT", Dir: DirUSIM, FID: 0x6F83, Structure: Cyclic, Clause: "TS 31.102, 4.2.36", ones: true, new: timer},
		{Name: "EF.eMLPP", Dir: DirUSIM, FID: 0x6FB5, Structure: Transparent, Clause: "TS 31.102, 4.2.39", new: func() content { return &Precedence{} }},
		{Name: "EF.AAeM", Dir: DirUSIM, FID: 0x6FB6, Structure: Transparent, Clause: "TS 31.102, 4.2.40", new: func() content { return &AutomaticAnswer{} }},
		{Name: "EF.MBI", Dir: DirUSIM, FID: 0x6FC9, Structure: LinearFixed, Clause: "TS 31.102, 4.2.62", new: func() content { return &Mailboxes{} }},
		{Name: "EF.MWIS", Dir: DirUSIM, FID: 0x6FCA, Structure: LinearFixed, Clause: "TS 31.102, 4.2.63", new: func() content { return &MessagesWaiting{} }},
		{Name: "EF.CFIS", Dir: DirUSIM, FID: 0x6FCB, Structure: LinearFixed, Clause: "TS 31.102, 4.2.64", new: func() content { return &Forwarding{} }},
		{Name: "EF.FDNURI", Dir: DirUSIM, FID: 0x6FED, Structure: LinearFixed, Clause: "TS 31.102, 4.2.97", new: uri},
		{Name: "EF.BDNURI", Dir: DirUSIM, FID: 0x6FEE, Structure: LinearFixed, Clause: "TS 31.102, 4.2.98", new: uri},
		{Name: "EF.SDNURI", Dir: DirUSIM, FID: 0x6FEF, Structure: LinearFixed, Clause: "TS 31.102, 4.2.99", new: uri},
	}
}
