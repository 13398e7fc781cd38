package cat

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/tlv"
)

// Raw is a data object as bytes: one that this package does not know, or whose value does
// not fit the fields.
type Raw struct {
	ID    uint16
	Value ef.Hex
}

// Tag is the tag value.
func (v *Raw) Tag() uint16 { return v.ID }

func (v *Raw) fields(c *coder) { c.rest(&v.Value) }

// Part is a data object in a message.
type Part struct {
	// Optional is the comprehension required flag at 0: who does not know the object may
	// do without.
	Optional bool
	// Long asks for a tag of three bytes where one is enough.
	Long   bool
	Object Object
}

// Objects are the data objects of a message, in their order.
type Objects []Part

// List is data objects that have to be understood.
func List(objects ...Object) Objects {
	var list Objects
	for _, o := range objects {
		list = append(list, Part{Object: o})
	}
	return list
}

// Find gives the first data object of the type.
func Find[T any, P interface {
	*T
	Object
}](list Objects) (T, bool) {
	for _, p := range list {
		if o, ok := p.Object.(P); ok {
			return *o, true
		}
	}
	var none T
	return none, false
}

// All gives all data objects of the type.
func All[T any, P interface {
	*T
	Object
}](list Objects) []T {
	var all []T
	for _, p := range list {
		if o, ok := p.Object.(P); ok {
			all = append(all, *o)
		}
	}
	return all
}

// DecodeObjects decodes COMPREHENSION-TLV data objects up to the end of b. It is strict:
// Bytes of the result is b. The error wraps ErrMalformed.
func DecodeObjects(b []byte) (Objects, error) {
	list, err := tlv.DecodeComprehension(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var objects Objects
	for _, c := range list {
		objects = append(objects, Part{Optional: !c.CR, Long: c.Long, Object: decodeObject(c.Tag, c.Value)})
	}
	return objects, nil
}

// decodeObject gives fields where they give the same bytes again, else bytes.
func decodeObject(tag uint16, value []byte) Object {
	for _, k := range known {
		if k.tag != tag {
			continue
		}
		o := k.make()
		c := &coder{in: value}
		o.fields(c)
		if c.err != nil || len(c.in) > 0 {
			break
		}
		if back, err := valueOf(o); err == nil && bytes.Equal(back, value) {
			return o
		}
	}
	return &Raw{tag, bytes.Clone(value)}
}

func valueOf(o Object) ([]byte, error) {
	c := &coder{writing: true}
	o.fields(c)
	return c.out, c.err
}

// Bytes encodes the data objects; ErrValue where one does not hold its fields.
func (l Objects) Bytes() ([]byte, error) {
	b := []byte{}
	for _, p := range l {
		if t := p.Object.Tag(); t < 1 || t > 0x7FFF {
			return nil, fmt.Errorf("%w: tag %04X, want 1 to 7FFF", ErrValue, t)
		}
		value, err := valueOf(p.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", nameOf(p.Object), err)
		}
		b = tlv.Comprehension{Tag: p.Object.Tag(), CR: !p.Optional, Long: p.Long, Value: value}.Append(b)
	}
	return b, nil
}

// nameOf is what a data object is called.
func nameOf(o Object) string {
	for _, k := range known {
		if k.tag == o.Tag() {
			return strings.ReplaceAll(k.name, "_", " ")
		}
	}
	if name, ok := others[o.Tag()]; ok {
		return name
	}
	return fmt.Sprintf("tag %02X", o.Tag())
}

// Words tells each data object in a line, as in "duration: 10 seconds".
func (l Objects) Words() []string {
	var lines []string
	for _, p := range l {
		lines = append(lines, strings.TrimSuffix(nameOf(p.Object)+": "+words(p.Object), ": "))
	}
	return lines
}

func words(o Object) string {
	switch o := o.(type) {
	case *Raw:
		return hex.EncodeToString(o.Value)
	case fmt.Stringer:
		return o.String()
	}
	v := reflect.ValueOf(o).Elem()
	var list []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		text := fieldWords(v.Field(i).Interface())
		switch {
		case v.NumField() == 1:
			list = append(list, text)
		case text != "":
			list = append(list, strings.ReplaceAll(name, "_", " ")+" "+text)
		}
	}
	return strings.Join(list, ", ")
}

func fieldWords(v any) string {
	switch v := v.(type) {
	case ef.Hex:
		return hex.EncodeToString(v)
	case ef.Alpha:
		if len(v.Raw) > 0 {
			return hex.EncodeToString(v.Raw)
		}
		return fmt.Sprintf("%q", v.Text)
	case string:
		return fmt.Sprintf("%q", v)
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
		var items []string
		for i := range list.Len() {
			items = append(items, fmt.Sprint(list.Index(i).Interface()))
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(v)
}

// rawDocument is Raw in a document.
type rawDocument struct {
	Tag   string `json:"tag"` // hexadecimal digits
	Value ef.Hex `json:"value"`
}

// MarshalJSON gives an object of one key, the name of the data object, with its fields;
// "optional" and "long" beside it where they are set.
func (p Part) MarshalJSON() ([]byte, error) {
	doc := map[string]any{}
	if p.Optional {
		doc["optional"] = true
	}
	if p.Long {
		doc["long"] = true
	}
	if raw, ok := p.Object.(*Raw); ok {
		doc["raw"] = rawDocument{fmt.Sprintf("%02X", raw.ID), raw.Value}
		return json.Marshal(doc)
	}
	for _, k := range known {
		if k.tag == p.Object.Tag() {
			doc[k.name] = p.Object
		}
	}
	return json.Marshal(doc)
}

// UnmarshalJSON reads that form, strictly.
func (p *Part) UnmarshalJSON(b []byte) error {
	*p = Part{}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(b, &doc); err != nil {
		return fmt.Errorf("%w: want a data object, as { buffer_size = { bytes = 255 } }", ErrValue)
	}
	for key, value := range doc {
		var err error
		switch key {
		case "optional":
			err = strict(value, &p.Optional)
		case "long":
			err = strict(value, &p.Long)
		default:
			if p.Object != nil {
				return fmt.Errorf("%w: more than one data object in one pair of braces", ErrValue)
			}
			p.Object, err = parseObject(key, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if p.Object == nil {
		return fmt.Errorf("%w: no data object", ErrValue)
	}
	return nil
}

func parseObject(name string, value []byte) (Object, error) {
	if name == "raw" {
		var doc rawDocument
		if err := strict(value, &doc); err != nil {
			return nil, err
		}
		raw := &Raw{Value: doc.Value}
		if n, err := fmt.Sscanf(doc.Tag, "%X", &raw.ID); n != 1 || err != nil {
			return nil, fmt.Errorf("%w: tag %q, want hexadecimal digits", ErrValue, doc.Tag)
		}
		return raw, nil
	}
	for _, k := range known {
		if k.name != name {
			continue
		}
		o := k.make()
		if err := strict(value, o); err != nil {
			return nil, err
		}
		return o, nil
	}
	return nil, fmt.Errorf("%w: no data object of that name", ErrValue)
}

// strict decodes JSON without unknown keys.
func strict(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: %w", ErrValue, err)
	}
	return nil
}

// Known reports whether a tag is that of a data object of TS 102 223 or TS 31.111.
func Known(tag uint16) bool {
	_, ok := others[tag]
	for _, k := range known {
		ok = ok || k.tag == tag
	}
	return ok
}
