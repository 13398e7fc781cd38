// Package store keeps what a role knows: typed values, secrets, the signed
// messages it has seen, and a journal of what it was about to do, in one SQLite
// file per role; and it keeps the lab folder in which the roles' files lie.
//
// A [Bucket] is a kind of value, declared once as a constant:
//
//	const contracts store.Bucket[Contract] = "contract"
//
//	err := contracts.Put(ctx, s, id, c)
//	c, err := contracts.Get(ctx, s, id)
//
// Several writes that belong together go through [Store.Tx], which gives a [Tx]
// to use instead of the Store. Values are CBOR (wire.Marshal), so a secret.Bytes
// inside a value is an error: secrets go into a [Secrets] bucket, sealed with
// AES-GCM under the store's key, a file of its own beside the database.
//
// [Spend] is for what must not be done twice: it writes the intent before and
// the outcome after, and after a crash in between it probes instead of repeating.
//
// What the store does not protect: whoever can read both files, the database
// and the key, has the secrets. A sealed value is bound to its bucket and key,
// but an older value of the same name can be put back by who writes the file.
package store
