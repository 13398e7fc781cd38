package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"
)

// Info is what a TPM says of itself.
type Info struct {
	Maker         string // four letters, as "IBM", "IFX", "NTC"
	Model         string // vendor string
	Firmware      string // as "8217.4131.22.13878"
	Spec          string // as "2.0 rev 1.64"
	InputBuffer   int    // bytes that one EncryptDecrypt2 or Hash takes
	NVPiece       int    // bytes of one NV_Read
	NVCounters    int    // that exist
	Persistent    int    // further objects that fit in NV
	EncryptCFB    bool   // EncryptDecrypt2 and an AES-128 key object in mode CFB
	P256          bool   // ECC with NIST P-256
	NVCounter     bool   // NV indices of type counter
	SHA256        bool   // PCR bank SHA-256
	Commands      []tpm2.TPMCC
	TransientMin  int // objects that can be loaded at once
	LockoutCount  int // failed authorizations so far
	InLockout     bool
	OwnerAuth     bool // the owner hierarchy has an auth value
	EndorsAuth    bool // the endorsement hierarchy has one
	ClearDisabled bool
}

// Missing names what this product needs and the TPM lacks; empty: all is there.
func (i Info) Missing() []string {
	var list []string
	for _, need := range []struct {
		have bool
		name string
	}{
		{i.P256, "ECC P-256"}, {i.SHA256, "SHA-256 PCR bank"}, {i.NVCounter, "NV counters"},
		{i.EncryptCFB, "EncryptDecrypt2 with AES-128-CFB"}, {i.InputBuffer >= 128, "input buffer of 128 bytes"},
	} {
		if !need.have {
			list = append(list, need.name)
		}
	}
	return list
}

// Info asks the TPM for its properties and tries what the product needs.
func (t *TPM) Info() (Info, error) {
	fixed, err := t.properties(tpm2.TPMPTFamilyIndicator)
	if err != nil {
		return Info{}, err
	}
	variable, err := t.properties(tpm2.TPMPTPermanent)
	if err != nil {
		return Info{}, err
	}
	i := Info{
		Maker: text(fixed[tpm2.TPMPTManufacturer]),
		Model: text(fixed[tpm2.TPMPTVendorString1], fixed[tpm2.TPMPTVendorString2], fixed[tpm2.TPMPTVendorString3], fixed[tpm2.TPMPTVendorString4]),
		Firmware: fmt.Sprintf("%d.%d.%d.%d", fixed[tpm2.TPMPTFirmwareVersion1]>>16, fixed[tpm2.TPMPTFirmwareVersion1]&0xFFFF,
			fixed[tpm2.TPMPTFirmwareVersion2]>>16, fixed[tpm2.TPMPTFirmwareVersion2]&0xFFFF),
		Spec:         fmt.Sprintf("%s rev %d.%02d", text(fixed[tpm2.TPMPTFamilyIndicator]), fixed[tpm2.TPMPTRevision]/100, fixed[tpm2.TPMPTRevision]%100),
		InputBuffer:  int(fixed[tpm2.TPMPTInputBuffer]),
		NVPiece:      int(fixed[tpm2.TPMPTNVBufferMax]),
		TransientMin: int(fixed[tpm2.TPMPTHRTransientMin]),
		NVCounters:   int(variable[tpm2.TPMPTNVCounters]),
		Persistent:   int(variable[tpm2.TPMPTHRPersistentAvail]),
		LockoutCount: int(variable[tpm2.TPMPTLockoutCounter]),
	}
	permanent := variable[tpm2.TPMPTPermanent] // TPMA_PERMANENT (Part 2, 8.6)
	i.OwnerAuth, i.EndorsAuth = permanent&1 != 0, permanent&2 != 0
	i.ClearDisabled, i.InLockout = permanent&(1<<8) != 0, permanent&(1<<9) != 0
	if i.Commands, err = t.commandCodes(); err != nil {
		return Info{}, err
	}
	return i, t.try(&i)
}

// try fills in what the TPM must show, not only list.
func (t *TPM) try(i *Info) error {
	var err error
	ecc := tpm2.TPMTPublicParms{Type: tpm2.TPMAlgECC, Parameters: tpm2.ECCSRKTemplate.Parameters}
	if i.P256, err = t.supports(ecc); err != nil {
		return err
	}
	cfb, err := t.supports(tpm2.TPMTPublicParms{Type: tpm2.TPMAlgSymCipher, Parameters: AES128CFB()})
	if err != nil {
		return err
	}
	i.EncryptCFB = cfb && slices.Contains(i.Commands, tpm2.TPMCCEncryptDecrypt2)
	i.NVCounter = slices.Contains(i.Commands, tpm2.TPMCCNVIncrement)
	i.SHA256, err = t.bankSHA256()
	return err
}

// AES128CFB are the parameters of a key object that EncryptDecrypt2 can use in
// the one mode that real TPMs have.
func AES128CFB() tpm2.TPMUPublicParms {
	return tpm2.NewTPMUPublicParms(tpm2.TPMAlgSymCipher, &tpm2.TPMSSymCipherParms{Sym: tpm2.TPMTSymDefObject{
		Algorithm: tpm2.TPMAlgAES,
		KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
		Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB)}})
}

func (t *TPM) supports(p tpm2.TPMTPublicParms) (bool, error) {
	_, err := tpm2.TestParms{Parameters: p}.Execute(t)
	var rc tpm2.TPMRC
	if errors.As(err, &rc) {
		return false, nil // the TPM's answer, not a broken wire
	}
	return err == nil, err
}

func (t *TPM) properties(first tpm2.TPMPT) (map[tpm2.TPMPT]uint32, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(first), PropertyCount: 127}.Execute(t)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return nil, err
	}
	m := map[tpm2.TPMPT]uint32{}
	for _, p := range list.TPMProperty {
		m[p.Property] = p.Value
	}
	return m, nil
}

func (t *TPM) commandCodes() ([]tpm2.TPMCC, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapCommands, Property: uint32(tpm2.TPMCCNVUndefineSpaceSpecial), PropertyCount: 254}.Execute(t)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.Command()
	if err != nil {
		return nil, err
	}
	var codes []tpm2.TPMCC
	for _, a := range list.CommandAttributes {
		if !a.V {
			codes = append(codes, tpm2.TPMCC(a.CommandIndex))
		}
	}
	return codes, nil
}

func (t *TPM) bankSHA256() (bool, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(t)
	if err != nil {
		return false, err
	}
	list, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.PCRSelections, func(s tpm2.TPMSPCRSelection) bool {
		return s.Hash == tpm2.TPMAlgSHA256 && slices.ContainsFunc(s.PCRSelect, func(b byte) bool { return b != 0 })
	}), nil
}

// text is the ASCII of property values, without padding.
func text(words ...uint32) string {
	var b []byte
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))), " ")
}
