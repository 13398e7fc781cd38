// Package supplier is the M2M equipment supplier of TR 33.812. On its bench it
// finds out which TPM a machine has (possession: credential activation) and that
// the machine's keys live in it (residency: certification by the AK), certifies
// them, puts the provisional identity into the TRE, and describes the machine to
// the platform validation authority (P1).
//
// What a machine has to be like is seen here once, on a bench that is trusted:
// the reference values are those of the boot on the bench.
package supplier
