package emul

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
)

// Tries of the card "usim".
const codeTries, unblockTries = 3, 10

// reference is the plain reading of TS 102 221 that the card is compared with: its
// five codes, and four files with their rules.
type reference struct {
	codes   map[byte]*referenceCode // by key reference
	files   map[string]*referenceFile
	channel bool // channel 1 is open
}

// referenceCode is a PIN or an administrative code.
type referenceCode struct {
	value, puk      string // padded, in hexadecimal digits; puk is empty where there is none
	tries, unblocks int
	mode            pinMode
	ok              bool
}

type referenceFile struct {
	data         string // hexadecimal digits
	read, update string // "" always, "pin", "adm", "never"
}

func (r *reference) reset() {
	r.channel = false
	for _, c := range r.codes {
		c.ok = false
	}
}

func (r *reference) satisfied(ref byte) bool {
	c := r.codes[ref]
	if c.mode == pinReplaced {
		return r.satisfied(uicc.RefUniversalPIN)
	}
	return c.ok || c.mode == pinOff
}

func (r *reference) may(condition string) bool {
	switch condition {
	case "":
		return true
	case "pin":
		return r.satisfied(uicc.RefPIN1)
	case "adm":
		return r.satisfied(uicc.RefADM1)
	}
	return false
}

// guess spends a try of *tries.
func guess(tries *int, full int, right bool) string {
	switch {
	case *tries == 0:
		return "6983"
	case !right:
		*tries--
		return fmt.Sprintf("63c%x", *tries)
	}
	*tries = full
	return "9000"
}

// present is VERIFY, CHANGE, DISABLE and ENABLE.
func (c *referenceCode) present(value string, allowed bool, then func()) string {
	if !allowed {
		return "6984"
	}
	sw := guess(&c.tries, codeTries, value == c.value)
	switch {
	case sw == "9000":
		c.ok = true
		then()
	case sw != "6983":
		c.ok = false
	}
	return sw
}

func (c *referenceCode) unblock(puk, value string) string {
	if c.puk == "" {
		return "6a88"
	}
	sw := guess(&c.unblocks, unblockTries, puk == c.puk)
	if sw == "9000" {
		c.value, c.tries, c.mode, c.ok = value, codeTries, pinOn, true
	}
	return sw
}

func (r *reference) read(f *referenceFile, offset, n int) string {
	left := len(f.data)/2 - offset
	switch {
	case !r.may(f.read):
		return "6982"
	case left <= 0:
		return "6b00"
	case n > left:
		return fmt.Sprintf("6c%02x", left)
	}
	return f.data[2*offset:2*(offset+n)] + "9000"
}

func (r *reference) update(f *referenceFile, offset int, data string) string {
	switch {
	case !r.may(f.update):
		return "6982"
	case 2*offset >= len(f.data):
		return "6b00"
	case 2*offset+len(data) > len(f.data):
		return "6700"
	}
	f.data = f.data[:2*offset] + data + f.data[2*offset+len(data):]
	return "9000"
}

// TestModel sends random commands to a card on disk and to the reference. Now
// and then it resets the card, or closes the image and opens it again.
func TestModel(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	p.ADM1 = secret.New([]byte("adm-code"))
	dir := t.TempDir()
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		path := fmt.Sprintf("%s/card%d", dir, runs)
		c := openCard(t, path, &p)
		defer func() { closeCard(t, c) }()
		r := newReference(t, c)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 14).Draw(rt, "event") {
			case 0:
				mustReset(t, c)
				r.reset()
				continue
			case 1:
				closeCard(t, c)
				c = openCard(t, path, nil)
				r.reset()
				continue
			}
			before, command, want := r.draw(rt)
			run(t, c, before...)
			if got := send(t, c, command); got != want {
				rt.Fatalf("%s: got %s, want %s", command, got, want)
			}
		}
	})
}

func newReference(t *testing.T, c *Card) *reference {
	file := func(f *file, read, update string) *referenceFile {
		return &referenceFile{fmt.Sprintf("%x", f.data), read, update}
	}
	mf, adf := c.mf, c.adf
	t.Helper()
	code := func(ref byte) *referenceCode {
		p := c.pinOf(ref, adf)
		return &referenceCode{
			value: fmt.Sprintf("%x", p.value.Reveal()), puk: fmt.Sprintf("%x", p.unblock.Reveal()), tries: codeTries, unblocks: unblockTries, mode: pinOn,
		}
	}
	r := &reference{
		codes: map[byte]*referenceCode{},
		files: map[string]*referenceFile{
			"7F206F07": file(adf.file(0x6F07), "pin", "adm"),
			"7F206F7E": file(adf.file(0x6F7E), "pin", "pin"),
			"7F206FAD": file(adf.file(0x6FAD), "", "adm"),
			"2FE2":     file(mf.file(uicc.FIDEFICCID), "", "never"),
		},
	}
	for _, ref := range []byte{uicc.RefPIN1, uicc.RefUniversalPIN, uicc.RefPIN2, uicc.RefADM1, uicc.RefADM1 + 1} {
		r.codes[ref] = code(ref)
	}
	return r
}

// draw makes a command and the answer that the reference gives, with what has to be
// sent before.
func (r *reference) draw(t *rapid.T) (before []string, command, want string) {
	ref := rapid.SampledFrom(slices.Sorted(maps.Keys(r.codes))).Draw(t, "reference")
	way := rapid.SampledFrom([]string{"00", "01", "A0"}).Draw(t, "class")
	if way == "01" && !r.channel {
		before, r.channel = append(before, "0070000001 = 01 9000"), true
	}
	if rapid.IntRange(0, 8).Draw(t, "command") > 5 {
		at, command, want := r.drawAccess(t, way)
		return append(before, at...), command, want
	}
	if way == "A0" {
		ref = rapid.SampledFrom([]byte{uicc.RefPIN1, uicc.RefPIN2}).Draw(t, "CHV")
	} else if ref&uicc.LocalRef != 0 {
		before = append(before, way+"A4040C 07 A0000000871002 = 9000")
	}
	command, want = r.drawCode(t, way, ref)
	return before, command, want
}

// drawCode makes a command about a code; CHV2 of class A0 is PIN2, and UNBLOCK CHV calls
// CHV1 0.
func (r *reference) drawCode(t *rapid.T, way string, ref byte) (command, want string) {
	c := r.codes[ref]
	values := []string{"31323334ffffffff", "35363738ffffffff", "3132333435363738"}
	value := rapid.SampledFrom(append(values, c.value, c.value, cmp.Or(c.puk, c.value))).Draw(t, "code")
	fresh := rapid.SampledFrom(values).Draw(t, "new code")
	p2 := fmt.Sprintf("%02x", ref)
	if way == "A0" {
		p2 = fmt.Sprintf("%02x", ref&0x0F+ref>>7)
	}
	switch rapid.IntRange(0, 6).Draw(t, "about a code") {
	case 0:
		command, want = "2000"+p2+"08"+value, c.present(value, c.mode == pinOn, func() {})
	case 1:
		command, want = "2400"+p2+"10"+value+fresh, c.present(value, c.mode == pinOn, func() { c.value = fresh })
	case 2:
		command, want = "2600"+p2+"08"+value, r.turn(ref, value, pinOff)
	case 3:
		command, want = "2800"+p2+"08"+value, r.turn(ref, value, pinOn)
	case 4:
		if way == "A0" {
			return "A02C00" + map[byte]string{uicc.RefPIN1: "00", uicc.RefPIN2: "02"}[ref] + "10" + value + fresh, inGSM(c.unblock(value, fresh))
		}
		command, want = "2C00"+p2+"10"+value+fresh, c.unblock(value, fresh)
	case 5:
		if way == "A0" {
			return "A02000" + p2, "6700"
		}
		command, want = "2000"+p2, told(c.tries)
		if c.mode != pinOn {
			want = "9000"
		}
	case 6:
		if way == "A0" {
			return "A02000" + p2 + "00", "6700"
		}
		command, want = "2691"+p2+"08"+value, r.turn(ref, value, pinReplaced)
	}
	if way == "A0" {
		want = inGSM(want)
	}
	return way + command, want
}

func told(left int) string {
	if left == 0 {
		return "6983"
	}
	return fmt.Sprintf("63c%x", left)
}

// turn is DISABLE PIN, with the universal PIN as replacement or without, and ENABLE PIN.
func (r *reference) turn(ref byte, value string, to pinMode) string {
	c := r.codes[ref]
	if ref != uicc.RefPIN1 && (ref != uicc.RefUniversalPIN || to == pinReplaced) {
		return "6a88"
	}
	return c.present(value, (c.mode == pinOn) != (to == pinOn), func() { c.mode = to })
}

// inGSM is a status word of class A0 (TS 51.011, 9.4).
func inGSM(sw string) string {
	switch {
	case sw == "63c0", sw == "6983":
		return "9840"
	case strings.HasPrefix(sw, "63c"), sw == "6982":
		return "9804"
	case sw == "6984":
		return "9808"
	case sw == "6a88":
		return "9404"
	case len(sw) == 4 && strings.HasPrefix(sw, "6c"):
		return "67" + sw[2:]
	}
	return sw
}

// drawAccess selects a file and makes a command that reads or updates it.
func (r *reference) drawAccess(t *rapid.T, way string) (before []string, command, want string) {
	path := rapid.SampledFrom(slices.Sorted(maps.Keys(r.files))).Draw(t, "file")
	offset := rapid.IntRange(0, 12).Draw(t, "offset")
	data := rapid.SliceOfN(rapid.Byte(), 1, 12).Draw(t, "data")
	f := r.files[path]
	before = []string{fmt.Sprintf("%sA4080C %02x %s = 9000", way, len(path)/2, path)}
	if way == "A0" {
		before = []string{"A0A40000 02 3F00 = 9F.."}
		for step := range slices.Chunk([]byte(path), 4) {
			before = append(before, "A0A40000 02 "+string(step)+" = 9F..")
		}
	}
	if rapid.Bool().Draw(t, "read") {
		command, want = fmt.Sprintf("%sB0%04x%02x", way, offset, len(data)), r.read(f, offset, len(data))
	} else {
		command, want = fmt.Sprintf("%sD6%04x%02x%x", way, offset, len(data), data), r.update(f, offset, hex.EncodeToString(data))
	}
	if way == "A0" {
		want = inGSM(want)
	}
	return before, command, want
}
