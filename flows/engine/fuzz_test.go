package engine

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/dbos-inc/dbos-transact-golang/dbos"

	"mcim/flows/wire"
)

// FuzzEngine feeds the decoders of what the engine's file holds.
func FuzzEngine(f *testing.F) {
	type value struct {
		N uint64 `cbor:"n"`
	}
	for _, err := range []error{nil, wire.Refuse("P6.8", "no")} {
		blob, err := keep(value{7}, err, "P6.6")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(blob)
	}
	text, err := json.Marshal(order{"P8a", "7", []byte{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := kept[value](b); err == nil {
			if again, err := keep(v, nil, ""); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x is another form of %x, %v", b, again, err)
			}
		}
		_, _ = orderOf(dbos.WorkflowStatus{Input: string(b)})
	})
}
