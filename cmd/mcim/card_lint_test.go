package main

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"mcim/card/emul"
	"mcim/tpm"
	"mcim/tpm/tpmtest"
)

// keyInTPM leaves an AES key in a software TPM; it gives the folder, the handle and the
// PEM file of the makers.
func keyInTPM(t *testing.T, k []byte) (dir string, handle tpm2.TPMHandle, roots string) {
	t.Helper()
	dir = tpmtest.Dir(t)
	m := tpmtest.OpenDir(t, dir, tpm.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.Claim())
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Name: tpm2.HandleName(tpm2.TPMRHOwner), Auth: tpm2.PasswordAuth(nil)}
	parent, err := tpm2.CreatePrimary{PrimaryHandle: owner, InPublic: tpm2.New2B(tpm2.ECCSRKTemplate)}.Execute(m)
	must(err)
	above := tpm2.AuthHandle{Handle: parent.ObjectHandle, Name: parent.Name, Auth: tpm2.PasswordAuth(nil)}
	made, err := tpm2.Create{
		ParentHandle: above,
		InSensitive:  tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{Data: tpm2.NewTPMUSensitiveCreate(&tpm2.TPM2BSensitiveData{Buffer: k})}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type: tpm2.TPMAlgSymCipher, NameAlg: tpm2.TPMAlgSHA256, ObjectAttributes: tpm2.TPMAObject{Decrypt: true, UserWithAuth: true, NoDA: true},
			Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES, KeyBits: tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
				Mode: tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			}}),
		}),
	}.Execute(m)
	must(err)
	loaded, err := tpm2.Load{ParentHandle: above, InPrivate: made.OutPrivate, InPublic: made.OutPublic}.Execute(m)
	must(err)
	handle, err = m.Persistent(5)
	must(err)
	_, err = tpm2.EvictControl{Auth: owner, ObjectHandle: tpm2.NamedHandle{Handle: loaded.ObjectHandle, Name: loaded.Name}, PersistentHandle: handle}.Execute(m)
	must(err)
	must(m.Close())
	authorities, others, err := tpm.LocalCA(dir)
	must(err)
	var text bytes.Buffer
	for _, c := range append(authorities, others...) {
		must(pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	roots = filepath.Join(t.TempDir(), "makers.pem")
	must(os.WriteFile(roots, text.Bytes(), 0o600))
	return dir, handle, roots
}

// TestKeyInTPM: K in a TPM proves the card as a profile does, and another OPc does not,
// to card lint and to card auth.
func TestKeyInTPM(t *testing.T) {
	t.Parallel()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "card.img")
	c, err := emul.Open(image, &p)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dir, handle, roots := keyInTPM(t, p.K.Reveal())
	command := func(verb string, handle tpm2.TPMHandle, opc []byte, more ...string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"card", verb, "--card", "emul:" + image, "--pin-file", file("pin", string(p.PIN1.Reveal())), "--allow", p.ICCID,
			"--tpm", "swtpm:" + dir, "--tpm-key", fmt.Sprintf("%#x", uint32(handle)), "--opc-file", file("opc", hex.EncodeToString(opc)+"\n"),
			"--ek-roots", roots}, more...), &out, &out)
		return code, out.String()
	}
	lint := func(handle tpm2.TPMHandle, opc []byte) (int, string) {
		return command("lint", handle, opc, "--rule", "aka-keys", "--rule", "sqn-behind")
	}
	if code, out := lint(handle, p.OPc.Reveal()); code != exitPass || !strings.Contains(out, "not judged: the operator's SQN is not known") || !strings.Contains(out, "; 1 rule judged, ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out := lint(handle, p.K.Reveal()); code != exitFailed || !strings.Contains(out, "error    aka-keys") {
		t.Errorf("another OPc: exit code %d: %s", code, out)
	}
	if code, out := lint(handle+1, p.OPc.Reveal()); code != exitUsage || !strings.Contains(out, "not an AES key of 128 bits") {
		t.Errorf("no key: exit code %d: %s", code, out)
	}
	reversed := slices.Clone(p.OPc.Reveal())
	slices.Reverse(reversed)
	if code, out := command("auth", handle, p.OPc.Reveal(), "--context", "3g,gsm"); code != exitPass || !strings.Contains(out, "the card has the operator's keys") {
		t.Errorf("auth: exit code %d: %s", code, out)
	}
	if code, out := command("auth", handle, reversed, "--context", "3g"); code != exitFailed || !strings.Contains(out, "opc are in reverse") {
		t.Errorf("auth, OPc in reverse: exit code %d: %s", code, out)
	}
	if code, out := command("auth", handle+1, p.OPc.Reveal()); code != exitUsage || !strings.Contains(out, "not an AES key of 128 bits") {
		t.Errorf("auth, no key: exit code %d: %s", code, out)
	}
}
