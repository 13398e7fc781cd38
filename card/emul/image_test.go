package emul

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/card/aka"
)

// openCard opens an image and closes it with the test.
func openCard(t testing.TB, path string, p *Profile) *Card {
	t.Helper()
	c, err := Open(path, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func closeCard(t testing.TB, c *Card) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestImageKeepsState(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	home := homeOf(t, p)
	used, later := nextVector(t, home), nextVector(t, home)
	c := openCard(t, path, &p)
	run(t, c, selectUSIM, verifyPIN1,
		authenticate(used)+"00 = "+success(used),
		"00D68B00 04 01020304 = 9000",
		"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF = 9000",
		wrongPIN1+"63C2",
		"002C0001 10 3030303030303030 35363738FFFFFFFF = 63C9",
		"0020000A 08 0000000000000000 = 63C2",
		"0020000A 08 0000000000000000 = 63C1",
	)
	closeCard(t, c)
	c = openCard(t, path, nil)
	run(t, c, selectUSIM,
		"00200001 = 63C2",
		"002C0001 = 63C9",
		"0020000A = 63C1",
		"00B08B00 01 = 6982", // verified no more
		"00200001 08 35363738FFFFFFFF = 9000",
		"00B08B00 04 = 010203049000",
		authenticate(used)+"00 = DC0E~9000",
		authenticate(later)+"00 = "+success(later),
		"00260001 08 35363738FFFFFFFF = 9000",
		verifyADM(p),
		"00D68700 09 080910101032547698 = 9000",
	)
	closeCard(t, c)
	run(t, openCard(t, path, &p), selectUSIM, "00B08700 09 = 0809101010325476989000", "0020000A = 63C3") // PIN1 is off
}

// TestImageKeepsKeys: new keys outlive the process, an existing image wins over
// its profile, and another card's profile is refused.
func TestImageKeepsKeys(t *testing.T) {
	t.Parallel()
	p, q, path := testProfile(t), testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	key, _ := c.model.EncodeKey(keyOf(q))
	run(t, c, selectUSIM, verifyADM(p), "00A4000C 02 AF20 = 9000")
	for i, b := range key.Reveal() { // byte by byte: a sealed object is written whole
		run(t, c, "00D600"+hexByte(byte(i))+" 01 "+hexByte(b)+" = 9000")
	}
	closeCard(t, c)
	v := nextVector(t, homeOf(t, q))
	run(t, openCard(t, path, &p), selectUSIM, verifyPIN1, authenticate(v)+"00 = "+success(v))

	other := testProfile(t)
	other.ICCID = "8949440000001155314"
	_, err := Open(path, &other)
	var iccid *ICCIDError
	if !errors.Is(err, ErrImageBusy) {
		t.Errorf("open twice: %v", err)
	}
	path2 := filepath.Join(t.TempDir(), "card")
	closeCard(t, openCard(t, path2, &p))
	if _, err := Open(path2, &other); !errors.As(err, &iccid) || iccid.Have != p.ICCID || iccid.Want != other.ICCID {
		t.Errorf("another card's profile: %v", err)
	}
	if _, err := Open(path2, &p); err != nil {
		t.Errorf("the refused Open kept the lock: %v", err)
	}
}

func TestImageIsSealed(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	p.PUK1 = secret.New([]byte("86421357")) // not digits of the IMSI, which is in EF.IMPI
	path := filepath.Join(dir, "card")
	c := openCard(t, path, &p)
	run(t, c, selectUSIM, verifyPIN1, verifyADM(p), "00240001 10 31323334FFFFFFFF 3938373635343332 = 9000")
	closeCard(t, c)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	iccid := unhex(t, iccidHex(t))
	if !bytes.Contains(b, iccid) {
		t.Error("the ICCID is not found: the search is worth nothing")
	}
	for name, s := range map[string][]byte{
		"K": p.K.Reveal(), "OPc": p.OPc.Reveal(), "ADM1": p.ADM1.Reveal(), "PUK1": p.PUK1.Reveal(),
		"PIN1": []byte("1234\xff\xff\xff\xff"), "new PIN1": []byte("98765432"),
	} {
		for _, form := range formsOf(s) {
			if bytes.Contains(b, []byte(form)) {
				t.Errorf("%s is in the image", name)
			}
		}
	}
	for _, name := range []string{path, path + keySuffix} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

// places are offsets below n: those of the header and of the records at the end all,
// one in eleven of the files between.
func places(n int) []int {
	const first, last, step = 200, 700, 11
	var list []int
	for at := 0; at < n; at++ {
		if at < first || at >= n-last || at%step == 0 {
			list = append(list, at)
		}
	}
	return list
}

// TestImageCut: an image cut at any byte opens with a state that it had, or is
// refused as damaged; within the snapshot it is refused.
func TestImageCut(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	path := filepath.Join(dir, "card")
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	ends := map[int]string{int(im.end): "63c3"}
	for _, want := range []string{"63c2", "63c1", "63c0"} {
		run(t, c, wrongPIN1+want)
		ends[int(im.end)] = want
	}
	closeCard(t, c)
	whole, key := mustRead(t, path), mustRead(t, path+keySuffix)
	snapshot := int(im.start)
	want := ""
	for _, n := range places(len(whole) + 1) {
		if s, ok := ends[n]; ok {
			want = s
		}
		cut := filepath.Join(dir, "cut")
		mustWrite(t, cut, whole[:n])
		mustWrite(t, cut+keySuffix, key)
		c, err := Open(cut, nil)
		if n < snapshot {
			if !errors.Is(err, ErrImageDamaged) {
				t.Fatalf("cut at %d of %d: %v, want %v", n, len(whole), err, ErrImageDamaged)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", n, len(whole), err)
		}
		if want == "63c0" {
			want = "6983"
		}
		run(t, c, "00200001 = "+want)
		verify := "00200001 08 31323334FFFFFFFF"
		ok := send(t, c, verify) == "9000"
		closeCard(t, c)
		if c, err = Open(cut, nil); err != nil { // the torn record is gone, the new one is behind
			t.Fatalf("cut at %d, written, opened again: %v", n, err)
		}
		if ok {
			run(t, c, "00200001 = 63c3")
		}
		closeCard(t, c)
	}
}

// TestImageChanged: a bit changed anywhere is refused, or changes nothing.
func TestImageChanged(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	path := filepath.Join(dir, "card")
	c := openCard(t, path, &p)
	run(t, c, wrongPIN1+"63C2", wrongPIN1+"63C1")
	closeCard(t, c)
	whole, key := mustRead(t, path), mustRead(t, path+keySuffix)
	bad := filepath.Join(dir, "bad")
	mustWrite(t, bad+keySuffix, key)
	for _, n := range places(len(whole)) {
		changed := bytes.Clone(whole)
		changed[n] ^= 1 << (n % 8)
		mustWrite(t, bad, changed)
		if c, err := Open(bad, nil); err == nil {
			_ = c.Close()
			t.Errorf("byte %d changed, and the image opens", n)
		} else if !errors.Is(err, ErrImageDamaged) && !errors.Is(err, ErrImageVersion) {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
}

func TestImageRefused(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	path := filepath.Join(dir, "card")
	closeCard(t, openCard(t, path, &p))
	good, key := mustRead(t, path), mustRead(t, path+keySuffix)
	newer := bytes.Clone(good)
	binary.BigEndian.PutUint32(newer[len(magic):], imageVersion+1)
	h, _ := parseHeader(good)
	empty := header{0, h.id, imageVersion}.bytes()
	otherKey := bytes.Repeat([]byte{7}, keyLen)
	for _, c := range []struct {
		name       string
		image, key []byte
		want       error
		says       string
	}{
		{"newer", newer, key, ErrImageVersion, "version 3"},
		{"newer, cut behind the version", newer[:len(magic)+4], key, ErrImageVersion, "version 3"},
		{"another file", []byte("PNG and so on and so on"), key, ErrImageDamaged, "another file"},
		{"empty", nil, key, ErrImageDamaged, "truncated"},
		{"no records", empty, key, ErrImageDamaged, "card model"},
		{"key of another image", good, otherKey, ErrImageKey, "sealed object"},
		{"short key", good, key[:31], ErrImageKey, "32 bytes"},
		{"long key", good, append(bytes.Clone(key), 0), ErrImageKey, "32 bytes"},
		{"empty key", good, []byte{}, ErrImageKey, "32 bytes"},
		{"no key", good, nil, ErrImageKey, "missing"},
	} {
		path := filepath.Join(t.TempDir(), "card")
		mustWrite(t, path, c.image)
		if c.key != nil {
			mustWrite(t, path+keySuffix, c.key)
		}
		_, err := Open(path, &p)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := mustRead(t, path); !bytes.Equal(got, c.image) {
			t.Errorf("%s: the refused image was changed", c.name)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("neither image nor profile: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none") + keySuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a key was left behind: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "no", "folder"), &p); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	bad := p
	bad.Model = "isim"
	if _, err := Open(filepath.Join(dir, "new"), &bad); err == nil {
		t.Error("a bad profile made an image")
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a bad profile left an image: %v", err)
	}
	closeCard(t, openCard(t, filepath.Join(dir, "new"), &p)) // and nothing in the way of a good one
}

// TestImageContent: records that are whole, but say what no card can be.
func TestImageContent(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	path := filepath.Join(dir, "card")
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	for name, ch := range map[string]change{
		"unknown object":      {object(0x3F001234), 0, []byte{1}},
		"more than fits":      {fileObject(0x3F00, 0x2FE2), 5, make([]byte, 6)},
		"too many tries":      {objectCounters, 0, []byte{1, 4, 10}},
		"too many tries, PUK": {objectCounters, 0, []byte{1, 3, 11}},
		"neither on nor off":  {objectCounters, 0, []byte{3, 3, 10}},
		"ADM1 off":            {objectCounters, 3, []byte{0, 3, 0}},
		"universal replaced":  {objectCounters, 6, []byte{2, 3, 10}},
		"half a counter":      {objectCounters, 0, []byte{1, 3}},
		"between counters":    {objectCounters, 1, []byte{1, 3, 10}},
		"sixth PIN":           {objectCounters, 15, []byte{1, 3, 10}},
		"short PIN":           {objectPIN | 1, 0, make([]byte, 7)},
		"PIN in the middle":   {objectPIN | 1, 1, make([]byte, 8)},
	} {
		b, err := im.codec.append(mustRead(t, path), im.records, ch)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), "card")
		mustWrite(t, bad, b)
		mustWrite(t, bad+keySuffix, mustRead(t, path+keySuffix))
		if _, err := Open(bad, nil); !errors.Is(err, ErrImageDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, payload := range map[string][]byte{
		"half a change":   {0, 0, 0},
		"data cut":        {0x3F, 0, 0x2F, 0xE2, 0, 0, 0, 2, 1},
		"sealed, no room": {0x80, 0, 1, 1, 0, 0, 0, 1, 1},
	} {
		head := make([]byte, recordHeadLen)
		binary.BigEndian.PutUint16(head, uint16(len(payload)))
		binary.BigEndian.PutUint16(head[2:], ^uint16(len(payload)))
		binary.BigEndian.PutUint32(head[4:], recordCRC(im.records, payload))
		bad := filepath.Join(t.TempDir(), "card")
		mustWrite(t, bad, append(append(mustRead(t, path), head...), payload...))
		mustWrite(t, bad+keySuffix, mustRead(t, path+keySuffix))
		if _, err := Open(bad, nil); !errors.Is(err, ErrImageDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A snapshot without one of the objects.
	im.snapshot = func() []change { return c.snapshot()[:3] }
	if err := im.compact(); err != nil {
		t.Fatal(err)
	}
	closeCard(t, c)
	if _, err := Open(path, nil); !errors.Is(err, ErrImageDamaged) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("objects missing: %v", err)
	}
}

// TestImageCompacts: the journal does not grow without end, and nothing is lost.
func TestImageCompacts(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	link := path + "-link"
	closeCard(t, openCard(t, path, &p))
	fresh := len(mustRead(t, path))
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	c := openCard(t, link, nil)
	home := homeOf(t, p)
	run(t, c, selectUSIM, verifyPIN1)
	var last aka.Vector
	for i := range 2500 {
		last = nextVector(t, home)
		if got := send(t, c, authenticate(last)+"00"); got != success(last) {
			t.Fatalf("run %d: %s", i, got)
		}
	}
	closeCard(t, c)
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("compaction replaced the link: %v %v", info.Mode(), err)
	}
	if n := len(mustRead(t, path)); n > fresh+journalLimit+1<<10 {
		t.Errorf("the image has %d bytes", n)
	}
	run(t, openCard(t, path, nil), selectUSIM, verifyPIN1, authenticate(last)+"00 = DC0E~9000")
}

// TestImageWriteFails: after a write that failed nothing more is promised.
func TestImageWriteFails(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	im := c.storage.(*image)
	if err := im.file.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, c, wrongPIN1+"6581", wrongPIN1+"6581", "00200001 = 63C3")
	im.file = nil
	closeCard(t, c)
	run(t, openCard(t, path, nil), "00200001 = 63C3")
}

func TestHeader(t *testing.T) {
	t.Parallel()
	h := header{snapshot: 77, id: [idLen]byte{1, 2, 3}, version: imageVersion}
	got, err := parseHeader(h.bytes())
	if err != nil || got != h {
		t.Errorf("%v %v", got, err)
	}
	if crc32.Checksum([]byte("123456789"), castagnoli) != 0xE3069283 {
		t.Error("not CRC-32C")
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWrite(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
