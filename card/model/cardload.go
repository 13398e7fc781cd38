package model

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"mcim/apdu/ef"
)

// cardDocument is the file of a card.
type cardDocument struct {
	Name, Title string
	Extends     string // name of an embedded card, whose files it has unless it says otherwise
	Family      string // name of a model
	Rules       string // "arr", which "" stands for too, or "expanded"
	Quirks      []Quirk
	Memory      int // bytes for files
	Without     []string
	Application []applicationDocument
	PIN         []pinDocument // pin1 and the family's ADM where it is missing
	Channels    *int          // 4 where it is missing
	Suspend     *int          // longest suspension in seconds; none where it is missing
	Files       []fileDocument
	Toolkit     *toolkitDocument
	// SecureChannel is "required", or missing.
	SecureChannel SecureChannel `toml:"secure_channel"`
}

type applicationDocument struct {
	Dir ef.Dir
	AID hexBytes
	FID hexBytes
}

// fileDocument is a file of a card. Those of package ef need no FID, SFI and
// Structure.
type fileDocument struct {
	Path         string
	Same         string
	FID          hexBytes
	SFI          byte
	Structure    ef.Structure
	Size         int
	RecordLength int `toml:"record_length"`
	Records      int
	Read, Update Who
	Value        any
	Values       []any
	Hex          hexBytes
}

// ParseCard decodes one file of a card, strictly: an unknown key, a missing one,
// a value out of its bounds or that a file cannot hold is a *FileError. name is
// what the error calls the file.
//
//	name = "mine"
//	title = "as usim, but without 5G"
//	extends = "usim"                     # all of it but for what follows
//	memory = 65536                       # bytes for files, those of the card included
//	without = ["ADF.USIM/DF.5GS/EF.UAC_AIC"]
//	quirks = ["no-pin-status"]           # habits of cards in the field
//	secure_channel = "required"          # 6989 for what a PIN opens, outside of a secure channel
//	channels = 20                        # logical channels; 4 where it is missing
//	suspend = 86400                      # longest SUSPEND UICC in seconds; none where it is missing
//	pin = [                              # pin1 and adm1 where it is missing
//	  { ref = "pin1", tries = 3, puk_tries = 10 },
//	  { ref = "pin2", dir = "ADF.USIM" }, # of an application: the USIM where it is missing
//	  { ref = "adm1" },
//	]
//	files = [                            # each on a line of its own
//	  { path = "ADF.USIM/EF.SPN", size = 17, read = "always", update = "adm", value = { ... } },
//	]
//	[toolkit]                            # optional: what the card asks of the terminal
//	refresh_on_change = true             # REFRESH after a file changed over ADM
//	[[toolkit.command]]
//	on = "start"                         # or "data available", "timer expiration", "OPEN CHANNEL" ...
//	type = "SET UP EVENT LIST"           # or the whole command as hex = "d0..."
//	objects = [{ event_list = { events = ["data available"] } }]
func ParseCard(name string, data []byte) (*Card, error) {
	all, err := embeddedCards()
	if err != nil {
		return nil, err
	}
	return parseCard(name, data, all)
}

// ReadCard is ParseCard of a file. Errors are those of reading, and *FileError.
func ReadCard(path string) (*Card, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseCard(path, b)
}

// RestoreCard makes a card of its Texts. Those of an embedded card give that card.
func RestoreCard(texts [][]byte) (*Card, error) {
	all, err := embeddedCards()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if slices.EqualFunc(c.Texts, texts, bytes.Equal) {
			return c, nil
		}
	}
	switch len(texts) {
	case 1:
		return parseCard("of the image", texts[0], nil)
	case 2:
		base, err := parseCard("of the image", texts[1], nil)
		if err != nil {
			return nil, err
		}
		return parseCard("of the image", texts[0], []*Card{base})
	}
	return nil, fmt.Errorf("%w: %d texts of a card, want 1 or 2", ErrUnknown, len(texts))
}

// parseCard is ParseCard with the cards that it may extend.
func parseCard(name string, data []byte, bases []*Card) (*Card, error) {
	var d cardDocument
	if err := decode(name, data, &d); err != nil {
		return nil, err
	}
	bad := func(key, reason string) error {
		return &FileError{name, lineOf(data, mistake{key: key}), reason}
	}
	c := &Card{Name: d.Name, Title: d.Title, Texts: [][]byte{data}}
	switch {
	case d.Name == "":
		return nil, bad("name", "name is missing")
	case d.Title == "":
		return nil, bad("title", "title is missing")
	case d.SecureChannel != SecureOffered && d.SecureChannel != SecureRequired:
		return nil, bad("secure_channel", `secure_channel: want "required", or leave it out`)
	case d.Rules != "" && d.Rules != "arr" && d.Rules != "expanded":
		return nil, bad("rules", `rules: want "arr" or "expanded"`)
	}
	for _, q := range d.Quirks {
		if !slices.Contains(Quirks(), q) {
			return nil, bad("quirks", fmt.Sprintf("quirks: no %q, want some of %q", q, Quirks()))
		}
	}
	c.ExpandedRules, c.Quirks, c.SecureChannel = d.Rules == "expanded", d.Quirks, d.SecureChannel
	for _, step := range []func(*Card) *mistake{
		func(c *Card) *mistake { return d.begin(c, bases) }, d.setPINs, d.setMemory, d.setChannels, d.setSuspend, d.setToolkit,
		d.checkSIM,
	} {
		if m := step(c); m != nil {
			return nil, &FileError{name, lineOf(data, *m), m.reason}
		}
	}
	for i := range d.Files {
		f := &d.Files[i]
		if err := c.add(f); err != nil {
			return nil, &FileError{name, lineWith(data, f.Path), fmt.Sprintf("%s: %v", cmp.Or(f.Path, "file without path"), err)}
		}
	}
	if err := c.complete(); err != nil {
		path, _, _ := strings.Cut(err.Error(), ": ")
		return nil, &FileError{name, lineWith(data, path), err.Error()}
	}
	return c, nil
}

// begin takes over what the card extends, and the applications.
func (d *cardDocument) begin(c *Card, bases []*Card) *mistake {
	if d.Extends != "" {
		base, err := byName(d.Extends, bases)
		switch {
		case err != nil:
			return &mistake{"extends", 0, err.Error()}
		case len(base.Texts) > 1:
			return &mistake{"extends", 0, d.Extends + " extends another card itself"}
		}
		c.Family, c.Applications, c.Files = base.Family, base.Applications, slices.Clone(base.Files)
		c.PINs, c.Channels, c.Suspend, c.Toolkit = base.PINs, base.Channels, base.Suspend, base.Toolkit
		c.SecureChannel = cmp.Or(c.SecureChannel, base.SecureChannel)
		c.Texts = append(c.Texts, base.Texts...)
		c.Memory = base.Memory
	}
	for _, path := range d.Without {
		n := len(c.Files)
		c.Files = slices.DeleteFunc(c.Files, func(f CardFile) bool { return f.Path() == path })
		if len(c.Files) == n {
			return &mistake{"without", 0, fmt.Sprintf("without: there is no %q", path)}
		}
	}
	if d.Family != "" || c.Family == nil {
		m, err := ByName(d.Family)
		if err != nil {
			return &mistake{"family", 0, err.Error()}
		}
		c.Family = m
	}
	if d.Application != nil {
		c.Applications = nil
	}
	for i, a := range d.Application {
		switch {
		case a.Dir != ef.DirUSIM && a.Dir != ef.DirISIM:
			return &mistake{"application.dir", i, fmt.Sprintf("dir %q, want %s or %s", a.Dir, ef.DirUSIM, ef.DirISIM)}
		case len(a.AID) < 5 || len(a.AID) > 16:
			return &mistake{"application.aid", i, fmt.Sprintf("aid has %d bytes, want 5 to 16", len(a.AID))}
		case len(a.FID) != 2:
			return &mistake{"application.fid", i, fmt.Sprintf("fid has %d bytes, want 2", len(a.FID))}
		}
		c.Applications = append(c.Applications, Application{a.Dir, a.AID, uint16(a.FID[0])<<8 | uint16(a.FID[1])})
	}
	return nil
}

// Bounds of the number of channels (TS 102 221, 10.1.1), and what a card has that does
// not tell it.
const (
	maxChannels     = 20
	defaultChannels = 4
)

// setChannels takes the number of logical channels.
func (d *cardDocument) setChannels(c *Card) *mistake {
	if d.Channels != nil {
		c.Channels = *d.Channels
	} else if c.SIM() {
		c.Channels = 1
	} else if c.Channels == 0 {
		c.Channels = defaultChannels
	}
	if c.Channels < 1 || c.Channels > maxChannels {
		return &mistake{"channels", 0, fmt.Sprintf("channels: want 1 to %d, the basic one included", maxChannels)}
	}
	return nil
}

// maxSuspend is the longest suspension that a card can tell, in seconds.
const maxSuspend = 2550 * 24 * 60 * 60

// setSuspend takes the longest suspension.
func (d *cardDocument) setSuspend(c *Card) *mistake {
	if d.Suspend == nil {
		return nil
	}
	if *d.Suspend < 0 || *d.Suspend > maxSuspend {
		return &mistake{"suspend", 0, fmt.Sprintf("suspend: want up to %d seconds, or 0 for a card without SUSPEND UICC", maxSuspend)}
	}
	c.Suspend = time.Duration(*d.Suspend) * time.Second
	return nil
}

// setMemory takes the memory for files.
func (d *cardDocument) setMemory(c *Card) *mistake {
	if d.Memory < 0 || d.Memory > maxMemory {
		return &mistake{"memory", 0, fmt.Sprintf("memory: want up to %d bytes", maxMemory)}
	}
	c.Memory = cmp.Or(d.Memory, c.Memory)
	return nil
}

// lineWith finds the line with the path in quotes; 0 where there is none.
func lineWith(data []byte, path string) int {
	for i, line := range strings.Split(string(data), "\n") {
		if path != "" && strings.Contains(line, `path = "`+path+`"`) {
			return i + 1
		}
	}
	return 0
}

// add puts a file into the card, in the place of one with the same path.
func (c *Card) add(d *fileDocument) error {
	f, err := d.file()
	if err != nil {
		return err
	}
	if f.Same == "" {
		if err := c.checkWho(&f); err != nil {
			return err
		}
		if err := d.setContent(&f); err != nil {
			return err
		}
	}
	for i := range c.Files {
		if c.Files[i].Path() == f.Path() {
			c.Files[i] = f
			return nil
		}
	}
	c.Files = append(c.Files, f)
	return nil
}

// file is the file without its content.
func (d *fileDocument) file() (CardFile, error) {
	i := strings.LastIndex(d.Path, "/")
	if i < 0 {
		return CardFile{}, errors.New("path is missing, or has no directory")
	}
	f := CardFile{Same: d.Same, Size: d.Size, RecordLength: d.RecordLength, Read: d.Read, Update: d.Update}
	var known bool
	if f.File, known = ef.ByPath(d.Path); !known {
		f.File = ef.File{Name: d.Path[i+1:], Dir: ef.Dir(d.Path[:i]), SFI: d.SFI, Structure: d.Structure}
		if len(d.FID) == 2 {
			f.FID = uint16(d.FID[0])<<8 | uint16(d.FID[1])
		}
	} else if d.FID != nil || d.SFI != 0 || d.Structure != "" {
		return f, errors.New("fid, sfi and structure are known of this file: leave them out")
	}
	switch {
	case !slices.Contains(cardDirs(), f.Dir):
		return f, fmt.Errorf("no directory %q, want one of %v", f.Dir, cardDirs())
	case f.FID == 0:
		return f, errors.New("no file that this program knows: fid of 2 bytes is missing")
	case d.Same != "":
		return f, nil
	case !known && (d.Value != nil || d.Values != nil):
		return f, errors.New("no codec for this file: give its content as hex")
	}
	return f, d.check(&f)
}

const (
	maxMemory = 1 << 24

	maxSFI  = 30
	maxFile = 0x7FFF // what READ BINARY reaches
	maxLen  = 255
	maxRecs = 254
)

func cardDirs() []ef.Dir {
	return []ef.Dir{ef.DirMF, ef.DirTelecom, ef.DirGSM, ef.DirUSIM, ef.DirGSMAccess, ef.Dir5GS, ef.DirPhoneBook, ef.DirISIM}
}

func (d *fileDocument) check(f *CardFile) error {
	switch {
	case f.Structure != ef.Transparent && f.Structure != ef.LinearFixed && f.Structure != ef.Cyclic:
		return fmt.Errorf("structure %q, want %s, %s or %s", f.Structure, ef.Transparent, ef.LinearFixed, ef.Cyclic)
	case f.SFI > maxSFI:
		return fmt.Errorf("sfi %d, want 1 to %d", f.SFI, maxSFI)
	}
	return d.checkSizes(f)
}

func (d *fileDocument) checkSizes(f *CardFile) error {
	if f.Structure == ef.Transparent {
		if d.RecordLength != 0 || d.Records != 0 || d.Size < 1 || d.Size > maxFile {
			return fmt.Errorf("a transparent file has a size of 1 to %d bytes, and no records", maxFile)
		}
		return nil
	}
	if d.Size != 0 || d.RecordLength < 1 || d.RecordLength > maxLen || d.Records < 1 || d.Records > maxRecs {
		return fmt.Errorf("want record_length of 1 to %d and records of 1 to %d, and no size", maxLen, maxRecs)
	}
	f.Size = d.RecordLength * d.Records
	return nil
}

// setContent takes the content, and tries it.
func (d *fileDocument) setContent(f *CardFile) error {
	given := 0
	for _, there := range []bool{d.Value != nil, d.Values != nil, d.Hex != nil} {
		if there {
			given++
		}
	}
	f.values = d.Values
	if d.Value != nil {
		f.values = []any{d.Value}
	}
	switch {
	case given > 1:
		return errors.New("more than one of value, values and hex")
	case d.Values != nil && f.RecordLength == 0:
		return errors.New("values are for records: a transparent file has one value")
	case len(f.values)*f.RecordLength > f.Size, len(d.Hex) > f.Size:
		return errors.New("more content than the file has room for")
	case len(d.Hex) > 0:
		f.content = append(bytes.Clone(d.Hex), bytes.Repeat([]byte{0xFF}, f.Size-len(d.Hex))...)
		return nil
	}
	b, err := f.Content(sample())
	if err == nil && !hasVariables(f.values) {
		f.content = b
	}
	return err
}

// checkIdentifiers wants the identifiers and the short identifiers of each directory to
// be of one file each. EF.ARR is made by the program.
func (c *Card) checkIdentifiers() error {
	type id struct {
		dir   ef.Dir
		short bool
		value uint16
	}
	seen := map[id]bool{}
	for _, f := range c.Files {
		long, short := id{f.Dir, false, f.FID}, id{f.Dir, true, uint16(f.SFI)}
		switch {
		case f.Name == "EF.ARR":
			return fmt.Errorf("%s: it is made with what the other files need: leave it out", f.Path())
		case seen[long]:
			return fmt.Errorf("%s: a second file %04X", f.Path(), f.FID)
		case f.SFI != 0 && f.Same == "" && seen[short]:
			return fmt.Errorf("%s: a second file with the short identifier %d", f.Path(), f.SFI)
		}
		seen[long] = true
		seen[short] = seen[short] || f.SFI != 0 && f.Same == ""
	}
	return nil
}

// checkSIM refuses what a card of class A0 alone does not know.
func (d *cardDocument) checkSIM(c *Card) *mistake {
	if !c.SIM() {
		return nil
	}
	const why = "is for a card with applications, not for a SIM"
	switch {
	case d.Rules != "":
		return &mistake{"rules", 0, "rules " + why}
	case c.Channels != 1:
		return &mistake{"channels", 0, "channels " + why}
	case c.Suspend != 0:
		return &mistake{"suspend", 0, "suspend " + why}
	case c.Toolkit != nil:
		return &mistake{"toolkit.", 0, "toolkit " + why}
	case c.SecureChannel != SecureOffered:
		return &mistake{"secure_channel", 0, "secure_channel " + why}
	}
	c.ExpandedRules = true // nobody of class A0 reads an EF.ARR
	return nil
}

// checkApplications compares the applications with those of the family.
func (c *Card) checkApplications() error {
	switch {
	case c.Family.SIM() && !c.SIM():
		return fmt.Errorf("family %s is of cards without an application", c.Family.Name)
	case c.Family.SIM():
	case c.SIM() || c.Applications[0].Dir != ef.DirUSIM || !bytes.HasPrefix(c.Applications[0].AID, c.Family.AID):
		return fmt.Errorf("the first application must be %s, with an AID as its family has it", ef.DirUSIM)
	}
	return nil
}

// needed are the files that a card cannot do without.
func (c *Card) needed() []string {
	if c.SIM() {
		return []string{"MF/EF.ICCID", "DF.GSM/EF.IMSI", "DF.GSM/EF.SST", "DF.GSM/EF.AD"}
	}
	return []string{"MF/EF.ICCID", "MF/EF.DIR", "ADF.USIM/EF.IMSI", "ADF.USIM/EF.UST", "ADF.USIM/EF.AD"}
}

// complete checks the card as a whole.
func (c *Card) complete() error {
	if err := c.checkApplications(); err != nil {
		return err
	}
	if err := c.checkPINs(); err != nil {
		return err
	}
	if err := c.checkIdentifiers(); err != nil {
		return err
	}
	for _, f := range c.Files {
		root, _, _ := strings.Cut(string(f.Dir), "/")
		if strings.HasPrefix(root, "ADF.") && !slices.ContainsFunc(c.Applications, func(a Application) bool { return string(a.Dir) == root }) {
			return fmt.Errorf("%s: there is no application %s", f.Path(), root)
		}
		if f.Same != "" && !slices.ContainsFunc(c.Files, func(g CardFile) bool { return g.Path() == f.Same && g.Same == "" }) {
			return fmt.Errorf("%s: there is no %s", f.Path(), f.Same)
		}
	}
	for _, needed := range c.needed() {
		if !slices.ContainsFunc(c.Files, func(f CardFile) bool { return f.Path() == needed && f.Same == "" }) {
			return fmt.Errorf("%s is missing", needed)
		}
	}
	return nil
}
