package trace

import (
	"slices"

	"mcim/apdu/ef"
	"mcim/card/model"
)

// KeyFiles are the identifiers of all files that are known to hold keys, for
// Options.Sensitive: those of the specifications and of the card models.
func KeyFiles() []uint16 {
	var list []uint16
	for _, f := range ef.Files() {
		if f.Secret {
			list = append(list, f.FID)
		}
	}
	if models, err := model.All(); err == nil { // a test holds the embedded ones to that
		for _, m := range models {
			if m.SIM() {
				continue
			}
			list = append(list, m.KeyFile.FID, m.SQNFile.FID)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
