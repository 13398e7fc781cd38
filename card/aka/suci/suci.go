package suci

import (
	"errors"
	"fmt"

	"mcim/apdu/secret"
	"mcim/apdu/usim"
)

// Errors of identities.
var (
	// ErrKey: the home network has no key with this identifier, or has it for another
	// scheme.
	ErrKey = errors.New("home network has no such key")
	// ErrIdentity: what was concealed is no identity, or an argument is none.
	ErrIdentity = errors.New("not an identity that can be concealed")
)

// PublicKey is the home network's key as a USIM knows it (EF.SUCI_Calc_Info). The zero
// value is the null scheme, which conceals nothing.
type PublicKey struct {
	Scheme usim.Scheme
	ID     byte   // home network public key identifier, 0 with the null scheme
	Key    []byte // 32 bytes for Profile A, 33 (compressed) or 65 for B
}

// Conceal makes the SUCI of imsi (TS 33.501, C.2 and C.3.2). mnc is the number of digits
// of its MNC, 2 or 3; routing is the routing indicator; ephemeral a fresh random private
// key of 32 bytes, which the null scheme does not use. Errors are ErrIdentity, those of
// Encrypt, and usim.ErrContent for a routing indicator or key identifier without coding.
func Conceal(imsi usim.IMSI, mnc int, routing string, key PublicKey, ephemeral secret.Bytes) (usim.SUCI, error) {
	if _, err := imsi.Encode(); err != nil || mnc != 2 && mnc != 3 || len(imsi) <= 3+mnc {
		return usim.SUCI{}, fmt.Errorf("%w: want an IMSI with digits behind MCC and MNC, and an MNC of 2 or 3", ErrIdentity)
	}
	plain, err := usim.PackMSIN(string(imsi[3+mnc:]))
	if err != nil {
		return usim.SUCI{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	s := usim.SUCI{Home: usim.PLMN{MCC: string(imsi[:3]), MNC: string(imsi[3 : 3+mnc])}, Routing: routing, Scheme: key.Scheme, KeyID: key.ID}
	if s.Output = plain; key.Scheme != usim.SchemeNull {
		if s.Output, err = Encrypt(key.Scheme, key.Key, ephemeral, plain); err != nil {
			return usim.SUCI{}, err
		}
	}
	if _, err := s.Encode(); err != nil {
		return usim.SUCI{}, err
	}
	return s, nil
}

// PrivateKey is a key of the home network.
type PrivateKey struct {
	Scheme usim.Scheme
	Key    secret.Bytes // 32 bytes
}

// Home is the home network's function that deconceals (SIDF; TS 33.501, 6.12.5): its
// keys by their identifiers.
type Home map[byte]PrivateKey

// Deconceal gives the IMSI in s. Errors are ErrKey, ErrScheme, those of Decrypt, and
// ErrIdentity where no IMSI was concealed, a network specific identifier among them.
func (h Home) Deconceal(s usim.SUCI) (usim.IMSI, error) {
	if s.NAI != "" {
		return "", fmt.Errorf("%w: a network specific identifier", ErrIdentity)
	}
	plain := s.Output
	if s.Scheme != usim.SchemeNull {
		if _, err := profileOf(s.Scheme); err != nil {
			return "", err
		}
		key, ok := h[s.KeyID]
		if !ok || key.Scheme != s.Scheme {
			return "", fmt.Errorf("%w: identifier %d with scheme %d", ErrKey, s.KeyID, s.Scheme)
		}
		var err error
		if plain, err = Decrypt(s.Scheme, key.Key, s.Output); err != nil {
			return "", err
		}
	}
	msin, err := usim.UnpackMSIN(plain)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	imsi := usim.IMSI(s.Home.MCC + s.Home.MNC + msin)
	if _, err := imsi.Encode(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	return imsi, nil
}
