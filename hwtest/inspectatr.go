package hwtest

import (
	"encoding/hex"
	"fmt"

	"mcim/card"
)

// describeATR decodes an answer to reset for people.
func describeATR(b []byte) ATRInfo {
	info := ATRInfo{Hex: hex.EncodeToString(b)}
	atr, err := card.ParseATR(b)
	if err != nil {
		info.Why = err.Error()
		return info
	}
	for _, p := range atr.Protocols {
		info.Protocols = append(info.Protocols, fmt.Sprintf("T=%d", p))
	}
	speed := atr.Speed()
	info.Fi, info.Di, info.ClockKHz = speed.Fi, speed.Di, speed.FmaxKHz
	info.BitRate = speed.BitRate(speed.FmaxKHz)
	info.Voltage, info.ClockStop = describeSupply(atr.Supply())
	info.Historical = hex.EncodeToString(atr.Historical)
	if c, ok := atr.Capabilities(); ok {
		info.Capabilities, info.Channels = describeCapabilities(c), c.Channels
	}
	return info
}

func describeSupply(s card.Supply) (voltage []string, clockStop string) {
	for _, v := range []struct {
		class byte
		name  string
	}{{card.ClassA, "5 V"}, {card.ClassB, "3 V"}, {card.ClassC, "1.8 V"}} {
		if s.Classes&v.class != 0 {
			voltage = append(voltage, v.name)
		}
	}
	if !s.Known {
		return voltage, ""
	}
	return voltage, [...]string{"not allowed", "in the low state", "in the high state", "in either state"}[s.ClockStop&3]
}

func describeCapabilities(c card.Capabilities) []string {
	var list []string
	for _, have := range []struct {
		it   bool
		name string
	}{
		{c.ByFID, "SELECT by file identifier"},
		{c.ByPath, "SELECT by path"},
		{c.ByPartialAID, "SELECT by partial AID"},
		{c.BySFI, "short file identifiers"},
		{c.ExtendedLength, "extended length"},
		{c.CommandChaining, "command chaining"},
	} {
		if have.it {
			list = append(list, have.name)
		}
	}
	return list
}
