package hwtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mcim/flows/store"
	"mcim/flows/world"
)

// Errors of a run on hardware that is named.
var (
	// ErrOwed says that a run which was cut has not given back what it had of a card
	// or TPM.
	ErrOwed = errors.New("a run that was cut has not given it back")
	// ErrNoHome says that there is no folder in which labs can be kept.
	ErrNoHome = errors.New("no home folder for the lab: name one with --lab DIR")
)

// StateDir is the user's folder for what a program has to keep between its runs:
// $XDG_STATE_HOME, or ~/.local/state. The error is ErrNoHome.
func StateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", ErrNoHome
	}
	return filepath.Join(home, ".local", "state"), nil
}

// labsDir is where temporary labs on named hardware lie. A run that is killed
// leaves its lab there, with the keys that are in the card and nowhere else.
func labsDir() (string, error) {
	state, err := StateDir()
	return filepath.Join(state, "mcim-labs"), err
}

// temporaryLab is the folder for a temporary lab on hardware that is named, by which
// the next run with that hardware finds it. It is not made yet.
func temporaryLab(c world.Config) (string, error) {
	labs, err := labsDir()
	if err != nil {
		return "", err
	}
	iccid := ""
	if c.Profile != nil {
		iccid = c.Profile.ICCID
	}
	marks, err := marks(iccid, c.TPM)
	if err != nil {
		return "", err
	}
	return filepath.Join(labs, strings.Join(marks, "-")), os.MkdirAll(labs, 0o700)
}

// marks are the parts of the name of a temporary lab, each of which names a card or
// a TPM.
func marks(iccid, tpmURI string) (list []string, err error) {
	if iccid != "" {
		list = append(list, iccid)
	}
	if tpmURI != "" {
		if tpmURI, err = world.AbsoluteURI(tpmURI); err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(tpmURI))
		list = append(list, fmt.Sprintf("tpm%x", sum[:4]))
	}
	return list, nil
}

// owed refuses hardware that a run which was cut still has something of, and names
// the command that gives it back. The folders of labs that have nothing of it any
// more are told; the error is ErrOwed, or that of world.Owes.
func owed(ctx context.Context, c world.Config, iccid string) (settled []string, err error) {
	labs, err := labsDir()
	if err != nil {
		return nil, nil // and so nothing was kept
	}
	ours, err := marks(iccid, c.TPM)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(labs)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		shared := func(mark string) bool { return slices.Contains(ours, mark) }
		if !slices.ContainsFunc(strings.Split(e.Name(), "-"), shared) {
			continue
		}
		dir := filepath.Join(labs, e.Name())
		debt, err := world.Owes(ctx, world.Config{Dir: dir, Command: c.Command})
		if errors.Is(err, store.ErrNoLab) { // cut before anything was in it
			continue
		}
		if err := errors.Join(err, debtError(debt, dir)); err != nil {
			return nil, err
		}
		settled = append(settled, dir)
	}
	return settled, nil
}

func debtError(d world.Debt, dir string) error {
	switch {
	case d.Card != "":
		return fmt.Errorf("%w: the card with ICCID %s has keys that are in lab %s alone; with the card in %s, write back what was in it: mcim lab remove --lab %s",
			ErrOwed, d.ICCID, dir, d.Card, dir)
	case d.TPM != "":
		return fmt.Errorf("%w: %s has NV indices and handles of lab %s; free them: mcim lab remove --lab %s", ErrOwed, d.TPM, dir, dir)
	}
	return nil
}

// settle refuses hardware that is owed something, and removes the temporary labs of
// runs that were cut before they had anything of it.
func settle(ctx context.Context, c world.Config, iccid string) error {
	settled, err := owed(ctx, c, iccid)
	for _, dir := range settled {
		_, rerr := world.Remove(ctx, world.Config{Dir: dir, Command: c.Command})
		err = errors.Join(err, rerr)
	}
	return err
}
