package hwtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/emul"
	"mcim/card/model"
	"mcim/card/trace"
	"mcim/flows/m2me"
	"mcim/flows/world"
	"mcim/hwtest/report"
	"mcim/tpm"
	"mcim/tpm/tpmtest"
)

// image makes a card image with a profile of its own, and that IMSI with an MNC of
// three digits, if it is not empty.
func image(t *testing.T, imsi string) (path string, p emul.Profile) {
	t.Helper()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	if imsi != "" {
		p.IMSI, p.MNCLength = imsi, 3
	}
	path = filepath.Join(t.TempDir(), "card.img")
	c, err := emul.Open(path, &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return path, p
}

// tree is a hash of all that is in a folder: names, modes and contents.
func tree(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %v\n", path, info.Mode())
		if !info.Mode().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		h.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestPlanSpendsNothing: a dry run reads the card, plans every write and what it
// takes to write back, and leaves card and TPM as they are, to the byte; where no
// TPM is yet it makes none. No line is too long for a terminal.
func TestPlanSpendsNothing(t *testing.T) {
	t.Parallel()
	ctx, spent := context.Background(), &world.Spent{}
	path, profile := image(t, "")
	made, nothing := tpmtest.Dir(t), t.TempDir()
	image, madeBefore, nothingBefore := tree(t, filepath.Dir(path)), tree(t, made), tree(t, nothing)
	options := tpm.Options{Tap: func(x tpm.Exchange) { _ = spent.WriteTPM(trace.TPMExchange{Name: x.Name}) }}
	none := world.Spend{}
	for _, dir := range []string{made, nothing, filepath.Join(nothing, "further")} {
		for _, lab := range []string{"", "to/stay"} {
			r := &Runner{Lab: world.Config{Dir: lab, Card: "emul:" + path, TPM: "swtpm:" + dir, TPMOptions: options}, Budget: &none}
			plan, err := r.Plan(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if plan.Card.ICCID != profile.ICCID || len(plan.Needs) != 3 || len(plan.Proves) != 2 || len(plan.Writes) != 19 || len(plan.WritesBack) != 20 {
				t.Errorf("%d needs, %d proofs, %d writes, %d to write back", len(plan.Needs), len(plan.Proves), len(plan.Writes), len(plan.WritesBack))
			}
			if plan.TPM.New != (dir != made) || (plan.TPM.Maker == "") != plan.TPM.New {
				t.Errorf("TPM in %s: %+v", dir, plan.TPM)
			}
			if back := (world.Spend{PINTries: 2, Auths: 1, CardWrites: 20, NVWrites: 13}); lab == "" && plan.GivesBack != back || lab != "" && plan.GivesBack != none {
				t.Errorf("lab %q: gives back %s", lab, plan.GivesBack)
			}
			var text strings.Builder
			if err := plan.WriteText(&text); err != nil || !strings.HasSuffix(text.String(), "nothing written\n") {
				t.Errorf("%v: %s", err, text.String())
			}
			for line := range strings.Lines(text.String()) {
				if utf8.RuneCountInString(line) > report.Width+1 && !strings.Contains(line, t.Name()) {
					t.Errorf("%d characters: %s", len(line), line)
				}
			}
		}
	}
	if image != tree(t, filepath.Dir(path)) || madeBefore != tree(t, made) || nothingBefore != tree(t, nothing) {
		t.Error("card or TPM are not as before")
	}
	if spent.Total() != none {
		t.Errorf("spent %s", spent.Total())
	}
	c, err := emul.New(profile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m2me.PlanCard(ctx, trace.Tap(c, trace.Options{}, spent), profile.ICCID); err != nil || spent.Total() != none {
		t.Errorf("%v, spent %s", err, spent.Total())
	}
}

// TestPlanFewTries: a card with one try left is told to have one.
func TestPlanFewTries(t *testing.T) {
	t.Parallel()
	steps := plannedSteps([]card.Step{{Command: "VERIFY PIN", Ref: uicc.RefPIN1, Tries: 1}, {Command: "VERIFY PIN", Ref: uicc.RefADM1, Tries: 2}})
	if steps[0].Right != "1 try left" || steps[1].Right != "2 tries left" {
		t.Errorf("%+v", steps)
	}
}

// TestPlanNeeds: a TPM whose range is not free, and what else a run would refuse
// for.
func TestPlanNeeds(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	c := world.Config{Dir: filepath.Join(dir, "lab"), TPM: "swtpm:" + filepath.Join(dir, "tpm"), InProcess: true}
	if err := MakeLab(ctx, c); err != nil {
		t.Fatal(err)
	}
	c.Dir = ""
	plan, err := (&Runner{Lab: c}).Plan(ctx)
	if err != nil || len(plan.Needs) != 1 || !strings.Contains(plan.Needs[0], "range of handles is not free") {
		t.Errorf("%+v, %v", plan, err)
	}
	var occupied *tpm.OccupiedError
	if _, err := (&Runner{Lab: c}).Run(ctx); !errors.As(err, &occupied) {
		t.Errorf("run on an occupied range: %v", err)
	}
}

// TestReady: a card that was not named with all that it needs is refused before
// anything is sent that spends.
func TestReady(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path, own := image(t, "")
	_, other := image(t, "")
	named := world.Config{Card: "emul:" + path, Allow: []string{own.ICCID}, Profile: &own}
	for _, tt := range []struct {
		name   string
		change func(*world.Config)
		known  bool
		want   string
	}{
		{"all is said", func(*world.Config) {}, false, ""},
		{"the lab knows it", func(c *world.Config) { c.Profile = nil }, true, ""},
		{"not allowed", func(c *world.Config) { c.Allow = nil }, false, "--allow " + own.ICCID},
		{"another is allowed", func(c *world.Config) { c.Allow = []string{other.ICCID} }, true, "--allow " + own.ICCID},
		{"no profile", func(c *world.Config) { c.Profile = nil }, false, "--profile FILE"},
		{"another profile", func(c *world.Config) { c.Profile = &other }, false, "name the right --profile FILE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := named
			tt.change(&c)
			err := ready(ctx, c, tt.known)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrNotNamed) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	for imsi, want := range map[string]string{
		"901700000012345": "", "001010000012345": "", "310260000012345": "",
		"001020000012345": "which is that of sho-b", "999700000012345": "which is that of ro", "90170123": "must have 15",
	} {
		foreign := own
		foreign.IMSI = imsi
		err := ready(ctx, world.Config{Card: named.Card, Allow: named.Allow, Profile: &foreign}, false)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("IMSI %s: %v, want %q", imsi, err, want)
		}
	}
	f := facts{unknown: model.ErrUnknown}
	if needs := f.needs(named, false); len(needs) != 2 {
		t.Errorf("a card of another ICCID: %v", needs)
	}
}

// TestNamedCard: a run on a named card leaves the card as it was, so that the next
// run passes too; one in a lab that stays leaves the new subscription in it.
func TestNamedCard(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path, profile := image(t, "310260123456789") // of a real network
	c := world.Config{Card: "emul:" + path, Allow: []string{profile.ICCID}, Profile: &profile}
	for range 2 {
		result, err := (&Runner{Lab: c}).Run(ctx)
		if err != nil || result.Verdict != "pass" || !result.Environment.Restored {
			t.Fatalf("%v, %+v", err, result)
		}
	}
	c.Dir = filepath.Join(t.TempDir(), "lab")
	if result, err := (&Runner{Lab: c}).Run(ctx); err != nil || result.Verdict != "pass" {
		t.Fatalf("%v, %+v", err, result)
	}
	back, err := world.Remove(ctx, c)
	if err != nil || !back.Card {
		t.Fatalf("%+v, %v", back, err)
	}
	c.Dir = ""
	if result, err := (&Runner{Lab: c}).Run(ctx); err != nil || result.Verdict != "pass" {
		t.Fatalf("%v, %+v", err, result)
	}
}
