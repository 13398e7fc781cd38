package world

import (
	"crypto/ecdh"

	"mcim/flows/wire"
	"mcim/tpm/mcim"
)

// Attack is what an attacker does in the lab.
type Attack struct {
	// FalseNetwork makes the visited network one that has no vectors of the home.
	FalseNetwork bool
	// Carrier is what a dishonest carrier puts in the place of a package.
	Carrier func(machine string, p wire.PackageMessage) wire.PackageMessage
}

// Weakness switches defences off, so that a test can show that the attack then
// succeeds. Nothing that a user can reach may set it.
type Weakness struct {
	// AnyMaker lets the supplier take a TPM whatever its EK certificate says.
	AnyMaker bool
	// OpenBearer lets every bearer lead everywhere.
	OpenBearer bool
	// KeepPCID lets a provisional identity give access after its use.
	KeepPCID bool
	// AppraiseNothing lets the PVA pass every platform.
	AppraiseNothing bool
	// NoFreshness and NoRecipient leave out these checks of P6.8.
	NoFreshness, NoRecipient bool
	// AcceptForgedAUTN leaves out the checks of MAC and SQN in the TRE.
	AcceptForgedAUTN bool
	// Unbound makes packages that are bound to no TRE: K not wrapped, and the body
	// encrypted to this key, which every TRE has.
	Unbound *ecdh.PrivateKey
}

func (w Weakness) unbound() *ecdh.PublicKey {
	if w.Unbound == nil {
		return nil
	}
	return w.Unbound.PublicKey()
}

func (w Weakness) tre() mcim.Weakness {
	return mcim.Weakness{NoFreshness: w.NoFreshness, NoRecipient: w.NoRecipient, AcceptForgedAUTN: w.AcceptForgedAUTN, BodyKey: w.Unbound}
}
