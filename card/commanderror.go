package card

import (
	"fmt"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
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

// commandNames are those of TS 102 221, 10.1.2, and TS 102 222, 6.2, by instruction byte.
var commandNames = map[byte]string{
	uicc.INSSelect:              "SELECT",
	uicc.INSStatus:              "STATUS",
	uicc.INSReadBinary:          "READ BINARY",
	uicc.INSUpdateBinary:        "UPDATE BINARY",
	uicc.INSReadRecord:          "READ RECORD",
	uicc.INSUpdateRecord:        "UPDATE RECORD",
	uicc.INSSearchRecord:        "SEARCH RECORD",
	uicc.INSIncrease:            "INCREASE",
	uicc.INSVerify:              "VERIFY PIN",
	uicc.INSChangePIN:           "CHANGE PIN",
	uicc.INSDisablePIN:          "DISABLE PIN",
	uicc.INSEnablePIN:           "ENABLE PIN",
	uicc.INSUnblockPIN:          "UNBLOCK PIN",
	uicc.INSAuthenticate:        "AUTHENTICATE",
	usim.INSAuthenticateTLV:     "AUTHENTICATE",
	usim.INSGetIdentity:         "GET IDENTITY",
	uicc.INSSuspend:             "SUSPEND UICC",
	uicc.INSManageSecureChannel: "MANAGE SECURE CHANNEL",
	uicc.INSTransactData:        "TRANSACT DATA",
	uicc.INSManageChannel:       "MANAGE CHANNEL",
	uicc.INSGetResponse:         "GET RESPONSE",
	uicc.INSDeactivateFile:      "DEACTIVATE FILE",
	uicc.INSActivateFile:        "ACTIVATE FILE",
	uicc.INSResizeFile:          "RESIZE FILE",
	uicc.INSCreateFile:          "CREATE FILE",
	uicc.INSRetrieveData:        "RETRIEVE DATA",
	uicc.INSSetData:             "SET DATA",
	uicc.INSDeleteFile:          "DELETE FILE",
	uicc.INSTerminateDF:         "TERMINATE DF",
	uicc.INSTerminateEF:         "TERMINATE EF",
	uicc.INSTerminateCard:       "TERMINATE CARD USAGE",
	cat.INSTerminalProfile:      "TERMINAL PROFILE",
	cat.INSFetch:                "FETCH",
	cat.INSTerminalResponse:     "TERMINAL RESPONSE",
	cat.INSEnvelope:             "ENVELOPE",
}

// CommandName is the name of a command by its instruction byte (TS 102 221,
// 10.1.2); one that has none here is "command" and the byte.
func CommandName(c apdu.Command) string {
	if c.CLA == classGSM && c.INS == uicc.INSAuthenticate {
		return "RUN GSM ALGORITHM"
	}
	if name, known := commandNames[c.INS]; known {
		return name
	}
	return fmt.Sprintf("command %02X", c.INS)
}
