package hwtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mcim/apdu"
	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/aka"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/flows/m2me"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm/tpmtest"
)

// holder is who has a card image in hand, knows its codes, and looks at what is in
// it.
type holder struct {
	t    *testing.T
	path string
	p    emul.Profile
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	path, p := image(t, "")
	return &holder{t, path, p}
}

// lab is one on the holder's card, with the profile as changed.
func (h *holder) lab(change func(*emul.Profile)) world.Config {
	p := h.p
	if change != nil {
		change(&p)
	}
	return world.Config{Card: "emul:" + h.path, TPM: "swtpm:" + tpmtest.Dir(h.t), Allow: []string{p.ICCID}, Profile: &p}
}

// use opens the card, outside of every lab.
func (h *holder) use(do func(s *card.Session, g *card.Guard)) {
	h.t.Helper()
	ctx := context.Background()
	c, err := emul.Open(h.path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	s := card.NewSession(c, card.Options{})
	atr, err := s.Reset(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	g := card.NewGuard(s, card.GuardConfig{ATR: atr, Allow: []string{h.p.ICCID}})
	pin1, _ := uicc.PadPIN(string(h.p.PIN1.Reveal()))
	if _, err := s.Select(ctx, card.InApp(usim.AIDPrefix())); err != nil {
		h.t.Fatal(err)
	}
	if err := errors.Join(g.Verify(ctx, uicc.RefPIN1, pin1), g.Verify(ctx, uicc.RefADM1, h.p.ADM1)); err != nil {
		h.t.Fatal(err)
	}
	do(s, g)
	if err := c.Close(); err != nil {
		h.t.Fatal(err)
	}
}

// networkFiles are those in which a network leaves keys and areas, and which a USIM
// need not have.
func networkFiles() (list []card.File) {
	for _, path := range [][]uint16{
		{usim.EFEPSNSC}, {0x5F3B, 0x4F20}, {0x5F3B, 0x4F52}, {0x5FC0, 0x4F01}, {0x5FC0, 0x4F02}, {0x5FC0, 0x4F03}, {0x5FC0, 0x4F04}, {0x5FC0, 0x4F05},
	} {
		list = append(list, card.InApp(usim.AIDPrefix(), path...))
	}
	return list
}

// files are those that P8c.8 writes and that can be read, but for the SQN file.
func (h *holder) files() map[uint16]string {
	h.t.Helper()
	all := map[uint16]string{}
	h.use(func(s *card.Session, _ *card.Guard) {
		for _, fid := range []uint16{usim.EFIMSI, usim.EFLOCI, usim.EFPSLOCI, usim.EFEPSLOCI, usim.EFKeys, usim.EFKeysPS, usim.EFFPLMN} {
			data, err := s.ReadFile(context.Background(), card.InApp(usim.AIDPrefix(), fid))
			if err != nil {
				h.t.Fatal(err)
			}
			all[fid] = hex.EncodeToString(data)
		}
		for _, f := range networkFiles() {
			parts, err := s.ReadRecords(context.Background(), f)
			if errors.Is(err, card.ErrFileKind) {
				parts = make([][]byte, 1)
				parts[0], err = s.ReadFile(context.Background(), f)
			}
			if err != nil {
				h.t.Fatal(err)
			}
			all[f.Path[len(f.Path)-1]] = hex.EncodeToString(bytes.Join(parts, nil))
		}
	})
	return all
}

// sqn is the highest sequence number that the card has accepted, by its SQN file.
func (h *holder) sqn() (highest uint64) {
	h.t.Helper()
	h.use(func(s *card.Session, g *card.Guard) {
		data, err := s.ReadFile(context.Background(), card.InApp(usim.AIDPrefix(), g.Model().SQNFile.FID))
		if err != nil {
			h.t.Fatal(err)
		}
		file, err := g.Model().DecodeSQN(data)
		if err != nil {
			h.t.Fatal(err)
		}
		for _, seen := range file.Seen {
			highest = max(highest, seen)
		}
	})
	return highest
}

// tries are what is left of a key of the card.
func (h *holder) tries(ref byte) (n int) {
	h.t.Helper()
	c, err := emul.Open(h.path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	s := card.NewSession(c, card.Options{})
	atr, err := s.Reset(context.Background())
	if err == nil {
		n, err = card.NewGuard(s, card.GuardConfig{ATR: atr}).Tries(context.Background(), ref)
	}
	if err := errors.Join(err, c.Close()); err != nil {
		h.t.Fatal(err)
	}
	return n
}

// attached writes into the card what networks leave there, and lets it accept a
// sequence number that the profile knows nothing of.
func (h *holder) attached(seq uint64) {
	h.t.Helper()
	ctx := context.Background()
	h.use(func(s *card.Session, g *card.Guard) {
		for fid, data := range map[uint16]string{
			usim.EFLOCI: "11223344" + "00f110" + "0102" + "00" + "00", usim.EFFPLMN: "00f12032f45105f333ffffff",
			usim.EFKeys: "05" + strings.Repeat("a7", 16) + strings.Repeat("5c", 16),
		} {
			raw, _ := hex.DecodeString(data)
			if err := g.UpdateBinary(ctx, card.InApp(usim.AIDPrefix(), fid), 0, raw); err != nil {
				h.t.Fatal(err)
			}
		}
		for _, f := range networkFiles() {
			fcp, err := s.Select(ctx, f)
			if n := int(fcp.Descriptor.RecordLength); err == nil && n > 0 {
				err = g.UpdateRecord(ctx, f, 1, bytes.Repeat([]byte{0x5A}, n))
			} else if err == nil {
				err = g.UpdateBinary(ctx, f, 0, []byte{0x5A, 0x5B})
			}
			if err != nil {
				h.t.Fatal(err)
			}
		}
		sqn, _ := aka.NewSQN(seq, 0)
		if err := g.UpdateSQN(ctx, model.NewSQN(uint64(sqn))); err != nil {
			h.t.Fatal(err)
		}
	})
}

// challengesIn is every AUTN of a trace, with its RAND.
func challengesIn(t *testing.T, path string) (list []usim.Authenticate) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for d := json.NewDecoder(f); d.More(); {
		var line struct{ Kind, Command string }
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		raw, err := hex.DecodeString(line.Command)
		if line.Kind != "apdu" || err != nil {
			continue
		}
		if c, err := apdu.ParseCommand(raw); err == nil && c.INS == uicc.INSAuthenticate && len(c.Data) == 34 {
			list = append(list, usim.Authenticate{RAND: [16]byte(c.Data[1:]), AUTN: [16]byte(c.Data[18:])})
		}
	}
	return list
}

// replayed challenges the card once more with what was sent in a run: no answer
// may be a success. It counts those that the card refuses for their sequence
// number, which are of its own K.
func (h *holder) replayed(challenges []usim.Authenticate) (stale int) {
	h.t.Helper()
	h.use(func(_ *card.Session, g *card.Guard) {
		for _, a := range challenges {
			r, err := g.Authenticate(context.Background(), usim.AIDPrefix(), a)
			if err != nil {
				h.t.Fatal(err)
			}
			answer, err := usim.ParseAuthenticate(r.Data)
			switch {
			case r.SW == apdu.SWAuthenticationMAC: // of another K
			case err == nil && answer.AUTS != nil:
				stale++
			default:
				h.t.Errorf("a challenge of the run is answered once more: %v", r.SW)
			}
		}
	})
	return stale
}

// proved says whether the card has the profile's IMSI, K and OPc, without moving its
// sequence number.
func (h *holder) proved() {
	h.t.Helper()
	c, err := emul.Open(h.path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	pin1, _ := uicc.PadPIN(string(h.p.PIN1.Reveal()))
	_, err = m2me.ProveCard(context.Background(), c, m2me.CardKeys{ICCID: h.p.ICCID, PIN1: pin1}, m2me.Content{IMSI: h.p.IMSI, K: h.p.K, OPc: h.p.OPc})
	if err := errors.Join(err, c.Close()); err != nil {
		h.t.Errorf("the card is not as before: %v", err)
	}
}

// same compares the card's files.
func (h *holder) same(before map[uint16]string) {
	h.t.Helper()
	for fid, now := range h.files() {
		if now != before[fid] {
			h.t.Errorf("file %04x is not as before", fid)
		}
	}
}

func flipped(b secret.Bytes) secret.Bytes {
	c := append([]byte(nil), b.Reveal()...)
	c[len(c)-1] ^= 1
	return secret.New(c)
}

// TestCardRestored: after a run, and after the next one with the same profile, the
// card has what was in it before, its sequence numbers have not gone back, and no
// challenge of a run is answered again.
func TestCardRestored(t *testing.T) {
	t.Parallel()
	h := newHolder(t)
	h.attached(5000) // the profile knows of 0
	before, last := h.files(), h.sqn()
	for range 2 {
		out := t.TempDir()
		result, err := (&Runner{Lab: h.lab(nil), Out: out}).Run(context.Background())
		if err != nil || result.Verdict != report.Pass || !result.Environment.Restored {
			t.Fatalf("%v, %+v", err, result)
		}
		h.same(before)
		h.proved()
		now := h.sqn()
		if now <= last {
			t.Errorf("SQN %012x after %012x", now, last)
		}
		last = now
		challenges := challengesIn(t, filepath.Join(out, traceFile))
		if stale := h.replayed(challenges); stale < 3 {
			t.Errorf("%d of %d challenges were of the card's own K", stale, len(challenges))
		}
	}
}

// TestProfileDoesNotFit: what is told of a card, and is not so, is refused before
// anything is written; one PIN try is lost at most, and said to be.
func TestProfileDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*emul.Profile)
		want   string
		ref    byte // of which a try is lost; 0 is none
	}{
		{"K", func(p *emul.Profile) { p.K = flipped(p.K) }, "refuses a challenge made of its K and OPc; correct k and opc there", 0},
		{"OPc", func(p *emul.Profile) { p.OPc = flipped(p.OPc) }, "refuses a challenge made of its K and OPc", 0},
		{"IMSI", func(p *emul.Profile) { p.IMSI = p.IMSI[:14] + string('0'+(p.IMSI[14]-'0'+1)%10) }, "the card has IMSI ", 0},
		{"PIN1", func(p *emul.Profile) { p.PIN1 = secret.New([]byte("00000000")) }, "PIN1 (01), one try is spent: wrong PIN 01, 2 tries left; correct pin1 there", uicc.RefPIN1},
		{"ADM1", func(p *emul.Profile) { p.ADM1 = flipped(p.ADM1) }, "ADM1, one try is spent: wrong PIN 0A, 2 tries left; nothing was written: correct adm1", uicc.RefADM1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h, spent := newHolder(t), &world.Spent{}
			c := h.lab(tt.change)
			c.Sinks = append(c.Sinks, spent)
			result, err := (&Runner{Lab: c}).Run(context.Background())
			text := ""
			if tt.ref == uicc.RefADM1 { // found in P8c, which is a verdict
				if err != nil || result.Verdict != report.Fail || result.Environment.Restored {
					t.Fatalf("%v, %+v", err, result)
				}
				text = result.Procedures[len(result.Procedures)-1].Reason
			} else if !errors.Is(err, m2me.ErrProfile) || result != nil {
				t.Fatalf("%v, %+v", err, result)
			} else {
				text = err.Error()
			}
			if !strings.Contains(text, tt.want) || strings.Contains(text, "internal error") || strings.Contains(text, "may have keys") {
				t.Errorf("%q, want %q", text, tt.want)
			}
			if total := spent.Total(); total.CardWrites != 0 {
				t.Errorf("spent %s", total)
			}
			for _, ref := range []byte{uicc.RefPIN1, uicc.RefADM1} {
				want := 3
				if ref == tt.ref {
					want = 2
				}
				if n := h.tries(ref); n != want {
					t.Errorf("%d tries left of key %02x, want %d", n, ref, want)
				}
			}
			h.proved()
			if lab, err := temporaryLab(c); err != nil {
				t.Error(err)
			} else if _, err := os.Stat(lab); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the lab is kept: %v", err)
			}
		})
	}
}

// TestInterruptedAfterWrite: a run that is interrupted while the card is being
// written writes back what was in it, and keeps no lab.
func TestInterruptedAfterWrite(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"update key file written", "update EF.IMSI written", "update EF.FPLMN outcome"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			h := newHolder(t)
			h.attached(70)
			before, last := h.files(), h.sqn()
			ctx, cancel := context.WithCancel(context.Background())
			c := h.lab(nil)
			c.OnPoint = func(point string) {
				if strings.HasSuffix(point, at) {
					cancel()
				}
			}
			result, err := (&Runner{Lab: c}).Run(ctx)
			if err == nil || !strings.Contains(err.Error(), "P8c was cut") || result == nil || !result.Environment.Restored {
				t.Fatalf("%v, %+v", err, result)
			}
			h.same(before)
			h.proved()
			if now := h.sqn(); now <= last {
				t.Errorf("SQN %012x after %012x", now, last)
			}
			c.OnPoint = nil
			if _, err := owed(context.Background(), c, h.p.ICCID); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNothingWritten: a run that ends before the card is written leaves it alone.
func TestNothingWritten(t *testing.T) {
	t.Parallel()
	h, spent := newHolder(t), &world.Spent{}
	before := h.sqn()
	c := h.lab(nil)
	c.Sinks = append(c.Sinks, spent)
	result, err := (&Runner{Lab: c, Cases: Suite()[:4]}).Run(context.Background())
	if err != nil || result.Verdict != report.Pass || result.Environment.Restored {
		t.Fatalf("%v, %+v", err, result)
	}
	if want := (world.Spend{PINTries: 1, Auths: 1}); spent.Total().CardWrites != 0 || spent.Total().PINTries != want.PINTries || spent.Total().Auths != want.Auths {
		t.Errorf("spent %s", spent.Total())
	}
	if now := h.sqn(); now != before {
		t.Errorf("SQN %012x, was %012x", now, before)
	}
}

// TestKilledAfterWrite: a run that is killed after it has written to the card leaves
// its lab where the next run with that card, or with that TPM, finds it: each is
// refused and names the command, which gives both back. Then runs pass again.
func TestKilledAfterWrite(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, at := range []string{"P8c.8 update key file written", "P8c.8 update EF.FPLMN outcome", "P8c.9 done"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			h := newHolder(t)
			h.attached(70)
			h.saveProfile()
			before, last, c := h.files(), h.sqn(), h.lab(nil)
			killed(t, at, cutCard+"="+h.path, cutTPM+"="+c.TPM)
			dir, err := temporaryLab(c)
			if err != nil {
				t.Fatal(err)
			}
			another := newHolder(t).lab(nil)
			another.TPM = c.TPM
			cardOnly := c
			cardOnly.TPM = ""
			spent := &world.Spent{}
			for _, next := range []world.Config{c, cardOnly, another} {
				next.Sinks = append(next.Sinks, spent)
				result, err := (&Runner{Lab: next}).Run(ctx)
				if result != nil || !errors.Is(err, ErrOwed) || !strings.HasSuffix(err.Error(), "mcim lab remove --lab "+dir) {
					t.Fatalf("%v, %+v", err, result)
				}
				if err := MakeLab(ctx, world.Config{Dir: filepath.Join(t.TempDir(), "lab"), Card: next.Card, TPM: next.TPM, Allow: next.Allow, Profile: next.Profile}); !errors.Is(err, ErrOwed) {
					t.Errorf("lab init: %v", err)
				}
				plan, err := (&Runner{Lab: next}).Plan(ctx)
				if err != nil || !slices.ContainsFunc(plan.Needs, func(n string) bool { return strings.HasSuffix(n, "mcim lab remove --lab "+dir) }) {
					t.Errorf("plan: %v, %+v", err, plan)
				}
			}
			if spent.Total() != (world.Spend{}) {
				t.Errorf("refused, and spent %s", spent.Total())
			}
			elsewhere := world.Config{Dir: dir, Card: another.Card}
			if _, err := world.Remove(ctx, elsewhere); !errors.Is(err, world.ErrCardKept) || !errors.Is(err, m2me.ErrForeignCard) {
				t.Errorf("with another card: %v", err)
			}
			back, err := world.Remove(ctx, world.Config{Dir: dir})
			if err != nil || !back.Card || len(back.TPM) < 12 {
				t.Fatalf("%+v, %v", back, err)
			}
			h.same(before)
			h.proved()
			if now := h.sqn(); now <= last {
				t.Errorf("SQN %012x after %012x", now, last)
			}
			if result, err := (&Runner{Lab: c}).Run(ctx); err != nil || result.Verdict != report.Pass {
				t.Errorf("%v, %+v", err, result)
			}
		})
	}
}

// TestKilledBeforeWrite: of a run that was killed before it had written to the card,
// the next one removes what it finds, and runs.
func TestKilledBeforeWrite(t *testing.T) {
	t.Parallel()
	h := newHolder(t)
	h.saveProfile()
	c := h.lab(nil)
	c.TPM = ""
	before := h.files()
	killed(t, "P8c.8 VERIFY ADM1 intent", cutCard+"="+h.path)
	h.same(before)
	dir, err := temporaryLab(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the child has left nothing: %v", err)
	}
	if result, err := (&Runner{Lab: c, Cases: Suite()[:2]}).Run(context.Background()); err != nil || result.Verdict != report.Pass {
		t.Errorf("%v, %+v", err, result)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lab is kept: %v", err)
	}
}

// TestLeaveCard: a lab is removed without its card if that is said. The card then has
// its new subscription, and nothing that networks left for the old one.
func TestLeaveCard(t *testing.T) {
	t.Parallel()
	ctx, h := context.Background(), newHolder(t)
	fresh := h.files()
	h.attached(70)
	c, before := h.lab(nil), h.files()
	c.Dir = filepath.Join(t.TempDir(), "lab")
	if result, err := (&Runner{Lab: c}).Run(ctx); err != nil || result.Verdict != report.Pass {
		t.Fatalf("%v, %+v", err, result)
	}
	if back, err := world.Remove(ctx, world.Config{Dir: c.Dir, LeaveCard: true}); err != nil || back.Card || len(back.TPM) < 12 {
		t.Fatalf("%+v, %v", back, err)
	}
	now := h.files()
	if now[usim.EFIMSI] == before[usim.EFIMSI] {
		t.Error("the card has its IMSI of before")
	}
	for fid, data := range fresh {
		if fid != usim.EFIMSI && now[fid] != data {
			t.Errorf("%04X has %s, a card that was never attached has %s", fid, now[fid], data)
		}
	}
}

// TestFewTries: with one PIN try left nothing is spent, and the cause is said.
func TestFewTries(t *testing.T) {
	t.Parallel()
	h := newHolder(t)
	c, err := emul.Open(h.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Transmit(context.Background(), append([]byte{0, 0x20, 0, uicc.RefPIN1, 8}, "99999999"...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	spent, lab := &world.Spent{}, h.lab(nil)
	lab.Sinks = append(lab.Sinks, spent)
	_, err = (&Runner{Lab: lab}).Run(context.Background())
	if !errors.Is(err, card.ErrTriesLow) || strings.Contains(err.Error(), "internal error") || spent.Total() != (world.Spend{}) {
		t.Errorf("%v, spent %s", err, spent.Total())
	}
	if n := h.tries(uicc.RefPIN1); n != 1 {
		t.Errorf("%d tries left", n)
	}
}

// saveProfile writes the profile beside the image, for another process.
func (h *holder) saveProfile() {
	h.t.Helper()
	text := fmt.Sprintf("model = %q\niccid = %q\nimsi = %q\npin1 = %q\npuk1 = %q\nk = \"%x\"\nopc = \"%x\"\namf = \"%x\"\nsqn = %q\nadm1 = \"%x\"\n",
		h.p.Model, h.p.ICCID, h.p.IMSI, h.p.PIN1.Reveal(), h.p.PUK1.Reveal(), h.p.K.Reveal(), h.p.OPc.Reveal(), h.p.AMF, h.p.SQN, h.p.ADM1.Reveal())
	if err := os.WriteFile(h.path+".toml", []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}
