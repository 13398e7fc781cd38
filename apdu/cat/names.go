package cat

// Type is a type of command (TS 102 223, 9.4; TS 31.111, 9.4).
type Type = Named[typeNames]

// Types of command.
const (
	TypeRefresh          Type = 0x01
	TypeMoreTime         Type = 0x02
	TypePollInterval     Type = 0x03
	TypePollingOff       Type = 0x04
	TypeSetUpEventList   Type = 0x05
	TypeSetUpCall        Type = 0x10
	TypeSendSS           Type = 0x11
	TypeSendUSSD         Type = 0x12
	TypeSendShortMessage Type = 0x13
	TypeSendDTMF         Type = 0x14
	TypeLaunchBrowser    Type = 0x15
	TypePlayTone         Type = 0x20
	TypeDisplayText      Type = 0x21
	TypeGetInkey         Type = 0x22
	TypeGetInput         Type = 0x23
	TypeSelectItem       Type = 0x24
	TypeSetUpMenu        Type = 0x25
	TypeProvideLocal     Type = 0x26
	TypeTimerManagement  Type = 0x27
	TypeSetUpIdleText    Type = 0x28
	TypeLanguage         Type = 0x35
	TypeOpenChannel      Type = 0x40
	TypeCloseChannel     Type = 0x41
	TypeReceiveData      Type = 0x42
	TypeSendData         Type = 0x43
	TypeGetChannelStatus Type = 0x44
)

type typeNames struct{}

func (typeNames) names() map[byte]string { return types }

var types = map[byte]string{
	0x01: "REFRESH", 0x02: "MORE TIME", 0x03: "POLL INTERVAL", 0x04: "POLLING OFF", 0x05: "SET UP EVENT LIST",
	0x10: "SET UP CALL", 0x11: "SEND SS", 0x12: "SEND USSD", 0x13: "SEND SHORT MESSAGE", 0x14: "SEND DTMF",
	0x15: "LAUNCH BROWSER", 0x16: "GEOGRAPHICAL LOCATION REQUEST", 0x20: "PLAY TONE", 0x21: "DISPLAY TEXT",
	0x22: "GET INKEY", 0x23: "GET INPUT", 0x24: "SELECT ITEM", 0x25: "SET UP MENU", 0x26: "PROVIDE LOCAL INFORMATION",
	0x27: "TIMER MANAGEMENT", 0x28: "SET UP IDLE MODE TEXT", 0x30: "PERFORM CARD APDU", 0x31: "POWER ON CARD",
	0x32: "POWER OFF CARD", 0x33: "GET READER STATUS", 0x34: "RUN AT COMMAND", 0x35: "LANGUAGE NOTIFICATION",
	0x40: "OPEN CHANNEL", 0x41: "CLOSE CHANNEL", 0x42: "RECEIVE DATA", 0x43: "SEND DATA", 0x44: "GET CHANNEL STATUS",
	0x45: "SERVICE SEARCH", 0x46: "GET SERVICE INFORMATION", 0x47: "DECLARE SERVICE", 0x50: "SET FRAMES",
	0x51: "GET FRAMES STATUS", 0x60: "RETRIEVE MULTIMEDIA MESSAGE", 0x61: "SUBMIT MULTIMEDIA MESSAGE",
	0x62: "DISPLAY MULTIMEDIA MESSAGE", 0x70: "ACTIVATE", 0x71: "CONTACTLESS STATE CHANGED", 0x72: "COMMAND CONTAINER",
	0x73: "ENCAPSULATED SESSION CONTROL",
}

// Refresh is the qualifier of REFRESH (TS 102 223, 8.6; TS 31.111, 8.6).
type Refresh = Named[refreshNames]

// Modes of REFRESH.
const (
	RefreshInitFull         Refresh = 0x00 // NAA initialization and full file change notification
	RefreshFiles            Refresh = 0x01 // file change notification
	RefreshInitFiles        Refresh = 0x02 // NAA initialization and file change notification
	RefreshInit             Refresh = 0x03 // NAA initialization
	RefreshReset            Refresh = 0x04 // UICC reset
	RefreshApplicationReset Refresh = 0x05 // NAA application reset
	RefreshSessionReset     Refresh = 0x06 // NAA session reset
	RefreshSteering         Refresh = 0x07 // steering of roaming
	RefreshSteeringWLAN     Refresh = 0x08 // steering of roaming for I-WLAN
	RefreshProfileState     Refresh = 0x09 // eUICC profile state change
	RefreshApplication      Refresh = 0x0A // application update
)

type refreshNames struct{}

func (refreshNames) names() map[byte]string { return refreshes }

var refreshes = map[byte]string{
	0x00: "initialization and full file change", 0x01: "file change", 0x02: "initialization and file change", 0x03: "initialization",
	0x04: "UICC reset", 0x05: "application reset", 0x06: "session reset", 0x07: "steering of roaming",
	0x08: "steering of roaming for I-WLAN", 0x09: "eUICC profile state change", 0x0A: "application update",
}

// Local is the qualifier of PROVIDE LOCAL INFORMATION (TS 102 223, 8.6; TS 31.111, 8.6).
type Local = Named[localNames]

// Kinds of local information that a terminal without a radio may have.
const (
	LocalLocation Local = 0x00
	LocalIMEI     Local = 0x01
	LocalDateTime Local = 0x03
	LocalLanguage Local = 0x04
	LocalIMEISV   Local = 0x08
	LocalBattery  Local = 0x0A
)

type localNames struct{}

func (localNames) names() map[byte]string { return locals }

var locals = map[byte]string{
	0x00: "location", 0x01: "IMEI", 0x02: "network measurements", 0x03: "date, time and time zone", 0x04: "language",
	0x05: "timing advance", 0x06: "access technology", 0x07: "ESN", 0x08: "IMEISV", 0x09: "network search mode",
	0x0A: "battery", 0x0B: "MEID", 0x0C: "WSID", 0x0D: "broadcast network information", 0x0E: "access technologies",
	0x0F: "location of all access technologies", 0x10: "network measurements of all access technologies",
	0x11: "CSG ID list", 0x12: "H(e)NB IP address", 0x13: "H(e)NB surrounding macrocells",
}

// Timer is the qualifier of TIMER MANAGEMENT (TS 102 223, 8.6).
type Timer = Named[timerNames]

// Actions on a timer.
const (
	TimerStart      Timer = 0x00
	TimerDeactivate Timer = 0x01
	TimerGet        Timer = 0x02
)

type timerNames struct{}

func (timerNames) names() map[byte]string { return timerActions }

var timerActions = map[byte]string{0x00: "start", 0x01: "deactivate", 0x02: "get current value"}

// Device is a device identity (TS 102 223, 8.7).
type Device = Named[deviceNames]

// Devices. Channel n of a bearer is DeviceChannel+n-1.
const (
	DeviceKeypad   Device = 0x01
	DeviceDisplay  Device = 0x02
	DeviceEarpiece Device = 0x03
	DeviceChannel  Device = 0x21
	DeviceUICC     Device = 0x81
	DeviceTerminal Device = 0x82
	DeviceNetwork  Device = 0x83
)

type deviceNames struct{}

func (deviceNames) names() map[byte]string { return devices }

var devices = map[byte]string{
	0x01: "keypad", 0x02: "display", 0x03: "earpiece", 0x10: "reader 0", 0x11: "reader 1", 0x12: "reader 2",
	0x13: "reader 3", 0x14: "reader 4", 0x15: "reader 5", 0x16: "reader 6", 0x17: "reader 7", 0x21: "channel 1",
	0x22: "channel 2", 0x23: "channel 3", 0x24: "channel 4", 0x25: "channel 5", 0x26: "channel 6", 0x27: "channel 7",
	0x81: "UICC", 0x82: "terminal", 0x83: "network",
}

// General is a general result (TS 102 223, 8.12; TS 31.111, 8.12). 00 to 1F: the command
// was performed; 20 to 2F: it may be worth trying again; 30 to 3F: it is not.
type General = Named[generalNames]

// General results.
const (
	ResultOK               General = 0x00
	ResultPartial          General = 0x01 // with partial comprehension
	ResultMissing          General = 0x02 // with missing information
	ResultFilesRead        General = 0x03 // REFRESH performed with additional files read
	ResultModified         General = 0x07
	ResultInactive         General = 0x08 // REFRESH performed, but the NAA was not active
	ResultEndedByUser      General = 0x10
	ResultNoResponse       General = 0x12
	ResultUnable           General = 0x20 // terminal currently unable
	ResultNetworkUnable    General = 0x21
	ResultUserRefused      General = 0x22
	ResultTimerState       General = 0x24 // contradiction with the timer's state
	ResultBeyond           General = 0x30 // beyond the terminal's capabilities
	ResultTypeUnknown      General = 0x31
	ResultDataUnknown      General = 0x32
	ResultNumberUnknown    General = 0x33
	ResultValuesMissing    General = 0x36
	ResultBearerError      General = 0x3A // bearer independent protocol error
	ResultTechnologyUnable General = 0x3B
)

type generalNames struct{}

func (generalNames) names() map[byte]string { return generals }

var generals = map[byte]string{
	0x00: "performed", 0x01: "performed with partial comprehension", 0x02: "performed with missing information",
	0x03: "REFRESH performed with additional files read", 0x04: "performed, but the icon was not displayed",
	0x05: "performed, but modified by call control", 0x06: "performed with limited service", 0x07: "performed with modification",
	0x08: "REFRESH performed, but the application was not active", 0x09: "performed, but the tone was not played",
	0x10: "session ended by the user", 0x11: "backward move by the user", 0x12: "no response from the user",
	0x13: "help wanted by the user", 0x14: "transaction ended by the user", 0x20: "terminal currently unable",
	0x21: "network currently unable", 0x22: "user did not accept", 0x23: "user cleared down the call",
	0x24: "contradiction with the state of the timer", 0x25: "temporary problem of call control",
	0x26: "browser error", 0x27: "temporary problem of MMS", 0x30: "beyond the terminal's capabilities",
	0x31: "type of command not understood", 0x32: "data of command not understood", 0x33: "number of command not known",
	0x34: "SS return error", 0x35: "SMS RP error", 0x36: "required values are missing", 0x37: "USSD return error",
	0x38: "error of multiple cards", 0x39: "permanent problem of call control", 0x3A: "bearer independent protocol error",
	0x3B: "access technology unable", 0x3C: "frames error", 0x3D: "MMS error",
}

// BearerProblem is the additional information of ResultBearerError (TS 102 223, 8.12.11).
type BearerProblem = Named[bearerProblemNames]

// Problems of a bearer.
const (
	BearerNoCause       BearerProblem = 0x00
	BearerNoChannel     BearerProblem = 0x01 // none is free
	BearerClosed        BearerProblem = 0x02
	BearerNoSuchChannel BearerProblem = 0x03
	BearerBuffer        BearerProblem = 0x04 // the size is not available
	BearerSecurity      BearerProblem = 0x05
	BearerTransport     BearerProblem = 0x06 // the transport level is not available
	BearerUnreachable   BearerProblem = 0x07
)

type bearerProblemNames struct{}

func (bearerProblemNames) names() map[byte]string { return bearerProblems }

var bearerProblems = map[byte]string{
	0x00: "no specific cause", 0x01: "no channel available", 0x02: "channel closed", 0x03: "channel identifier not valid",
	0x04: "buffer size not available", 0x05: "security error", 0x06: "transport level not available",
	0x07: "remote device not reachable", 0x08: "service error", 0x09: "service unknown", 0x10: "port not available",
	0x11: "launch parameters missing or wrong", 0x12: "launch of the application failed",
}

// Event is an event of SET UP EVENT LIST (TS 102 223, 8.25; TS 31.111, 8.25).
type Event = Named[eventNames]

// Events that a terminal without radio and user has, and a few that it may be told of.
const (
	EventLocationStatus Event = 0x03
	EventUserActivity   Event = 0x04
	EventIdleScreen     Event = 0x05
	EventLanguage       Event = 0x07
	EventDataAvailable  Event = 0x09
	EventChannelStatus  Event = 0x0A
)

type eventNames struct{}

func (eventNames) names() map[byte]string { return events }

var events = map[byte]string{
	0x00: "MT call", 0x01: "call connected", 0x02: "call disconnected", 0x03: "location status", 0x04: "user activity",
	0x05: "idle screen available", 0x06: "card reader status", 0x07: "language selection", 0x08: "browser termination",
	0x09: "data available", 0x0A: "channel status", 0x0B: "access technology change", 0x0C: "display parameters changed",
	0x0D: "local connection", 0x0E: "network search mode change", 0x0F: "browsing status", 0x10: "frames information change",
	0x11: "WLAN access status", 0x12: "network rejection", 0x13: "HCI connectivity", 0x14: "access technology change (multiple)",
	0x15: "CSG cell selection", 0x16: "contactless state request", 0x17: "IMS registration", 0x18: "incoming IMS data",
	0x19: "profile container", 0x1B: "secured profile container", 0x1C: "poll interval negotiation",
	0x1D: "data connection status change",
}

// Unit is a unit of time (TS 102 223, 8.8).
type Unit = Named[unitNames]

// Units of time.
const (
	Minutes Unit = 0x00
	Seconds Unit = 0x01
	Tenths  Unit = 0x02 // of a second
)

type unitNames struct{}

func (unitNames) names() map[byte]string { return units }

var units = map[byte]string{0x00: "minutes", 0x01: "seconds", 0x02: "tenths of a second"}

// BearerType is a type of bearer (TS 102 223, 8.52; TS 31.111, 8.52).
type BearerType = Named[bearerNames]

// BearerDefault is the one that the terminal chooses.
const BearerDefault BearerType = 0x03

type bearerNames struct{}

func (bearerNames) names() map[byte]string { return bearers }

var bearers = map[byte]string{
	0x01: "CSD", 0x02: "packet", 0x03: "default", 0x04: "local link", 0x05: "Bluetooth", 0x06: "IrDA", 0x07: "RS232",
	0x08: "cdma2000", 0x09: "packet with extended parameters", 0x0A: "WLAN", 0x0B: "E-UTRAN", 0x0C: "NG-RAN", 0x10: "USB",
}

// Transport is a transport protocol of a channel (TS 102 223, 8.59).
type Transport = Named[transportNames]

// Transports.
const (
	UDPRemote Transport = 0x01 // UICC is client, remote connection
	TCPRemote Transport = 0x02
	TCPServer Transport = 0x03
	UDPLocal  Transport = 0x04
	TCPLocal  Transport = 0x05
	Direct    Transport = 0x06
)

type transportNames struct{}

func (transportNames) names() map[byte]string { return transports }

var transports = map[byte]string{
	0x01: "UDP client, remote", 0x02: "TCP client, remote", 0x03: "TCP server", 0x04: "UDP client, local",
	0x05: "TCP client, local", 0x06: "direct",
}

// Service is a location status (TS 102 223, 8.27).
type Service = Named[serviceNames]

type serviceNames struct{}

func (serviceNames) names() map[byte]string {
	return map[byte]string{0x00: "normal", 0x01: "limited", 0x02: "none"}
}

// Battery is a charge of the battery (TS 102 223, 8.76).
type Battery = Named[batteryNames]

type batteryNames struct{}

func (batteryNames) names() map[byte]string {
	return map[byte]string{0x00: "very low", 0x01: "low", 0x02: "average", 0x03: "good", 0x04: "full"}
}

// Technology is an access technology (TS 102 223, 8.61).
type Technology = Named[technologyNames]

type technologyNames struct{}

func (technologyNames) names() map[byte]string {
	return map[byte]string{
		0x00: "GSM", 0x03: "UTRAN", 0x04: "TETRA", 0x05: "TIA/EIA-95-B", 0x06: "cdma2000 1x", 0x07: "cdma2000 HRPD",
		0x08: "E-UTRAN", 0x09: "eHRPD", 0x0A: "NG-RAN",
	}
}

// Tone is a tone (TS 102 223, 8.16).
type Tone = Named[toneNames]

type toneNames struct{}

func (toneNames) names() map[byte]string {
	return map[byte]string{
		0x01: "dial", 0x02: "busy", 0x03: "congestion", 0x04: "radio path acknowledge", 0x05: "radio path not available",
		0x06: "error", 0x07: "call waiting", 0x08: "ringing", 0x10: "beep", 0x11: "positive", 0x12: "negative",
	}
}
