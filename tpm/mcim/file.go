package mcim

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"mcim/apdu/secret"
)

// ErrRollback is returned for a state file that is older than the TPM's counter
// says, damaged, missing, or from another TRE: somebody has restored a copy, or
// the disk is broken. No MCIM is used with it.
var ErrRollback = errors.New("state is not the newest: it was restored from a copy, or is damaged")

// box encrypts the files of one TRE: AES-256-GCM under the state key, with a
// random nonce. The label and the version are authenticated.
type box struct{ aead cipher.AEAD }

// sealed layout: version (8 bytes, big-endian), nonce, ciphertext and tag.
const versionSize = 8

func newBox(key secret.Bytes) (*box, error) {
	block, err := aes.NewCipher(key.Reveal())
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &box{aead}, nil
}

func (b *box) seal(label string, version uint64, plain []byte) []byte {
	out := binary.BigEndian.AppendUint64(nil, version)
	return b.aead.Seal(out, nil, plain, aad(label, version))
}

// open gives the content of one of the wanted versions; ok is false for
// anything else.
func (b *box) open(label string, sealed []byte, wanted ...uint64) (plain []byte, version uint64, ok bool) {
	if len(sealed) < versionSize {
		return nil, 0, false
	}
	version = binary.BigEndian.Uint64(sealed)
	for _, w := range wanted {
		if w != version {
			continue
		}
		plain, err := b.aead.Open(nil, nil, sealed[versionSize:], aad(label, version))
		return plain, version, err == nil
	}
	return nil, 0, false
}

func aad(label string, version uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(label+"\x00"), version)
}

// writeFile replaces a file: after a crash at any moment it has the old content
// or the new one. Mode 0600.
func writeFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeFile removes a file that may be gone already.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// readLimited reads a file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", ErrRollback, path, info.Size(), limit)
	}
	return os.ReadFile(path)
}
