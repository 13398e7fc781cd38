// Package tlv holds the two kinds of data object that smart cards speak:
// BER-TLV (ISO/IEC 7816-4, 5.2.2; TS 101 220, 7.1.2) and COMPREHENSION-TLV
// (TS 101 220, 7.1.1).
//
// Decode is strict: tags and lengths in the shortest form, no padding, no byte
// left over, so that encoding the result gives the same bytes again.
// DecodeLenient is for what cards in the field send; it loses only padding.
// Both look at one level; Children goes one level down.
//
// Values are parts of the input, not copies. The package is pure.
package tlv
