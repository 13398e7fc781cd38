package card

import (
	"fmt"

	"mcim/apdu"
	"mcim/apdu/uicc"
)

// CommandError says that the card refused a command. errors.Is and errors.As
// find the status word and its families behind it.
type CommandError struct {
	Command string // name in the standard, as in "READ BINARY"
	File    string // where a file is meant, otherwise empty
	SW      apdu.StatusWord
}

// Error gives command, file and meaning.
func (e *CommandError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("%s: %v", e.Command, e.SW)
	}
	return fmt.Sprintf("%s of %s: %v", e.Command, e.File, e.SW)
}

// Unwrap gives the status word.
func (e *CommandError) Unwrap() error { return e.SW }

// CommandName is the name of a command by its instruction byte (TS 102 221,
// 10.1.2); one that has none here is "command" and the byte.
func CommandName(c apdu.Command) string {
	switch c.INS {
	case uicc.INSSelect:
		return "SELECT"
	case uicc.INSStatus:
		return "STATUS"
	case uicc.INSReadBinary:
		return "READ BINARY"
	case uicc.INSUpdateBinary:
		return "UPDATE BINARY"
	case uicc.INSReadRecord:
		return "READ RECORD"
	case uicc.INSUpdateRecord:
		return "UPDATE RECORD"
	case uicc.INSVerify:
		return "VERIFY PIN"
	case uicc.INSChangePIN:
		return "CHANGE PIN"
	case uicc.INSDisablePIN:
		return "DISABLE PIN"
	case uicc.INSEnablePIN:
		return "ENABLE PIN"
	case uicc.INSUnblockPIN:
		return "UNBLOCK PIN"
	case uicc.INSAuthenticate:
		return "AUTHENTICATE"
	case uicc.INSManageChannel:
		return "MANAGE CHANNEL"
	case uicc.INSGetResponse:
		return "GET RESPONSE"
	default:
		return fmt.Sprintf("command %02X", c.INS)
	}
}
