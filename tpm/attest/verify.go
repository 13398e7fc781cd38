package attest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-tpm/tpm2"

	"mcim/tpm/ident"
	"mcim/tpm/measure"
)

// Tier is the trust that a verdict gives (AR4SI, draft-ietf-rats-ar4si, 2.3.2).
type Tier int8

// The tiers that a Verifier gives.
const (
	None            Tier = 0  // nothing was appraised
	Affirming       Tier = 2  // the machine is in the state of its reference values
	Contraindicated Tier = 96 // it is not, or that is not its evidence
)

// String is the name of the tier.
func (t Tier) String() string {
	switch t {
	case None:
		return "none"
	case Affirming:
		return "affirming"
	case Contraindicated:
		return "contraindicated"
	}
	return fmt.Sprintf("tier %d", int(t))
}

// Check names the test that evidence did not stand.
type Check string

// The checks, in the order in which they are made.
const (
	CheckSignature Check = "signature"  // by this AK
	CheckStatement Check = "statement"  // a quote, made by a TPM
	CheckFreshness Check = "freshness"  // over this nonce, TLS session and purpose
	CheckCounters  Check = "counters"   // reset count, restart count, clock
	CheckSelection Check = "selection"  // every PCR that counts
	CheckValues    Check = "pcr values" // hash to the quoted digest
	CheckLog       Check = "event log"  // replays to the values
	CheckData      Check = "event data" // hashes to the digests of the events
	CheckReference Check = "reference"  // the digests are the expected ones
)

// Failure is one reason for a verdict that is not affirming.
type Failure struct {
	Check Check
	PCR   int // -1 where it is about none
	Event int // index in the log, from 0; -1 where it is about none
	Why   string
}

// String tells the failure in one line.
func (f Failure) String() string {
	s := string(f.Check)
	if f.PCR >= 0 {
		s += fmt.Sprintf(", PCR %d", f.PCR)
	}
	if f.Event >= 0 {
		s += fmt.Sprintf(", event %d", f.Event)
	}
	return s + ": " + f.Why
}

// Counters tell where in its life a TPM is. A verifier keeps those of the last
// affirming verdict.
type Counters struct {
	Reset   uint32 // TPM resets since the last Clear
	Restart uint32 // restarts (suspend) since the last reset
	Clock   uint64 // ms
	Safe    bool   // the clock has not gone back since it was last written
}

// before says how c lies before last, "" if it does not. After a reset that was
// not in order the clock may be behind. A TPM says so at first (Safe is false), but
// libtpms then calls its clock safe before it has caught up: only the clock of one
// boot is compared.
func (c Counters) before(last Counters) string {
	switch {
	case c.Reset < last.Reset:
		return fmt.Sprintf("%d resets, %d were seen: the TPM was cleared, or this is an older copy of it", c.Reset, last.Reset)
	case c.Reset > last.Reset:
		return ""
	case c.Restart < last.Restart:
		return fmt.Sprintf("%d restarts, %d were seen", c.Restart, last.Restart)
	case c.Clock < last.Clock:
		return fmt.Sprintf("clock at %d ms, %d ms were seen", c.Clock, last.Clock)
	}
	return ""
}

// Verdict is the result of an appraisal.
type Verdict struct {
	Tier   Tier
	Failed []Failure // empty if and only if Tier is Affirming
	// Counters are those of the quote; keep them after an affirming verdict.
	Counters Counters
	Firmware uint64 // version of the TPM's firmware
}

// Err is nil for an affirming verdict, else all failures in one error.
func (v Verdict) Err() error {
	if v.Tier == Affirming {
		return nil
	}
	var list []string
	for _, f := range v.Failed {
		list = append(list, f.String())
	}
	return errors.New("the machine is not in its reference state: " + strings.Join(list, "; "))
}

// Verifier judges the evidence of one TRE.
type Verifier struct {
	AK        []byte            // encoded TPMT_PUBLIC of its AK, known by credential activation
	Reference measure.Reference // of the build that it should run; must cover the PCRs of the request
	Last      *Counters         // of its last affirming verdict; nil: the first time
}

// Appraise judges evidence that was asked for with r. It always gives a verdict:
// broken evidence is contraindicated like any other that does not convince.
func (v Verifier) Appraise(e Evidence, r Request) Verdict {
	a := &appraisal{Verifier: v, e: e, required: r.pcrs()}
	quote := a.statement(r)
	if quote == nil {
		return a.verdict()
	}
	a.counters()
	if !a.values(quote) {
		return a.verdict()
	}
	a.log()
	return a.verdict()
}

// appraisal is one run of Appraise.
type appraisal struct {
	Verifier
	e        Evidence
	required []int
	attest   *tpm2.TPMSAttest
	failed   []Failure
}

func (a *appraisal) fail(c Check, pcr, event int, format string, args ...any) {
	a.failed = append(a.failed, Failure{c, pcr, event, fmt.Sprintf(format, args...)})
}

func (a *appraisal) verdict() Verdict {
	v := Verdict{Tier: Contraindicated, Failed: a.failed}
	if len(a.failed) == 0 {
		v.Tier = Affirming
	}
	if a.attest != nil {
		v.Counters, v.Firmware = countersOf(a.attest), a.attest.FirmwareVersion
	}
	return v
}

func countersOf(a *tpm2.TPMSAttest) Counters {
	c := a.ClockInfo
	return Counters{Reset: c.ResetCount, Restart: c.RestartCount, Clock: c.Clock, Safe: c.Safe}
}

// statement checks that the AK made this quote for this request; nil if not.
func (a *appraisal) statement(r Request) *tpm2.TPMSQuoteInfo {
	challenge, err := r.challenge()
	if err != nil {
		a.fail(CheckFreshness, -1, -1, "%v", err)
		return nil
	}
	attest, err := ident.VerifyAttest(a.AK, tpm2.TPMSTAttestQuote, challenge, a.e.Quote, a.e.Signature)
	if err != nil {
		check := CheckStatement
		switch {
		case errors.Is(err, ident.ErrSignature), errors.Is(err, ident.ErrAK):
			check = CheckSignature
		case errors.Is(err, ident.ErrFreshness):
			check = CheckFreshness
		}
		a.fail(check, -1, -1, "%v", err)
		return nil
	}
	quote, err := attest.Attested.Quote()
	if err != nil {
		a.fail(CheckStatement, -1, -1, "%v", err)
		return nil
	}
	a.attest = attest
	return quote
}

func (a *appraisal) counters() {
	if a.Last == nil {
		return
	}
	if why := countersOf(a.attest).before(*a.Last); why != "" {
		a.fail(CheckCounters, -1, -1, "the TPM went back: %s", why)
	}
}

// values checks that the PCR values of the evidence are the quoted ones and that
// none is missing.
func (a *appraisal) values(quote *tpm2.TPMSQuoteInfo) bool {
	selected, ok := selectedPCRs(quote.PCRSelect)
	if !ok {
		a.fail(CheckSelection, -1, -1, "the quote is not over the SHA-256 bank alone")
		return false
	}
	for _, pcr := range a.required {
		if !slices.Contains(selected, pcr) {
			a.fail(CheckSelection, pcr, -1, "it is not in the quote")
		}
	}
	h := sha256.New()
	var shown []int
	for _, v := range a.e.PCRs {
		shown = append(shown, v.PCR)
		h.Write(v.Value[:])
	}
	if !slices.Equal(shown, selected) || !bytes.Equal(h.Sum(nil), quote.PCRDigest.Buffer) {
		a.fail(CheckValues, -1, -1, "the values shown are not the quoted ones")
	}
	return !slices.ContainsFunc(a.failed, func(f Failure) bool { return f.Check == CheckSelection || f.Check == CheckValues })
}

// selectedPCRs are the PCRs of a selection of the SHA-256 bank, ascending; false
// for any other selection.
func selectedPCRs(s tpm2.TPMLPCRSelection) ([]int, bool) {
	if len(s.PCRSelections) != 1 || s.PCRSelections[0].Hash != tpm2.TPMAlgSHA256 {
		return nil, false
	}
	var list []int
	for i, b := range s.PCRSelections[0].PCRSelect {
		for bit := range 8 {
			if b&(1<<bit) != 0 {
				list = append(list, 8*i+bit)
			}
		}
	}
	return list, true
}

// log checks the log against the quoted values, and the required PCRs against
// their reference.
func (a *appraisal) log() {
	log, err := measure.Parse(a.e.Log)
	if err != nil {
		a.fail(CheckLog, -1, -1, "%v", err)
		return
	}
	replay := log.Replay()
	for _, v := range a.e.PCRs {
		if replay[v.PCR] != v.Value {
			a.fail(CheckLog, v.PCR, -1, "the log does not lead to its value: events are missing, added or changed")
		}
	}
	for _, e := range log.Check(a.required...) {
		a.fail(CheckData, e.PCR, e.Index, "%v: %v", e.Type, e.Err)
	}
	for _, pcr := range a.required {
		a.reference(log, pcr)
	}
}

// reference finds the first event of a PCR that is not the expected one.
func (a *appraisal) reference(log measure.Log, pcr int) {
	i := slices.IndexFunc(a.Reference.PCRs, func(p measure.PCRReference) bool { return p.PCR == pcr })
	if i < 0 {
		a.fail(CheckReference, pcr, -1, "build %q has no reference value for it", a.Reference.Build)
		return
	}
	want := a.Reference.PCRs[i].Digests
	n := 0
	for i, e := range log.Events {
		switch {
		case e.PCR != pcr || e.Type == measure.EVNoAction:
		case n >= len(want):
			a.fail(CheckReference, pcr, i, "%v that build %q does not have", e.Type, a.Reference.Build)
			return
		case e.Digest != want[n]:
			a.fail(CheckReference, pcr, i, "%v is not the one of build %q", e.Type, a.Reference.Build)
			return
		default:
			n++
		}
	}
	switch {
	case n < len(want):
		a.fail(CheckReference, pcr, -1, "%d of the %d events of build %q are missing", len(want)-n, len(want), a.Reference.Build)
	case log.Replay()[pcr] != a.Reference.Values()[pcr]:
		a.fail(CheckReference, pcr, -1, "the TPM was started from another locality than with build %q", a.Reference.Build)
	}
}
