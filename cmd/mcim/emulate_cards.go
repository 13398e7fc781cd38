package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mcim/card"
	"mcim/card/device"
	"mcim/card/emul"
	"mcim/card/trace"
)

// cards opens the card of --card, or the images, or makes the cards of the profile. With
// an error it gives those that are open.
func (c *emulateCmd) cards(con console, ctx context.Context) ([]playingCard, error) {
	if c.Card != "" {
		return c.shared(con, ctx)
	}
	if c.Profile == "" && c.Image == "" {
		return nil, usage(errors.New("nothing says which card to play: give --profile FILE, --image FILE of an earlier one, or --card URI"))
	}
	profiles, err := c.profiles()
	if err != nil {
		return nil, err
	}
	inProcess := context.WithoutCancel(ctx) // what ends the command does not end this
	var cards []playingCard
	for i := range c.Count {
		var profile *emul.Profile
		one := playingCard{Image: c.numbered(c.Image, i)}
		if profiles != nil {
			profile = &profiles[i]
			one.IMSI, one.Profile = profile.IMSI, c.profile(i)
		}
		made, err := c.card(one.Image, profile)
		if err != nil {
			return cards, err
		}
		one.card = made
		cards = append(cards, one)
		if cards[i].ICCID, err = card.NewSession(made, card.Options{}).ICCID(inProcess); err != nil {
			return cards, err
		}
	}
	return cards, nil
}

// shared opens the card of --card.
func (c *emulateCmd) shared(con console, ctx context.Context) ([]playingCard, error) {
	open, err := device.Open(ctx, c.Card, 0)
	if err != nil {
		return nil, err
	}
	given, err := open.Share(c.Allow, func(err error) { con.say("mcim: %s", oneLine(err)) })
	if errors.Is(err, trace.ErrNoATR) {
		err = usage(fmt.Errorf("%s: %w", c.Card, err))
	}
	if err != nil {
		given = open // to be closed
	}
	return []playingCard{{Card: c.Card, card: given}}, err
}

// card opens an image or forks it, or makes the card of a profile.
func (c *emulateCmd) card(image string, profile *emul.Profile) (*emul.Card, error) {
	if image == "" {
		return emul.New(*profile)
	}
	if c.Fork != "" {
		return emul.OpenFork(image, c.Fork)
	}
	if !there(image) && profile == nil {
		return nil, usage(fmt.Errorf("no card image %s yet, and no --profile FILE to make it of", image))
	}
	return emul.Open(image, profile)
}

// profiles are those of the cards, nil where none is named. With --profiles each is in
// the folder afterwards.
func (c *emulateCmd) profiles() ([]emul.Profile, error) {
	if c.Profile == "" {
		return nil, nil
	}
	first, err := emul.ReadProfile(c.Profile)
	if err != nil {
		return nil, err
	}
	list, err := first.Series(c.Count)
	var bad *emul.ProfileError
	if errors.As(err, &bad) {
		bad.File = c.Profile
	}
	if err != nil || c.Profiles == "" {
		return list, err
	}
	if err := os.MkdirAll(c.Profiles, 0o700); err != nil {
		return nil, usage(fmt.Errorf("--profiles: %w", err))
	}
	for i := range list {
		if err := c.keep(i, &list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// keep writes the profile of card i into the folder, or takes the one that is there.
func (c *emulateCmd) keep(i int, p *emul.Profile) error {
	path, image := c.profile(i), c.numbered(c.Image, i)
	if !there(path) {
		if image != "" && there(image) {
			return usage(fmt.Errorf("--profiles: the card image %s is older than %s would be, and has other keys: remove the one or bring the other", image, path))
		}
		return p.WriteFile(path)
	}
	kept, err := emul.ReadProfile(path)
	if err != nil {
		return err
	}
	if kept.ICCID != p.ICCID {
		return usage(fmt.Errorf("--profiles: %s is of card %s, and card %d would be %s: name another folder", path, kept.ICCID, i+1, p.ICCID))
	}
	*p = kept
	return nil
}

// profile is the file of the profile of card i, from 0; "" where none is kept.
func (c *emulateCmd) profile(i int) string {
	if c.Profiles == "" {
		return ""
	}
	return filepath.Join(c.Profiles, fmt.Sprintf("card-%02d.toml", i+1))
}

// numbered is the file of card i, from 0: card-01.img for card.img where there are
// more cards than one.
func (c *emulateCmd) numbered(path string, i int) string {
	if path == "" || c.Count == 1 {
		return path
	}
	end := filepath.Ext(path)
	return fmt.Sprintf("%s-%02d%s", strings.TrimSuffix(path, end), i+1, end)
}

func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
