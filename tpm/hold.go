package tpm

import "context"

// HoldSWTPM keeps the folder of a swtpm: URI from everybody else until release is
// called, with no swtpm working on it: for a copy of its files. A swtpm whose
// parent was killed a moment ago is waited for. The error is an *InUseError, or
// that of the file system.
func HoldSWTPM(ctx context.Context, dir string) (release func() error, err error) {
	lock, err := takeLock(ctx, dir)
	if err != nil {
		return nil, err
	}
	return func() error { return unlock(lock) }, nil
}
