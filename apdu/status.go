package apdu

import (
	"errors"
	"fmt"
)

// StatusWord is SW1 SW2 of a response (TS 102 221, 10.2). One that is no
// success is an error with a meaning: errors.Is finds it by its exact value,
// and by the families below where it belongs to one.
type StatusWord uint16

// Status words of TS 102 221, 10.2.1, and TS 31.102, 7.3.1.
const (
	SWOK                      StatusWord = 0x9000
	SWUnsuccessfulSearch      StatusWord = 0x6282
	SWFileDeactivated         StatusWord = 0x6283
	SWFileTerminated          StatusWord = 0x6285
	SWMemoryProblem           StatusWord = 0x6581
	SWWrongLength             StatusWord = 0x6700
	SWChannelNotSupported     StatusWord = 0x6881
	SWSecureMessaging         StatusWord = 0x6882
	SWWrongStructure          StatusWord = 0x6981
	SWSecurityStatus          StatusWord = 0x6982
	SWBlocked                 StatusWord = 0x6983
	SWReferenceInvalidated    StatusWord = 0x6984
	SWConditionsNotSatisfied  StatusWord = 0x6985
	SWNoFileSelected          StatusWord = 0x6986
	SWSecureChannel           StatusWord = 0x6989
	SWWrongData               StatusWord = 0x6A80
	SWFunctionNotSupported    StatusWord = 0x6A81
	SWFileNotFound            StatusWord = 0x6A82
	SWRecordNotFound          StatusWord = 0x6A83
	SWNotEnoughMemory         StatusWord = 0x6A84
	SWIncorrectP1P2           StatusWord = 0x6A86
	SWLcInconsistent          StatusWord = 0x6A87
	SWFileExists              StatusWord = 0x6A89
	SWNameExists              StatusWord = 0x6A8A
	SWReferencedDataNotFound  StatusWord = 0x6A88
	SWWrongP1P2               StatusWord = 0x6B00
	SWInstructionNotSupported StatusWord = 0x6D00
	SWClassNotSupported       StatusWord = 0x6E00
	SWTechnicalProblem        StatusWord = 0x6F00
	SWToolkitBusy             StatusWord = 0x9300
	SWIncreaseMaximum         StatusWord = 0x9850
	SWAuthenticationMAC       StatusWord = 0x9862
	SWSecurityContext         StatusWord = 0x9864
	SWKeyFreshness            StatusWord = 0x9865
)

// Families of status words that a caller acts on alike; errors.Is(sw, family)
// tells whether sw belongs to one.
var (
	// ErrNotFound: the file, record, application or key is not there.
	ErrNotFound = errors.New("not found on the card")
	// ErrAccess: a PIN or key has to be verified first.
	ErrAccess = errors.New("security condition not satisfied")
	// ErrBlocked: the PIN or key is blocked.
	ErrBlocked = errors.New("PIN or key blocked")
	// ErrUnsupported: the card does not know the command, class or mode.
	ErrUnsupported = errors.New("not supported by the card")
)

// OK reports success: 9000, or 91xx, which is success with a proactive command
// pending (TS 102 221, 7.4.2.1).
func (sw StatusWord) OK() bool { return sw == SWOK || sw.SW1() == 0x91 }

// SW1 is the first byte of the status word.
func (sw StatusWord) SW1() byte { return byte(sw >> 8) }

// SW2 is the second byte of the status word.
func (sw StatusWord) SW2() byte { return byte(sw) }

// Retries gives the tries that are left where the status word tells them:
// 63Cx after a VERIFY (TS 102 221, 10.2.1.5), and 0 for 6983.
func (sw StatusWord) Retries() (tries int, ok bool) {
	switch {
	case sw&0xFFF0 == 0x63C0:
		return int(sw & 0x0F), true
	case sw == SWBlocked:
		return 0, true
	default:
		return 0, false
	}
}

// Err is nil for success and the status word itself otherwise.
func (sw StatusWord) Err() error {
	if sw.OK() {
		return nil
	}
	return sw
}

// swGSMNotFound is that of class A0 (TS 51.011, 9.4.4).
const swGSMNotFound StatusWord = 0x9404

// String is the status word as four hexadecimal digits.
func (sw StatusWord) String() string { return fmt.Sprintf("%04X", uint16(sw)) }

// Error is the status word and its meaning.
func (sw StatusWord) Error() string { return sw.String() + ": " + sw.Meaning() }

// Is makes errors.Is find the families.
func (sw StatusWord) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return sw == SWFileNotFound || sw == SWRecordNotFound || sw == SWReferencedDataNotFound || sw == swGSMNotFound
	case ErrAccess:
		return sw == SWSecurityStatus
	case ErrBlocked:
		return sw == SWBlocked
	case ErrUnsupported:
		return sw == SWInstructionNotSupported || sw == SWClassNotSupported ||
			sw == SWFunctionNotSupported || sw == SWChannelNotSupported
	default:
		return false
	}
}

var meanings = map[StatusWord]string{
	SWOK:                      "success",
	0x6200:                    "warning without more information, memory unchanged",
	0x6281:                    "part of the returned data may be corrupted",
	SWUnsuccessfulSearch:      "end of file or record reached before Le bytes, or nothing found by a search",
	SWFileDeactivated:         "the selected file is deactivated",
	SWFileTerminated:          "the selected file is in termination state",
	0x62F1:                    "more data available",
	0x62F2:                    "more data available, proactive command pending",
	0x62F3:                    "response data available",
	0x63F1:                    "more data expected",
	0x63F2:                    "more data expected, proactive command pending",
	0x6400:                    "execution error without more information, memory unchanged",
	0x6500:                    "execution error, memory changed",
	SWMemoryProblem:           "memory problem",
	SWWrongLength:             "wrong length",
	0x6800:                    "function of the class byte not supported",
	SWChannelNotSupported:     "logical channel not supported or not open",
	SWSecureMessaging:         "secure messaging not supported",
	0x6900:                    "command not allowed",
	SWWrongStructure:          "command does not fit the structure of the file",
	SWSecurityStatus:          "security status not satisfied: verify the PIN or key that the access rule asks for",
	SWBlocked:                 "authentication method blocked: no tries left",
	SWReferenceInvalidated:    "the file is deactivated, or the PIN not in the state that the command is for",
	SWConditionsNotSatisfied:  "conditions of use not satisfied",
	SWNoFileSelected:          "no elementary file selected",
	SWSecureChannel:           "secure channel needed",
	SWWrongData:               "incorrect parameters in the data field",
	SWFunctionNotSupported:    "function not supported",
	SWFileNotFound:            "file not found",
	SWRecordNotFound:          "record not found",
	SWNotEnoughMemory:         "not enough memory space",
	SWIncorrectP1P2:           "incorrect P1 or P2",
	SWLcInconsistent:          "Lc inconsistent with P1 P2",
	SWFileExists:              "there is a file with that identifier already",
	SWNameExists:              "there is an application with that AID already",
	SWReferencedDataNotFound:  "referenced data not found",
	SWWrongP1P2:               "offset or reference outside the file",
	SWInstructionNotSupported: "instruction not supported",
	SWClassNotSupported:       "class not supported",
	SWTechnicalProblem:        "technical problem, no precise diagnosis",
	SWToolkitBusy:             "toolkit busy",
	SWIncreaseMaximum:         "INCREASE cannot be performed, maximum reached",
	SWAuthenticationMAC:       "authentication error, incorrect MAC: the network is not the one that shares K with this card",
	SWSecurityContext:         "authentication error, security context not supported",
	SWKeyFreshness:            "key freshness failure",
	0x9866:                    "authentication error, no memory space available",
	0x9867:                    "authentication error, no memory space available in EF.MUK",
}

// Meaning says in words what the card says with the status word.
func (sw StatusWord) Meaning() string {
	if m, ok := meanings[sw]; ok {
		return m
	}
	switch n, ok := sw.Retries(); {
	case ok && n == 1:
		return "verification failed, 1 try left"
	case ok:
		return fmt.Sprintf("verification failed, %d tries left", n)
	}
	switch sw.SW1() {
	case 0x61:
		return fmt.Sprintf("%d bytes of response wait for GET RESPONSE", shortNe(sw.SW2()))
	case 0x6C:
		return fmt.Sprintf("wrong Le, right one is %d", shortNe(sw.SW2()))
	case 0x91:
		return fmt.Sprintf("success, proactive command of %d bytes pending", shortNe(sw.SW2()))
	case 0x92:
		return "success after retries inside the card, or a memory problem in class A0"
	case 0x9F:
		return fmt.Sprintf("success, %d bytes of response wait for GET RESPONSE (class A0)", shortNe(sw.SW2()))
	case 0x62, 0x63:
		return "warning"
	case 0x64, 0x65:
		return "execution error"
	case 0x66, 0x67, 0x68, 0x69, 0x6A, 0x6B, 0x6D, 0x6E, 0x6F, 0x94, 0x98:
		return "refused by the card"
	default:
		return "unknown status word"
	}
}
