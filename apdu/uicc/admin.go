package uicc

// Instruction bytes of the administration of files (TS 102 222, 6.2; ACTIVATE and
// DEACTIVATE FILE TS 102 221, 11.1.14 and 11.1.15).
const (
	INSDeactivateFile byte = 0x04
	INSActivateFile   byte = 0x44
	INSResizeFile     byte = 0xD4
	INSCreateFile     byte = 0xE0
	INSDeleteFile     byte = 0xE4
	INSTerminateDF    byte = 0xE6
	INSTerminateEF    byte = 0xE8
	INSTerminateCard  byte = 0xFE
)
