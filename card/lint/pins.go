package lint

import (
	"fmt"
	"strings"

	"mcim/apdu/uicc"
	"mcim/card"
)

// pinRules are about PIN1 and its PUK.
func pinRules() []Rule {
	return []Rule{
		{ID: "pin-blocked", Severity: Error, Clause: "TS 102 221, 9.5.1", scope: ofCard, judge: judgePINBlocked,
			What: "PIN1 is blocked, so that nobody can read the subscription", Remedy: "mcim card pin unblock --key pin1, with the PUK of the card"},
		{ID: "puk-blocked", Severity: Error, Clause: "TS 102 221, 11.1.13", scope: ofCard, judge: judgePUKBlocked,
			What: "PIN1 and its PUK are blocked", Remedy: "the issuer alone can help; as a rule the card has to be replaced"},
		{ID: "pin-tries", Severity: Warning, Clause: "TS 102 221, 9.5.1", scope: ofCard, judge: judgePINTries,
			What: "somebody has tried wrong PINs: fewer than three tries are left", Remedy: "verify the right PIN once (mcim card pin verify), and see what else presents one"},
		{ID: "puk-tries", Severity: Warning, Clause: "TS 102 221, 11.1.13", scope: ofCard, judge: judgePUKTries,
			What: "few tries of the PUK are left", Remedy: "find out the right PUK before another one is tried"},
		{ID: "pin-status", Severity: Warning, Clause: "TS 102 221, 11.1.1.4.10", scope: ofUICC, judge: judgePINStatus,
			What: "the parameters of the MF or of an application have no PIN status, and some modems refuse that", Remedy: "the issuer has to set it; a card cannot be told to"},
	}
}

// The tries with which cards are born (TS 31.102, 9.5 and practice).
const (
	pinTries = 3
	pukTries = 6 // of 10: below that somebody goes on guessing
)

// pins are the states of PIN1 and what stands in for it, where the card was asked.
func (v *view) pins() []card.PINState {
	if v.subject.Probe == nil {
		v.unseen("a dump does not tell the tries of PIN1")
		return nil
	}
	var list []card.PINState
	for _, p := range v.subject.Probe.PINs {
		if p.Ref == uicc.RefPIN1 && p.Replaced {
			continue
		}
		list = append(list, p)
	}
	return list
}

// tries gives the PINs with as many tries left as below says.
func (v *view) tries(below int) (list []card.PINState) {
	for _, p := range v.pins() {
		switch {
		case p.Tries == nil:
			v.unseen("the card does not tell the tries of %s", p.Name)
		case *p.Tries < below:
			list = append(list, p)
		}
	}
	return list
}

func judgePINBlocked(v *view) {
	for _, p := range v.tries(1) {
		if p.Enabled == nil || *p.Enabled {
			v.find("", "%s has no try left", p.Name)
		}
	}
}

func judgePUKBlocked(v *view) {
	for _, p := range v.tries(1) {
		if p.PUKTries != nil && *p.PUKTries == 0 {
			v.find("", "neither %s nor its PUK has a try left", p.Name)
		}
	}
}

func judgePINTries(v *view) {
	for _, p := range v.tries(pinTries) {
		if *p.Tries > 0 {
			v.find("", "%s has %s left", p.Name, count(*p.Tries, "try", "tries"))
		}
	}
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func judgePUKTries(v *view) {
	for _, p := range v.pins() {
		switch {
		case p.PUKTries == nil:
			v.unseen("the card does not tell the tries of the PUK of %s", p.Name)
		case *p.PUKTries < pukTries && (*p.PUKTries > 0 || p.Tries == nil || *p.Tries > 0):
			v.find("", "the PUK of %s has %s left", p.Name, count(*p.PUKTries, "try", "tries"))
		}
	}
}

func judgePINStatus(v *view) {
	for _, f := range v.subject.Document.Files {
		application := f.AID != "" && !strings.Contains(f.Path, "/")
		if (f.Path == "MF" || application) && f.FCP != nil && f.FCP.Error == "" && len(f.FCP.PINs) == 0 {
			v.find(f.Path, "its parameters name no PIN")
		}
	}
}
