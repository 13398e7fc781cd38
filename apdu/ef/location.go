package ef

import "mcim/apdu/usim"

// Area is a location area, tracking area or what a routing area begins with.
type Area struct {
	PLMN PLMN `json:"plmn"`
	Code Hex  `json:"code"` // LAC or TAC; 0000 and FFFE (FFFFFE) stand for none
}

func (c *coder) area(p *Area, code int) {
	plmn(c, &p.PLMN)
	c.hex(&p.Code, code)
}

var (
	updateStatus = names{0: "updated", 1: "not_updated", 2: "network_not_allowed", 3: "area_not_allowed"}
	epsStatus    = names{0: "updated", 1: "not_updated", 2: "roaming_not_allowed"}
)

// LOCI is EF.LOCI (TS 31.102, 4.2.17).
type LOCI struct {
	TMSI   Hex    `json:"tmsi"` // ffffffff: none
	LAI    Area   `json:"lai"`
	RFU    uint8  `json:"rfu"`
	Status string `json:"status"`
}

func (v *LOCI) fields(c *coder) {
	c.hex(&v.TMSI, 4)
	c.area(&v.LAI, 2)
	c.u8(&v.RFU)
	c.enum(&v.Status, updateStatus)
}

// PSLOCI is EF.PSLOCI (TS 31.102, 4.2.23).
type PSLOCI struct {
	PTMSI     Hex    `json:"p_tmsi"`
	Signature Hex    `json:"p_tmsi_signature"`
	RAI       Area   `json:"rai"`
	RAC       uint8  `json:"rac"` // last byte of the RAI
	Status    string `json:"status"`
}

func (v *PSLOCI) fields(c *coder) {
	c.hex(&v.PTMSI, 4)
	c.hex(&v.Signature, 3)
	c.area(&v.RAI, 2)
	c.u8(&v.RAC)
	c.enum(&v.Status, updateStatus)
}

// GUTI is the GUTI of EF.EPSLOCI (TS 24.301, 9.9.3.12, from octet 2).
type GUTI struct {
	Length uint8  `json:"length"` // 11
	Type   uint8  `json:"type"`   // 246: a GUTI
	PLMN   PLMN   `json:"plmn"`
	Group  uint16 `json:"mme_group"`
	Code   uint8  `json:"mme_code"`
	TMSI   Hex    `json:"m_tmsi"`
}

// EPSLOCI is EF.EPSLOCI (TS 31.102, 4.2.91).
type EPSLOCI struct {
	GUTI   *GUTI  `json:"guti,omitempty"` // absent: all FF
	TAI    Area   `json:"tai"`            // last visited registered one
	Status string `json:"status"`
}

func (v *EPSLOCI) fields(c *coder) {
	identity(c, &v.GUTI, 12, func(c *coder, g *GUTI) {
		c.u8(&g.Length)
		c.u8(&g.Type)
		plmn(c, &g.PLMN)
		c.u16(&g.Group)
		c.u8(&g.Code)
		c.hex(&g.TMSI, 4)
	})
	c.area(&v.TAI, 2)
	c.enum(&v.Status, epsStatus)
}

// GUTI5G is the 5G-GUTI of EF.5GS3GPPLOCI (TS 24.501, 9.11.3.4, from octet 2).
type GUTI5G struct {
	Length uint16 `json:"length"` // 11
	Type   uint8  `json:"type"`   // 242: a 5G-GUTI
	PLMN   PLMN   `json:"plmn"`
	Region uint8  `json:"amf_region"`
	// Set is the AMF set, 10 bits, and the AMF pointer, 6 bits.
	Set  uint16 `json:"amf_set_and_pointer"`
	TMSI Hex    `json:"5g_tmsi"`
}

// LOCI5GS is EF.5GS3GPPLOCI (TS 31.102, 4.4.11.2) and EF.5GSN3GPPLOCI (4.4.11.3).
type LOCI5GS struct {
	GUTI   *GUTI5G `json:"5g_guti,omitempty"` // absent: all FF
	TAI    Area    `json:"tai"`               // last visited registered one
	Status string  `json:"status"`
}

func (v *LOCI5GS) fields(c *coder) {
	identity(c, &v.GUTI, 13, func(c *coder, g *GUTI5G) {
		c.u16(&g.Length)
		c.u8(&g.Type)
		plmn(c, &g.PLMN)
		c.u8(&g.Region)
		c.u16(&g.Set)
		c.hex(&g.TMSI, 4)
	})
	c.area(&v.TAI, 3)
	c.enum(&v.Status, epsStatus)
}

// identity is a temporary identity of n bytes; all FF, there is none.
func identity[T any](c *coder, p **T, n int, f func(c *coder, v *T)) {
	if c.writing {
		if *p == nil {
			c.put(filling(n)...)
			return
		}
		f(c, *p)
		return
	}
	if b := c.take(n); c.err == nil && !filled(b) {
		*p = new(T)
		c.inside(b, func(c *coder) { f(c, *p) })
	}
}

// StartHFN is EF.START-HFN (TS 31.102, 4.2.51): where the hyperframe numbers
// begin.
type StartHFN struct {
	CS uint32 `json:"start_cs"` // 20 bit in 3 bytes
	PS uint32 `json:"start_ps"`
}

func (v *StartHFN) fields(c *coder) {
	c.u24(&v.CS)
	c.u24(&v.PS)
}

// Threshold is EF.THRESHOLD (TS 31.102, 4.2.52).
type Threshold struct {
	Max uint32 `json:"max_start"`
}

func (v *Threshold) fields(c *coder) { c.u24(&v.Max) }

// NASConfig is EF.NASCONFIG (TS 31.102, 4.2.94): parameters of TS 24.368, absent
// where the terminal's own hold.
type NASConfig struct {
	SignallingPriority    *uint8   `json:"nas_signalling_priority,omitempty"`
	NMOIBehaviour         *uint8   `json:"nmo_i_behaviour,omitempty"`
	AttachWithIMSI        *uint8   `json:"attach_with_imsi,omitempty"`
	MinimumPeriodicSearch *uint8   `json:"minimum_periodic_search_timer,omitempty"`
	ExtendedAccessBarring *uint8   `json:"extended_access_barring,omitempty"`
	TimerT3245            *uint8   `json:"timer_t3245_behaviour,omitempty"`
	OverrideLowPriority   *uint8   `json:"override_nas_signalling_low_priority,omitempty"`
	OverrideBarring       *uint8   `json:"override_extended_access_barring,omitempty"`
	FastFirstSearch       *uint8   `json:"fast_first_higher_priority_plmn_search,omitempty"`
	EUTRADisabling        *uint8   `json:"eutra_disabling_allowed_for_emm_cause_15,omitempty"`
	SMRetryWaitTime       *uint8   `json:"sm_retry_wait_time,omitempty"`
	SMRetryAtRATChange    *uint8   `json:"sm_retry_at_rat_change,omitempty"`
	Other                 []Object `json:"other,omitempty"`
}

func (v *NASConfig) fields(c *coder) {
	c.objects(func(o *objects) {
		for i, p := range []**uint8{
			&v.SignallingPriority, &v.NMOIBehaviour, &v.AttachWithIMSI, &v.MinimumPeriodicSearch,
			&v.ExtendedAccessBarring, &v.TimerT3245, &v.OverrideLowPriority, &v.OverrideBarring,
			&v.FastFirstSearch, &v.EUTRADisabling, &v.SMRetryWaitTime, &v.SMRetryAtRATChange,
		} {
			optional(o, uint32(0x80+i), p, byteField)
		}
		o.others(&v.Other)
	})
}

func locationFiles() []File {
	loci := func() content { return &LOCI{} }
	psloci := func() content { return &PSLOCI{} }
	loci5g := func() content { return &LOCI5GS{} }
	return []File{
		{Name: "EF.LOCI", Dir: DirUSIM, FID: usim.EFLOCI, SFI: usim.SFILOCI, Structure: Transparent, Clause: "TS 31.102, 4.2.17", new: loci},
		{Name: "EF.PSLOCI", Dir: DirUSIM, FID: usim.EFPSLOCI, SFI: usim.SFIPSLOCI, Structure: Transparent, Clause: "TS 31.102, 4.2.23", new: psloci},
		{Name: "EF.START-HFN", Dir: DirUSIM, FID: 0x6F5B, SFI: 0x0F, Structure: Transparent, Clause: "TS 31.102, 4.2.51", ones: true, new: func() content { return &StartHFN{} }},
		{Name: "EF.THRESHOLD", Dir: DirUSIM, FID: 0x6F5C, SFI: 0x10, Structure: Transparent, Clause: "TS 31.102, 4.2.52", ones: true, new: func() content { return &Threshold{} }},
		{Name: "EF.EPSLOCI", Dir: DirUSIM, FID: usim.EFEPSLOCI, SFI: usim.SFIEPSLOCI, Structure: Transparent, Clause: "TS 31.102, 4.2.91", new: func() content { return &EPSLOCI{} }},
		{Name: "EF.NASCONFIG", Dir: DirUSIM, FID: 0x6FE8, Structure: Transparent, Clause: "TS 31.102, 4.2.94", new: func() content { return &NASConfig{} }},
		{Name: "EF.5GS3GPPLOCI", Dir: Dir5GS, FID: 0x4F01, SFI: 0x01, Structure: Transparent, Clause: "TS 31.102, 4.4.11.2", new: loci5g},
		{Name: "EF.5GSN3GPPLOCI", Dir: Dir5GS, FID: 0x4F02, SFI: 0x02, Structure: Transparent, Clause: "TS 31.102, 4.4.11.3", new: loci5g},
		{Name: "EF.LOCI", Dir: DirGSM, FID: usim.EFLOCI, Structure: Transparent, Clause: "TS 51.011, 10.3.17", new: loci},
		{Name: "EF.LOCIGPRS", Dir: DirGSM, FID: 0x6F53, Structure: Transparent, Clause: "TS 51.011, 10.3.33", new: psloci},
	}
}
