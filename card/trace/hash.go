package trace

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
)

// hashRounds makes trying one value cost some 20 ms on one core.
const hashRounds = 100_000

// hashLen is the length of a hash in a recording, in bytes.
const hashLen = 16

// hasher makes the hashes of one recording (PBKDF2 with HMAC-SHA256, RFC 8018,
// 5.2).
type hasher struct {
	salt   []byte
	rounds int
}

func (h hasher) sum(secret []byte) []byte {
	b, err := pbkdf2.Key(sha256.New, string(secret), h.salt, h.rounds, hashLen)
	if err != nil {
		return nil // a salt or length that FIPS mode does not take: matches nothing
	}
	return b
}

// matches tells whether sum is the hash of secret.
func (h hasher) matches(secret, sum []byte) bool {
	return len(sum) == hashLen && hmac.Equal(h.sum(secret), sum)
}
