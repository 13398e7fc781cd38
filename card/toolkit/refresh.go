package toolkit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/usim"
	"mcim/card"
)

// Refresh is a REFRESH as those see it who use the card (TS 102 223, 6.4.7). What the
// Sessions on the card remember of its files is forgotten by itself.
type Refresh struct {
	Mode cat.Refresh
	// Files are the files that changed: read them again. None with All.
	Files []cat.Path
	// Missing are those of Files that are not on the card.
	Missing []cat.Path
	// All: every file may have changed.
	All bool
	// AID is the application that is meant, a USIM where it is empty.
	AID []byte
	// Reselect: the application begins anew; it is selected on the basic channel again.
	Reselect bool
	// Reset: the card is reset next, so that PINs have to be verified again.
	Reset bool
	// Networks are the preferred ones of a steering of roaming.
	Networks []cat.PLMNwAcT
}

// refreshEffects are what the modes do (TS 102 223, 6.4.7.1; TS 31.111, 6.4.7.1).
var refreshEffects = map[cat.Refresh]Refresh{
	cat.RefreshInitFull:         {All: true},
	cat.RefreshFiles:            {},
	cat.RefreshInitFiles:        {},
	cat.RefreshInit:             {},
	cat.RefreshReset:            {All: true, Reset: true},
	cat.RefreshApplicationReset: {All: true, Reselect: true},
	cat.RefreshSessionReset:     {Reselect: true},
	cat.RefreshSteering:         {},
	cat.RefreshSteeringWLAN:     {},
	cat.RefreshProfileState:     {All: true},
	cat.RefreshApplication:      {All: true},
}

// refresh is REFRESH. It looks for the files, and selects the application, on a logical
// channel of its own, so that the selection of who uses the card stays.
func (t *Terminal) refresh(ctx context.Context, p cat.Proactive) Answer {
	r, refused := t.parseRefresh(p)
	if refused != nil {
		return *refused
	}
	t.session.Forget()
	if err := t.look(ctx, &r); err != nil {
		return refuse(cat.ResultInactive, "%v", err)
	}
	if t.config.Refresh != nil {
		if err := t.config.Refresh(ctx, r); err != nil {
			return refuse(cat.ResultUnable, "%v", err)
		}
	}
	switch {
	case r.Reset:
		if t.resets++; t.resets > maxResets {
			return refuse(cat.ResultUnable, "the card has been reset %d times already", maxResets)
		}
		return Answer{reset: true}
	case r.Reselect:
		if err := t.reselect(ctx, r.AID); err != nil {
			return refuse(cat.ResultInactive, "%v", err)
		}
	}
	if len(r.Missing) > 0 {
		return refuse(cat.ResultMissing, "not on the card: %v", r.Missing)
	}
	return Answer{}
}

// parseRefresh reads the command; what refuses it, if anything.
func (t *Terminal) parseRefresh(p cat.Proactive) (Refresh, *Answer) {
	mode := cat.Refresh(p.Details().Qualifier)
	r, known := refreshEffects[mode]
	r.Mode = mode
	if !known {
		a := refuse(cat.ResultDataUnknown, "mode %s", mode)
		return r, &a
	}
	if list, ok := cat.Find[cat.FileList](p.Objects); ok {
		r.Files = list.Files
	}
	if aid, ok := cat.Find[cat.AID](p.Objects); ok {
		r.AID = aid.AID
	}
	if plmns, ok := cat.Find[cat.PLMNs](p.Objects); ok {
		r.Networks = plmns.List
	}
	steering := mode == cat.RefreshSteering || mode == cat.RefreshSteeringWLAN
	switch {
	case steering && t.config.Refresh == nil:
		a := refuse(cat.ResultBeyond, "there is no radio here to steer")
		return r, &a
	case (mode == cat.RefreshFiles || mode == cat.RefreshInitFiles) && len(r.Files) == 0:
		a := refuse(cat.ResultValuesMissing, "no file list")
		return r, &a
	case mode == cat.RefreshSessionReset && len(r.Files) == 0:
		r.All = true
	}
	return r, nil
}

// look finds out which files are there. An application that was named and is not on the
// card is an error. A card without a free channel is not asked.
func (t *Terminal) look(ctx context.Context, r *Refresh) error {
	if len(r.Files) == 0 && len(r.AID) == 0 {
		return nil
	}
	own, err := t.session.OpenChannel(ctx)
	if err != nil {
		return nil //nolint:nilerr // the answer of a REFRESH does not depend on a free channel
	}
	defer func() { _ = own.CloseChannel(ctx) }()
	if len(r.AID) > 0 {
		if _, err := own.Select(ctx, card.InApp(r.AID)); gone(err) {
			return fmt.Errorf("the application %X is not on the card", r.AID)
		}
	}
	for _, path := range r.Files {
		if _, err := own.Select(ctx, fileOf(path, r.AID)); gone(err) {
			r.Missing = append(r.Missing, path)
		}
	}
	return nil
}

func gone(err error) bool {
	return errors.Is(err, apdu.ErrNotFound) || errors.Is(err, card.ErrNoApplication)
}

// fileOf is the file of a path: 7FFF in it stands for the application.
func fileOf(path cat.Path, aid []byte) card.File {
	const mf, current = 0x3F00, 0x7FFF
	rest := path
	if len(rest) > 0 && rest[0] == mf {
		rest = rest[1:]
	}
	if len(rest) == 0 || rest[0] != current {
		return card.InMF(rest...)
	}
	return card.InApp(appOf(aid), slices.Clone(rest[1:])...)
}

func appOf(aid []byte) []byte {
	if len(aid) == 0 {
		return usim.AIDPrefix()
	}
	return aid
}

// reselect ends the application's session on the basic channel, if it has one there, and
// begins another.
func (t *Terminal) reselect(ctx context.Context, aid []byte) error {
	whole, err := t.session.FindApp(ctx, appOf(aid))
	if err != nil {
		return err
	}
	_, err = t.session.Select(ctx, card.InApp(whole))
	return err
}

// resetCard resets the card, and begins anew with the terminal profile: timers, events and
// channels were of the session that ended.
func (t *Terminal) resetCard(ctx context.Context) (apdu.Response, error) {
	t.closeChannels()
	t.timers, t.events, t.poll = [maxTimers + 1]timer{}, nil, 0
	if _, err := t.session.Reset(ctx); err != nil {
		return apdu.Response{}, err
	}
	r, err := t.session.Send(ctx, cat.TerminalProfile{Profile: t.config.Profile}.Command())
	if err == nil {
		err = refusal("TERMINAL PROFILE", r.SW)
	}
	return r, err
}
