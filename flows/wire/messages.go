package wire

import "time"

// The arrows between the roles: who asks whom, with the interface labels of
// TR 33.812 digest, 5.1.3.4 (Cs, Iv, Dm, ...). Every one may be called again with
// the same content, as after a lost answer, and gives the same result.
const (
	PathPCIDBatch Route[BatchRequest, Batch] = "/ccif/batch" // supplier -> RO (Cs), P1.1

	PathEnrol    Route[EnrolRequest, EnrolAnswer] = "/factory/enrol" // machine on the bench -> supplier, P1.5
	PathProve    Route[ProveRequest, ProveAnswer] = "/factory/prove" // machine on the bench -> supplier, P1.6
	PathSupplied Route[SuppliedRequest, Empty]    = "/factory/done"  // machine on the bench -> supplier, P1.7
	PathPlatform Route[PlatformMessage, Empty]    = "/pva/platform"  // supplier -> PVA (Vm), P1.8

	PathContract Route[MandateMessage, OrderRequest] = "/sho/contract" // subscriber -> SHO, P1.9, P8a.1
	PathOrder    Route[OrderMessage, Empty]          = "/drf/order"    // SHO -> RO (Ds), P1.9, P8a.2, P8c.1
	PathStatus   Route[StatusRequest, StatusAnswer]  = "/sho/status"   // subscriber -> SHO, before P8a.1

	PathAttach   Route[AttachRequest, Challenge] = "/vno/attach"    // machine -> VNO (air interface), P2.3, P7.2
	PathAnswer   Route[AnswerRequest, Attached]  = "/vno/answer"    // machine -> VNO (air interface), P2.7, P7.3
	PathVectors  Route[VectorRequest, Vector]    = "/auth/vectors"  // VNO -> RO's ICF or SHO (Iv), P2.4, P7.2
	PathResync   Route[VectorRequest, Vector]    = "/auth/resync"   // VNO -> RO's ICF or SHO (Iv), P2.7, P7.3
	PathAttached Route[AttachedNotice, Empty]    = "/auth/attached" // VNO -> RO's ICF or SHO (Iv), P2.8, P7.3

	PathContact  Route[ContactRequest, ContactAnswer]   = "/drf/contact"  // machine -> RO (Dm), P4.1
	PathRegister Route[RegisterRequest, Empty]          = "/sho/register" // RO -> SHO (Ds), P4.5, P8a.7, P8c.4
	PathValidate Route[OrderRequest, Validation]        = "/sho/validate" // RO -> SHO (Ds), P4.7, P8a.8, P8c.5
	PathOpen     Route[OpenRequest, Validation]         = "/pva/open"     // SHO -> PVA (Vq), P5c.1
	PathQuote    Route[QuoteRequest, QuoteAnswer]       = "/tre/quote"    // RO -> machine (Dm), P5c.2
	PathAppraise Route[AppraiseRequest, VerdictMessage] = "/pva/appraise" // RO -> PVA (Vq), P5c.5
	PathAccept   Route[AcceptRequest, Empty]            = "/sho/accept"   // RO -> SHO (Ds), P4.8, P8a.8, P8c.5

	PathCreate   Route[OrderRequest, CreateAnswer]      = "/sho/create"   // RO -> SHO (Ps), P6.1
	PathRecord   Route[MachineRequest, PlatformMessage] = "/pva/record"   // RO -> PVA (Pv), P6.3
	PathState    Route[StateRequest, StateAnswer]       = "/tre/state"    // RO -> machine (Pm), P6.3
	PathProtect  Route[ProtectRequest, PackageMessage]  = "/sho/protect"  // RO -> SHO (Ps), P6.5
	PathDeliver  Route[PackageMessage, ReceiptMessage]  = "/tre/deliver"  // RO -> machine (Pm), P6.6, P8c.7
	PathResult   Route[ReceiptMessage, Empty]           = "/sho/result"   // RO -> SHO (Ps), P6.11
	PathReplace  Route[OrderRequest, Empty]             = "/tre/replace"  // RO -> machine (Pm), P8c.8
	PathActivate Route[OrderRequest, Empty]             = "/tre/activate" // RO -> machine (Pm), P6.12, P8a.12, P8c.9
	PathLive     Route[OrderRequest, LiveAnswer]        = "/sho/live"     // RO -> SHO (Ds), P7.4
	PathDelete   Route[DeleteRequest, ProofMessage]     = "/tre/delete"   // RO -> machine (Pm), P7.5, P8a.13

	PathLeave   Route[OrderMessage, LeaveAnswer] = "/sho/leave" // RO -> old SHO (Ds), P8a.3
	PathWakeSHO Route[WakeRequest, Empty]        = "/sho/wake"  // RO -> old SHO (Ds), P8a.5, P8c.2
	PathWakeVNO Route[WakeRequest, Empty]        = "/vno/wake"  // SHO -> VNO, P8a.5
	PathWake    Route[WakeRequest, Empty]        = "/m2me/wake" // VNO -> machine, P8a.5
	PathClose   Route[CloseRequest, Empty]       = "/sho/close" // RO -> old SHO (Ds), P8a.14
)

// Kinds of roles (RoleKind). Operators are told apart by the part after a "-",
// machines by their serial number after a "/".
const (
	KindSupplier   = "supplier"
	KindRO         = "ro"
	KindVNO        = "vno"
	KindSHO        = "sho"
	KindPVA        = "pva"
	KindSubscriber = "subscriber"
	KindMachine    = "m2me"    // with the key of its TRE
	KindFactory    = "factory" // a machine on the supplier's bench, before P1.6
	KindAK         = "ak"      // of the AK of a TRE
)

// MachineRole is the role name of the machine with a serial number. This name is
// what "machine" means in every message.
func MachineRole(serial string) string { return KindMachine + "/" + serial }

// AKRole is the name in the certificate of the machine's AK, which speaks to
// nobody.
func AKRole(serial string) string { return KindAK + "/" + serial }

// FactoryRole is the role name of that machine on the supplier's bench.
func FactoryRole(serial string) string { return KindFactory + "/" + serial }

// Types of the signed messages, the content type of their COSE_Sign1.
const (
	TypeMandate  = "mandate"  // subscriber's, Mandate
	TypeOrder    = "order"    // SHO's, Order
	TypePlatform = "platform" // supplier's, Platform
	TypeVerdict  = "verdict"  // PVA's, Verdict
)

// Placement says where an MCIM lives: the two placements that the TR studies.
type Placement string

// The placements.
const (
	InTRE  Placement = "tre"
	InUICC Placement = "uicc"
)

// Purposes of sealed messages (Seal, Open).
const (
	PurposeBatch = "pcid-batch"   // CBOR []PCID, to the supplier
	PurposePCID  = "pcid"         // CBOR PCID without K, to the DEK
	PurposeCard  = "card-secrets" // CBOR CardSecrets, to the DEK
)

// Empty is the answer that says nothing but success.
type Empty struct{}

// --- supply phase, P1 ---

// BatchRequest orders PCIDs (P1.1).
type BatchRequest struct {
	Batch string `cbor:"batch"` // the supplier's name of the batch; the same name gives the same batch
	Count int    `cbor:"count"` // 1 to 1000
	HPKE  []byte `cbor:"hpke"`  // supplier's HPKE public key, P-256 uncompressed point
}

// Batch is a batch of PCIDs, protected for the supplier (P1.4).
type Batch struct {
	Sealed  []byte    `cbor:"sealed"` // HPKE of CBOR []PCID
	Expires time.Time `cbor:"expires"`
}

// PCID is one provisional connectivity identity with its key. It exists in
// clear only between opening a Batch and sealing it again.
type PCID struct {
	ID    string `cbor:"id"`    // 15 digits, formed as an IMSI
	ICCID string `cbor:"iccid"` // 19 digits
	K     []byte `cbor:"k"`     // 16 bytes
	OPc   []byte `cbor:"opc"`   // 16 bytes
	SQN   []byte `cbor:"sqn"`   // 6 bytes, the highest that was used
}

// EnrolRequest is the machine's claim to be a TRE (P1.5).
type EnrolRequest struct {
	Serial  string   `cbor:"serial"`
	EKCerts [][]byte `cbor:"ek_certs"` // DER, the EK certificate first
	EK      []byte   `cbor:"ek"`       // TPM2B_PUBLIC content: TPMT_PUBLIC
	AK      []byte   `cbor:"ak"`       // TPMT_PUBLIC
}

// EnrolAnswer is the credential that only the TPM with that EK and that AK
// opens (TPM2_MakeCredential).
type EnrolAnswer struct {
	Credential []byte `cbor:"credential"` // TPM2B_ID_OBJECT content
	Secret     []byte `cbor:"secret"`     // TPM2B_ENCRYPTED_SECRET content
	Nonce      []byte `cbor:"nonce"`      // for the certifications of ProveRequest
}

// Certification is a key that the AK certifies to live in the same TPM
// (TPM2_Certify).
type Certification struct {
	Public    []byte `cbor:"public"`    // TPMT_PUBLIC
	Attest    []byte `cbor:"attest"`    // TPMS_ATTEST
	Signature []byte `cbor:"signature"` // TPMT_SIGNATURE
}

// ProveRequest proves possession and residency (P1.6).
type ProveRequest struct {
	Serial    string        `cbor:"serial"`
	Activated []byte        `cbor:"activated"` // the secret inside the credential
	SRK       Certification `cbor:"srk"`
	TREKey    Certification `cbor:"tre_key"`
	DEK       Certification `cbor:"dek"`
	Slots     []SlotEpoch   `cbor:"slots"`
	Log       []byte        `cbor:"log"` // event log of the boot in the factory
}

// SlotEpoch is the epoch counter of a slot, with its value proven by the AK.
type SlotEpoch struct {
	Slot  int    `cbor:"slot"`
	Index uint32 `cbor:"index"` // NV index of the counter
	Epoch uint64 `cbor:"epoch"`
	Proof []byte `cbor:"proof"` // CBOR mcim.EpochProof over the nonce that was given
}

// ProveAnswer is what the supplier puts into the machine (P1.6, P1.7).
type ProveAnswer struct {
	Certificate []byte    `cbor:"certificate"` // DER, platform certificate of the TRE key
	AKCert      []byte    `cbor:"ak_cert"`     // DER, certificate of the AK
	Chain       [][]byte  `cbor:"chain"`       // DER, what lies between Certificate and CA; may be none
	CA          []byte    `cbor:"ca"`          // DER, root that the roles' certificates chain to
	PCID        Injection `cbor:"pcid"`        // for slot 0
	Card        []byte    `cbor:"card"`        // HPKE to the DEK of CBOR CardSecrets; empty without a UICC
	RO          string    `cbor:"ro"`          // role name of the RO
}

// Injection is the PCID for the TRE of one machine (P1.7).
type Injection struct {
	Public    []byte `cbor:"public"`    // mcim.KeyPart: K wrapped for the SRK
	Duplicate []byte `cbor:"duplicate"` // mcim.KeyPart
	Seed      []byte `cbor:"seed"`      // mcim.KeyPart
	Sealed    []byte `cbor:"sealed"`    // sealed to the DEK for PurposePCID: CBOR PCID without K
}

// CardSecrets open the UICC that the supplier put into the machine. They exist
// in clear only on their way into the TPM's seal.
type CardSecrets struct {
	ICCID string `cbor:"iccid"`
	PIN1  []byte `cbor:"pin1"` // 8 bytes as VERIFY takes them
	ADM1  []byte `cbor:"adm1"` // 8 bytes
}

// SuppliedRequest reports that the PCID is installed (P1.7).
type SuppliedRequest struct {
	Serial  string `cbor:"serial"`
	Receipt []byte `cbor:"receipt"` // CBOR mcim.Receipt of slot 0 over the nonce of EnrolAnswer
}

// Platform is the supplier's signed statement about one machine (P1.8).
type Platform struct {
	Machine   string          `cbor:"machine"`   // role name
	EKHash    []byte          `cbor:"ek_hash"`   // SHA-256 of the EK's TPMT_PUBLIC
	AK        []byte          `cbor:"ak"`        // TPMT_PUBLIC
	AKCert    []byte          `cbor:"ak_cert"`   // DER, certificate of the AK
	SRK       []byte          `cbor:"srk"`       // TPMT_PUBLIC
	DEK       []byte          `cbor:"dek"`       // TPMT_PUBLIC
	Slots     map[int]Counter `cbor:"slots"`     // epoch counter, by slot
	Build     string          `cbor:"build"`     // name of the reference values
	Reference []byte          `cbor:"reference"` // CBOR measure.Reference of that build, over the PCRs of the policy
	Made      time.Time       `cbor:"made"`
}

// Counter is the epoch counter of a slot as the supplier saw it.
type Counter struct {
	Index uint32 `cbor:"index"` // NV index
	Epoch uint64 `cbor:"epoch"` // its value on the bench, from which it only grows
}

// PlatformMessage carries a signed Platform.
type PlatformMessage struct {
	Signed Signed[Platform] `cbor:"signed"` // TypePlatform
}

// MachineRequest names a machine.
type MachineRequest struct {
	Machine string `cbor:"machine"`
}

// --- orders ---

// Mandate is the subscriber's signed will (P1.9, P8a.1).
type Mandate struct {
	ID        string    `cbor:"id"`
	Machine   string    `cbor:"machine"`
	Placement Placement `cbor:"placement"`
	OldSHO    string    `cbor:"old_sho"`  // role name; empty for the first provisioning
	NewSHO    string    `cbor:"new_sho"`  // role name
	OldIMSI   string    `cbor:"old_imsi"` // empty for the first provisioning
	// Bound is until when the subscriber does not leave NewSHO again; it is the
	// only ground on which that one may refuse to release the machine (P8a.4).
	Bound   time.Time `cbor:"bound"`
	Made    time.Time `cbor:"made"`
	Expires time.Time `cbor:"expires"`
}

// MandateMessage carries a signed Mandate.
type MandateMessage struct {
	Signed Signed[Mandate] `cbor:"signed"` // TypeMandate
}

// Order is the new SHO's signed order to the RO (P1.9, P8a.2).
type Order struct {
	ID      string          `cbor:"id"`
	Mandate Signed[Mandate] `cbor:"mandate"` // TypeMandate
}

// OrderMessage carries a signed Order.
type OrderMessage struct {
	Signed Signed[Order] `cbor:"signed"` // TypeOrder
}

// OrderRequest names an order.
type OrderRequest struct {
	Order string `cbor:"order"`
}

// StatusRequest asks a SHO for the subscriber's own subscription in a machine.
type StatusRequest struct {
	Machine   string    `cbor:"machine"`
	Placement Placement `cbor:"placement"`
}

// StatusAnswer is what a subscriber may know of its subscription.
type StatusAnswer struct {
	Order string `cbor:"order"` // by which it came to be; empty for one that was in the UICC from the beginning
	IMSI  string `cbor:"imsi"`
	State string `cbor:"state"` // "pending", "active", "closing" or "closed"
}

// --- attach, P2 and P7 ---

// AttachRequest asks for service (P2.3, P7.2).
type AttachRequest struct {
	Identity string `cbor:"identity"` // PCID or IMSI
	Address  string `cbor:"address"`  // host:port on which the machine is reached
}

// Challenge is what the machine has to answer (P2.7, P7.3).
type Challenge struct {
	Session string   `cbor:"session"`
	RAND    [16]byte `cbor:"rand"`
	AUTN    [16]byte `cbor:"autn"`
}

// AnswerRequest is the answer: RES, or AUTS after a synchronisation failure.
type AnswerRequest struct {
	Session string `cbor:"session"`
	RES     []byte `cbor:"res,omitempty"`
	AUTS    []byte `cbor:"auts,omitempty"`
}

// Attached is the end of an attach, or one more challenge after AUTS.
type Attached struct {
	Again      *Challenge `cbor:"again,omitempty"`
	Restricted bool       `cbor:"restricted"` // the bearer reaches the RO only (P2.8)
}

// VectorRequest asks the home of an identity for an authentication vector
// (P2.4, P7.2).
type VectorRequest struct {
	Identity string   `cbor:"identity"`
	RAND     [16]byte `cbor:"rand,omitempty"` // with AUTS: of the failed challenge
	AUTS     []byte   `cbor:"auts,omitempty"`
}

// Vector is an authentication vector (TS 33.102, 6.3.2).
type Vector struct {
	RAND, AUTN [16]byte
	XRES       []byte
	CK, IK     [16]byte
	Restricted bool // the profile of a PCID: RO only
}

// AttachedNotice tells the home that the identity is attached, and in which
// machine, whose certificate the VNO has seen.
type AttachedNotice struct {
	Identity string `cbor:"identity"`
	Machine  string `cbor:"machine"` // role name
}

// --- discovery, registration, P4 ---

// ContactRequest is the machine's first word to the RO (P4.1, P8a.6).
type ContactRequest struct {
	Machine      string   `cbor:"machine"`
	Address      string   `cbor:"address"`      // host:port on the bearer
	Identity     string   `cbor:"identity"`     // PCID or IMSI by which it is attached
	Capabilities []string `cbor:"capabilities"` // what a placement needs: "tre", "uicc"
}

// ContactAnswer says what the RO has for the machine.
type ContactAnswer struct {
	Order string `cbor:"order"` // empty: nothing to do
}

// RegisterRequest registers the machine with a SHO (P4.5, P8a.7).
type RegisterRequest struct {
	Order        string   `cbor:"order"`
	Machine      string   `cbor:"machine"`
	Capabilities []string `cbor:"capabilities"`
}

// Validation is the validation that the PVA has opened for the SHO (P5c.1).
type Validation struct {
	Validation string `cbor:"validation"` // the PVA's name of the validation
	Nonce      []byte `cbor:"nonce"`      // 32 bytes
}

// --- validation, P5c ---

// OpenRequest asks the PVA for a validation (P5c.1).
type OpenRequest struct {
	Machine string `cbor:"machine"`
	Purpose string `cbor:"purpose"` // the order
}

// QuoteRequest asks the TRE for evidence (P5c.2).
type QuoteRequest struct {
	Order string `cbor:"order"`
	Nonce []byte `cbor:"nonce"`
}

// QuoteAnswer is the evidence (P5c.5).
type QuoteAnswer struct {
	Evidence []byte `cbor:"evidence"` // CBOR attest.Evidence
}

// AppraiseRequest hands evidence to the PVA (P5c.5).
type AppraiseRequest struct {
	Validation string `cbor:"validation"`
	Exporter   []byte `cbor:"exporter"` // of the RO's TLS session with the machine, as the RO sees it
	Evidence   []byte `cbor:"evidence"`
}

// VerdictMessage carries a signed Verdict (P5c.8).
type VerdictMessage struct {
	Signed Signed[Verdict] `cbor:"signed"` // TypeVerdict
}

// Verdict is the PVA's judgement on one machine, for one requester.
type Verdict struct {
	Validation string    `cbor:"validation"`
	Machine    string    `cbor:"machine"`
	Requester  string    `cbor:"requester"` // role name of the SHO that asked
	Purpose    string    `cbor:"purpose"`   // the order
	Pass       bool      `cbor:"pass"`
	Failed     []string  `cbor:"failed"` // what differs, in words; empty when Pass
	Made       time.Time `cbor:"made"`
	Expires    time.Time `cbor:"expires"`
}

// AcceptRequest shows the verdict to the SHO (P4.8).
type AcceptRequest struct {
	Order   string          `cbor:"order"`
	Verdict Signed[Verdict] `cbor:"verdict"` // TypeVerdict
}

// --- download, P6 ---

// CreateAnswer names the pending subscription, which the DPF is to have built
// into a package (P6.1, P6.2).
type CreateAnswer struct {
	IMSI  string `cbor:"imsi"`
	Nonce []byte `cbor:"nonce"` // 32 bytes, for the proof of the epoch and for the receipt
}

// StateRequest asks for the TRE's state that a package has to fit (P6.3).
type StateRequest struct {
	Placement Placement `cbor:"placement"`
	Nonce     []byte    `cbor:"nonce"` // the SHO's, of CreateAnswer
}

// StateAnswer is that state.
type StateAnswer struct {
	Slot     int    `cbor:"slot"`     // slot that is free
	Epoch    uint64 `cbor:"epoch"`    // count of its epoch counter
	Proof    []byte `cbor:"proof"`    // CBOR mcim.EpochProof of that count over the nonce
	Sequence uint64 `cbor:"sequence"` // highest package sequence that the slot has consumed
}

// ProtectRequest asks the SHO to protect its MCIM for one TRE (P6.4, P6.5): the
// DPF makes the header, the SHO alone sees K.
type ProtectRequest struct {
	Order    string           `cbor:"order"`
	Platform Signed[Platform] `cbor:"platform"` // TypePlatform
	Slot     int              `cbor:"slot"`
	Epoch    uint64           `cbor:"epoch"`
	Proof    []byte           `cbor:"proof"`    // CBOR mcim.EpochProof, as of StateAnswer
	Sequence uint64           `cbor:"sequence"` // that the package has to have
}

// PackageMessage carries an MCIM package (P6.5, P6.6).
type PackageMessage struct {
	Order   string `cbor:"order"`
	Package []byte `cbor:"package"` // COSE_Sign1 of tpm/mcim
	Issuer  []byte `cbor:"issuer"`  // DER, certificate of the SHO that signed it
	Nonce   []byte `cbor:"nonce"`   // for the receipt, as of CreateAnswer
}

// ReceiptMessage carries the TRE's signed result (P6.10).
type ReceiptMessage struct {
	Order   string `cbor:"order"`
	Receipt []byte `cbor:"receipt"` // CBOR mcim.Receipt
}

// LiveAnswer says whether the SHO has seen the new subscription attach (P7.4).
type LiveAnswer struct {
	Live bool   `cbor:"live"`
	IMSI string `cbor:"imsi"`
}

// DeleteRequest names the MCIM to erase (P7.5, P8a.13).
type DeleteRequest struct {
	Order string `cbor:"order"`
	Slot  int    `cbor:"slot"`
	Epoch uint64 `cbor:"epoch"` // of the slot with that MCIM; a slot that has moved on only proves it
	Nonce []byte `cbor:"nonce"` // the RO's, 32 bytes
}

// ProofMessage carries the TRE's proof that a slot was erased.
type ProofMessage struct {
	Proof []byte `cbor:"proof"` // CBOR mcim.EpochProof over the nonce
}

// LeaveAnswer is what the old SHO says to its subscriber's leaving (P8a.4).
type LeaveAnswer struct {
	// Contract is the mandate by which the subscriber is still bound; empty when
	// the machine is released.
	Contract Signed[Mandate] `cbor:"contract"`
}

// CloseRequest tells the old SHO that its subscription has left the machine
// (P8a.14).
type CloseRequest struct {
	Order string `cbor:"order"`
	IMSI  string `cbor:"imsi"`
	Nonce []byte `cbor:"nonce"` // the RO's
	Proof []byte `cbor:"proof"` // CBOR mcim.EpochProof over the nonce; empty where the TRE had nothing to erase
}

// WakeRequest wakes the machine behind an IMSI (P8a.5, P8c.2).
type WakeRequest struct {
	IMSI string `cbor:"imsi"`
}
