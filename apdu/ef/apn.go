package ef

import "strings"

// APNControl is EF.ACL (TS 31.102, 4.2.48): the access points that a terminal may
// use where the service is enabled in EF.EST.
type APNControl struct {
	Count uint8 `json:"count"` // of the access points in the list
	APNs  []APN `json:"apns"`
}

// APN is the name of an access point, "internet.test"; "" is the one that the
// network gives.
type APN string

func (v *APNControl) fields(c *coder) {
	c.u8(&v.Count)
	c.objects(func(o *objects) { repeated(o, 0xDD, &v.APNs, apn) })
}

// apn is a name up to the end of a data object: labels with their length in front
// (TS 23.003, 9.1).
func apn(c *coder, p *APN) {
	if c.writing {
		for label := range strings.SplitSeq(string(*p), ".") {
			if *p != "" && (len(label) == 0 || len(label) > 63) {
				c.fail("access point %q: a label has 1 to 63 characters", *p)
			} else if *p != "" {
				c.prefixed(func(c *coder) { c.text(&label, len(label)) })
			}
		}
		return
	}
	labels := []string{}
	for len(c.in) > 0 && c.err == nil {
		var label string
		c.prefixed(func(c *coder) { c.allText(&label) })
		if label == "" || len(label) > 63 || strings.Contains(label, ".") {
			c.fail("a label of an access point: want 1 to 63 characters without a dot")
		}
		labels = append(labels, label)
	}
	*p = APN(strings.Join(labels, "."))
}

func apnFiles() []File {
	return []File{
		{Name: "EF.ACL", Dir: DirUSIM, FID: 0x6F57, Structure: Transparent, Clause: "TS 31.102, 4.2.48", new: func() content { return &APNControl{} }},
	}
}
