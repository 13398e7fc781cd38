package measure

import "fmt"

// EventType says how digest and data of an event hang together (PC Client
// Platform Firmware Profile 1.06, 10.4.1).
type EventType uint32

// The event types that are known here.
const (
	EVPostCode            EventType = 0x00000001
	EVNoAction            EventType = 0x00000003
	EVSeparator           EventType = 0x00000004
	EVAction              EventType = 0x00000005
	EVEventTag            EventType = 0x00000006
	EVSCRTMContents       EventType = 0x00000007
	EVSCRTMVersion        EventType = 0x00000008
	EVCPUMicrocode        EventType = 0x00000009
	EVPlatformConfigFlags EventType = 0x0000000A
	EVTableOfDevices      EventType = 0x0000000B
	EVCompactHash         EventType = 0x0000000C
	EVIPL                 EventType = 0x0000000D
	EVNonhostCode         EventType = 0x0000000F
	EVNonhostConfig       EventType = 0x00000010
	EVNonhostInfo         EventType = 0x00000011
	EVOmitBootDevice      EventType = 0x00000012
	EVPostCode2           EventType = 0x00000013
	EVVariableDriver      EventType = 0x80000001
	EVVariableBoot        EventType = 0x80000002
	EVBootApplication     EventType = 0x80000003
	EVBootDriver          EventType = 0x80000004
	EVRuntimeDriver       EventType = 0x80000005
	EVGPT                 EventType = 0x80000006
	EVEFIAction           EventType = 0x80000007
	EVFirmwareBlob        EventType = 0x80000008
	EVHandoffTables       EventType = 0x80000009
	EVFirmwareBlob2       EventType = 0x8000000A
	EVHandoffTables2      EventType = 0x8000000B
	EVVariableBoot2       EventType = 0x8000000C
	EVGPT2                EventType = 0x8000000D
	EVHCRTM               EventType = 0x80000010
	EVVariableAuthority   EventType = 0x800000E0
)

// kind tells what the digest of an event is.
type kind int

const (
	unknown  kind = iota
	ofData        // the hash of the data
	ofOther       // the hash of something that the data only names
	noDigest      // the event is not extended
)

type typeInfo struct {
	name string
	kind kind
}

func (t EventType) info() typeInfo {
	return types[t]
}

var types = map[EventType]typeInfo{
	EVPostCode:            {"EV_POST_CODE", ofOther},
	EVNoAction:            {"EV_NO_ACTION", noDigest},
	EVSeparator:           {"EV_SEPARATOR", ofData},
	EVAction:              {"EV_ACTION", ofData},
	EVEventTag:            {"EV_EVENT_TAG", ofData},
	EVSCRTMContents:       {"EV_S_CRTM_CONTENTS", ofOther},
	EVSCRTMVersion:        {"EV_S_CRTM_VERSION", ofData},
	EVCPUMicrocode:        {"EV_CPU_MICROCODE", ofOther},
	EVPlatformConfigFlags: {"EV_PLATFORM_CONFIG_FLAGS", ofData},
	EVTableOfDevices:      {"EV_TABLE_OF_DEVICES", ofData},
	EVCompactHash:         {"EV_COMPACT_HASH", ofOther},
	EVIPL:                 {"EV_IPL", ofOther},
	EVNonhostCode:         {"EV_NONHOST_CODE", ofOther},
	EVNonhostConfig:       {"EV_NONHOST_CONFIG", ofOther},
	EVNonhostInfo:         {"EV_NONHOST_INFO", ofOther},
	EVOmitBootDevice:      {"EV_OMIT_BOOT_DEVICE_EVENTS", ofData},
	EVPostCode2:           {"EV_POST_CODE2", ofOther},
	EVVariableDriver:      {"EV_EFI_VARIABLE_DRIVER_CONFIG", ofData},
	EVVariableBoot:        {"EV_EFI_VARIABLE_BOOT", ofOther}, // some firmware hashes the value alone
	EVBootApplication:     {"EV_EFI_BOOT_SERVICES_APPLICATION", ofOther},
	EVBootDriver:          {"EV_EFI_BOOT_SERVICES_DRIVER", ofOther},
	EVRuntimeDriver:       {"EV_EFI_RUNTIME_SERVICES_DRIVER", ofOther},
	EVGPT:                 {"EV_EFI_GPT_EVENT", ofData},
	EVEFIAction:           {"EV_EFI_ACTION", ofData},
	EVFirmwareBlob:        {"EV_EFI_PLATFORM_FIRMWARE_BLOB", ofOther},
	EVHandoffTables:       {"EV_EFI_HANDOFF_TABLES", ofOther},
	EVFirmwareBlob2:       {"EV_EFI_PLATFORM_FIRMWARE_BLOB2", ofOther},
	EVHandoffTables2:      {"EV_EFI_HANDOFF_TABLES2", ofOther},
	EVVariableBoot2:       {"EV_EFI_VARIABLE_BOOT2", ofData},
	EVGPT2:                {"EV_EFI_GPT_EVENT2", ofData},
	EVHCRTM:               {"EV_EFI_HCRTM_EVENT", ofOther},
	EVVariableAuthority:   {"EV_EFI_VARIABLE_AUTHORITY", ofData},
}

// String is the name of the type in the specification, or its number.
func (t EventType) String() string {
	if i := t.info(); i.name != "" {
		return i.name
	}
	return fmt.Sprintf("event type %#08x", uint32(t))
}
