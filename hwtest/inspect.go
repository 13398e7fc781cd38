package hwtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/device"
	"mcim/card/model"
)

// CardInfo is all that a card says of itself to somebody who has no PIN.
type CardInfo struct {
	URI      string `json:"card"`
	Reader   string `json:"reader,omitempty"`
	Driver   string `json:"driver,omitempty"`
	Protocol string `json:"protocol,omitempty"` // in use: "T=0" or "T=1"

	ATR    ATRInfo    `json:"atr"`
	Family FamilyInfo `json:"family"`
	// Kind is what the card answers to: "UICC", "SIM of class A0", or "unknown".
	Kind  string  `json:"kind"`
	ICCID Reading `json:"iccid"`

	Applications []Application `json:"applications"`
	// ApplicationsWhy says why EF.DIR could not be read, or not all of it.
	ApplicationsWhy string `json:"applications_why,omitempty"`

	PINs []PIN `json:"pins"`
	// PINsWhy says why the card tells no PIN.
	PINsWhy string `json:"pins_why,omitempty"`

	IMSI        Reading  `json:"imsi"`
	MNCLength   Reading  `json:"mnc_length"`   // digits
	HomeNetwork Reading  `json:"home_network"` // as in "001-01"
	Services    Services `json:"services"`

	// Probe is what was found out by asking for it; nil where nobody asked.
	Probe *CardProbe `json:"probe,omitempty"`

	// Incomplete says what ended the reading before its end; empty otherwise.
	Incomplete string `json:"incomplete,omitempty"`
}

// Reading is a value that a card gives, or why it does not.
type Reading struct {
	Value string `json:"value,omitempty"`
	Why   string `json:"why,omitempty"` // where Value is empty
}

// ATRInfo is the answer to reset, decoded (ISO/IEC 7816-3, 8).
type ATRInfo struct {
	Hex       string   `json:"hex"`
	Why       string   `json:"why,omitempty"` // why it could not be decoded; then the rest is empty
	Protocols []string `json:"protocols,omitempty"`
	Fi        int      `json:"fi,omitempty"`
	Di        int      `json:"di,omitempty"`
	ClockKHz  int      `json:"clock_khz,omitempty"` // highest clock
	BitRate   int      `json:"bit_rate,omitempty"`  // bit/s at that clock
	Voltage   []string `json:"voltage,omitempty"`   // as in "5 V"
	ClockStop string   `json:"clock_stop,omitempty"`

	Historical   string   `json:"historical,omitempty"` // hexadecimal
	Capabilities []string `json:"capabilities,omitempty"`
	Channels     int      `json:"channels,omitempty"` // logical channels, the basic one included; 8 is 8 or more
}

// FamilyInfo is what the ATR lets guess, and whether a model lets the card be
// written.
type FamilyInfo struct {
	Name   string `json:"name"`
	Exact  bool   `json:"exact"`
	Reason string `json:"reason"`
	// Model is the card model by which the card may be written; empty where it is
	// only read.
	Model string `json:"model,omitempty"`
}

// Application is a record of EF.DIR (TS 102 221, 13.1).
type Application struct {
	AID   string `json:"aid"`             // hexadecimal
	Kind  string `json:"kind,omitempty"`  // as in "USIM", where the AID is a known one
	Label string `json:"label,omitempty"` // as the card has it
}

// PIN is the state of a PIN or key. Nil is what the card does not tell.
type PIN struct {
	Ref     byte   `json:"ref"` // key reference (TS 102 221, 9.5.1)
	Name    string `json:"name"`
	Enabled *bool  `json:"enabled,omitempty"`
	Tries   *int   `json:"tries,omitempty"` // left
	Why     string `json:"why,omitempty"`   // why Tries is not there
}

// Services are those of EF.UST that matter here (TS 31.102, 4.2.8).
type Services struct {
	Available []string `json:"available,omitempty"`
	Missing   []string `json:"missing,omitempty"`
	Why       string   `json:"why,omitempty"` // why EF.UST could not be read
}

// InspectCard resets the card and reads what it tells to anybody. It sends only
// SELECT, READ and the question for a retry counter, which it leaves to
// card.Guard: nothing is written, verified or authenticated.
//
// What a card refuses, or gives damaged, is a reason in its place of the result.
// The error is that of a card that is gone, or that went silent again and
// again; the result has then what was read before.
func InspectCard(ctx context.Context, c *device.Card) (CardInfo, error) {
	i := &inspection{session: card.NewSession(c, card.Options{}),
		info: CardInfo{URI: c.URI, Reader: c.Reader, Driver: c.Driver, Protocol: c.Protocol, Kind: "unknown",
			Applications: []Application{}, PINs: []PIN{}}}
	err := i.run(ctx)
	if err != nil {
		i.info.Incomplete = err.Error()
	}
	return i.info, err
}

// inspection is a card that is being read.
type inspection struct {
	session *card.Session
	guard   *card.Guard
	atr     []byte
	gsm     bool // the card knows class A0 only
	mute    string
	usim    []byte // AID of the USIM, or the start of it
	faults  int    // silences and lost exchanges so far
	info    CardInfo
}

// maxFaults is how many times a card may go silent before it is given up.
const maxFaults = 3

func (i *inspection) run(ctx context.Context) error {
	atr, err := i.session.Reset(ctx)
	if err != nil {
		return err
	}
	i.atr = bytes.Clone(atr)
	i.info.ATR = describeATR(i.atr)
	if i.info.Family, err = describeFamily(i.atr); err != nil {
		return err
	}
	i.guard = card.NewGuard(i.session, card.GuardConfig{ATR: i.atr})
	for _, step := range []func(context.Context) error{i.kind, i.iccid, i.applications, i.pins, i.subscription} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// judge tells what a card refuses (why) from a card that is lost. After a
// silence the card is reset and the inspection goes on.
func (i *inspection) judge(ctx context.Context, err error) (why string, lost error) {
	if err == nil {
		return "", nil
	}
	var command *card.CommandError
	if errors.As(err, &command) {
		return refusal(command.SW, err), nil
	}
	for _, content := range []error{uicc.ErrICCID, uicc.ErrDirRecord, ef.ErrContent, usim.ErrContent, apdu.ErrMalformed} {
		if errors.Is(err, content) {
			return err.Error(), nil
		}
	}
	if errors.Is(err, card.ErrRemoved) || ctx.Err() != nil {
		return "", err
	}
	if i.faults++; i.faults >= maxFaults {
		return "", fmt.Errorf("the card failed %d times, the last time so: %w", i.faults, err)
	}
	if _, rerr := i.session.Reset(ctx); rerr != nil {
		return "", errors.Join(err, rerr)
	}
	return err.Error(), nil
}

// Status words of class A0 (TS 51.011, 9.4).
const (
	swGSMAccess   apdu.StatusWord = 0x9804
	swGSMNotFound apdu.StatusWord = 0x9404
)

// refusal says in words what stands between the caller and a file.
func refusal(sw apdu.StatusWord, err error) string {
	switch {
	case errors.Is(sw, apdu.ErrAccess):
		return "PIN1 must be verified"
	case sw == swGSMAccess:
		return "CHV1 must be verified"
	case errors.Is(sw, apdu.ErrNotFound), sw == swGSMNotFound:
		return "not on the card"
	default:
		return err.Error()
	}
}

// kind finds out in which class the card speaks.
func (i *inspection) kind(ctx context.Context) error {
	_, err := i.open(ctx, place{})
	why, lost := i.judge(ctx, err)
	if lost != nil || why == "" {
		i.info.Kind = "UICC"
		return lost
	}
	i.gsm = true
	_, err = i.open(ctx, place{})
	gsmWhy, lost := i.judge(ctx, err)
	if lost != nil || gsmWhy == "" {
		i.info.Kind = "SIM of class A0"
		return lost
	}
	if i.faults > 1 { // not refused, but without an answer in both classes
		return fmt.Errorf("the card answers nothing after its ATR: %w", err)
	}
	i.gsm = false
	i.mute = "neither a UICC (" + why + ") nor a SIM of class A0 (" + gsmWhy + ")"
	return nil
}

func (i *inspection) iccid(ctx context.Context) (lost error) {
	i.info.ICCID, lost = i.reading(ctx, place{path: []uint16{uicc.FIDEFICCID}}, uicc.DecodeICCID)
	return lost
}

func (i *inspection) subscription(ctx context.Context) (lost error) {
	i.info.IMSI, lost = i.reading(ctx, i.app(usim.EFIMSI), func(b []byte) (string, error) {
		imsi, err := usim.DecodeIMSI(b)
		return string(imsi), err
	})
	if lost != nil {
		return lost
	}
	i.info.MNCLength, lost = i.reading(ctx, i.app(usim.EFAD), func(b []byte) (string, error) {
		ad, err := ef.As[ef.AdministrativeData](ef.DirUSIM, usim.EFAD, b)
		if err != nil {
			return "", err
		}
		return fmt.Sprint(ad.MNCLength), nil
	})
	if lost != nil {
		return lost
	}
	i.info.HomeNetwork = homeNetwork(i.info.IMSI, i.info.MNCLength)
	return i.services(ctx)
}

// homeNetwork cuts MCC and MNC out of the IMSI.
func homeNetwork(imsi, length Reading) Reading {
	n, err := strconv.Atoi(length.Value)
	switch {
	case imsi.Value == "":
		return Reading{Why: "the IMSI is not known"}
	case err != nil:
		return Reading{Why: "the length of the MNC is not known"}
	case len(imsi.Value) < 3+n:
		return Reading{Why: "the IMSI is shorter than its network"}
	}
	return Reading{Value: imsi.Value[:3] + "-" + imsi.Value[3:3+n]}
}

// highlights are the services that say what a card can be used for.
var highlights = []struct {
	service usim.Service
	name    string
}{
	{usim.ServiceGSMAccess, "GSM access"},
	{usim.ServiceGSMContext, "GSM security context"},
	{usim.ServiceEPSMobility, "EPS mobility management"},
	{usim.Service5GSMobility, "5GS mobility management"},
	{usim.ServiceSUCI, "SUCI"},
	{usim.ServiceSMSPPDownload, "data download by SMS-PP"},
	{usim.ServiceLocalPhoneBook, "local phone book"},
	{usim.ServiceSMS, "short messages"},
	{usim.ServiceMSISDN, "MSISDN"},
}

func (i *inspection) services(ctx context.Context) error {
	if i.gsm {
		i.info.Services.Why = "a SIM has no EF.UST"
		return nil
	}
	var table usim.UST
	r, lost := i.reading(ctx, i.app(usim.EFUST), func(b []byte) (s string, err error) {
		table, err = usim.DecodeUST(b)
		return hex.EncodeToString(b), err
	})
	if lost != nil || r.Value == "" {
		i.info.Services.Why = r.Why
		return lost
	}
	for _, h := range highlights {
		if table.Has(h.service) {
			i.info.Services.Available = append(i.info.Services.Available, h.name)
		} else {
			i.info.Services.Missing = append(i.info.Services.Missing, h.name)
		}
	}
	return nil
}

// describeFamily guesses what the card is, and finds its model.
func describeFamily(atr []byte) (FamilyInfo, error) {
	guess, err := model.GuessFamily(atr)
	if err != nil {
		return FamilyInfo{}, err
	}
	f := FamilyInfo{Name: guess.Name, Exact: guess.Exact, Reason: guess.Reason}
	if m, err := model.Find(atr); err == nil {
		f.Model = m.Name
	}
	return f, nil
}
