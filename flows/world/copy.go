package world

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mcim/flows/store"
	"mcim/flows/wire"
	"mcim/tpm"
)

// ErrHardware says that a lab stands on a card or a TPM outside of its folder: a
// copy of that would be no second lab.
var ErrHardware = errors.New("the lab is not all in software")

// Copy makes to, an empty folder, a second lab like that in c.Dir, which stays as
// it is and is held meanwhile. What was cut in it is cut in the copy too. Errors
// are those of store.OpenLab, ErrUnfinished, ErrDamaged and ErrHardware.
func Copy(ctx context.Context, c Config, to string) (err error) {
	w, err := openLab(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.finished(); err != nil {
		return err
	}
	if err := w.ownDevices(ctx); err != nil {
		return w.damaged(err)
	}
	release, err := tpm.HoldSWTPM(ctx, w.lab.Path("tpm"))
	if err != nil {
		return err
	}
	return errors.Join(copyFolder(w.lab.Dir, to), release())
}

// ownDevices is ErrHardware where the lab has a card or a TPM outside of its
// folder. No store is open afterwards, so that all of the lab is in its files.
func (w *World) ownDevices(ctx context.Context) error {
	role := wire.MachineRole(w.serial)
	s, err := store.Open(ctx, w.lab.Path("roles", role))
	if err != nil {
		return fmt.Errorf("store of %s: %w", role, err)
	}
	w.stores[role] = s
	known, err := w.device(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	for _, uri := range []string{known.Card, known.URI} {
		if uri != "" {
			return fmt.Errorf("%w: %s stands on %s", ErrHardware, w.lab.Dir, uri)
		}
	}
	return nil
}

// copyFolder copies folders and files, which the owner alone may read: among them
// are keys.
func copyFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o600)
	})
}
