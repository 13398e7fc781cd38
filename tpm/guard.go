package tpm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// TakeOverError is the answer of Send to a command that would change what is
// not ours on a TPM of somebody else. Nothing was sent.
type TakeOverError struct {
	Command string // as "Clear"
	Why     string
}

// Error says what was refused and the one way past.
func (e *TakeOverError) Error() string {
	return fmt.Sprintf("%s not sent: %s, and this TPM is not ours; only --take-ownership with the hash of its EK allows it", e.Command, e.Why)
}

// harmless lists the commands that change nothing which outlives the session or
// the object that they work on. What is not listed is refused unless guard
// looks into it.
var harmless = map[tpm2.TPMCC]bool{
	tpm2.TPMCCStartAuthSession: true, tpm2.TPMCCFlushContext: true, tpm2.TPMCCContextSave: true, tpm2.TPMCCContextLoad: true,
	tpm2.TPMCCGetCapability: true, tpm2.TPMCCTestParms: true, tpm2.TPMCCGetRandom: true, tpm2.TPMCCReadClock: true, tpm2.TPMCCGetTestResult: true,
	tpm2.TPMCCReadPublic: true, tpm2.TPMCCNVReadPublic: true, tpm2.TPMCCNVRead: true, tpm2.TPMCCPCRRead: true,
	tpm2.TPMCCCreate: true, tpm2.TPMCCCreateLoaded: true, tpm2.TPMCCCreatePrimary: true, tpm2.TPMCCLoad: true, tpm2.TPMCCLoadExternal: true,
	tpm2.TPMCCImport: true, tpm2.TPMCCDuplicate: true, tpm2.TPMCCUnseal: true, tpm2.TPMCCObjectChangeAuth: true,
	tpm2.TPMCCActivateCredential: true, tpm2.TPMCCMakeCredential: true,
	tpm2.TPMCCSign: true, tpm2.TPMCCVerifySignature: true, tpm2.TPMCCHash: true, tpm2.TPMCCMAC: true, tpm2.TPMCCMACStart: true,
	tpm2.TPMCCHashSequenceStart: true, tpm2.TPMCCSequenceUpdate: true, tpm2.TPMCCSequenceComplete: true,
	tpm2.TPMCCEncryptDecrypt: true, tpm2.TPMCCEncryptDecrypt2: true, tpm2.TPMCCRSAEncrypt: true, tpm2.TPMCCRSADecrypt: true,
	tpm2.TPMCCECDHZGen: true, tpm2.TPMCCECDHKeyGen: true, tpm2.TPMCCECCParameters: true,
	tpm2.TPMCCCertify: true, tpm2.TPMCCCertifyCreation: true, tpm2.TPMCCQuote: true, tpm2.TPMCCNVCertify: true, tpm2.TPMCCGetTime: true,
	tpm2.TPMCCGetSessionAuditDigest: true,
}

// guard refuses what would take a foreign TPM over (package comment).
func (t *TPM) guard(command []byte) error {
	code := commandCode(command)
	if !t.foreign || harmless[code] || strings.HasPrefix(CommandName(code), "Policy") {
		return nil
	}
	refuse := func(why string) error { return &TakeOverError{Command: CommandName(code), Why: why} }
	switch code {
	case tpm2.TPMCCPCRExtend:
		if pcr, ok := wordAt(command, headerLen); !ok || uint(pcr) != t.opts.Register {
			return refuse(fmt.Sprintf("of the PCRs only %d is for us to extend", t.opts.Register))
		}
		return nil
	case tpm2.TPMCCNVDefineSpace, tpm2.TPMCCNVUndefineSpace, tpm2.TPMCCNVWrite, tpm2.TPMCCNVIncrement, tpm2.TPMCCNVExtend, tpm2.TPMCCEvictControl:
		handle, ok := target(code, command)
		if !ok || !t.claimed || !t.opts.Range.contains(tpm2.TPMHandle(handle)) {
			return refuse(fmt.Sprintf("handle %#08x is not in a range that was claimed", handle))
		}
		return nil
	}
	return refuse("it changes what belongs to the owner of the TPM")
}

// target is the handle that a command of the NV or persistent kind works on.
func target(code tpm2.TPMCC, command []byte) (uint32, bool) {
	switch code {
	case tpm2.TPMCCNVDefineSpace: // the index is inside publicInfo, after the auth value
		size, ok := wordAt(command, headerLen+4)
		at := headerLen + 8 + int(size)
		if !ok || at+2 > len(command) {
			return 0, false
		}
		return wordAt(command, at+2+int(binary.BigEndian.Uint16(command[at:]))+2)
	case tpm2.TPMCCEvictControl: // the persistent handle is the last parameter
		return wordAt(command, len(command)-4)
	}
	return wordAt(command, headerLen+4) // the second handle
}

func wordAt(b []byte, at int) (uint32, bool) {
	if at < 0 || at+4 > len(b) {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[at:]), true
}

// CommandName is the name of a command code as in TPM 2.0 Part 2, 6.5.2,
// without prefix: "EncryptDecrypt2"; "0x20000001" for one without a name.
func CommandName(code tpm2.TPMCC) string {
	if name, ok := names[code]; ok {
		return name
	}
	return fmt.Sprintf("%#08x", uint32(code))
}
