package engine

import (
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"mcim/card/aka"
	"mcim/tpm"
	"mcim/tpm/policy"
)

// zeroBlock is the IV of every command, and the last block of every message.
var zeroBlock [aka.BlockSize]byte

// ErrAnswer is returned when the TPM gives back fewer blocks than it was sent.
var ErrAnswer = errors.New("TPM answered with the wrong number of blocks")

// Key is a loaded AES-128 key of mode CFB, for decryption only.
type Key struct {
	Handle tpm2.TPMHandle
	Name   tpm2.TPM2BName
	Policy policy.MCIM // its command is TPM2_EncryptDecrypt2
}

// CFB is the aka.Block of a key in a TPM. It is not safe for concurrent use.
type CFB struct {
	t       transport.TPM
	key     Key
	run     tpm.PolicyRun // nil: the auth value of the key is enough
	session *tpm.Kept
	max     int // blocks per command
	msg     []byte
}

var _ aka.Block = (*CFB)(nil)

// NewCFB makes the engine of key. It asks the TPM for the size of its input
// buffer (one command); the session starts with the first Encrypt.
func NewCFB(t *tpm.TPM, key Key) (*CFB, error) {
	return newCFB(t, key, key.Policy.Run, t.KeepPolicy(tpm.InOut))
}

func newCFB(t *tpm.TPM, key Key, run tpm.PolicyRun, session *tpm.Kept) (*CFB, error) {
	buffer, err := inputBuffer(t)
	if err != nil {
		return nil, err
	}
	most := buffer/aka.BlockSize - 1
	if most < 1 {
		return nil, fmt.Errorf("TPM takes %d bytes at once: too few for two AES blocks", buffer)
	}
	return &CFB{t: t, key: key, run: run, session: session, max: most}, nil
}

// Encrypt implements aka.Block: four TPM commands, one kept session. Where the
// policy does not hold the error is a policy.RefusedError. Every error ends the
// session, since it may hold a policy digest half done; the next call opens a
// new one.
func (c *CFB) Encrypt(dst, src []byte) error {
	if len(src)%aka.BlockSize != 0 || len(dst) != len(src) {
		return fmt.Errorf("encrypt %d bytes into %d: want the same multiple of %d", len(src), len(dst), aka.BlockSize)
	}
	for len(src) > 0 {
		n := min(len(src), c.max*aka.BlockSize)
		err := c.batch(dst[:n], src[:n])
		if errors.Is(err, tpm2.TPMRCPCRChanged) {
			// Some PCR, maybe none of ours, was extended after PolicyPCR (IMA does
			// so all the time): the policy has to be looked at afresh, once.
			err = c.batch(dst[:n], src[:n])
		}
		if err != nil {
			return err
		}
		dst, src = dst[n:], src[n:]
	}
	return nil
}

// Close flushes the session. The key stays loaded: it is the caller's.
func (c *CFB) Close() error {
	clear(c.msg)
	return c.session.Close()
}

// batch encrypts at most max blocks with one EncryptDecrypt2. A session that
// failed is not used again, whatever the reason: its policy may be half run.
func (c *CFB) batch(dst, src []byte) error {
	err := c.use(dst, src)
	if err != nil {
		_ = c.session.Close() // the cause counts
	}
	return err
}

func (c *CFB) use(dst, src []byte) error {
	c.msg = append(append(c.msg[:0], src...), zeroBlock[:]...)
	return c.session.Use(c.run, func(s tpm2.Session) error {
		rsp, err := tpm2.EncryptDecrypt2{
			KeyHandle: tpm2.AuthHandle{Handle: c.key.Handle, Name: c.key.Name, Auth: s},
			Message:   tpm2.TPM2BMaxBuffer{Buffer: c.msg},
			Decrypt:   true,
			Mode:      tpm2.TPMAlgNull,
			IV:        tpm2.TPM2BIV{Buffer: zeroBlock[:]},
		}.Execute(c.t)
		if errors.Is(err, tpm2.TPMRCPolicyFail) {
			return policy.Refused(policy.TermCommand, err)
		}
		if err != nil {
			return fmt.Errorf("encrypt in the TPM: %w", err)
		}
		if len(rsp.OutData.Buffer) != len(c.msg) {
			return ErrAnswer
		}
		subtle.XORBytes(dst, rsp.OutData.Buffer[aka.BlockSize:], c.msg[aka.BlockSize:])
		return nil
	})
}

// inputBuffer is TPM_PT_INPUT_BUFFER: how many bytes a command takes at once.
func inputBuffer(t transport.TPM) (int, error) {
	rsp, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapTPMProperties,
		Property:      uint32(tpm2.TPMPTInputBuffer),
		PropertyCount: 1,
	}.Execute(t)
	if err != nil {
		return 0, fmt.Errorf("ask the TPM for its input buffer: %w", err)
	}
	props, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return 0, fmt.Errorf("ask the TPM for its input buffer: %w", err)
	}
	if len(props.TPMProperty) == 0 || props.TPMProperty[0].Property != tpm2.TPMPTInputBuffer {
		return 0, errors.New("TPM does not tell the size of its input buffer")
	}
	return int(props.TPMProperty[0].Value), nil
}
