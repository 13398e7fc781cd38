package emul

import (
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
const pinTries, admTries, unblockTries = 3, 3, 10

// reference is the plain reading of TS 102 221 that the card is compared with:
// PIN1, ADM1, and four files with their rules.
type reference struct {
	pin, puk, adm         string // padded, in hexadecimal digits
	tries, unblocks, adms int
	enabled, ok, okADM    bool
	files                 map[string]*referenceFile
}

type referenceFile struct {
	data         string // hexadecimal digits
	read, update string // "" always, "pin", "adm", "never"
}

func (r *reference) may(condition string) bool {
	switch condition {
	case "":
		return true
	case "pin":
		return r.ok || !r.enabled
	case "adm":
		return r.okADM
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

// withPIN is VERIFY, CHANGE, DISABLE and ENABLE of PIN1.
func (r *reference) withPIN(code string, allowed bool, then func()) string {
	if !allowed {
		return "6984"
	}
	sw := guess(&r.tries, pinTries, code == r.pin)
	switch {
	case sw == "9000":
		r.ok = true
		then()
	case sw != "6983":
		r.ok = false
	}
	return sw
}

func (r *reference) unblock(puk, pin string) string {
	sw := guess(&r.unblocks, unblockTries, puk == r.puk)
	if sw == "9000" {
		r.pin, r.tries, r.enabled, r.ok = pin, pinTries, true, true
	}
	return sw
}

func (r *reference) verifyADM(code string) string {
	sw := guess(&r.adms, admTries, code == r.adm)
	if sw != "6983" {
		r.okADM = sw == "9000"
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
				r.ok, r.okADM = false, false
				continue
			case 1:
				closeCard(t, c)
				c = openCard(t, path, nil)
				r.ok, r.okADM = false, false
				continue
			}
			command, want := r.draw(rt)
			if selection, rest, ok := strings.Cut(command, "\n"); ok {
				run(t, c, selection+" = 9000")
				command = rest
			}
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
	return &reference{
		pin: "31323334ffffffff", puk: "3132333435363738", adm: fmt.Sprintf("%x", "adm-code"),
		tries: pinTries, unblocks: unblockTries, adms: admTries, enabled: true,
		files: map[string]*referenceFile{
			"7F206F07": file(adf.file(0x6F07), "pin", "adm"),
			"7F206F7E": file(adf.file(0x6F7E), "pin", "pin"),
			"7F206FAD": file(adf.file(0x6FAD), "", "adm"),
			"2FE2":     file(mf.file(uicc.FIDEFICCID), "", "never"),
		},
	}
}

// draw makes a command and the answer that the reference gives.
func (r *reference) draw(t *rapid.T) (command, want string) {
	pins := []string{"31323334ffffffff", "35363738ffffffff", "3132333435363738"}
	code := rapid.SampledFrom(pins).Draw(t, "code")
	fresh := rapid.SampledFrom(pins).Draw(t, "new code")
	switch rapid.IntRange(0, 8).Draw(t, "command") {
	case 0:
		return "00200001 08" + code, r.withPIN(code, r.enabled, func() {})
	case 1:
		return "00240001 10" + code + fresh, r.withPIN(code, r.enabled, func() { r.pin = fresh })
	case 2:
		return "00260001 08" + code, r.withPIN(code, r.enabled, func() { r.enabled = false })
	case 3:
		return "00280001 08" + code, r.withPIN(code, !r.enabled, func() { r.enabled = true })
	case 4:
		return "002C0001 10" + code + fresh, r.unblock(code, fresh)
	case 5:
		code := rapid.SampledFrom([]string{r.adm, "0000000000000000"}).Draw(t, "adm")
		return "0020000A 08" + code, r.verifyADM(code)
	case 6:
		q := rapid.SampledFrom([]struct {
			command string
			left    int
		}{{"00200001", r.tries}, {"002C0001", r.unblocks}, {"0020000A", r.adms}}).Draw(t, "query")
		switch {
		case q.command == "00200001" && !r.enabled:
			return q.command, "9000"
		case q.left == 0:
			return q.command, "6983"
		}
		return q.command, fmt.Sprintf("63c%x", q.left)
	}
	return r.drawAccess(t)
}

// drawAccess selects a file and makes a command that reads or updates it.
func (r *reference) drawAccess(t *rapid.T) (command, want string) {
	path := rapid.SampledFrom(slices.Sorted(maps.Keys(r.files))).Draw(t, "file")
	offset := rapid.IntRange(0, 12).Draw(t, "offset")
	data := rapid.SliceOfN(rapid.Byte(), 1, 12).Draw(t, "data")
	f := r.files[path]
	selection := fmt.Sprintf("00A4080C %02x %s\n", len(path)/2, path)
	if rapid.Bool().Draw(t, "read") {
		return selection + fmt.Sprintf("00B0%04x%02x", offset, len(data)), r.read(f, offset, len(data))
	}
	return selection + fmt.Sprintf("00D6%04x%02x%x", offset, len(data), data), r.update(f, offset, hex.EncodeToString(data))
}
