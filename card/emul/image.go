package emul

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Errors of an image. Each comes wrapped with the file and what to do.
var (
	// ErrImageDamaged: the image is truncated or changed.
	ErrImageDamaged = errors.New("damaged card image")
	// ErrImageVersion: a version of mcim with another format wrote the image.
	ErrImageVersion = errors.New("card image of another version")
	// ErrImageBusy: another process holds the image.
	ErrImageBusy = errors.New("the card image is in use")
	// ErrImageKey: the file with the key is missing, or is not the one of this
	// image.
	ErrImageKey = errors.New("no key for the card image")
)

const (
	keySuffix  = ".key"
	keyLen     = 32
	tempSuffix = ".tmp"

	// journalLimit is the size of the journal, in bytes, beyond which the next
	// change writes a new snapshot.
	journalLimit = 64 << 10
)

// image is the storage on disk. The lock is on the file with the key, which
// compaction does not replace.
//
// Each change is one write and one fdatasync before the answer leaves, so it
// survives kill -9 of the process, and a power cut as far as the disk keeps its
// promises; 0.15 ms on the disk of the machine it was measured on. A power cut
// in the middle can tear the last record only, whose answer has not left.
type image struct {
	path     string
	lock     *os.File
	file     *os.File
	codec    codec
	snapshot func() []change // all objects, to compact
	end      int64           // of the last good record
	start    int64           // of the journal
	limit    int64           // size of the journal, journalLimit
	records  uint32
	version  uint32 // that the file has
	buf      []byte
	broken   error // the file is in an unknown state: nothing more is written
}

// joinDamage marks err as damage, but for the errors that say more.
func joinDamage(at int, err error) error {
	if errors.Is(err, ErrImageKey) {
		return err
	}
	return damaged(at, err.Error())
}

// lockImage opens the file with the key and locks it. It creates the file where
// there is no image yet.
func lockImage(path string, create bool) (*os.File, error) {
	flags := os.O_RDWR
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path+keySuffix, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return nil, fmt.Errorf("%w: %s%s is missing; put it back, or remove the image to start anew", ErrImageKey, path, keySuffix)
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another process has %s open; end that one first", ErrImageBusy, path)
		}
		return nil, fmt.Errorf("lock %s%s: %w", path, keySuffix, err)
	}
	return f, nil
}

// readKey reads the key; where there is no image yet it makes one.
func readKey(f *os.File, create bool) (cipher.AEAD, error) {
	key, err := io.ReadAll(io.LimitReader(f, keyLen+1))
	if err != nil {
		return nil, err
	}
	if len(key) == 0 && create {
		key = make([]byte, keyLen)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		if _, err := f.WriteAt(key, 0); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	if len(key) != keyLen {
		return nil, fmt.Errorf("%w: %s does not have %d bytes; put the right file back", ErrImageKey, f.Name(), keyLen)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// openImage locks and opens the image, and reads it where it exists; changes is
// nil where it does not, and then the caller has to be ready to create it.
func openImage(path string, mayCreate bool) (*image, []change, error) {
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	create := err != nil
	if create && !mayCreate {
		return nil, nil, fmt.Errorf("%s: %w; name a profile to make it", path, fs.ErrNotExist)
	}
	if !create {
		if path, err = filepath.EvalSymlinks(path); err != nil { // compaction renames
			return nil, nil, err
		}
	}
	im := &image{path: path, limit: journalLimit}
	if im.lock, err = lockImage(path, create); err != nil {
		return nil, nil, err
	}
	changes, err := im.load(create)
	if err != nil {
		_ = im.close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return im, changes, nil
}

func (im *image) load(create bool) ([]change, error) {
	aead, err := readKey(im.lock, create)
	if err != nil {
		return nil, err
	}
	im.codec = codec{aead: aead, random: func(b []byte) { _, _ = rand.Read(b) }} // never fails (crypto/rand)
	if create {
		im.codec.random(im.codec.id[:])
		return nil, nil
	}
	if im.file, err = os.OpenFile(im.path, os.O_RDWR, 0); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(im.file)
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	im.codec.id, im.version = h.id, h.version
	changes, end, records, err := im.codec.read(h, b[headerLen:])
	if err != nil {
		return nil, err
	}
	im.start, im.end, im.records = int64(headerLen+h.snapshot), int64(headerLen+end), records
	if im.end < int64(len(b)) {
		if err := im.file.Truncate(im.end); err != nil {
			return nil, fmt.Errorf("drop the torn last record: %w", err)
		}
	}
	return changes, nil
}

// write implements storage.
func (im *image) write(changes ...change) error {
	if im.broken != nil {
		return im.broken
	}
	if im.end-im.start > im.limit {
		if err := im.compact(); err != nil {
			return err
		}
	}
	b, err := im.codec.append(im.buf[:0], im.records, changes...)
	if err != nil {
		return err
	}
	im.buf = b
	if _, err := im.file.WriteAt(b, im.end); err != nil {
		// What was written of the record must not lie in the way of the next one.
		if cut := im.file.Truncate(im.end); cut != nil {
			im.broken = cut
		}
		return err
	}
	if err := unix.Fdatasync(int(im.file.Fd())); err != nil {
		im.broken = err // the kernel may have dropped what it could not write
		return err
	}
	im.end += int64(len(b))
	im.records++
	return nil
}

// compact writes a new image with a snapshot and no journal beside the old one
// and puts it in its place. A death in between leaves the old one.
func (im *image) compact() error {
	b := make([]byte, headerLen)
	var records uint32
	var err error
	for _, ch := range im.snapshot() {
		if b, err = im.codec.append(b, records, ch); err != nil {
			return err
		}
		records++
	}
	copy(b, header{len(b) - headerLen, im.codec.id, imageVersion}.bytes())
	f, err := writeFile(im.path+tempSuffix, b)
	if err != nil {
		return err
	}
	if err := os.Rename(im.path+tempSuffix, im.path); err != nil {
		_ = f.Close()
		return err
	}
	if im.file != nil {
		_ = im.file.Close()
	}
	im.file, im.records = f, records
	im.start, im.end = int64(len(b)), int64(len(b))
	if err := syncDir(filepath.Dir(im.path)); err != nil {
		im.broken = err
		return err
	}
	return nil
}

// writeFile creates or replaces a file, complete on disk.
func writeFile(path string, b []byte) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return f, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// close implements storage: it gives the lock back, by name, since a process
// that is just being started may hold a copy of the descriptor for a moment.
func (im *image) close() error {
	var err error
	if im.file != nil {
		err = im.file.Close()
	}
	return errors.Join(err, unix.Flock(int(im.lock.Fd()), unix.LOCK_UN), im.lock.Close())
}
