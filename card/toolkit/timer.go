package toolkit

import (
	"context"
	"time"

	"mcim/apdu/cat"
)

// maxTimers is the number of timers of a card (TS 102 223, 6.4.21).
const maxTimers = 8

// timer is a timer of the card.
type timer struct {
	running bool
	starts  time.Time
	ends    time.Time
}

// manageTimer is TIMER MANAGEMENT (TS 102 223, 6.4.21).
func (t *Terminal) manageTimer(p cat.Proactive) Answer {
	id, ok := cat.Find[cat.TimerID](p.Objects)
	if !ok {
		return refuse(cat.ResultValuesMissing, "no timer identifier")
	}
	if id.ID < 1 || id.ID > maxTimers {
		return refuse(cat.ResultDataUnknown, "timer %d, there are 1 to %d", id.ID, maxTimers)
	}
	x, now := &t.timers[id.ID], t.config.Clock.Now()
	action := cat.Timer(p.Details().Qualifier)
	switch action {
	case cat.TimerStart:
		v, ok := cat.Find[cat.TimerValue](p.Objects)
		if !ok {
			return refuse(cat.ResultValuesMissing, "no timer value")
		}
		d := time.Duration(v.Hours)*time.Hour + time.Duration(v.Minutes)*time.Minute + time.Duration(v.Seconds)*time.Second
		*x = timer{true, now, now.Add(d)}
		return Answer{Objects: []cat.Object{&id}}
	case cat.TimerDeactivate, cat.TimerGet:
		if !x.running {
			return refuse(cat.ResultTimerState, "timer %d is not running", id.ID)
		}
		left := timerValue(max(x.ends.Sub(now), 0))
		x.running = action == cat.TimerGet
		return Answer{Objects: []cat.Object{&id, &left}}
	}
	return refuse(cat.ResultDataUnknown, "%s of a timer", action)
}

// timerValue is a duration below 100 hours, in whole seconds.
func timerValue(d time.Duration) cat.TimerValue {
	s := int(d / time.Second)
	return cat.TimerValue{Hours: uint8(min(s/3600, 99)), Minutes: uint8(s / 60 % 60), Seconds: uint8(s % 60)}
}

// tellTimers tells the card of timers that ended (TS 102 223, 7.4).
func (t *Terminal) tellTimers(ctx context.Context) error {
	for id := range t.timers {
		x, now := &t.timers[id], t.config.Clock.Now()
		if !x.running || now.Before(x.ends) {
			continue
		}
		x.running = false
		if _, err := t.Envelope(ctx, cat.TimerExpiration(uint8(id), timerValue(now.Sub(x.starts)))); err != nil {
			return err
		}
	}
	return nil
}
