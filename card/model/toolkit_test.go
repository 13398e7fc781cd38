package model

import (
	"errors"
	"strings"
	"testing"
)

func TestToolkitOfCard(t *testing.T) {
	t.Parallel()
	const head = "name = \"x\"\ntitle = \"x\"\nextends = \"usim\"\n[toolkit]\n"
	c, err := ParseCard("x.toml", []byte(head+`refresh_on_change = true
[[toolkit.command]]
on = "start"
hex = "d009810301020082028182"
[[toolkit.command]]
on = "SMS-PP download"
type = "RECEIVE DATA"
to = "channel 2"
objects = [{ channel_data_length = { bytes = 9 }, optional = true }]
`))
	if err != nil {
		t.Fatal(err)
	}
	if tk := c.Toolkit; !tk.RefreshOnChange || len(tk.Commands) != 2 || tk.Commands[1].Command.Name() != "RECEIVE DATA" || tk.Commands[1].Command.Devices().Destination != 0x22 {
		t.Errorf("%+v", tk)
	}
	if again, err := RestoreCard(c.Texts); err != nil || len(again.Toolkit.Commands) != 2 {
		t.Errorf("restored: %v", err)
	}
	for text, want := range map[string]string{
		`refresh = true`: "refresh",
		"[[toolkit.command]]\non = \"noon\"\ntype = \"REFRESH\"":                                                                                     "noon",
		"[[toolkit.command]]\ntype = \"REFRESH\"":                                                                                                    "command 1: on",
		"[[toolkit.command]]\non = \"start\"\ntype = \"DANCE\"":                                                                                      "DANCE",
		"[[toolkit.command]]\non = \"start\"":                                                                                                        "type",
		"[[toolkit.command]]\non = \"start\"\nhex = \"d0\"":                                                                                          "malformed",
		"[[toolkit.command]]\non = \"start\"\nhex = \"d009810301020082028182\"\nqualifier = 1":                                                       "leave out",
		"[[toolkit.command]]\non = \"start\"\ntype = \"REFRESH\"\nto = \"moon\"":                                                                     "to:",
		"[[toolkit.command]]\non = \"start\"\ntype = \"REFRESH\"\nobjects = [{ aid = { aid = \"zz\" } }]":                                            "aid",
		"[[toolkit.command]]\non = \"start\"\ntype = \"REFRESH\"\nobjects = [{ wings = 2 }]":                                                         "wings",
		"[[toolkit.command]]\non = \"start\"\ntype = \"SEND DATA\"\nobjects = [{ channel_data = { data = \"" + strings.Repeat("00", 300) + "\" } }]": "FETCH gives 256",
	} {
		var bad *FileError
		if _, err := ParseCard("x.toml", []byte(head+text)); !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a *FileError with %q", text, err, want)
		}
	}
}
