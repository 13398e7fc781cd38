package measure

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Digest is a SHA-256 digest or PCR value.
type Digest = [sha256.Size]byte

// PCRCount is the number of PCRs of a PC Client TPM.
const PCRCount = 24

// Bounds of what is read: real logs stay far below.
const (
	maxLog    = 16 << 20 // bytes
	maxEvents = 1 << 16
	maxBanks  = 16
)

// ErrLog means that bytes are no crypto-agile event log, or one without SHA-256.
var ErrLog = errors.New("not an event log with SHA-256 digests")

// Bank is one digest algorithm of a log.
type Bank struct {
	Algorithm tpm2.TPMAlgID
	Size      uint16 // bytes of a digest
}

// Other is a digest of an event in a bank that is not used here.
type Other struct {
	Bank   int // index into Log.Banks
	Digest []byte
}

// Event is one measurement.
type Event struct {
	PCR    int
	Type   EventType
	Digest Digest // SHA-256
	Data   []byte
	// Others are the digests of the other banks, in the order of the log; before
	// counts those that stand before the SHA-256 one.
	Others []Other
	before int
}

// Log is the event log of a machine. The zero value is an empty log of one
// SHA-256 bank.
type Log struct {
	Events []Event
	// Banks are those of a log that was read; empty: SHA-256 alone.
	Banks []Bank
	// header is what the first event says beside the banks, as it was read.
	header, vendor []byte
}

// header of a log that we write: platform class 0 (client), version 2.0,
// errata 0, UINTN of 64 bit.
var ourHeader = []byte{0, 0, 0, 0, 0, 2, 0, 2}

const specID = "Spec ID Event03\x00"

// Add appends an event whose digest is the hash of its data.
func (l *Log) Add(pcr int, t EventType, data []byte) {
	l.AddMeasured(pcr, t, data, data)
}

// AddMeasured appends an event whose digest is the hash of what was measured;
// data only describes it.
func (l *Log) AddMeasured(pcr int, t EventType, data, measured []byte) {
	l.Events = append(l.Events, Event{PCR: pcr, Type: t, Digest: sha256.Sum256(measured), Data: data})
}

func (l Log) banks() []Bank {
	if len(l.Banks) == 0 {
		return []Bank{{tpm2.TPMAlgSHA256, sha256.Size}}
	}
	return l.Banks
}

// Bytes encodes the log: TCG_PCR_EVENT with the Spec ID event, then one
// TCG_PCR_EVENT2 for each event, little-endian (Firmware Profile, 10.2).
func (l Log) Bytes() []byte {
	le := binary.LittleEndian
	spec := append([]byte(specID), ourHeader...)
	if l.header != nil {
		spec = append([]byte(specID), l.header...)
	}
	spec = le.AppendUint32(spec, uint32(len(l.banks())))
	for _, b := range l.banks() {
		spec = le.AppendUint16(le.AppendUint16(spec, uint16(b.Algorithm)), b.Size)
	}
	spec = append(append(spec, byte(len(l.vendor))), l.vendor...)

	out := le.AppendUint32(le.AppendUint32(nil, 0), uint32(EVNoAction))
	out = append(out, make([]byte, 20)...) // a SHA-1 digest of zeros
	out = append(le.AppendUint32(out, uint32(len(spec))), spec...)
	for _, e := range l.Events {
		out = l.appendEvent(out, e)
	}
	return out
}

func (l Log) appendEvent(out []byte, e Event) []byte {
	le := binary.LittleEndian
	out = le.AppendUint32(le.AppendUint32(out, uint32(e.PCR)), uint32(e.Type))
	out = le.AppendUint32(out, uint32(len(e.Others)+1))
	others := func(list []Other) {
		for _, o := range list {
			out = append(le.AppendUint16(out, uint16(l.banks()[o.Bank].Algorithm)), o.Digest...)
		}
	}
	others(e.Others[:e.before])
	out = append(le.AppendUint16(out, uint16(tpm2.TPMAlgSHA256)), e.Digest[:]...)
	others(e.Others[e.before:])
	return append(le.AppendUint32(out, uint32(len(e.Data))), e.Data...)
}

// Parse reads a log. It is strict: every byte belongs to an event, each event
// has exactly one SHA-256 digest (those of other banks may be absent), and Bytes gives the same bytes again. It fails
// with ErrLog.
func Parse(b []byte) (Log, error) {
	if len(b) > maxLog {
		return Log{}, fmt.Errorf("%w: longer than %d bytes", ErrLog, maxLog)
	}
	r := &reader{rest: b}
	log, err := parseHeader(r)
	if err != nil {
		return Log{}, err
	}
	for len(r.rest) > 0 {
		e, err := log.parseEvent(r)
		if err != nil {
			return Log{}, fmt.Errorf("event %d: %w", len(log.Events), err)
		}
		if len(log.Events) == maxEvents {
			return Log{}, fmt.Errorf("%w: more than %d events", ErrLog, maxEvents)
		}
		log.Events = append(log.Events, e)
	}
	if !bytes.Equal(log.Bytes(), b) {
		return Log{}, fmt.Errorf("%w: not in canonical form", ErrLog)
	}
	return log, nil
}

func parseHeader(r *reader) (Log, error) {
	var log Log
	pcr, kind := r.u32(), EventType(r.u32())
	digest, spec := r.bytes(20), r.sized()
	if r.failed || pcr != 0 || kind != EVNoAction || slices.ContainsFunc(digest, func(b byte) bool { return b != 0 }) {
		return log, fmt.Errorf("%w: it does not begin with a Spec ID event", ErrLog)
	}
	s := &reader{rest: spec}
	if string(s.bytes(len(specID))) != specID {
		return log, fmt.Errorf("%w: it is of another version (crypto-agile, %q is needed)", ErrLog, specID)
	}
	log.header = s.bytes(8)
	n := s.u32()
	if s.failed || n == 0 || n > maxBanks {
		return log, fmt.Errorf("%w: number of digest algorithms", ErrLog)
	}
	for range n {
		log.Banks = append(log.Banks, Bank{tpm2.TPMAlgID(s.u16()), s.u16()})
	}
	log.vendor = s.bytes(int(s.u8()))
	if s.failed || len(s.rest) > 0 {
		return log, fmt.Errorf("%w: length of the Spec ID event", ErrLog)
	}
	return log, log.checkBanks()
}

// checkBanks wants each algorithm once, and SHA-256 among them.
func (l Log) checkBanks() error {
	sha := 0
	for i, b := range l.Banks {
		if b.Algorithm == tpm2.TPMAlgSHA256 && b.Size == sha256.Size {
			sha++
		}
		if b.Size == 0 || slices.IndexFunc(l.Banks, func(o Bank) bool { return o.Algorithm == b.Algorithm }) != i {
			return fmt.Errorf("%w: bad list of digest algorithms", ErrLog)
		}
	}
	if sha != 1 {
		return fmt.Errorf("%w: the machine does not measure with SHA-256", ErrLog)
	}
	return nil
}

func (l Log) parseEvent(r *reader) (Event, error) {
	var e Event
	pcr := r.u32()
	e.Type = EventType(r.u32())
	n := r.u32()
	if r.failed || pcr >= PCRCount || uint64(n) > uint64(len(l.Banks)) {
		return e, fmt.Errorf("%w: PCR or number of digests", ErrLog)
	}
	e.PCR = int(pcr)
	seen, found := make([]bool, len(l.Banks)), false
	for i := range int(n) {
		alg := tpm2.TPMAlgID(r.u16())
		bank := slices.IndexFunc(l.Banks, func(b Bank) bool { return b.Algorithm == alg })
		if r.failed || bank < 0 || seen[bank] {
			return e, fmt.Errorf("%w: digest algorithm %#x", ErrLog, uint16(alg))
		}
		seen[bank] = true
		digest := r.bytes(int(l.Banks[bank].Size))
		if alg != tpm2.TPMAlgSHA256 {
			e.Others = append(e.Others, Other{bank, digest})
			continue
		}
		e.before, found = i, true
		copy(e.Digest[:], digest)
	}
	e.Data = r.sized()
	if r.failed || !found {
		return e, fmt.Errorf("%w: it is cut, or has no SHA-256 digest", ErrLog)
	}
	return e, nil
}

// reader takes little-endian fields off a buffer; failed says that one was cut.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) u8() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) sized() []byte {
	n := r.u32()
	if n > math.MaxInt32 {
		r.failed = true
		return nil
	}
	return r.bytes(int(n))
}

// MachineLogPath is where Linux keeps the log of its own boot.
const MachineLogPath = "/sys/kernel/security/tpm0/binary_bios_measurements"

// ReadMachine reads the log of this machine's own boot from path. Only root may
// read it on most systems.
func ReadMachine(path string) (Log, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Log{}, fmt.Errorf("the machine has no event log (%w): its firmware has not measured the boot, or securityfs is not mounted", err)
	case errors.Is(err, os.ErrPermission):
		return Log{}, fmt.Errorf("the event log of the machine is for root only: %w", err)
	case err != nil:
		return Log{}, err
	}
	return Parse(b)
}
