package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// Register is the PCR that is ours where the platform leaves it free.
const Register = 14

// ErrNotOurs says that a PCR cannot be the TRE's register.
var ErrNotOurs = errors.New("cannot be the TRE's own: choose one of 10 to 15")

// CheckRegister says whether a PCR can be the TRE's own: one that keeps its value
// until the next boot, and that the policy does not have for something else. 0 to 7
// are the firmware's, 8 and 9 the boot loader's; 16 and 23 anybody can reset, 17 to 22
// belong to a launch in the middle of a run (PC Client Platform TPM Profile, PCR
// attributes). Whether it is free is another question. The error wraps ErrNotOurs.
func CheckRegister(pcr uint) error {
	why := ""
	switch {
	case pcr <= 9:
		why = "firmware and boot loader measure into it"
	case pcr >= 16 && pcr <= 23:
		why = "it can be reset without a boot"
	case pcr > 23:
		why = "no TPM has it"
	default:
		return nil
	}
	return fmt.Errorf("PCR %d: %s: %w", pcr, why, ErrNotOurs)
}

// PolicyPCRs are the PCRs that say which firmware, boot loader, kernel and TRE
// software runs. 1, 3 and 5 hold configuration and change without harm.
func PolicyPCRs() []int { return []int{0, 2, 4, 7, 8, 9, Register} }

// TREVersion is what the TRE measures of itself into its register.
const TREVersion = "mcim TRE 1"

// tagTRE marks the events of the TRE's own register: "MCIM".
const tagTRE = 0x4D43494D

// CannedBoot is the boot of an emulated machine up to its TRE software.
func CannedBoot() Log {
	var l Log
	l.Add(0, EVSCRTMVersion, text16("mcim firmware 1.0"))
	l.AddMeasured(0, EVFirmwareBlob2, []byte("\x04main\x00\x00\xE0\xFF\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00"), []byte("main firmware volume"))
	l.Add(7, EVVariableDriver, variable("SecureBoot", []byte{1}))
	for _, name := range []string{"PK", "KEK", "db", "dbx"} {
		l.Add(7, EVVariableDriver, variable(name, []byte(name+" of the maker")))
	}
	l.Add(1, EVVariableBoot2, variable("BootOrder", []byte{0, 0}))
	l.AddMeasured(1, EVHandoffTables, []byte("SMBIOS"), []byte("tables of the maker"))
	l.AddMeasured(2, EVBootDriver, imageLoad("modem.rom"), []byte("image of the option ROM"))
	l.Add(3, EVEventTag, tagged(1, []byte("settings of the option ROM")))
	l.Add(4, EVEFIAction, []byte("Calling EFI Application from Boot Option"))
	for pcr := range 8 {
		l.Add(pcr, EVSeparator, []byte{0, 0, 0, 0})
	}
	l.Add(5, EVEFIAction, []byte("Booting from the first partition"))
	l.Add(7, EVVariableAuthority, variable("db", []byte("signer of the boot loader")))
	l.AddMeasured(4, EVBootApplication, imageLoad("\\EFI\\BOOT\\BOOTX64.EFI"), []byte("image of the boot loader"))
	l.AddMeasured(8, EVIPL, []byte("kernel_cmdline: /vmlinuz root=/dev/sda1 ro\x00"), []byte("/vmlinuz root=/dev/sda1 ro"))
	l.AddMeasured(9, EVIPL, []byte("/vmlinuz\x00"), []byte("image of the kernel"))
	l.AddMeasured(9, EVIPL, []byte("/initrd.img\x00"), []byte("image of the initrd"))
	l.Add(5, EVEFIAction, []byte("Exit Boot Services Invocation"))
	l.AddTRE(Register, TREVersion)
	return l
}

// AddTRE appends what the TRE software measures of itself at its start.
func (l *Log) AddTRE(register int, version string) {
	l.Add(register, EVEventTag, tagged(tagTRE, []byte(version)))
}

// tagged is a TCG_PCClientTaggedEvent (Firmware Profile, 10.4.2.1).
func tagged(id uint32, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// variable is a UEFI_VARIABLE_DATA (Firmware Profile, 10.2.6).
func variable(name string, value []byte) []byte {
	b := []byte{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c} // EFI_GLOBAL_VARIABLE
	units := utf16.Encode([]rune(name))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(units)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(value)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, value...)
}

// imageLoad is a UEFI_IMAGE_LOAD_EVENT with a device path of one file node and
// the end node (Firmware Profile, 10.2.3).
func imageLoad(path string) []byte {
	file := text16(path)
	node := append([]byte{4, 4, byte(4 + len(file)), 0}, file...)
	node = append(node, 0x7F, 0xFF, 4, 0)
	b := make([]byte, 24) // location, length and link time, which differ from boot to boot
	b = binary.LittleEndian.AppendUint64(b, uint64(len(node)))
	return append(b, node...)
}

// text16 is a NUL-terminated UTF-16 string, as firmware writes its version.
func text16(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
