package world

import (
	"context"
	"errors"
	"fmt"
	"os"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/aka"
	"mcim/card/emul"
	"mcim/flows/m2me"
	"mcim/flows/store"
)

// cardBefore is what was in a card that the caller named, when the lab was made:
// what the card gets back. K, OPc, the codes and what networks have left are in
// beforeSecrets. No role sees it; it lies in a store of its own.
type cardBefore struct {
	ICCID string   `cbor:"iccid"`
	IMSI  string   `cbor:"imsi"`
	SQN   uint64   `cbor:"sqn"`  // the highest that card or operator knew
	Left  []uint16 `cbor:"left"` // file identifiers
	Back  bool     `cbor:"back"` // the card has it again
}

const (
	befores       store.Bucket[cardBefore] = "card-before" // under "card"
	beforeSecrets store.Secrets            = "card-before" // "k", "opc", "pin1", "adm1", "6f7e"
	beforeKey                              = "card"
	beforeDir                              = "card-before" // of the store, in the lab
)

// proveCard finds out whether the card that goes into a new lab is the one of its
// profile, and keeps what is in one that the caller named. It is before anything
// else is done with card or TPM: a profile that does not fit costs a PIN try and an
// AUTHENTICATE at most.
func (w *World) proveCard(ctx context.Context) error {
	p := w.profile
	if p == nil {
		return nil
	}
	keys, err := cardKeys(*p, w.config)
	if err != nil {
		return err
	}
	held, err := m2me.ProveCard(ctx, w.tapped, keys, m2me.Content{IMSI: p.IMSI, K: p.K, OPc: p.OPc, SQN: p.SQN})
	if err != nil {
		return fmt.Errorf("the card with ICCID %s, to which nothing was written: %w", p.ICCID, err)
	}
	if w.config.Card == "" {
		return nil
	}
	s, err := store.Open(ctx, w.lab.Path(beforeDir))
	if err != nil {
		return err
	}
	return errors.Join(keepBefore(ctx, s, keys, held), s.Close())
}

// cardKeys is what opens the card of a profile.
func cardKeys(p emul.Profile, c Config) (m2me.CardKeys, error) {
	pin1, err := uicc.PadPIN(string(p.PIN1.Reveal()))
	return m2me.CardKeys{ICCID: p.ICCID, PIN1: pin1, ADM1: p.ADM1, Refused: c.Refused}, err
}

func keepBefore(ctx context.Context, s *store.Store, keys m2me.CardKeys, held m2me.Content) error {
	return s.Tx(ctx, func(tx *store.Tx) error {
		b := cardBefore{ICCID: keys.ICCID, IMSI: held.IMSI, SQN: uint64(held.SQN)}
		secrets := map[string]secret.Bytes{"k": held.K, "opc": held.OPc, "pin1": keys.PIN1, "adm1": keys.ADM1}
		for fid, data := range held.Left {
			b.Left, secrets[leftKey(fid)] = append(b.Left, fid), data
		}
		for name, value := range secrets {
			if err := beforeSecrets.Put(ctx, tx, name, value); err != nil {
				return err
			}
		}
		return befores.Put(ctx, tx, beforeKey, b)
	})
}

func leftKey(fid uint16) string { return fmt.Sprintf("%04x", fid) }

// openBefore opens the store of what was in the card; nil where the lab has none.
func (w *World) openBefore(ctx context.Context) (*store.Store, cardBefore, error) {
	dir := w.lab.Path(beforeDir)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, cardBefore{}, nil
	}
	s, err := store.Open(ctx, dir)
	if err != nil {
		return nil, cardBefore{}, err
	}
	b, err := befores.Get(ctx, s, beforeKey)
	if errors.Is(err, store.ErrNotFound) { // it was cut, long before the card was written
		return nil, b, s.Close()
	}
	if err != nil {
		return nil, b, errors.Join(err, s.Close())
	}
	return s, b, nil
}

// content is what the card gets back: what it had, with sequence numbers that are
// ahead of those used.
func (b cardBefore) content(ctx context.Context, s *store.Store, c Config) (keys m2me.CardKeys, back m2me.Content, err error) {
	get := func(name string) secret.Bytes {
		value, gerr := beforeSecrets.Get(ctx, s, name)
		err = errors.Join(err, gerr)
		return value
	}
	keys = m2me.CardKeys{ICCID: b.ICCID, PIN1: get("pin1"), ADM1: get("adm1"), Refused: c.Refused}
	back = m2me.Content{IMSI: b.IMSI, K: get("k"), OPc: get("opc"), Left: map[uint16]secret.Bytes{}}
	for _, fid := range b.Left {
		back.Left[fid] = get(leftKey(fid))
	}
	if err != nil {
		return keys, back, err
	}
	back.SQN, err = aka.NewSQN(aka.SQN(b.SQN).SEQ()+usedSEQ, 0)
	return keys, back, err
}

// usedSEQ is more than the sequence numbers that a lab uses of the old K: the
// restored card accepts none of them once more, and its operator, who may be
// behind, learns of it by AUTS.
const usedSEQ = 1 << 10
