// Package wire is how the roles of TR 33.812 speak to each other: deterministic
// CBOR messages over HTTPS with mutual TLS 1.3, and signed and sealed messages
// (COSE_Sign1, HPKE) where the receiver is not the next hop (SR-24).
//
// # A role
//
// A [CA] is made at run time, with a certificate for each role whose URI name
// "mcim://role/NAME" says who the role is. An [Identity] is one role's certificate
// and keys; its TLS key may live elsewhere, in a TPM.
//
// # A message
//
// A [Route] is one arrow of the message chart: a path and the two message types.
// It is declared once as a constant and used at both ends:
//
//	const Register wire.Route[RegisterRequest, RegisterResponse] = "/ds/register"
//
//	Register.Handle(server, []string{"ro"}, func(ctx context.Context, p wire.Peer, req RegisterRequest) (RegisterResponse, error) { ... })
//	resp, err := Register.Call(ctx, client, RegisterRequest{...})
//
// A handler's refusal is an [Error] with the step of the procedure that refused;
// it crosses the wire and is found on the other side with errors.As.
//
// A [Client] keeps connections to one peer role; a [Session] is exactly one TLS
// connection, whose exporter both ends know, so that evidence can be bound to
// it. Both can be led through a [Gateway], the restricted connectivity of a
// visited network (P2.8), by which TLS still ends at the peer.
//
// # What it does not protect
//
// A message is authentic as long as its connection; what has to be proven later,
// or passes through a third role, is signed ([Sign]) and kept as bytes. ECDSA
// signatures are not unique: two byte strings may carry one signed statement, so
// freshness comes from a counter or nonce inside, never from the message's hash.
package wire
