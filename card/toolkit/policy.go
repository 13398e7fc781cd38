package toolkit

import (
	"context"
	"fmt"
	"time"

	"mcim/apdu/cat"
)

// Handler answers a proactive command.
type Handler func(ctx context.Context, p cat.Proactive) Answer

// Answer is the answer to a proactive command.
type Answer struct {
	Result  cat.Result
	Objects []cat.Object // behind the result
	// Why is for the log: what the card is not told.
	Why string

	reset bool // the card is reset in place of a TERMINAL RESPONSE
}

// Accept answers that a command was performed, and does nothing.
func Accept(context.Context, cat.Proactive) Answer { return Answer{} }

// Refuse answers with a general result and why it is so.
func Refuse(result cat.General, why string) Handler {
	return func(context.Context, cat.Proactive) Answer {
		return Answer{Result: cat.Result{General: result}, Why: why}
	}
}

func refuse(result cat.General, format string, args ...any) Answer {
	return Answer{Result: cat.Result{General: result}, Why: fmt.Sprintf(format, args...)}
}

// answer lets policy or default answer a command. What no card may ask for, or what has a
// data object that has to be understood and is not known, reaches neither.
func (t *Terminal) answer(ctx context.Context, p cat.Proactive) Answer {
	if from := p.Devices().Source; from != cat.DeviceUICC {
		return refuse(cat.ResultDataUnknown, "it says to be from %s, not from the UICC", from)
	}
	for _, part := range p.Objects {
		if !part.Optional && !cat.Known(part.Object.Tag()) {
			return refuse(cat.ResultDataUnknown, "data object %02X is not known, and has to be understood", part.Object.Tag())
		}
	}
	if h := t.config.Policy[p.Details().Type]; h != nil {
		return h(ctx, p)
	}
	return t.byDefault(ctx, p)
}

// byDefault is what a machine without display, keypad and radio does.
func (t *Terminal) byDefault(ctx context.Context, p cat.Proactive) Answer {
	switch p.Details().Type {
	case cat.TypeMoreTime, cat.TypeLanguage:
		return Answer{}
	case cat.TypePollInterval:
		return t.pollInterval(p)
	case cat.TypePollingOff:
		t.poll = 0
		return Answer{}
	case cat.TypeRefresh:
		return t.refresh(ctx, p)
	case cat.TypeSetUpEventList:
		return t.setUpEvents(p)
	case cat.TypeProvideLocal:
		return t.provideLocal(p)
	case cat.TypeTimerManagement:
		return t.manageTimer(p)
	case cat.TypeOpenChannel:
		return t.openChannel(ctx, p)
	case cat.TypeCloseChannel:
		return t.closeChannel(p)
	case cat.TypeSendData:
		return t.sendData(p)
	case cat.TypeReceiveData:
		return t.receiveData(p)
	case cat.TypeGetChannelStatus:
		return t.channelStatus()
	}
	return refuse(cat.ResultBeyond, "this terminal does not do that")
}

func (t *Terminal) pollInterval(p cat.Proactive) Answer {
	d, ok := cat.Find[cat.Duration](p.Objects)
	if !ok || d.Interval == 0 {
		return refuse(cat.ResultValuesMissing, "no duration")
	}
	unit := map[cat.Unit]time.Duration{cat.Minutes: time.Minute, cat.Seconds: time.Second, cat.Tenths: time.Second / 10}[d.Unit]
	if unit == 0 {
		return refuse(cat.ResultDataUnknown, "unit %s", d.Unit)
	}
	t.poll = time.Duration(d.Interval) * unit
	return Answer{Objects: []cat.Object{&d}}
}

// setUpEvents takes the list of events in place of the one before; those that this
// terminal does not have make it refuse the whole (TS 102 223, 6.4.16).
func (t *Terminal) setUpEvents(p cat.Proactive) Answer {
	list, ok := cat.Find[cat.EventList](p.Objects)
	if !ok {
		return refuse(cat.ResultValuesMissing, "no event list")
	}
	events := map[cat.Event]bool{}
	for _, e := range list.Events {
		switch e {
		case cat.EventDataAvailable, cat.EventChannelStatus, cat.EventLocationStatus:
			events[e] = true
		default:
			return refuse(cat.ResultBeyond, "this terminal has no event %s", e)
		}
	}
	t.events = events
	return Answer{}
}

// noService is the additional information of a terminal that is currently unable
// (TS 102 223, 8.12.2).
const noService = 0x04

func (t *Terminal) provideLocal(p cat.Proactive) Answer {
	what := cat.Local(p.Details().Qualifier)
	switch {
	case what == cat.LocalLocation && t.config.Location == nil:
		return Answer{Result: cat.Result{General: cat.ResultUnable, Info: []byte{noService}}, Why: "no service"}
	case what == cat.LocalLocation:
		return Answer{Objects: []cat.Object{t.config.Location}}
	case what == cat.LocalIMEI && t.config.IMEI != "":
		return Answer{Objects: []cat.Object{&cat.IMEI{Digits: t.config.IMEI}}}
	case what == cat.LocalIMEISV && t.config.IMEISV != "":
		return Answer{Objects: []cat.Object{&cat.IMEISV{Digits: t.config.IMEISV}}}
	case what == cat.LocalDateTime:
		return Answer{Objects: []cat.Object{dateTime(t.config.Clock.Now())}}
	case what == cat.LocalLanguage:
		code := t.config.Language
		if code == "" {
			code = "en"
		}
		return Answer{Objects: []cat.Object{&cat.Language{Code: code}}}
	}
	return refuse(cat.ResultBeyond, "this terminal has no %s", what)
}

// dateTime is a time in UTC, time zone 0.
func dateTime(now time.Time) *cat.DateTime {
	u := now.UTC()
	return &cat.DateTime{
		Year: uint8(u.Year() % 100), Month: uint8(u.Month()), Day: uint8(u.Day()),
		Hour: uint8(u.Hour()), Minute: uint8(u.Minute()), Second: uint8(u.Second()),
	}
}
