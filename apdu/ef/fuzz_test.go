package ef

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzFiles decodes bytes as one of the files, which the first byte chooses: what
// it accepts must encode to the same bytes, from the value, from its document and
// from the document of that.
func FuzzFiles(f *testing.F) {
	files := Files()
	index := map[string]int{}
	for i, file := range files {
		index[file.Path()] = i
	}
	for _, v := range readVectors(f) {
		for _, path := range v.Files {
			f.Add(append([]byte{byte(index[path])}, fromHex(f, v.Raw)...))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		file, raw := files[int(in[0])%len(files)], in[1:]
		v, err := file.DecodeClear(raw)
		if err != nil {
			return
		}
		doc, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s %x: %v", file.Path(), raw, err)
		}
		parsed, err := file.Parse(doc)
		if err != nil {
			t.Fatalf("%s %x: %s: %v", file.Path(), raw, doc, err)
		}
		for _, from := range []any{v, parsed} {
			if b, err := file.Encode(from, len(raw)); err != nil || !bytes.Equal(b, raw) {
				t.Fatalf("%s %x became %x by %s: %v", file.Path(), raw, b, doc, err)
			}
		}
		again, err := json.Marshal(parsed)
		if err != nil || !bytes.Equal(again, doc) {
			t.Fatalf("%s %x: %s became %s: %v", file.Path(), raw, doc, again, err)
		}
	})
}
