package card

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// Causes of a *RefusalError of what administers files.
var (
	// ErrIrreversible: what cannot be undone is done only on the card that the order
	// names (GuardConfig.Destroy).
	ErrIrreversible = errors.New("cannot be undone")
	// ErrFileState: the life cycle of the file does not allow it, or it is in that state
	// already.
	ErrFileState = errors.New("wrong state of the file")
	// ErrFileThere: there is a file in that place.
	ErrFileThere = errors.New("file is there already")
)

// How it is known that a file was administered.
const (
	proofFCP     = "by its FCP"
	proofAbsence = "by its absence"
)

// order is one command that administers a file.
type order struct {
	file     File
	command  apdu.Command
	more     []apdu.Command       // that follow it, of SET DATA
	tag      uint32               // of a data object, in the plan
	length   int                  // bytes, in the plan
	right    func(r rules) string // what the rules ask for
	under    bool                 // the rules are those of the directory
	destroys bool
	check    func(uicc.FCP) error // of the file as it is; nil: it is not there yet
	here     func(uicc.FCP) bool  // whether the directory has to be current; nil: not
	proof    string
	prove    func(context.Context) error
}

type rules []uicc.AccessRule

func (o order) what() string { return fmt.Sprintf("%s of %s", CommandName(o.command), o.file) }

// toDo gives the right of an operation with a bit of its own.
func toDo(op uicc.Access) func(rules) string {
	return func(r rules) string { return Right(r, op) }
}

// Create makes a file in a directory (TS 102 222, 6.3): f names it, its FCP says what it
// is; FID is taken from f. It refuses a file that is there (ErrFileThere) and, as all that
// writes, cards of unknown model or not on the allow list. That the file is there is read
// from its FCP.
func (g *Guard) Create(ctx context.Context, f File, fcp uicc.FCP) error {
	if len(f.Path) == 0 {
		return fmt.Errorf("%w: %s is no file that can be made in a directory", ErrFileKind, f)
	}
	fcp.FID = f.Path[len(f.Path)-1]
	op := uicc.AccessCreateEF
	if fcp.Descriptor.Type == uicc.Directory {
		op = uicc.AccessCreateDF
	}
	return g.administer(ctx, order{
		file: f, command: uicc.CreateFile{FCP: fcp}.Command(), length: fcp.Size.N, right: toDo(op), under: true, proof: proofFCP,
		prove: g.proveFCP(f, func(now uicc.FCP) bool {
			return now.Descriptor.Type == fcp.Descriptor.Type && (fcp.Size.Width == 0 || now.Size.N == fcp.Size.N)
		}),
	})
}

// Delete takes a file, or a directory with all that is in it, off the card (TS 102 222,
// 6.4), by an order that names the card (ErrIrreversible). That it is gone is proved by a
// SELECT that finds nothing.
func (g *Guard) Delete(ctx context.Context, f File) error {
	if len(f.Path) == 0 {
		return fmt.Errorf("%w: %s is no file that can be deleted", ErrFileKind, f)
	}
	return g.administer(ctx, order{
		file: f, command: uicc.DeleteFile{FID: f.Path[len(f.Path)-1]}.Command(), right: toDo(uicc.AccessDelete), destroys: true,
		check: func(uicc.FCP) error { return nil }, here: isDirectory, proof: proofAbsence,
		prove: func(ctx context.Context) error {
			_, err := g.session.Select(ctx, f)
			if errors.Is(err, apdu.ErrNotFound) {
				return nil
			}
			return fmt.Errorf("%w: %s is still there (%w)", ErrReadBack, f, errOr(err, errors.New("it can be selected")))
		},
	})
}

func errOr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

func isDirectory(f uicc.FCP) bool { return f.Descriptor.Type == uicc.Directory }

// Resize gives an EF another size, in bytes of all its records (TS 102 222, 6.10). To
// make it smaller takes an order that names the card (ErrIrreversible). New bytes are
// the card's choice, FF on most.
func (g *Guard) Resize(ctx context.Context, f File, size int) error {
	if len(f.Path) == 0 {
		return fmt.Errorf("%w: %s is no EF", ErrFileKind, f)
	}
	o := order{
		file: f, command: uicc.ResizeFile{FID: f.Path[len(f.Path)-1], Size: size}.Command(), length: size,
		right: func(r rules) string { return RightOf(r, uicc.INSResizeFile) }, proof: proofFCP,
		prove: g.proveFCP(f, func(now uicc.FCP) bool { return now.Size.N == size }),
	}
	fcp, err := g.before(ctx, o)
	if err != nil {
		return err
	}
	o.destroys = size < fcp.Size.N
	o.check = func(fcp uicc.FCP) error {
		n := int(fcp.Descriptor.RecordLength)
		switch {
		case isDirectory(fcp):
			return fmt.Errorf("%w: %s is a %s, want an EF", ErrFileKind, f, fcp.Descriptor.Type)
		case fcp.Descriptor.Type.HasRecords() && (n == 0 || size%n != 0 || size/n > uicc.MaxRecord):
			return &RefusalError{o.what(), fmt.Sprintf("%d bytes for records of %d", size, n), "give a multiple of it, up to 254 records", ErrSize}
		}
		return nil
	}
	return g.administer(ctx, o)
}

// Activate makes a deactivated file usable again (TS 102 221, 11.1.14).
func (g *Guard) Activate(ctx context.Context, f File) error {
	return g.turn(ctx, f, uicc.ActivateFile{}.Command(), uicc.AccessActivate, uicc.LifeCycle.Activated)
}

// Deactivate makes a file unusable until it is activated (TS 102 221, 11.1.15).
func (g *Guard) Deactivate(ctx context.Context, f File) error {
	return g.turn(ctx, f, uicc.DeactivateFile{}.Command(), uicc.AccessDeactivate, uicc.LifeCycle.Deactivated)
}

// TerminateEF makes an EF unusable for ever (TS 102 222, 6.8), by an order that names the
// card (ErrIrreversible).
func (g *Guard) TerminateEF(ctx context.Context, f File) error {
	return g.turn(ctx, f, uicc.TerminateEF{}.Command(), uicc.AccessTerminate, uicc.LifeCycle.Terminated)
}

// TerminateDF makes a directory and all that is in it unusable for ever (TS 102 222,
// 6.7), by an order that names the card (ErrIrreversible).
func (g *Guard) TerminateDF(ctx context.Context, f File) error {
	return g.turn(ctx, f, uicc.TerminateDF{}.Command(), uicc.AccessTerminate, uicc.LifeCycle.Terminated)
}

// TerminateCard ends the use of the whole card for ever (TS 102 222, 6.9), by an order
// that names it (ErrIrreversible).
func (g *Guard) TerminateCard(ctx context.Context) error {
	return g.turn(ctx, InMF(), uicc.TerminateCard{}.Command(), uicc.AccessTerminate, uicc.LifeCycle.Terminated)
}

// turn changes the life cycle of a file.
func (g *Guard) turn(ctx context.Context, f File, c apdu.Command, op uicc.Access, want func(uicc.LifeCycle) bool) error {
	o := order{
		file: f, command: c, right: toDo(op), destroys: op == uicc.AccessTerminate, proof: proofFCP,
		prove: g.proveFCP(f, func(now uicc.FCP) bool { return want(now.LifeCycle) }),
	}
	o.check = func(fcp uicc.FCP) error {
		switch {
		case want(fcp.LifeCycle):
			return &RefusalError{o.what(), "the file is " + fcp.LifeCycle.String() + " already", "there is nothing to do", ErrFileState}
		case fcp.LifeCycle.Terminated():
			return &RefusalError{o.what(), "the file is terminated", "only DELETE FILE is left for it", ErrFileState}
		case c.INS == uicc.INSTerminateEF && isDirectory(fcp), c.INS == uicc.INSTerminateDF && !isDirectory(fcp):
			return fmt.Errorf("%w: %s is a %s, %s does not fit", ErrFileKind, f, fcp.Descriptor.Type, CommandName(c))
		}
		return nil
	}
	return g.administer(ctx, o)
}

// before lets an order pass to an allowed card only, and reads what the file is.
func (g *Guard) before(ctx context.Context, o order) (uicc.FCP, error) {
	if o.command.Err != nil {
		return uicc.FCP{}, o.command.Err
	}
	if err := g.authorize(ctx, o.what()); err != nil {
		return uicc.FCP{}, err
	}
	return g.session.Select(ctx, o.file)
}

// administer is the way of every order: who, whether it may be undone, what the file is,
// then the command and its proof.
func (g *Guard) administer(ctx context.Context, o order) error {
	fcp, err := g.before(ctx, o)
	switch {
	case o.check == nil && err == nil:
		return &RefusalError{o.what(), "there is a " + fcp.Descriptor.Type.String(), "choose another identifier, or delete it first", ErrFileThere}
	case o.check == nil && !errors.Is(err, apdu.ErrNotFound), o.check != nil && err != nil:
		return err
	case o.check != nil:
		if err := o.check(fcp); err != nil {
			return err
		}
	}
	step := Step{Command: CommandName(o.command), File: o.file.String(), Tag: o.tag, Length: o.length, Proof: o.proof, Irreversible: o.destroys}
	if g.config.DryRun {
		step.Right = g.rightOf(ctx, o)
		g.plan = append(g.plan, step)
		return nil
	}
	if err := g.mayDestroy(ctx, o); err != nil {
		return err
	}
	if err := g.stand(ctx, o, fcp); err != nil {
		return err
	}
	g.plan = append(g.plan, step)
	err = g.session.sendAll(ctx, o)
	if errors.Is(err, apdu.ErrAccess) {
		return fmt.Errorf("%w; the card's rule asks for %s", err, g.rightOf(ctx, o))
	}
	if err != nil {
		return err
	}
	return o.prove(ctx)
}

// mayDestroy lets what cannot be undone pass to the card that the order names.
func (g *Guard) mayDestroy(ctx context.Context, o order) error {
	if !o.destroys {
		return nil
	}
	iccid, err := g.session.ICCID(ctx)
	if err != nil {
		return fmt.Errorf("cannot tell which card this is: %w", err)
	}
	if g.config.Destroy == iccid {
		return nil
	}
	why := "no order names a card for it"
	if g.config.Destroy != "" {
		why = "the order names the card with ICCID " + g.config.Destroy
	}
	return &RefusalError{o.what(), why + "; that of this card is " + iccid, "make sure of it, and name this card", ErrIrreversible}
}

// stand selects what the command is about: the file, or the directory that it is in.
func (g *Guard) stand(ctx context.Context, o order, fcp uicc.FCP) error {
	at := o.file
	if o.check == nil || o.here != nil && o.here(fcp) {
		at = o.file.Directory()
	}
	_, err := g.session.Select(ctx, at)
	return err
}

// Directory is the directory that the file is in; that of the MF or of an application is
// itself.
func (f File) Directory() File {
	if len(f.Path) == 0 {
		return f
	}
	return File{f.AID, slices.Clone(f.Path[:len(f.Path)-1]), f.ClassA0}
}

// rightOf says in words what the rule of the file or its directory asks for.
func (g *Guard) rightOf(ctx context.Context, o order) string {
	at := o.file
	if o.under {
		at = at.Directory()
	}
	fcp, err := g.session.Select(ctx, at)
	if err != nil {
		return rightUnknown
	}
	return o.right(g.rules(ctx, at, fcp))
}

// proveFCP selects a file and looks at what it is now.
func (g *Guard) proveFCP(f File, right func(uicc.FCP) bool) func(context.Context) error {
	return func(ctx context.Context) error {
		fcp, err := g.session.Select(ctx, f)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", ErrReadBack, err)
		case !right(fcp):
			return fmt.Errorf("%w: the FCP of %s is a %s of %d bytes, %s", ErrReadBack, f, fcp.Descriptor.Type, fcp.Size.N, fcp.LifeCycle)
		}
		return nil
	}
}
