package emul

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"mcim/card/model"
)

// dumpOf is every object of the card, in hexadecimal digits.
func dumpOf(c *Card) string {
	var s strings.Builder
	for _, ch := range c.snapshot() {
		_, _ = fmt.Fprintf(&s, "%08X %X\n", uint32(ch.object), ch.data)
	}
	return s.String()
}

// changing are commands that change each part of a card's state, in the order in which
// most of them succeed.
func changing(t testing.TB, p Profile) []string {
	home := homeOf(t, p)
	command := func(s string) string { return strings.TrimSuffix(s, " = 9000") }
	byADM := nest("AB", "80017E A40683010A950108 8401D4 A40683010A950108 8401E4 A40683010A950108")
	return []string{
		command(selectUSIM), command(verifyPIN1), command(verifyADM(p)),
		"00D68700 02 0809", "00A4000C 02 6F7E", "00D60000 03 010203",
		authenticate(nextVector(t, home)) + "00", authenticate(nextVector(t, home)) + "00",
		apduOf("00E00000", "62", "82024121 83026F70 8A0105 80020004 "+byADM),
		"00D60000 04 AABBCCDD", apduOf("80D40000", "62", "83026F70 80020006"), "00040000 02 6F70", "00440000 02 6F70",
		apduOf("00E00000", "62", "82027821 83025F70 8A0105 "+byADM),
		command(selectUSIM), "00E40000 02 6F70", "00040000 02 6F07", "00440000 02 6F07",
		"00A4000C 02 6F06", "00DC0104 18 80017F A40683010A950108 FFFFFFFFFFFFFFFFFFFFFFFFFF", "00B2010418",
		"00240001 10 31323334FFFFFFFF 35363738FFFFFFFF", "00240001 10 35363738FFFFFFFF 31323334FFFFFFFF",
		"00200001 08 30303030FFFFFFFF", "0020000A 08 0000000000000000", "00B0870009", "00A40004 02 6F07 00",
		"00700000 01", "00A40004 02 3F00 00",
	}
}

// TestForks: random commands on one of two cards never change the other, whichever is the
// fork; both answer as a card would that was never forked. Restore gives the state of the
// snapshot in every object, and a card that behaves so.
func TestForks(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	commands := changing(t, p)
	first := newCard(t, p)
	for _, command := range commands[:10] {
		send(t, first, command)
	}
	begin := first.Snapshot()
	rapid.Check(t, func(rt *rapid.T) {
		play := func(label string, cards ...*Card) {
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(commands)-1), 1, 25).Draw(rt, label) {
				want := send(t, cards[0], commands[i])
				for _, c := range cards[1:] {
					if got := send(t, c, commands[i]); got != want {
						rt.Fatalf("%s: %s, on a card like it %s", commands[i], got, want)
					}
				}
			}
		}
		same := func(what, got, want string) {
			if got != want {
				rt.Fatalf("%s: got\n%s\nwant\n%s", what, got, want)
			}
		}
		c := begin.Fork()
		play("before", c)
		s, state := c.Snapshot(), dumpOf(c)
		fork := s.Fork()
		same("fork", dumpOf(fork), state)
		play("on the fork", fork)
		same("the first card", dumpOf(c), state)
		changed := dumpOf(fork)
		mustReset(t, c)
		play("on the first card and another fork", c, s.Fork())
		same("the fork", dumpOf(fork), changed)
		same("the snapshot", dumpOf(s.Fork()), state)
		if err := c.Restore(s); err != nil {
			rt.Fatal(err)
		}
		same("restored", dumpOf(c), state)
		play("on the restored card", c, s.Fork())
	})
	if got := dumpOf(begin.Fork()); got != dumpOf(first) {
		t.Errorf("the snapshot that all were forked of has changed:\n%s", got)
	}
}

// TestForkWhileSelected: the card that a snapshot is taken of goes on where it was; its
// forks begin as after a reset.
func TestForkWhileSelected(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	c := newCard(t, p)
	v := nextVector(t, homeOf(t, p))
	run(t, c, selectUSIM, verifyPIN1, verifyADM(p), "00A4000C 02 6F07 = 9000", "00700000 01 = 019000")
	s := c.Snapshot()
	run(t, c, "00D60000 01 07 = 9000", "00B0000001 = 079000", authenticate(v)+"00 = "+success(v), authenticate(v)+"00 = DC0E~9000",
		"00700000 01 = 029000")
	fork := s.Fork()
	run(t, fork, "00B0000001 = 6986", selectUSIM, "00A4000C 02 6F07 = 9000", "00B0000001 = 6982", verifyPIN1, "00B0000001 = 089000",
		authenticate(v)+"00 = "+success(v), "00700000 01 = 019000")
	if err := c.Restore(s); err != nil {
		t.Fatal(err)
	}
	run(t, c, "01B0000001 = 6881", selectUSIM, verifyPIN1, "00A4000C 02 6F07 = 9000", "00B0000001 = 089000", authenticate(v)+"00 = "+success(v))
	const name = "snapshot of a software UICC"
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); text != name+" "+name+" "+name {
		t.Errorf("a snapshot prints %s", text)
	}
}

// TestForksAtOnce: cards of one snapshot, and the card itself, are used at the same time.
func TestForksAtOnce(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	commands := changing(t, p)
	c := newCard(t, p)
	for _, command := range commands[:10] {
		send(t, c, command)
	}
	s := c.Snapshot()
	cards := []*Card{c}
	var all sync.WaitGroup
	for range 4 {
		cards = append(cards, s.Fork())
	}
	for _, one := range cards {
		all.Go(func() {
			for _, command := range commands {
				send(t, one, command)
			}
			one.Snapshot().Fork()
			send(t, s.Fork(), commands[0])
		})
	}
	all.Wait()
}

// TestRestoreOnDisk: what was restored is in the image, and a restore that cannot be kept
// changes nothing.
func TestRestoreOnDisk(t *testing.T) {
	t.Parallel()
	p, path := testProfile(t), filepath.Join(t.TempDir(), "card")
	c := openCard(t, path, &p)
	s := c.Snapshot()
	run(t, c, wrongPIN1+"63C2")
	im := c.storage
	c.storage = full{}
	if err := c.Restore(s); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("a full disk: %v", err)
	}
	c.storage = im
	run(t, c, "00200001 = 63C2")
	if err := c.Restore(s); err != nil {
		t.Fatal(err)
	}
	want := dumpOf(c)
	closeCard(t, c)
	c = openCard(t, path, nil)
	if got := dumpOf(c); got != want {
		t.Errorf("opened again:\n%s\nwant\n%s", got, want)
	}
	run(t, c, "00200001 = 63C3")
}

// TestOpenFork: the copy of an image is the same card, and goes its own way; nothing that
// exists is replaced.
func TestOpenFork(t *testing.T) {
	t.Parallel()
	p, dir := testProfile(t), t.TempDir()
	path, copied := filepath.Join(dir, "card"), filepath.Join(dir, "copy")
	c := openCard(t, path, &p)
	run(t, c, selectUSIM, wrongPIN1+"63C2")
	if _, err := OpenFork(copied, path); !errors.Is(err, ErrImageBusy) {
		t.Errorf("an image in use: %v", err)
	}
	closeCard(t, c)
	fork, err := OpenFork(copied, path)
	if err != nil {
		t.Fatal(err)
	}
	run(t, fork, wrongPIN1+"63C1")
	closeCard(t, fork)
	run(t, openCard(t, path, nil), "00200001 = 63C2")
	run(t, openCard(t, copied, &p), "00200001 = 63C1", selectUSIM, "00A4000C 02 2FE2 = 6A82", "00A4000C 02 3F00 = 9000",
		"00A4000C 02 2FE2 = 9000", "00B000000A = "+iccidHex(t)+"9000")
	if string(mustRead(t, path+keySuffix)) == string(mustRead(t, copied+keySuffix)) {
		t.Error("both images have one key")
	}
	whole := mustRead(t, copied)
	for name, tt := range map[string]struct {
		path, from string
		want       error
	}{
		"exists": {copied, path, fs.ErrExist}, "itself": {path, path, fs.ErrExist},
		"nothing to fork": {filepath.Join(dir, "new"), filepath.Join(dir, "none"), fs.ErrNotExist},
		"no folder":       {filepath.Join(dir, "no", "new"), keyedCopy(t, path), fs.ErrNotExist},
		"no image":        {filepath.Join(dir, "new"), copied + keySuffix, ErrImageKey},
	} {
		if _, err := OpenFork(tt.path, tt.from); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if string(mustRead(t, copied)) != string(whole) {
		t.Error("a refused fork changed the image")
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused fork left an image: %v", err)
	}
}

// keyedCopy copies an image with its key, for a path that nobody has open.
func keyedCopy(t *testing.T, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "card")
	mustWrite(t, to, mustRead(t, path))
	mustWrite(t, to+keySuffix, mustRead(t, path+keySuffix))
	return to
}

// TestYesterday: images as versions before wrote them load, and are the card that they
// were. Each of these had less: the text of the card, the records of EF.ARR, the objects.
func TestYesterday(t *testing.T) {
	t.Parallel()
	p := testProfile(t)
	today, err := model.CardByName("usim")
	if err != nil {
		t.Fatal(err)
	}
	text := string(today.Texts[0])
	before, rest, _ := strings.Cut(text, "channels = ")
	_, files, found := strings.Cut(rest, "\nfiles = [")
	if !found {
		t.Fatal("the text of the card is not as it was")
	}
	files = strings.ReplaceAll(files, `update = "pin2"`, `update = "adm"`) // before there was one
	for name, tt := range map[string]struct {
		text    string
		codes   int
		records int // of EF.ARR
	}{
		"before PIN2, ADM2, SUSPEND and toolkit": {before + "\nfiles = [" + files, 2, 7},
		"before files could be created":          {text, 5, 9},
		"before the secure channel":              {text, 5, 0},
	} {
		l, err := model.RestoreCard([][]byte{[]byte(tt.text)})
		if err != nil {
			t.Fatal(err)
		}
		p, path := p, filepath.Join(t.TempDir(), "card")
		p.Model, p.Card = "./mine.toml", l
		if tt.codes == 2 {
			p.Codes = Codes{}
		}
		c := openCard(t, path, &p)
		run(t, c, selectUSIM, wrongPIN1+"63C2", verifyADM(p), "00D68700 02 0819 = 9000")
		im := c.storage.(*image)
		im.snapshot = func() []change {
			all := c.snapshot()
			for i, ch := range all {
				if arr := ch.object&0xFFFF == 0x6F06 || ch.object == 0x3F002F06; arr && tt.records != 0 {
					all[i].data = ch.data[:tt.records*arrRecordLen]
				}
			}
			return all
		}
		if err := im.compact(); err != nil {
			t.Fatal(err)
		}
		closeCard(t, c)
		c = openCard(t, path, nil)
		if len(c.pins) != tt.codes {
			t.Errorf("%s: %d codes", name, len(c.pins))
		}
		run(t, c, selectUSIM, "00200001 = 63C2", verifyPIN1, "00B08700 02 = 08199000", "00D68700 01 08 = 6982", verifyADM(p),
			"00D68700 01 08 = 9000", apduOf("00E00000", "62", "82024121 83026F70 8A0105 80020004 "+nest("AB", "800101 9000"))+" = 9000")
	}
}
