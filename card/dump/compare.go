package dump

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Comparison is what two documents differ in.
type Comparison struct {
	Equal       bool         `json:"equal"` // no differences
	Differences []Difference `json:"differences"`
	// NotCompared are files with keys whose content is known of neither or one of
	// the two, as in a document on disk.
	NotCompared []string `json:"not_compared"`
}

// Difference is a field of a file that differs. Old and New are JSON values, nil
// where there is none.
type Difference struct {
	Path string `json:"path"` // of the file; empty for the card as a whole
	// Field names what differs: "atr", "fcp.size", "right.read", "imsi" of what is decoded,
	// "record 3.number", "raw". It is "file" where one of the two has not got it.
	Field string `json:"field"`
	Old   any    `json:"old"`
	New   any    `json:"new"`
}

// Compare tells what b has that a has not, and the other way round, in the order
// of their files. Contents are compared by what is decoded, and byte by byte
// where that says nothing. That keys differ is told where both documents come
// from Read; their values are not.
func Compare(a, b Document) Comparison {
	c := Comparison{Differences: []Difference{}, NotCompared: []string{}}
	c.add("", fields{"atr": a.ATR}, fields{"atr": b.ATR})
	theirs := map[string]File{}
	for _, f := range b.Files {
		theirs[f.Path] = f
	}
	for _, f := range a.Files {
		other, found := theirs[f.Path]
		delete(theirs, f.Path)
		if !found {
			c.Differences = append(c.Differences, Difference{f.Path, "file", "there", nil})
			continue
		}
		c.file(f, other)
	}
	for _, f := range b.Files {
		if _, found := theirs[f.Path]; found {
			c.Differences = append(c.Differences, Difference{f.Path, "file", nil, "there"})
		}
	}
	c.Equal = len(c.Differences) == 0
	return c
}

// file compares a file that both have.
func (c *Comparison) file(a, b File) {
	c.add(a.Path, about(a), about(b))
	if d := c.add(a.Path, parameters(a), parameters(b)); d == 0 && a.FCP != nil && b.FCP != nil {
		c.add(a.Path, fields{"fcp.raw": a.FCP.Raw}, fields{"fcp.raw": b.FCP.Raw})
	}
	d := len(c.Differences)
	if c.add(a.Path, decoded(a), decoded(b)) == 0 {
		c.add(a.Path, fields{"raw": a.Raw}, fields{"raw": b.Raw})
	}
	c.add(a.Path, dataObjects(a), dataObjects(b))
	c.records(a, b, c.Differences[d:])
	c.keys(a, b)
}

// dataObjects are those of a file of BER-TLV structure, by tag.
func dataObjects(f File) fields {
	m := fields{}
	for _, o := range f.Objects {
		m[fmt.Sprintf("object %X", uint32(o.Tag))] = fmt.Sprintf("%x", []byte(o.Value))
	}
	return m
}

// records compares records byte by byte, but those that named tells of already.
func (c *Comparison) records(a, b File, named []Difference) {
	for i := range max(len(a.Records), len(b.Records)) {
		name := recordName(i)
		if !slices.ContainsFunc(named, func(d Difference) bool { return strings.HasPrefix(d.Field, name+".") }) {
			c.add(a.Path, fields{name: at(a.Records, i)}, fields{name: at(b.Records, i)})
		}
	}
}

// keys tells whether contents that are not shown differ, where both are known.
func (c *Comparison) keys(a, b File) {
	hidden := func(f File) bool { return f.Raw == Redacted || slices.Contains(f.Records, Redacted) }
	switch {
	case !hidden(a) || !hidden(b):
	case len(a.whole()) == 0 || len(b.whole()) == 0:
		c.NotCompared = append(c.NotCompared, a.Path)
	case !bytes.Equal(a.whole(), b.whole()):
		c.Differences = append(c.Differences, Difference{a.Path, "keys", Redacted, Redacted})
	}
}

func recordName(i int) string { return fmt.Sprintf("record %d", i+1) }

func at(list []string, i int) any {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// fields are values by name; what is empty is as if it were not there.
type fields map[string]any

// add adds the fields that differ, by name, and tells how many.
func (c *Comparison) add(path string, a, b fields) (n int) {
	var names []string
	for _, f := range []fields{a, b} {
		for name := range f {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		before, after := a[name], b[name]
		if before == "" {
			before = nil
		}
		if after == "" {
			after = nil
		}
		if !reflect.DeepEqual(before, after) {
			c.Differences = append(c.Differences, Difference{path, name, before, after})
			n++
		}
	}
	return n
}

// about are the fields of a file but its parameters and content.
func about(f File) fields {
	m := fields{"fid": f.FID, "aid": f.AID, "structure": f.Structure, "error": f.Error, "undecoded": f.Undecoded}
	for name, right := range f.Rights {
		m["right."+name] = right
	}
	return m
}

// parameters are the named fields of the FCP.
func parameters(f File) fields {
	m := fields{}
	if f.FCP != nil {
		doc, _ := json.Marshal(f.FCP) // of strings and numbers
		m.flatten("fcp", doc)
		delete(m, "fcp.raw")
	}
	return m
}

// decoded are the named fields of the content.
func decoded(f File) fields {
	m := fields{}
	if len(f.Records) == 0 {
		m.flatten("", f.Decoded)
		return m
	}
	var list []json.RawMessage
	if json.Unmarshal(f.Decoded, &list) != nil {
		return m // not decoded
	}
	for i, doc := range list {
		m.flatten(recordName(i), doc)
	}
	return m
}

// flatten adds the leaves of a JSON document under their paths.
func (m fields) flatten(prefix string, doc json.RawMessage) {
	var v any
	if json.Unmarshal(doc, &v) == nil {
		m.leaves(prefix, v)
	}
}

func (m fields) leaves(prefix string, v any) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for key, value := range v {
			name := key
			if prefix != "" {
				name = prefix + "." + key
			}
			m.leaves(name, value)
		}
	case []any:
		for i, value := range v {
			m.leaves(fmt.Sprintf("%s[%d]", prefix, i), value)
		}
	default:
		m[prefix] = v
	}
}
