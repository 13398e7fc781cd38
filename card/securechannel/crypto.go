package securechannel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
)

// Errors of a protected message.
var (
	// ErrTampered: the MAC of a message is wrong: it was changed, or made with another key.
	ErrTampered = errors.New("message of the secure channel was changed")
	// ErrReplayed: the message has another number than the next one: it was sent before,
	// or one is missing.
	ErrReplayed = errors.New("message of the secure channel is out of order")
	// ErrKeyLength: the key does not have 16 or 32 bytes.
	ErrKeyLength = errors.New("key of a secure channel of the wrong length")
)

const (
	keyBytes   = 16 // of AES
	counterLen = 4
	macLen     = uicc.SecureIDLen
	// overhead is the most bytes that protection adds: counter, padding, MAC.
	overhead = counterLen + aes.BlockSize + macLen
	// MaxMessages is the highest counter: a connection ends before it.
	MaxMessages = 1<<32 - 1
)

// Algorithms are those of this package: AES-CBC with 128 bits and AES-CMAC.
func Algorithms() uicc.SecureAlgorithms {
	return uicc.SecureAlgorithms{Ciphering: uicc.CipheringAES, Integrity: uicc.IntegrityCMAC}
}

// CheckKey wants 16 or 32 bytes; ErrKeyLength otherwise.
func CheckKey(key secret.Bytes) error {
	if n := key.Len(); n != 16 && n != 32 {
		return fmt.Errorf("%w: %d bytes, want 16 or 32", ErrKeyLength, n)
	}
	return nil
}

// Master is a master security association: what is derived from the shared key for one
// terminal and one card.
type Master struct {
	ID  [16]byte
	key secret.Bytes
}

// NewMaster derives the master's key from the shared key (CheckKey), the identities in the
// request and the identifier in the answer. This project's reading of TS 102 484.
func NewMaster(key secret.Bytes, request uicc.MasterRequest, id [16]byte) (*Master, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	master, err := hkdf.Key(sha256.New, key.Reveal(), id[:], "TS 102 484 master "+string(request.Bytes()), sha256.Size)
	if err != nil {
		return nil, err
	}
	return &Master{id, secret.New(master)}, nil
}

// EndMAC is the MAC that ends the master.
func (m *Master) EndMAC() [16]byte { return proof(m.key, "end", m.ID[:]) }

// Connection is a connection security association: keys for one direction each, and the
// proofs of both sides.
type Connection struct {
	Request uicc.ConnectionRequest
	Answer  uicc.ConnectionAnswer // without MAC
	proof   secret.Bytes
	keys    [2]direction // by who sends
}

// direction are the keys and the counter of who sends.
type direction struct {
	encrypt, mac cipher.Block
	count        uint32 // of the last message
}

// Side is who sends a message.
type Side int

// Sides.
const (
	Terminal Side = iota
	UICC
)

// NewConnection derives a connection's keys from the master's and both nonces. This
// project's reading of TS 102 484.
func NewConnection(m *Master, request uicc.ConnectionRequest, answer uicc.ConnectionAnswer) (*Connection, error) {
	answer.MAC = [16]byte{}
	transcript := string(request.Bytes()) + string(answer.Bytes())
	b, err := hkdf.Key(sha256.New, m.key.Reveal(), slices.Concat(request.Nonce[:], answer.Nonce[:]),
		"TS 102 484 connection "+transcript, sha256.Size+4*keyBytes)
	if err != nil {
		return nil, err
	}
	c := &Connection{Request: request, Answer: answer, proof: secret.New(b[:sha256.Size])}
	b = b[sha256.Size:]
	for _, block := range []*cipher.Block{&c.keys[Terminal].encrypt, &c.keys[Terminal].mac, &c.keys[UICC].encrypt, &c.keys[UICC].mac} {
		if *block, err = aes.NewCipher(b[:keyBytes]); err != nil {
			return nil, err
		}
		b = b[keyBytes:]
	}
	return c, nil
}

// CardMAC is CSAMAC, by which the card proves that it knows the key.
func (c *Connection) CardMAC() [16]byte { return proof(c.proof, "card", c.Answer.ID[:]) }

// StartMAC is SSCMAC, by which the terminal proves it.
func (c *Connection) StartMAC(container byte) [16]byte {
	return proof(c.proof, "start", append(c.Answer.ID[:], container))
}

// EndMAC is the MAC that ends the connection.
func (c *Connection) EndMAC() [16]byte { return proof(c.proof, "end", c.Answer.ID[:]) }

// Equal compares MACs in constant time.
func Equal(a, b [16]byte) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }

// proof is HMAC-SHA-256 over a name and data, cut to 16 bytes.
func proof(key secret.Bytes, name string, data []byte) [16]byte {
	h := hmac.New(sha256.New, key.Reveal())
	h.Write(append([]byte(name+"\x00"), data...))
	return [16]byte(h.Sum(nil)[:16])
}

// Sent is how many messages the side has sent.
func (c *Connection) Sent(s Side) uint32 { return c.keys[s].count }

// Seal protects the next message of the side: its counter of 4 bytes, the ciphertext, and
// the MAC over both. The IV of AES-CBC is the enciphered counter.
func (c *Connection) Seal(s Side, message []byte) ([]byte, error) {
	d := &c.keys[s]
	if d.count == MaxMessages {
		return nil, fmt.Errorf("%w: the counter has reached its end; open the channel anew", ErrExpired)
	}
	d.count++
	out := make([]byte, counterLen, len(message)+overhead)
	binary.BigEndian.PutUint32(out, d.count)
	out = append(append(out, message...), 0x80)
	for (len(out)-counterLen)%aes.BlockSize != 0 {
		out = append(out, 0)
	}
	body := out[counterLen:]
	cipher.NewCBCEncrypter(d.encrypt, d.iv(d.count)).CryptBlocks(body, body)
	mac := cmac(d.mac, out)
	return append(out, mac[:]...), nil
}

// Unseal checks the next message of the side and takes the protection off: ErrTampered,
// and ErrReplayed for a counter that is not the next. Neither changes anything.
func (c *Connection) Unseal(s Side, sealed []byte) ([]byte, error) {
	d := &c.keys[s]
	n := len(sealed) - macLen
	if n < counterLen+aes.BlockSize || (n-counterLen)%aes.BlockSize != 0 {
		return nil, fmt.Errorf("%w: %d bytes are no message", ErrTampered, len(sealed))
	}
	if !Equal(cmac(d.mac, sealed[:n]), [16]byte(sealed[n:])) {
		return nil, fmt.Errorf("%w: its MAC is wrong", ErrTampered)
	}
	count := binary.BigEndian.Uint32(sealed)
	if d.count == MaxMessages || count != d.count+1 {
		return nil, fmt.Errorf("%w: number %d, want %d", ErrReplayed, count, uint64(d.count)+1)
	}
	body := bytes.Clone(sealed[counterLen:n])
	cipher.NewCBCDecrypter(d.encrypt, d.iv(count)).CryptBlocks(body, body)
	end := bytes.LastIndexByte(body, 0x80)
	if end < 0 || len(body)-end > aes.BlockSize || len(bytes.Trim(body[end+1:], "\x00")) > 0 {
		return nil, fmt.Errorf("%w: its padding is wrong", ErrTampered)
	}
	d.count = count
	return body[:end], nil
}

// iv is the initialisation vector of message n.
func (d *direction) iv(n uint32) []byte {
	iv := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint32(iv[aes.BlockSize-counterLen:], n)
	d.encrypt.Encrypt(iv, iv)
	return iv
}

// cmac is AES-CMAC (RFC 4493; NIST SP 800-38B).
func cmac(block cipher.Block, message []byte) [16]byte {
	var x [aes.BlockSize]byte
	rest := message
	for ; len(rest) > aes.BlockSize; rest = rest[aes.BlockSize:] {
		subtle.XORBytes(x[:], x[:], rest[:aes.BlockSize])
		block.Encrypt(x[:], x[:])
	}
	var subkey, last [aes.BlockSize]byte
	block.Encrypt(subkey[:], subkey[:])
	subkey = doubled(subkey)
	if copy(last[:], rest) < aes.BlockSize {
		last[len(rest)] = 0x80
		subkey = doubled(subkey)
	}
	subtle.XORBytes(x[:], x[:], last[:])
	subtle.XORBytes(x[:], x[:], subkey[:])
	block.Encrypt(x[:], x[:])
	return x
}

// doubled is multiplication by x in GF(2^128).
func doubled(b [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	carry := byte(0)
	for i := len(b) - 1; i >= 0; i-- {
		out[i] = b[i]<<1 | carry
		carry = b[i] >> 7
	}
	out[len(out)-1] ^= carry * 0x87
	return out
}

// Split cuts a message into containers of at most n bytes.
func Split(message []byte, n int) [][]byte {
	return slices.Collect(slices.Chunk(message, n))
}
