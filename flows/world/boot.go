package world

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"

	"mcim/tpm"
	"mcim/tpm/measure"
)

// ErrRegister says that the PCR which is to be the TRE's is not free on a machine:
// it is part of what others may have bound their secrets to.
var ErrRegister = errors.New("the PCR is not free for the TRE")

// measureBoot replays the canned boot into the lab's own swtpm; of any other TPM
// it takes the machine's own log, at path or where the kernel has it, and extends
// nothing but our register. Again in the same boot it changes nothing.
func (w *World) measureBoot(path string) error {
	if w.TPM.Kind == tpm.KindSWTPM && !w.TPM.Foreign() {
		w.log = measure.CannedBoot()
		return measure.Extend(w.TPM, w.log)
	}
	log, err := measure.ReadMachine(cmp.Or(path, measure.MachineLogPath))
	if err != nil {
		return fmt.Errorf("the machine's event log: %w", err)
	}
	register := int(w.TPM.Register())
	if w.log, err = withTRE(log, register); err != nil {
		return err
	}
	err = measure.Extend(w.TPM, w.log, register)
	if errors.Is(err, measure.ErrState) {
		return fmt.Errorf("%w: something has extended PCR %d since the boot (%w): %s", ErrRegister, register, err, otherRegister)
	}
	return err
}

// otherRegister is what to do about ErrRegister.
const otherRegister = "name one of 10 to 15 that nothing extends with --register N"

// withTRE is the log of the boot with the event of the TRE in its register, where
// the boot itself measures nothing. On disk that event is not: the firmware's log
// takes none of ours.
func withTRE(log measure.Log, register int) (measure.Log, error) {
	var own measure.Log
	own.AddTRE(register, measure.TREVersion)
	for _, e := range log.Events {
		switch {
		case e.PCR != register || e.Type == measure.EVNoAction:
		case e.Digest == own.Events[0].Digest && bytes.Equal(e.Data, own.Events[0].Data):
			return log, nil
		default:
			return log, fmt.Errorf("%w: the boot of this machine measures into PCR %d (as shim does into 14): %s", ErrRegister, register, otherRegister)
		}
	}
	log.AddTRE(register, measure.TREVersion)
	return log, nil
}

// pcrs is what K and the card's codes are bound to, and what a quote covers: those
// of the policy, with the register that is the TRE's on this machine.
func (w *World) pcrs() []int {
	list := measure.PolicyPCRs()
	for i, pcr := range list {
		if pcr == measure.Register {
			list[i] = int(w.TPM.Register())
		}
	}
	return list
}
