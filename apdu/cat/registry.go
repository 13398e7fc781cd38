package cat

// known are the data objects with named fields: their tags (TS 101 220, table 7.23),
// their names in documents, and how to make an empty one.
var known = []struct {
	tag  uint16
	name string
	make func() Object
}{
	{0x01, "command_details", func() Object { return &CommandDetails{} }},
	{0x02, "device_identities", func() Object { return &DeviceIdentities{} }},
	{0x03, "result", func() Object { return &Result{} }},
	{0x04, "duration", func() Object { return &Duration{} }},
	{0x05, "alpha_identifier", func() Object { return &AlphaIdentifier{} }},
	{0x06, "address", func() Object { return &Address{} }},
	{0x09, "ss_string", func() Object { return &SSString{} }},
	{0x0A, "ussd_string", func() Object { return &USSDString{} }},
	{0x0B, "sms_tpdu", func() Object { return &SMSTPDU{} }},
	{0x0C, "cell_broadcast_page", func() Object { return &CellBroadcast{} }},
	{0x0D, "text_string", func() Object { return &TextString{} }},
	{0x0E, "tone", func() Object { return &ToneID{} }},
	{0x0F, "item", func() Object { return &Item{} }},
	{0x10, "item_identifier", func() Object { return &ItemID{} }},
	{0x11, "response_length", func() Object { return &ResponseLength{} }},
	{0x12, "file_list", func() Object { return &FileList{} }},
	{0x13, "location_information", func() Object { return &Location{} }},
	{0x14, "imei", func() Object { return &IMEI{} }},
	{0x15, "help_request", func() Object { return &HelpRequest{} }},
	{0x17, "default_text", func() Object { return &DefaultText{} }},
	{0x19, "event_list", func() Object { return &EventList{} }},
	{0x1B, "location_status", func() Object { return &LocationStatus{} }},
	{0x1E, "icon_identifier", func() Object { return &Icon{} }},
	{0x24, "timer_identifier", func() Object { return &TimerID{} }},
	{0x25, "timer_value", func() Object { return &TimerValue{} }},
	{0x26, "date_time", func() Object { return &DateTime{} }},
	{0x28, "at_command", func() Object { return &ATCommand{} }},
	{0x2B, "immediate_response", func() Object { return &ImmediateResponse{} }},
	{0x2C, "dtmf_string", func() Object { return &DTMF{} }},
	{0x2D, "language", func() Object { return &Language{} }},
	{0x2F, "aid", func() Object { return &AID{} }},
	{0x31, "url", func() Object { return &URL{} }},
	{0x35, "bearer_description", func() Object { return &Bearer{} }},
	{0x36, "channel_data", func() Object { return &ChannelData{} }},
	{0x37, "channel_data_length", func() Object { return &ChannelDataLength{} }},
	{0x38, "channel_status", func() Object { return &ChannelStatus{} }},
	{0x39, "buffer_size", func() Object { return &BufferSize{} }},
	{0x3A, "refresh_enforcement_policy", func() Object { return &RefreshPolicy{} }},
	{0x3C, "transport_level", func() Object { return &TransportLevel{} }},
	{0x3E, "other_address", func() Object { return &OtherAddress{} }},
	{0x3F, "access_technology", func() Object { return &Technologies{} }},
	{0x47, "network_access_name", func() Object { return &AccessName{} }},
	{0x62, "imeisv", func() Object { return &IMEISV{} }},
	{0x63, "battery_state", func() Object { return &BatteryState{} }},
	{0x65, "network_search_mode", func() Object { return &NetworkSearch{} }},
	{0x72, "plmn_list", func() Object { return &PLMNs{} }},
}

// Tag is 01.
func (*CommandDetails) Tag() uint16 { return 0x01 }

// Tag is 02.
func (*DeviceIdentities) Tag() uint16 { return 0x02 }

// Tag is 03.
func (*Result) Tag() uint16 { return 0x03 }

// Tag is 04.
func (*Duration) Tag() uint16 { return 0x04 }

// Tag is 05.
func (*AlphaIdentifier) Tag() uint16 { return 0x05 }

// Tag is 06.
func (*Address) Tag() uint16 { return 0x06 }

// Tag is 09.
func (*SSString) Tag() uint16 { return 0x09 }

// Tag is 0A.
func (*USSDString) Tag() uint16 { return 0x0A }

// Tag is 0B.
func (*SMSTPDU) Tag() uint16 { return 0x0B }

// Tag is 0C.
func (*CellBroadcast) Tag() uint16 { return 0x0C }

// Tag is 0D.
func (*TextString) Tag() uint16 { return 0x0D }

// Tag is 0E.
func (*ToneID) Tag() uint16 { return 0x0E }

// Tag is 0F.
func (*Item) Tag() uint16 { return 0x0F }

// Tag is 10.
func (*ItemID) Tag() uint16 { return 0x10 }

// Tag is 11.
func (*ResponseLength) Tag() uint16 { return 0x11 }

// Tag is 12.
func (*FileList) Tag() uint16 { return 0x12 }

// Tag is 13.
func (*Location) Tag() uint16 { return 0x13 }

// Tag is 14.
func (*IMEI) Tag() uint16 { return 0x14 }

// Tag is 15.
func (*HelpRequest) Tag() uint16 { return 0x15 }

// Tag is 17.
func (*DefaultText) Tag() uint16 { return 0x17 }

// Tag is 19.
func (*EventList) Tag() uint16 { return 0x19 }

// Tag is 1B.
func (*LocationStatus) Tag() uint16 { return 0x1B }

// Tag is 1E.
func (*Icon) Tag() uint16 { return 0x1E }

// Tag is 24.
func (*TimerID) Tag() uint16 { return 0x24 }

// Tag is 25.
func (*TimerValue) Tag() uint16 { return 0x25 }

// Tag is 26.
func (*DateTime) Tag() uint16 { return 0x26 }

// Tag is 28.
func (*ATCommand) Tag() uint16 { return 0x28 }

// Tag is 2B.
func (*ImmediateResponse) Tag() uint16 { return 0x2B }

// Tag is 2C.
func (*DTMF) Tag() uint16 { return 0x2C }

// Tag is 2D.
func (*Language) Tag() uint16 { return 0x2D }

// Tag is 2F.
func (*AID) Tag() uint16 { return 0x2F }

// Tag is 31.
func (*URL) Tag() uint16 { return 0x31 }

// Tag is 35.
func (*Bearer) Tag() uint16 { return 0x35 }

// Tag is 36.
func (*ChannelData) Tag() uint16 { return 0x36 }

// Tag is 37.
func (*ChannelDataLength) Tag() uint16 { return 0x37 }

// Tag is 38.
func (*ChannelStatus) Tag() uint16 { return 0x38 }

// Tag is 39.
func (*BufferSize) Tag() uint16 { return 0x39 }

// Tag is 3A.
func (*RefreshPolicy) Tag() uint16 { return 0x3A }

// Tag is 3C.
func (*TransportLevel) Tag() uint16 { return 0x3C }

// Tag is 3E.
func (*OtherAddress) Tag() uint16 { return 0x3E }

// Tag is 3F.
func (*Technologies) Tag() uint16 { return 0x3F }

// Tag is 47.
func (*AccessName) Tag() uint16 { return 0x47 }

// Tag is 62.
func (*IMEISV) Tag() uint16 { return 0x62 }

// Tag is 63.
func (*BatteryState) Tag() uint16 { return 0x63 }

// Tag is 65.
func (*NetworkSearch) Tag() uint16 { return 0x65 }

// Tag is 72.
func (*PLMNs) Tag() uint16 { return 0x72 }

// others are the names of data objects that stay bytes here (TS 101 220, table 7.23).
var others = map[uint16]string{
	0x07: "capability configuration",
	0x08: "subaddress",
	0x16: "network measurements",
	0x18: "items' next actions",
	0x1A: "cause",
	0x1C: "transaction identifier",
	0x1D: "BCCH channel list",
	0x1F: "item icon list",
	0x20: "card reader status",
	0x21: "card ATR",
	0x22: "C-APDU",
	0x23: "R-APDU",
	0x27: "call control action",
	0x29: "AT response",
	0x2A: "BC repeat indicator",
	0x2E: "timing advance",
	0x30: "browser identity",
	0x32: "bearer list",
	0x33: "provisioning file",
	0x34: "browser termination cause",
	0x3B: "application specific refresh data",
	0x3D: "card reader identifier",
	0x40: "display parameters",
	0x41: "service record",
	0x42: "device filter",
	0x43: "service search",
	0x44: "attribute information",
	0x45: "service availability",
	0x46: "ESN",
	0x48: "CDMA SMS TPDU",
	0x49: "remote entity address",
	0x4A: "WLAN identifier",
	0x4B: "WLAN access status",
	0x50: "text attribute",
	0x51: "item text attributes",
	0x52: "PDP context activation",
	0x57: "PLMN list",
	0x60: "MAC",
	0x64: "browsing status",
	0x66: "frame layout",
	0x67: "frames information",
	0x68: "frame identifier",
	0x69: "measurement qualifier",
	0x6A: "multimedia message reference",
	0x6B: "multimedia message identifier",
	0x6C: "multimedia transfer status",
	0x6D: "MEID",
	0x6E: "multimedia content identifier",
	0x6F: "multimedia notification",
	0x70: "last envelope",
	0x73: "routing area",
	0x74: "update type",
	0x75: "rejection cause",
	0x76: "geographical location parameters",
	0x77: "GAD shape",
	0x78: "NMEA sentence",
	0x79: "PLMN list",
	0x7D: "tracking area",
}
