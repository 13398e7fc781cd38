package cat

import (
	"encoding/hex"
	"fmt"
	"slices"
)

// Profile is a terminal profile (TS 102 223, 5.2; TS 31.111, 5.2): bits for what the
// terminal can do.
type Profile []byte

// facilities are the names of the bits, those of a byte from bit 1 on. "" is one that is
// not used, or belongs to a number.
var facilities = [][8]string{
	{
		"profile download", "SMS-PP download", "cell broadcast download", "menu selection",
		"SMS-PP download answered by 9300", "timer expiration", "call control takes USSD strings", "call control redials",
	},
	{
		"command result", "call control", "call control takes cell identity", "MO short message control",
		"call control alpha identifier", "UCS2 entry", "UCS2 display", "display of the extension text",
	},
	{"DISPLAY TEXT", "GET INKEY", "GET INPUT", "MORE TIME", "PLAY TONE", "POLL INTERVAL", "POLLING OFF", "REFRESH"},
	{
		"SELECT ITEM", "SEND SHORT MESSAGE", "SEND SS", "SEND USSD",
		"SET UP CALL", "SET UP MENU", "PROVIDE LOCAL INFORMATION (location, IMEI)", "PROVIDE LOCAL INFORMATION (network measurements)",
	},
	{
		"SET UP EVENT LIST", "event MT call", "event call connected", "event call disconnected",
		"event location status", "event user activity", "event idle screen available", "event card reader status",
	},
	{
		"event language selection", "event browser termination", "event data available", "event channel status",
		"event access technology change", "event display parameters changed", "event local connection", "event network search mode change",
	},
	{"POWER ON CARD", "POWER OFF CARD", "PERFORM CARD APDU", "GET READER STATUS (status)", "GET READER STATUS (identifier)", "", "", ""},
	{
		"TIMER MANAGEMENT (start, stop)", "TIMER MANAGEMENT (get current value)", "PROVIDE LOCAL INFORMATION (date, time and time zone)", "GET INKEY (yes or no)",
		"SET UP IDLE MODE TEXT", "RUN AT COMMAND", "SET UP CALL with two alpha identifiers", "call control with two alpha identifiers",
	},
	{
		"DISPLAY TEXT in sustained mode", "SEND DTMF", "PROVIDE LOCAL INFORMATION (BCCH channels)", "PROVIDE LOCAL INFORMATION (language)",
		"PROVIDE LOCAL INFORMATION (timing advance)", "LANGUAGE NOTIFICATION", "LAUNCH BROWSER", "PROVIDE LOCAL INFORMATION (access technology)",
	},
	{"soft keys for SELECT ITEM", "soft keys for SET UP MENU", "", "", "", "", "", ""},
	{}, // byte 11
	{
		"OPEN CHANNEL", "CLOSE CHANNEL", "RECEIVE DATA", "SEND DATA",
		"GET CHANNEL STATUS", "SERVICE SEARCH", "GET SERVICE INFORMATION", "DECLARE SERVICE",
	},
	{"bearer CSD", "bearer GPRS", "bearer Bluetooth", "bearer IrDA", "bearer RS232", "", "", ""},
	{"", "", "", "", "", "no display", "no keypad", "screen sizing"},
	{"", "", "", "", "", "", "", "variable size fonts"},
	{"display can be resized", "text wrapping", "text scrolling", "text attributes", "", "", "", ""},
	{
		"TCP client, remote", "UDP client, remote", "TCP server", "TCP client, local",
		"UDP client, local", "direct channel", "bearer E-UTRAN", "bearer HSDPA",
	},
	{
		"DISPLAY TEXT with a time", "GET INKEY with help", "bearer USB", "GET INKEY with a time",
		"PROVIDE LOCAL INFORMATION (ESN)", "call control on GPRS", "PROVIDE LOCAL INFORMATION (IMEISV)", "PROVIDE LOCAL INFORMATION (network search mode)",
	},
	{}, // byte 19
	{}, // byte 20
	{"WML browser", "XHTML browser", "HTML browser", "CHTML browser", "", "", "", ""},
	{
		"UTRAN PS with extended parameters", "PROVIDE LOCAL INFORMATION (battery)", "PLAY TONE (melodies)", "multimedia calls",
		"toolkit-initiated GBA", "RETRIEVE MULTIMEDIA MESSAGE", "SUBMIT MULTIMEDIA MESSAGE", "DISPLAY MULTIMEDIA MESSAGE",
	},
	{
		"SET FRAMES", "GET FRAMES STATUS", "MMS notification download", "REFRESH with alpha identifier",
		"geographical location reporting", "PROVIDE LOCAL INFORMATION (MEID)", "PROVIDE LOCAL INFORMATION (UTRAN measurements)", "USSD download",
	},
	{}, // byte 24
	{
		"event browsing status", "event MMS transfer status", "event frames information change", "event WLAN access status",
		"event network rejection", "event HCI connectivity", "event network rejection of E-UTRAN", "access technologies, several",
	},
	{"event CSG cell selection", "event contactless state request", "", "", "", "", "", ""},
	{}, // byte 27
	{"text alignment left", "text alignment centre", "text alignment right", "font size normal", "font size large", "font size small", "", ""},
	{
		"style normal", "style bold", "style italic", "style underlined",
		"style strikethrough", "text foreground colour", "text background colour", "",
	},
	{
		"bearer I-WLAN", "PROVIDE LOCAL INFORMATION (WSID)", "terminal applications", "REFRESH (steering of roaming)",
		"ACTIVATE", "GEOGRAPHICAL LOCATION REQUEST", "PROVIDE LOCAL INFORMATION (broadcast network information)", "REFRESH (steering of roaming for I-WLAN)",
	},
	{
		"CONTACTLESS STATE CHANGED", "CSG cell discovery", "OPEN CHANNEL with confirmation parameters", "communication control for IMS",
		"CAT over the modem interface", "event incoming IMS data", "event IMS registration", "containers",
	},
	{
		"bearer IMS", "PROVIDE LOCAL INFORMATION (H(e)NB IP address)", "PROVIDE LOCAL INFORMATION (H(e)NB surrounding macrocells)", "OPEN CHANNEL with launch parameters",
		"OPEN CHANNEL of a direct channel in server mode", "containers with security", "CAT service list", "REFRESH with enforcement policy",
	},
	{
		"OPEN CHANNEL with DNS server address", "CLOSE CHANNEL with reuse of the access name", "event poll interval negotiation", "",
		"", "", "", "",
	},
}

// Bits that are a number: of channels (TS 102 223, 5.2, byte 13).
const (
	channelsByte  = 12
	channelsShift = 5
	maxChannels   = 7
)

// NewProfile is a profile with those facilities and that many channels, 0 to 7;
// ErrValue for a name that is none.
func NewProfile(channels int, names ...string) (Profile, error) {
	p := make(Profile, len(facilities))
	if channels < 0 || channels > maxChannels {
		return nil, fmt.Errorf("%w: %d channels, want 0 to %d", ErrValue, channels, maxChannels)
	}
	p[channelsByte] = byte(channels) << channelsShift
	for _, name := range names {
		at, bit, ok := facility(name)
		if !ok {
			return nil, fmt.Errorf("%w: %q is no facility of a terminal profile", ErrValue, name)
		}
		p[at] |= 1 << bit
	}
	last := len(p)
	for last > 1 && p[last-1] == 0 {
		last--
	}
	return p[:last], nil
}

func facility(name string) (at, bit int, ok bool) {
	for at, bits := range facilities {
		if bit := slices.Index(bits[:], name); bit >= 0 && name != "" {
			return at, bit, true
		}
	}
	return 0, 0, false
}

// Has reports whether the facility of that name is there; false for a name that is none.
func (p Profile) Has(name string) bool {
	at, bit, ok := facility(name)
	return ok && at < len(p) && p[at]&(1<<bit) != 0
}

// Channels is the number of channels, 0 to 7.
func (p Profile) Channels() int {
	if len(p) <= channelsByte {
		return 0
	}
	return int(p[channelsByte] >> channelsShift)
}

// Words are the facilities that are there, and the other bits that are set.
func (p Profile) Words() []string {
	var list []string
	rest := slices.Clone(p)
	for at, bits := range facilities[:min(len(p), len(facilities))] {
		for bit, name := range bits {
			if name != "" && p[at]&(1<<bit) != 0 {
				list = append(list, name)
				rest[at] &^= 1 << bit
			}
		}
	}
	if n := p.Channels(); n > 0 {
		list = append(list, fmt.Sprintf("%d channels", n))
		rest[channelsByte] &^= maxChannels << channelsShift
	}
	for at, b := range rest {
		if b != 0 {
			list = append(list, fmt.Sprintf("byte %d: %s", at+1, hex.EncodeToString([]byte{b})))
		}
	}
	return list
}
