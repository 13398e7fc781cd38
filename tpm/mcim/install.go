package mcim

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/aka"
	"mcim/tpm/policy"
)

// Errors of an installation that no repetition mends.
var (
	// ErrImport: the TPM does not take K. It was wrapped for another TPM, or damaged.
	ErrImport = errors.New("the TPM refuses to import K: it was wrapped for another TPM, or is damaged")
	// ErrBody: the body was encrypted to another key, or does not fit its header.
	ErrBody = errors.New("the body of the package cannot be opened: it is for another TRE, or does not fit its header")
)

// Install takes a package into its slot (TR 33.812 P6.8 to P6.10), which is then
// Installed, and gives the receipt over the caller's nonce.
//
// A refusal is a *RejectError, ErrImport or ErrBody. Nothing but the highest
// sequence number has then changed. After any other error, and after a crash at
// any moment, the slot has its old MCIM or the new one, and the same package can
// be given again: it goes on where it was, and once it is Installed the same
// package only gives a new receipt.
func (s *Store) Install(raw []byte, now time.Time, nonce []byte) (*Receipt, error) {
	p, err := s.authenticate(raw)
	if err != nil {
		return nil, err
	}
	n := p.Header.Slot
	sl, err := s.slot(n)
	if err != nil {
		return nil, err
	}
	if sl.State == Installed && sl.MCIM.Digest == p.Digest() {
		return s.Receipt(n, nonce)
	}
	if err := s.fresh(p, now); err != nil {
		return nil, err
	}
	if err := s.consume(p); err != nil {
		return nil, err
	}
	receipt, c, err := s.unpack(p, nonce)
	if refused(err) {
		return nil, errors.Join(err, s.abandon(n))
	}
	if err != nil {
		return nil, err
	}
	if err := s.put(n, c, Installed); err != nil {
		return nil, err
	}
	return receipt, nil
}

// refused tells a refusal from a failure that may pass.
func refused(err error) bool {
	var rejected *RejectError
	return errors.As(err, &rejected) || errors.Is(err, ErrImport) || errors.Is(err, ErrBody)
}

// consume notes the sequence number and the package, before anything can fail
// that is worth another try.
func (s *Store) consume(p *Package) error {
	st, digest := s.state.clone(), p.Digest()
	sl := st.Slots[p.Header.Slot]
	if sl.Pending != nil && *sl.Pending == digest {
		return nil
	}
	sl.Sequence, sl.Pending = max(sl.Sequence, p.Header.Sequence), &digest
	return s.save(st)
}

// abandon forgets a package that was refused; its sequence number stays used.
func (s *Store) abandon(n int) error {
	st := s.state.clone()
	st.Slots[n].Pending = nil
	return s.save(st)
}

// unpack makes the content of a slot of a package, and the receipt.
func (s *Store) unpack(p *Package, nonce []byte) (*Receipt, *content, error) {
	if err := s.suits(p); err != nil {
		return nil, nil, err
	}
	h := &p.Header
	c := &content{
		Digest: p.Digest(), ID: h.ID, Issuer: h.Issuer, Build: h.Build,
		Placement: h.Placement, Epoch: h.Epoch, Platform: h.Platform,
	}
	if p.Key != nil {
		private, err := s.m.importKey(p.Key)
		if err != nil {
			return nil, nil, err
		}
		c.KeyPublic, c.KeyPrivate = p.Key.Public, private
	}
	receipt, err := s.receipt(h.Slot, c, nonce)
	if err != nil {
		return nil, nil, err
	}
	if c.Body, err = s.openBody(p); err != nil {
		return nil, nil, err
	}
	return receipt, c, nil
}

// openBody opens the body and tells a body that cannot be opened from a TPM that
// fails to help.
func (s *Store) openBody(p *Package) (*body, error) {
	key := &exchanger{KeyExchanger: s.m.dek}
	if s.cfg.Weak.BodyKey != nil {
		key.KeyExchanger = s.cfg.Weak.BodyKey
	}
	b, err := openBody(key, p.header, p.body)
	if key.err != nil {
		return nil, fmt.Errorf("open body in the TPM: %w", key.err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	if (len(b.K) == 0) != (p.Header.Placement == InTRE) {
		return nil, fmt.Errorf("%w: K is not where the placement wants it", ErrBody)
	}
	return b, nil
}

// exchanger remembers the error of the key agreement.
type exchanger struct {
	ecdh.KeyExchanger
	err error
}

// ECDH implements ecdh.KeyExchanger.
func (e *exchanger) ECDH(remote *ecdh.PublicKey) (secret []byte, err error) {
	secret, e.err = e.KeyExchanger.ECDH(remote)
	return secret, e.err
}

// put makes c the content of slot n. The file of sequence numbers is written
// first, for the value that the slot's SQN counter gets last: until the state is
// saved the old content has its own file, afterwards opening finishes the rest.
func (s *Store) put(n int, c *content, in Lifecycle) error {
	if err := s.closeSlot(n); err != nil {
		return err
	}
	if c.Placement == InTRE {
		if err := s.firstSQN(n, c); err != nil {
			return err
		}
	}
	st := s.state.clone()
	st.Slots[n] = &slot{State: in, Sequence: st.Slots[n].Sequence, MCIM: c}
	if err := s.save(st); err != nil {
		return err
	}
	if c.Placement == InTRE {
		if err := s.sqn[n].increment(); err != nil {
			return err
		}
	}
	return s.sweep()
}

func (s *Store) firstSQN(n int, c *content) error {
	at, err := s.sqn[n].read()
	if err != nil {
		return err
	}
	path, err := s.sqnPath(n, c)
	if err != nil {
		return err
	}
	array := aka.NewSQNArray(aka.SQNFromBytes(c.Body.SQN))
	return createSQN(path, s.box, sqnLabel(path), at+1, &array)
}

// Inject puts the provisional identity into slot 0, where it is Active at once
// (TR 33.812 P1.7). The supplier, who has the machine in hand, wraps K with
// WrapKey for Target(PCID); there is no package. The same key once more does nothing.
func (s *Store) Inject(key *KeyPart, platform policy.Platform, sub *Subscription) error {
	b := sub.body()
	b.K = nil
	if err := b.check(); err != nil {
		return err
	}
	sl, err := s.slot(PCID)
	if err != nil {
		return err
	}
	if sl.State == Active && string(sl.MCIM.KeyPublic) == string(key.Public) {
		return nil
	}
	err = checkKey(key, policy.MCIM{
		Platform: platform, EpochIndex: s.epoch[PCID].index, Epoch: s.epochs[PCID], Command: tpm2.TPMCCEncryptDecrypt2,
	})
	if err != nil {
		return err
	}
	private, err := s.m.importKey(key)
	if err != nil {
		return err
	}
	return s.put(PCID, &content{
		ID: "pcid", Issuer: "supplier", Build: s.cfg.Build, Placement: InTRE, Epoch: s.epochs[PCID],
		Platform: platform, KeyPublic: key.Public, KeyPrivate: private, Body: b,
	}, Active)
}
