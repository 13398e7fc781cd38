package ef

import "fmt"

// SMSParameters is a record of EF.SMSP (TS 31.102, 4.2.27).
type SMSParameters struct {
	Name Alpha `json:"name"`
	// Present are the parameters that the record has. The bytes of the others are
	// kept all the same.
	Present       []string `json:"present"`
	Destination   *Number  `json:"destination,omitempty"`
	ServiceCentre *Number  `json:"service_centre,omitempty"`
	Protocol      uint8    `json:"protocol_identifier"`
	DataCoding    uint8    `json:"data_coding_scheme"`
	// Validity is the validity period as in TS 23.040, 9.2.3.12.1.
	Validity uint8 `json:"validity_period"`
}

const smsParameters = 28 // bytes behind the name

func (v *SMSParameters) fields(c *coder) {
	c.alpha(&v.Name, c.left()-smsParameters)
	c.present(&v.Present, "destination", "service_centre", "protocol_identifier", "data_coding_scheme", "validity_period")
	c.number(&v.Destination, inDigits)
	c.number(&v.ServiceCentre, inBytes)
	c.u8(&v.Protocol)
	c.u8(&v.DataCoding)
	c.u8(&v.Validity)
}

// ValidityMinutes is the validity period in minutes (TS 23.040, 9.2.3.12.1).
func (v *SMSParameters) ValidityMinutes() int {
	p := int(v.Validity)
	switch {
	case p <= 143:
		return (p + 1) * 5
	case p <= 167:
		return 12*60 + (p-143)*30
	case p <= 196:
		return (p - 166) * 24 * 60
	default:
		return (p - 192) * 7 * 24 * 60
	}
}

// SMSStatus is EF.SMSS (TS 31.102, 4.2.28).
type SMSStatus struct {
	LastReference uint8 `json:"last_message_reference"`
	// Flags: memory_exceeded where a message did not fit the card.
	Flags []string `json:"flags"`
	RFU   Hex      `json:"rfu,omitempty"`
}

func (v *SMSStatus) fields(c *coder) {
	c.u8(&v.LastReference)
	c.present(&v.Flags, "memory_exceeded")
	c.rest(&v.RFU)
}

// ShortMessage is a record of EF.SMS (TS 31.102, 4.2.25).
type ShortMessage struct {
	Status string `json:"status"`
	// ServiceCentre is the address in front of the TPDU, nil where its length is 0
	// or FF.
	ServiceCentre *Number `json:"service_centre,omitempty"`
	// CentreLength is the length where there is no address.
	CentreLength uint8 `json:"service_centre_length,omitempty"`
	// TPDU is the message without FF behind it (TS 23.040, 9.2.2).
	TPDU Hex `json:"tpdu,omitempty"`
}

var messageStatus = names{
	0x00: "free", 0x01: "received_read", 0x03: "received_unread", 0x07: "to_be_sent",
	0x05: "sent", 0x0D: "sent_report_requested", 0x15: "sent_report_received", 0x1D: "sent_report_stored",
}

func (v *ShortMessage) fields(c *coder) {
	c.enum(&v.Status, messageStatus)
	if v.ServiceCentre != nil && c.writing {
		v.ServiceCentre.fields(c, inBytes, (len(v.ServiceCentre.Digits)+1)/2)
	} else {
		c.u8(&v.CentreLength)
	}
	if n := v.CentreLength; !c.writing && n != 0 && n != 0xFF {
		v.CentreLength = 0
		v.ServiceCentre = &Number{}
		b := append([]byte{n}, c.take(int(n))...)
		c.inside(b, func(c *coder) { v.ServiceCentre.fields(c, inBytes, int(n)-1) })
	}
	c.rest(&v.TPDU)
}

// StatusReport is a record of EF.SMSR (TS 31.102, 4.2.32).
type StatusReport struct {
	Message uint8 `json:"sms_record"` // record of EF.SMS
	Report  Hex   `json:"report"`     // SMS-STATUS-REPORT without FF behind it
}

func (v *StatusReport) fields(c *coder) {
	c.u8(&v.Message)
	c.rest(&v.Report)
}

// MessageIDs is EF.CBMI (TS 31.102, 4.2.14) and EF.CBMID (4.2.20): identifiers of
// cell broadcast messages.
type MessageIDs struct {
	IDs []uint16 `json:"message_identifiers"`
}

func (v *MessageIDs) fields(c *coder) { entries(c, &v.IDs, filling(2), wordField) }

// MessageRanges is EF.CBMIR (TS 31.102, 4.2.22).
type MessageRanges struct {
	Ranges []MessageRange `json:"ranges"`
}

// MessageRange is a range of identifiers of cell broadcast messages.
type MessageRange struct {
	Low  uint16 `json:"low"`
	High uint16 `json:"high"`
}

func (v *MessageRanges) fields(c *coder) {
	entries(c, &v.Ranges, filling(4), func(c *coder, r *MessageRange) {
		c.u16(&r.Low)
		c.u16(&r.High)
	})
}

func smsFiles() []File {
	var list []File
	for _, at := range []struct {
		dir                   Dir
		spec                  string
		sms, smsp, smss, smsr string
	}{
		{DirUSIM, "TS 31.102", "4.2.25", "4.2.27", "4.2.28", "4.2.32"},
		{DirISIM, "TS 31.103", "4.2.12", "4.2.15", "4.2.13", "4.2.14"},
		{DirTelecom, "TS 51.011", "10.5.3", "10.5.6", "10.5.7", "10.5.8"},
	} {
		clause := func(number string) string { return fmt.Sprintf("%s, %s", at.spec, number) }
		list = append(list,
			File{Name: "EF.SMS", Dir: at.dir, FID: 0x6F3C, Structure: LinearFixed, Clause: clause(at.sms), new: func() content { return &ShortMessage{} }},
			File{Name: "EF.SMSP", Dir: at.dir, FID: 0x6F42, Structure: LinearFixed, Clause: clause(at.smsp), new: func() content { return &SMSParameters{} }},
			File{Name: "EF.SMSS", Dir: at.dir, FID: 0x6F43, Structure: Transparent, Clause: clause(at.smss), ones: true, new: func() content { return &SMSStatus{} }},
			File{Name: "EF.SMSR", Dir: at.dir, FID: 0x6F47, Structure: LinearFixed, Clause: clause(at.smsr), new: func() content { return &StatusReport{} }},
		)
	}
	ids := func() content { return &MessageIDs{} }
	return append(list,
		File{Name: "EF.CBMI", Dir: DirUSIM, FID: 0x6F45, Structure: Transparent, Clause: "TS 31.102, 4.2.14", ones: true, new: ids},
		File{Name: "EF.CBMID", Dir: DirUSIM, FID: 0x6F48, SFI: 0x0E, Structure: Transparent, Clause: "TS 31.102, 4.2.20", ones: true, new: ids},
		File{Name: "EF.CBMIR", Dir: DirUSIM, FID: 0x6F50, Structure: Transparent, Clause: "TS 31.102, 4.2.22", ones: true, new: func() content { return &MessageRanges{} }},
	)
}
