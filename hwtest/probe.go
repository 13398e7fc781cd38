package hwtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"mcim/apdu"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
	"mcim/card/device"
)

// CardProbe is what a card can do, found out by asking for it.
type CardProbe struct {
	// Power is EF.UMPC in words.
	Power Reading `json:"power"`
	// Applications are those of EF.DIR and the well-known ones that it may leave out.
	Applications []ProbedApplication `json:"applications"`
	// Data are objects of the issuer security domain, as GET DATA gives them to anybody.
	Data []ProbedData `json:"data"`
	// Commands are those that tell cards apart.
	Commands []ProbedCommand `json:"commands"`
	// Channels is the number of logical channels that could be open at once, the basic
	// one included.
	Channels int `json:"channels"`
	// LeftOpen are the channels that the card did not close when it was told to.
	LeftOpen []int `json:"left_open,omitempty"`
	// ClassA0 says that the card answers SELECT in the class of TS 51.011.
	ClassA0 bool `json:"class_a0"`
	// ExtendedLength says that the card took a command with lengths of 3 bytes, through
	// this reader.
	ExtendedLength bool `json:"extended_length"`
}

// ProbedApplication is an application that was asked for.
type ProbedApplication struct {
	AID    string `json:"aid"` // hexadecimal; the start of it where EF.DIR does not list it
	Kind   string `json:"kind,omitempty"`
	Listed bool   `json:"listed"`        // in EF.DIR
	There  bool   `json:"there"`         // SELECT found it
	Why    string `json:"why,omitempty"` // where it did not
}

// ProbedData is an answer to GET DATA (GlobalPlatform Card Specification, 11.3).
type ProbedData struct {
	Tag  string `json:"tag"` // hexadecimal
	Name string `json:"name"`
	Reading
}

// ProbedCommand is an instruction that the card was asked for.
type ProbedCommand struct {
	Name  string `json:"name"`
	Known bool   `json:"known"`
	SW    string `json:"sw"` // hexadecimal
}

// ProbeCard finds out what a card can do: it selects each application, asks for
// public data of the issuer security domain, opens and closes logical channels, and
// sends reading commands with parameters that no card accepts, whose refusal tells
// whether the card knows the instruction. Nothing is written, verified or
// authenticated, and the card is reset at the end. info is what InspectCard found.
//
// A refusal is part of the result; the error is that of a card that is gone.
func ProbeCard(ctx context.Context, c *device.Card, info CardInfo) (CardProbe, error) {
	i := &inspection{session: card.NewSession(c, card.Options{}), gsm: info.Kind == "SIM of class A0"}
	p := prober{inspection: i}
	steps := []func(context.Context) error{p.power, p.applications(info.Applications), p.commands, p.channels, p.extended}
	if i.gsm {
		steps = steps[:0]
	}
	for _, step := range append(steps, p.classA0) {
		if _, err := i.session.Reset(ctx); err != nil {
			return p.found, err
		}
		if err := step(ctx); err != nil {
			return p.found, err
		}
	}
	_, err := i.session.Reset(ctx)
	return p.found, err
}

// prober is a card that is being probed.
type prober struct {
	*inspection
	found CardProbe
}

func (p *prober) power(ctx context.Context) (lost error) {
	const fidUMPC = 0x2F08
	p.found.Power, lost = p.reading(ctx, place{path: []uint16{fidUMPC}}, func(b []byte) (string, error) {
		u, err := ef.As[ef.PowerConsumption](ef.DirMF, fidUMPC, b)
		if err != nil {
			return "", err
		}
		s := fmt.Sprintf("at most %d mA, time-out of the operator %d s", u.MaxCurrent, u.Timeout)
		if len(u.Info) > 0 {
			s += ", " + strings.Join(u.Info, ", ")
		}
		return s, nil
	})
	return lost
}

// wellKnown are applications that a card may have without listing them (TS 101 220,
// annex E; GlobalPlatform Card Specification, H.1.3; SGP.02 and SGP.22, 2.2).
var wellKnown = []struct{ kind, aid string }{
	{"USIM", "a0000000871002"},
	{"ISIM", "a0000000871004"},
	{"ISD", isdAID},
	{"ISD-R", "a0000005591010ffffffff8900000100"},
	{"ECASD", "a0000005591010ffffffff8900000200"},
	{"ARA-M", "a00000015141434c00"},
}

const isdAID = "a000000151000000"

func (p *prober) applications(listed []Application) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, a := range listed {
			if err := p.application(ctx, ProbedApplication{AID: a.AID, Kind: a.Kind, Listed: true}); err != nil {
				return err
			}
		}
		for _, known := range wellKnown {
			if listedAs(listed, known.aid) {
				continue
			}
			if err := p.application(ctx, ProbedApplication{AID: known.aid, Kind: known.kind}); err != nil {
				return err
			}
		}
		return nil
	}
}

func listedAs(listed []Application, prefix string) bool {
	for _, a := range listed {
		if strings.HasPrefix(a.AID, prefix) {
			return true
		}
	}
	return false
}

func (p *prober) application(ctx context.Context, a ProbedApplication) error {
	aid, err := hex.DecodeString(a.AID)
	if err != nil {
		return err
	}
	_, err = p.session.Do(ctx, uicc.SelectAID(aid).Command())
	why, lost := p.judge(ctx, err)
	if lost != nil {
		return lost
	}
	a.There, a.Why = why == "", why
	p.found.Applications = append(p.found.Applications, a)
	if a.There && a.AID == isdAID {
		return p.data(ctx)
	}
	return nil
}

// data asks the issuer security domain, which is selected.
func (p *prober) data(ctx context.Context) error {
	const insGetData = 0xCA
	for _, o := range []struct {
		tag  uint16
		name string
	}{{0x0066, "card data"}, {0x00E0, "key information"}, {0x9F7F, "production life cycle"}} {
		b, err := p.session.Do(ctx, apdu.Command{CLA: 0x80, INS: insGetData, P1: byte(o.tag >> 8), P2: byte(o.tag), Ne: apdu.MaxShortNe})
		value := hex.EncodeToString(b)
		why, lost := p.judge(ctx, err)
		if lost != nil {
			return lost
		}
		if why != "" {
			value = ""
		}
		p.found.Data = append(p.found.Data, ProbedData{fmt.Sprintf("%04x", o.tag), o.name, Reading{Value: value, Why: why}})
	}
	return nil
}

// commands sends each instruction with P1 and P2 FFFF and without data: the standard
// reserves that for all of them, so a card that knows one refuses the parameters.
// None of them writes, spends or runs something even if a card takes it.
func (p *prober) commands(ctx context.Context) error {
	for _, c := range []struct {
		name     string
		cla, ins byte
	}{
		{"SEARCH RECORD", 0x00, 0xA2},
		{"GET CHALLENGE", 0x00, 0x84},
		{"RETRIEVE DATA", 0x80, 0xCB},
		{"GET DATA", 0x80, 0xCA},
		{"STATUS", 0x80, uicc.INSStatus},
		{"GET IDENTITY", 0x80, 0x78},
		{"SUSPEND UICC", 0x80, 0x76},
		{"MANAGE SECURE CHANNEL", 0x00, 0x73},
		{"TRANSACT DATA", 0x00, 0x75},
		{"EXCHANGE CAPABILITIES", 0x80, 0x7A},
	} {
		r, err := p.session.Send(ctx, apdu.Command{CLA: c.cla, INS: c.ins, P1: 0xFF, P2: 0xFF})
		if err != nil {
			if _, lost := p.judge(ctx, err); lost != nil {
				return lost
			}
			continue
		}
		p.found.Commands = append(p.found.Commands, ProbedCommand{c.name, !errors.Is(r.SW, apdu.ErrUnsupported), fmt.Sprintf("%04x", uint16(r.SW))})
	}
	return nil
}

// channels opens what the card gives, and closes it.
func (p *prober) channels(ctx context.Context) error {
	p.found.Channels = 1
	var open []*card.Session
	for range card.MaxChannel {
		s, err := p.session.OpenChannel(ctx)
		if err != nil {
			if _, lost := p.judge(ctx, err); lost != nil && !errors.Is(err, card.ErrChannelNumber) {
				return lost
			}
			break
		}
		open = append(open, s)
	}
	p.found.Channels += len(open)
	for _, s := range open {
		if err := s.CloseChannel(ctx); err != nil {
			if _, lost := p.judge(ctx, err); lost != nil {
				return lost
			}
		}
	}
	p.found.LeftOpen = p.session.Leaks()
	return nil
}

// extended reads EF.ICCID with an Le of 3 bytes.
func (p *prober) extended(ctx context.Context) error {
	short, err := p.read(ctx, place{path: []uint16{uicc.FIDEFICCID}})
	if err == nil {
		c := uicc.ReadBinary{Ne: len(short)}.Command()
		c.Extended = true
		short = bytes.Clone(short)
		var long []byte
		if long, err = p.session.Do(ctx, c); err == nil {
			p.found.ExtendedLength = bytes.Equal(short, long)
		}
	}
	_, lost := p.judge(ctx, err)
	return lost
}

func (p *prober) classA0(ctx context.Context) error {
	c := uicc.SelectFID(uicc.FIDMF).Command()
	c.CLA, c.P2, c.Ne = classGSM, 0, 0
	_, err := p.session.Do(ctx, c)
	why, lost := p.judge(ctx, err)
	p.found.ClassA0 = why == "" && lost == nil
	return lost
}
