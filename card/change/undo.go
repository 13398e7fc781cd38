package change

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
)

// undoDocument and undoFile are the undo document.
type undoDocument struct {
	ATR   string     `json:"atr"`
	ICCID string     `json:"iccid"`
	Files []undoFile `json:"files"`
}

type undoFile struct {
	Path   string `json:"path"`
	Record int    `json:"record,omitempty"`
	Offset *int   `json:"offset,omitempty"`
	Raw    string `json:"raw"` // before
	New    string `json:"new"` // after
}

// undo is the document with what the changes of a plan overwrite. Keys are in it in
// the clear.
func (p Plan) undo(atr []byte) ([]byte, error) {
	doc := undoDocument{ATR: hex.EncodeToString(atr), ICCID: p.ICCID, Files: []undoFile{}}
	for _, c := range p.Changes {
		f := undoFile{Path: c.Path, Record: c.Record, Raw: hex.EncodeToString(c.before.Reveal()), New: hex.EncodeToString(c.after.Reveal())}
		if c.Record == 0 {
			f.Offset = &c.Offset
		}
		doc.Files = append(doc.Files, f)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	err := e.Encode(doc)
	return b.Bytes(), err
}
