package tpm

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// Direction says which first parameter a session encrypts. A command whose
// first parameter (or that of its answer) is no TPM2B cannot have it encrypted.
type Direction int

// The four directions. Every one of them protects both messages by an HMAC.
const (
	InOut     Direction = iota // command and answer: Create, Load, Certify, Quote, ECDH_ZGen, EncryptDecrypt2 ...
	In                         // command only: Sign, NV_Write, NV_DefineSpace
	Out                        // answer only: NV_Read, Unseal, GetRandom
	Integrity                  // neither: NV_Increment, EvictControl, NV_UndefineSpace
)

const (
	sessionHash = tpm2.TPMAlgSHA256
	nonceLen    = 16 // bytes
)

// saltedTo are the options that every session has.
func (t *TPM) saltedTo(ek EK, d Direction, opts []tpm2.AuthOption) []tpm2.AuthOption {
	all := append([]tpm2.AuthOption{tpm2.Salted(ek.Handle, ek.Public)}, opts...)
	switch d {
	case InOut:
		all = append(all, tpm2.AESEncryption(128, tpm2.EncryptInOut))
	case In:
		all = append(all, tpm2.AESEncryption(128, tpm2.EncryptIn))
	case Out:
		all = append(all, tpm2.AESEncryption(128, tpm2.EncryptOut))
	}
	return all
}

// noSession is what a caller without pinned EK gets: it fails where it is used.
type noSession struct {
	tpm2.Session
	err error
}

// Init implements tpm2.Session.
func (s noSession) Init(transport.TPM) error { return s.err }

// Session is an HMAC session for one command, salted to the pinned EK. Without
// one the command fails with ErrNotPinned. tpm2.Auth gives the auth value.
func (t *TPM) Session(d Direction, opts ...tpm2.AuthOption) tpm2.Session {
	ek, err := t.EK()
	if err != nil {
		return noSession{tpm2.PasswordAuth(nil), err}
	}
	return tpm2.HMAC(sessionHash, nonceLen, t.saltedTo(ek, d, opts)...)
}

// PolicyRun runs the policy commands of one authorization: PolicyPCR and so on,
// on the session with that handle.
type PolicyRun = tpm2.PolicyCallback

// Policy is a policy session for one command, salted to the pinned EK: run is
// called when the command needs it. Errors as for Session.
func (t *TPM) Policy(d Direction, run PolicyRun, opts ...tpm2.AuthOption) tpm2.Session {
	return t.policy(sessionHash, d, run, opts...)
}

// policy is Policy with the hash of the name of the object that it authorizes.
func (t *TPM) policy(hash tpm2.TPMAlgID, d Direction, run PolicyRun, opts ...tpm2.AuthOption) tpm2.Session {
	ek, err := t.EK()
	if err != nil {
		return noSession{tpm2.PasswordAuth(nil), err}
	}
	// A policy that fails leaves the session in the TPM, which holds only three.
	flushing := func(tpm transport.TPM, session tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		err := run(tpm, session, nonce)
		if err != nil {
			err = errors.Join(err, t.Flush(session))
		}
		return err
	}
	return tpm2.Policy(hash, nonceLen, flushing, t.saltedTo(ek, d, opts)...)
}

// Kept is a session that lives for many commands: the salt is spent once. It
// starts at its first use, and anew after an error, because a failed command
// leaves a policy session with a digest that nothing undoes. The TPM holds
// only three sessions at a time, so Close each that is not needed. A Kept
// serves one caller at a time.
type Kept struct {
	tpm   *TPM
	start func(*TPM, EK) (tpm2.Session, func() error, error)
	s     tpm2.Session
	flush func() error
}

// KeepSession is an HMAC session kept for many commands of one direction.
func (t *TPM) KeepSession(d Direction, opts ...tpm2.AuthOption) *Kept {
	return &Kept{tpm: t, start: func(t *TPM, ek EK) (tpm2.Session, func() error, error) {
		return tpm2.HMACSession(t, sessionHash, nonceLen, t.saltedTo(ek, d, opts)...)
	}}
}

// KeepPolicy is a policy session kept for many commands of one direction.
func (t *TPM) KeepPolicy(d Direction, opts ...tpm2.AuthOption) *Kept {
	return &Kept{tpm: t, start: func(t *TPM, ek EK) (tpm2.Session, func() error, error) {
		return tpm2.PolicySession(t, sessionHash, nonceLen, t.saltedTo(ek, d, opts)...)
	}}
}

// Use starts the session if needed, runs the policy commands (nil for an HMAC
// session), and then the command that needs the session. The policy has to run
// before every command: the TPM forgets it when the command succeeds. After any
// error the session is flushed.
func (k *Kept) Use(run PolicyRun, command func(tpm2.Session) error) error {
	if k.s == nil {
		ek, err := k.tpm.EK()
		if err != nil {
			return err
		}
		if k.s, k.flush, err = k.start(k.tpm, ek); err != nil {
			k.s = nil
			return fmt.Errorf("start of a session: %w", err)
		}
	}
	err := k.use(run, command)
	if err != nil && !errors.Is(err, ErrGone) {
		return errors.Join(err, k.Close())
	}
	return err
}

func (k *Kept) use(run PolicyRun, command func(tpm2.Session) error) error {
	if run != nil {
		if err := run(k.tpm, k.s.Handle(), k.s.NonceTPM()); err != nil {
			return fmt.Errorf("policy: %w", err)
		}
	}
	return command(k.s)
}

// Close flushes the session. It is safe to call twice, and Use starts it again.
func (k *Kept) Close() error {
	if k.s == nil {
		return nil
	}
	err := k.flush()
	k.s, k.flush = nil, nil
	return err
}

// Owner is the owner hierarchy with its auth value, for commands that define or
// remove what is in our range.
func (t *TPM) Owner(d Direction) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: tpm2.HandleName(tpm2.TPMRHOwner), Auth: t.Session(d, tpm2.Auth(t.opts.OwnerAuth.Reveal()))}
}

// Endorsement is the endorsement hierarchy with its auth value.
func (t *TPM) Endorsement(d Direction) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Name: tpm2.HandleName(tpm2.TPMRHEndorsement),
		Auth: t.Session(d, tpm2.Auth(t.opts.EndorsementAuth.Reveal()))}
}
