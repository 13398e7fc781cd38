package ef

// PhoneBookReference is a record of EF.PBR (TS 31.102, 4.4.2.1): the files that an
// entry of the phone book is spread over.
type PhoneBookReference struct {
	// Parallel are files with one record for each entry of the phone book.
	Parallel *[]BookFile `json:"one_to_one,omitempty"`
	// Indexed are files whose records EF.IAP names.
	Indexed *[]BookFile `json:"by_index,omitempty"`
	// Linked are files whose records the entry names itself.
	Linked *[]BookFile `json:"by_reference,omitempty"`
}

// BookFile is a file of a phone book.
type BookFile struct {
	Kind string `json:"kind"`
	FID  Hex    `json:"fid"`           // 2 bytes
	SFI  *uint8 `json:"sfi,omitempty"` // absent: the file has none
}

var bookKinds = names{
	0xC0: "adn", 0xC1: "iap", 0xC2: "ext1", 0xC3: "sne", 0xC4: "anr", 0xC5: "pbc", 0xC6: "grp", 0xC7: "aas",
	0xC8: "gas", 0xC9: "uid", 0xCA: "email", 0xCB: "ccp1", 0xCC: "puri",
}

func (v *PhoneBookReference) fields(c *coder) {
	c.objects(func(o *objects) {
		optional(o, 0xA8, &v.Parallel, bookFiles)
		optional(o, 0xA9, &v.Indexed, bookFiles)
		optional(o, 0xAA, &v.Linked, bookFiles)
	})
}

func bookFiles(c *coder, p *[]BookFile) {
	c.nested(func(o *objects) {
		if c.writing {
			for i := range *p {
				o.write(uint32(c.code((*p)[i].Kind, bookKinds)), (*p)[i].fields)
			}
			return
		}
		*p = []BookFile{}
		for _, t := range o.list {
			f := BookFile{Kind: bookKinds.name(uint8(t.Tag))} // a longer tag would not be read back, and is refused
			c.inside(t.Value, f.fields)
			*p = append(*p, f)
		}
		o.list = nil
	})
}

func (v *BookFile) fields(c *coder) {
	c.hex(&v.FID, 2)
	lastByte(c, &v.SFI)
}

// BookSynchronization is EF.PSC (TS 31.102, 4.4.2.12.2).
type BookSynchronization struct {
	Counter uint32 `json:"synchronisation_counter"`
}

func (v *BookSynchronization) fields(c *coder) { c.u32(&v.Counter) }

// BookChanges is EF.CC (TS 31.102, 4.4.2.12.3).
type BookChanges struct {
	Counter uint16 `json:"change_counter"`
}

func (v *BookChanges) fields(c *coder) { c.u16(&v.Counter) }

// BookIdentifier is EF.PUID (TS 31.102, 4.4.2.12.4): the unique identifier that an
// entry got last.
type BookIdentifier struct {
	UID uint16 `json:"previous_uid"`
}

func (v *BookIdentifier) fields(c *coder) { c.u16(&v.UID) }

// Call is a record of EF.OCI (TS 31.102, 4.2.34).
type Call struct {
	Name       Alpha   `json:"name"`
	Number     *Number `json:"number,omitempty"`
	Capability uint8   `json:"capability_record"`
	Extension  uint8   `json:"extension_record"`
	// Time is the time stamp of TS 23.040, 9.2.3.11; ffffffffffffff is none.
	Time     Hex    `json:"time"`
	Duration uint32 `json:"seconds"` // 24 bit
	// Entry is the record of the phone book with that number; ffffff is none.
	Entry Hex `json:"phone_book_entry"`
}

const callTail = 27 // bytes behind the name

func (v *Call) fields(c *coder) {
	v.begin(c, callTail)
	c.hex(&v.Entry, 3)
}

// begin is the fields up to the duration.
func (v *Call) begin(c *coder, tail int) {
	c.alpha(&v.Name, c.left()-tail)
	c.number(&v.Number, inBytes)
	c.u8(&v.Capability)
	c.u8(&v.Extension)
	c.hex(&v.Time, 7)
	c.u24(&v.Duration)
}

// IncomingCall is a record of EF.ICI (TS 31.102, 4.2.33): a Call, and whether it was
// answered.
type IncomingCall struct {
	Name       Alpha    `json:"name"`
	Number     *Number  `json:"number,omitempty"`
	Capability uint8    `json:"capability_record"`
	Extension  uint8    `json:"extension_record"`
	Time       Hex      `json:"time"`
	Duration   uint32   `json:"seconds"`
	Status     []string `json:"status"`
	Entry      Hex      `json:"phone_book_entry"`
}

func (v *IncomingCall) fields(c *coder) {
	call := Call{v.Name, v.Number, v.Capability, v.Extension, v.Time, v.Duration, v.Entry}
	call.begin(c, callTail+1)
	*v = IncomingCall{call.Name, call.Number, call.Capability, call.Extension, call.Time, call.Duration, v.Status, v.Entry}
	c.flags(&v.Status, 1, "not_answered")
	c.hex(&v.Entry, 3)
}

// Price is EF.PUCT (TS 31.102, 4.2.13): the price of a unit of charge, Mantissa
// times ten to the power of Exponent.
type Price struct {
	Currency string `json:"currency"` // 3 letters
	Mantissa uint16 `json:"price"`    // 12 bit
	Exponent int8   `json:"exponent"` // -7 to 7
}

func (v *Price) fields(c *coder) {
	const negative, most = 0x10, 7
	c.text(&v.Currency, 3)
	var b uint16
	if c.writing {
		exponent, sign := v.Exponent, uint16(0)
		if exponent < 0 {
			exponent, sign = -exponent, negative
		}
		if v.Mantissa > 0x0FFF || exponent > most || exponent < 0 {
			c.fail("price %d and exponent %d, want 0 to 4095 and -7 to 7", v.Mantissa, v.Exponent)
			return
		}
		b = v.Mantissa>>4<<8 | uint16(exponent)<<5 | sign | v.Mantissa&0x0F
	}
	c.u16(&b)
	if c.writing {
		return
	}
	v.Mantissa, v.Exponent = b>>8<<4|b&0x0F, int8(b>>5&most)
	if b&negative != 0 {
		v.Exponent = -v.Exponent
	}
}

// Comparison is a record of EF.CMI (TS 31.102, 4.2.46): the name of a method to
// compare a barred number with.
type Comparison struct {
	Name   Alpha `json:"name"`
	Method uint8 `json:"method"`
}

func (v *Comparison) fields(c *coder) {
	c.alpha(&v.Name, c.left()-1)
	c.u8(&v.Method)
}

// Group is EF.GID1 and EF.GID2 (TS 31.102, 4.2.10 and 4.2.11): what an operator calls a group of its cards.
type Group struct {
	Group Hex `json:"group_identifier"`
}

func (v *Group) fields(c *coder) { c.rest(&v.Group) }

// EmergencyCodes is EF.ECC of DF.GSM (TS 51.011, 10.3.27): codes of up to 6 digits.
type EmergencyCodes struct {
	Codes []string `json:"codes"`
}

func (v *EmergencyCodes) fields(c *coder) {
	const codeBytes = 3
	entries(c, &v.Codes, filling(codeBytes), func(c *coder, p *string) { c.digits(p, codeBytes) })
}

// DataOff is EF.3GPPPSDATAOFF (TS 31.102, 4.2.109): services that go on while the
// user has data off, at home and abroad.
type DataOff struct {
	Home   []string `json:"exempt_at_home"`
	Abroad []string `json:"exempt_roaming"` // without service 131 those at home are meant for both
	RFU    Hex      `json:"rfu"`            // 2 bytes
}

var exemptBits = []string{
	"ussi", "mmtel_voice", "mmtel_video", "ss_xcap_config", "sms_over_ip", "bearer_independent_protocol", "device_management",
}

func (v *DataOff) fields(c *coder) {
	c.flags(&v.Home, 1, exemptBits...)
	c.flags(&v.Abroad, 1, exemptBits...)
	c.hex(&v.RFU, 2)
}

func phoneBookFiles() []File {
	group := func() content { return &Group{} }
	dial := func() content { return &DialRecord{} }
	return []File{
		{Name: "EF.PBR", Dir: DirPhoneBook, FID: 0x4F30, Structure: LinearFixed, Clause: "TS 31.102, 4.4.2.1", new: func() content { return &PhoneBookReference{} }},
		{Name: "EF.PSC", Dir: DirPhoneBook, FID: 0x4F22, Structure: Transparent, Clause: "TS 31.102, 4.4.2.12.2", ones: true, new: func() content { return &BookSynchronization{} }},
		{Name: "EF.CC", Dir: DirPhoneBook, FID: 0x4F23, Structure: Transparent, Clause: "TS 31.102, 4.4.2.12.3", ones: true, new: func() content { return &BookChanges{} }},
		{Name: "EF.PUID", Dir: DirPhoneBook, FID: 0x4F24, Structure: Transparent, Clause: "TS 31.102, 4.4.2.12.4", ones: true, new: func() content { return &BookIdentifier{} }},
		{Name: "EF.GID1", Dir: DirUSIM, FID: 0x6F3E, Structure: Transparent, Clause: "TS 31.102, 4.2.10", new: group},
		{Name: "EF.GID2", Dir: DirUSIM, FID: 0x6F3F, Structure: Transparent, Clause: "TS 31.102, 4.2.11", new: group},
		{Name: "EF.PUCT", Dir: DirUSIM, FID: 0x6F41, Structure: Transparent, Clause: "TS 31.102, 4.2.13", new: func() content { return &Price{} }},
		{Name: "EF.ICI", Dir: DirUSIM, FID: 0x6F80, SFI: 0x14, Structure: Cyclic, Clause: "TS 31.102, 4.2.33", new: func() content { return &IncomingCall{} }},
		{Name: "EF.OCI", Dir: DirUSIM, FID: 0x6F81, SFI: 0x15, Structure: Cyclic, Clause: "TS 31.102, 4.2.34", new: func() content { return &Call{} }},
		{Name: "EF.CMI", Dir: DirUSIM, FID: 0x6F58, Structure: LinearFixed, Clause: "TS 31.102, 4.2.46", new: func() content { return &Comparison{} }},
		{Name: "EF.3GPPPSDATAOFF", Dir: DirUSIM, FID: 0x6FF9, Structure: Transparent, Clause: "TS 31.102, 4.2.109", new: func() content { return &DataOff{} }},
		{Name: "EF.ECC", Dir: DirGSM, FID: 0x6FB7, Structure: Transparent, Clause: "TS 51.011, 10.3.27", new: func() content { return &EmergencyCodes{} }},
		{Name: "EF.ADN", Dir: DirTelecom, FID: 0x6F3A, Structure: LinearFixed, Clause: "TS 51.011, 10.5.1", new: dial},
		{Name: "EF.LND", Dir: DirTelecom, FID: 0x6F44, Structure: Cyclic, Clause: "TS 51.011, 10.5.8", new: dial},
	}
}
