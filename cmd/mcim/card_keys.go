package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/aka"
	"mcim/card/emul"
	"mcim/card/lint"
	"mcim/tpm"
	"mcim/tpm/engine"
	"mcim/tpm/ident"
)

// operatorKeys are the flags that name the home operator's keys: a profile, or K in a
// TPM with OPc in a file.
type operatorKeys struct {
	Profile string   `help:"The operator's keys, as for mcim emulate: let the card answer them. Its pin1 serves without --pin-file." placeholder:"FILE" xor:"keys"`
	TPM     string   `name:"tpm" help:"TPM that has K, in the place of --profile: device:PATH, swtpm:DIR or unix:PATH." placeholder:"URI" xor:"keys"`
	TPMKey  string   `name:"tpm-key" help:"Handle of K there: an AES-128 key, mode CFB, that decrypts with an empty auth value." placeholder:"HANDLE"`
	OPcFile string   `name:"opc-file" help:"File with OPc in hexadecimal: 32 digits." placeholder:"FILE"`
	EKRoots string   `name:"ek-roots" help:"PEM file with the certificates of the TPM makers that are trusted." placeholder:"FILE"`
	Allow   []string `help:"ICCID of a card that may be asked to authenticate." placeholder:"ICCID"`
}

// given tells that there are keys.
func (k *operatorKeys) given() bool { return k.Profile != "" || k.TPM != "" }

// validate checks which flags there are.
func (k *operatorKeys) validate() error {
	with := k.TPMKey != "" && k.OPcFile != "" && k.EKRoots != ""
	without := k.TPMKey == "" && k.OPcFile == "" && k.EKRoots == ""
	if k.TPM != "" && !with || k.TPM == "" && !without {
		return errors.New("--tpm, --tpm-key, --opc-file and --ek-roots go together")
	}
	if k.TPM == "" {
		return nil
	}
	_, err := k.handle()
	return err
}

func (k *operatorKeys) handle() (tpm2.TPMHandle, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(k.TPMKey, "0x"), 16, 32)
	if err != nil {
		return 0, fmt.Errorf("--tpm-key %q: want a handle as 0x81010010", k.TPMKey)
	}
	return tpm2.TPMHandle(n), nil
}

// operator is the home operator, with the PIN that was given or, of a profile, its own;
// of is the profile. done is to be called when the keys are no longer needed.
func (k *operatorKeys) operator(ctx context.Context, pin secret.Bytes) (of emul.Profile, o *lint.Operator, done func() error, err error) {
	o, done = &lint.Operator{PIN1: pin, Allow: k.Allow}, func() error { return nil }
	if k.TPM != "" {
		o.Algorithm, done, err = k.inTPM(ctx)
	} else {
		of, err = k.inProfile(o)
	}
	if err == nil {
		_, err = rand.Read(o.RAND[:])
	}
	return of, o, done, err
}

// inProfile takes the keys of the profile.
func (k *operatorKeys) inProfile(o *lint.Operator) (emul.Profile, error) {
	p, err := emul.ReadProfile(k.Profile)
	if err != nil {
		return p, usage(err)
	}
	o.IMSI, o.SQN = p.IMSI, &p.SQN
	if o.Algorithm, _, err = p.Functions(); err != nil {
		return p, usage(err)
	}
	if o.Algorithm == nil {
		return p, usage(fmt.Errorf("%s: %s has no AKA, which a USIM needs", k.Profile, p.Algorithm))
	}
	if o.PIN1.Len() == 0 {
		if o.PIN1, err = uicc.PadPIN(string(p.PIN1.Reveal())); err != nil {
			return p, usage(err)
		}
	}
	return p, nil
}

// inTPM takes K out of no TPM: it runs there. OPc travels to it encrypted, to the TPM
// whose maker is trusted. done is to be called in any case.
func (k *operatorKeys) inTPM(ctx context.Context) (m *aka.Milenage, done func() error, err error) {
	done = func() error { return nil }
	opc, err := readOPc(k.OPcFile)
	if err != nil {
		return nil, done, err
	}
	pem, err := os.ReadFile(k.EKRoots)
	if err != nil {
		return nil, done, usage(fmt.Errorf("--ek-roots: %w", err))
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, done, usage(fmt.Errorf("--ek-roots %s: no certificate in PEM", k.EKRoots))
	}
	handle, err := k.handle()
	if err != nil {
		return nil, done, usage(err)
	}
	t, err := tpm.Open(ctx, k.TPM, tpm.Options{Foreign: true})
	if err != nil {
		return nil, done, err
	}
	done = t.Close
	if _, err = ident.VerifyEK(t, ident.Trust{Roots: roots, Intermediates: roots, At: time.Now()}); err != nil {
		return nil, done, err
	}
	block, err := engine.NewCFBAt(t, handle)
	if errors.Is(err, engine.ErrKey) {
		err = usage(err)
	}
	if err != nil {
		return nil, done, err
	}
	done = func() error { return errors.Join(block.Close(), t.Close()) }
	m, err = aka.NewMilenage(block, opc)
	return m, done, err
}

// readOPc reads OPc; one line end behind it does not count.
func readOPc(file string) (secret.Bytes, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return secret.Bytes{}, usage(fmt.Errorf("--opc-file: %w", err))
	}
	opc, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(opc) != aka.BlockSize {
		return secret.Bytes{}, usage(fmt.Errorf("--opc-file %s: want 32 hexadecimal digits; the file has %d characters", file, len(b)))
	}
	return secret.New(opc), nil
}
