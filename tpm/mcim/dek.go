package mcim

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm"
	"mcim/tpm/ident"
	"mcim/tpm/policy"
)

// dekFile has the state to which the DEK is bound. It is no secret: with a
// changed file the TPM refuses the DEK.
const dekFile = "dek-policy"

// dekBinding is the content of dekFile.
type dekBinding struct {
	Platform policy.Platform `cbor:"1,keyasint"`
	Epoch    uint64          `cbor:"2,keyasint"` // of the TRE
}

// DEKOptions are the options for ident.CreateTRE and ident.OpenTRE with which the
// DEK opens the body of a package only in the platform state of the first call
// (over pcrs; nil is DefaultPCRs), and until the counters are removed. dir is
// Config.Dir. The first call defines a counter, so the EK must be pinned and the
// range claimed.
func DEKOptions(t *tpm.TPM, dir string, pcrs []int) (ident.Options, error) {
	if pcrs == nil {
		pcrs = DefaultPCRs()
	}
	index, err := t.NVIndex(counterTRE)
	if err != nil {
		return ident.Options{}, err
	}
	binding, err := readBinding(filepath.Join(dir, dekFile))
	if errors.Is(err, fs.ErrNotExist) {
		binding, err = bindDEK(t, filepath.Join(dir, dekFile), pcrs)
	}
	if err != nil {
		return ident.Options{}, err
	}
	p := policy.MCIM{
		Platform: binding.Platform, EpochIndex: index, Epoch: binding.Epoch, Command: tpm2.TPMCCECDHZGen,
	}
	digest, err := p.Digest()
	if err != nil {
		return ident.Options{}, err
	}
	return ident.Options{DEKPolicy: digest[:], DEKRun: p.Run}, nil
}

func readBinding(path string) (*dekBinding, error) {
	content, err := readLimited(path, 4096)
	if err != nil {
		return nil, err
	}
	var b dekBinding
	if err := decode(content, &b); err != nil {
		return nil, fmt.Errorf("policy of the DEK in %s: %w: %w", path, ErrRollback, err)
	}
	return &b, nil
}

func bindDEK(t *tpm.TPM, path string, pcrs []int) (*dekBinding, error) {
	m := &machine{tpm: t, counters: t.KeepSession(tpm.Integrity)}
	c, err := m.counter(counterTRE)
	if err != nil {
		return nil, err
	}
	b := &dekBinding{}
	if _, err = c.define(); err == nil {
		b.Epoch, err = c.read()
	}
	if err := errors.Join(err, m.counters.Close()); err != nil {
		return nil, err
	}
	if b.Platform, err = policy.ReadPlatform(t, pcrs...); err != nil {
		return nil, err
	}
	content, err := encode(b)
	if err != nil {
		return nil, err
	}
	return b, writeFile(path, content)
}
