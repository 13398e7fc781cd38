package emul

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"mcim/apdu/secret"
	"mcim/apdu/uicc"
	"mcim/card/model"
)

// state is what a card keeps without power. What a card knows only until the next reset
// is in Card, but for pin.verified.
type state struct {
	layout  *model.Card
	model   *model.Model // family of the layout
	mf, adf *dir         // adf is the USIM, or DF.GSM of a SIM
	apps    []*dir       // the applications, as in EF.DIR
	rules   []*ruleFile
	ruled   map[*ruleFile][][]uicc.AccessRule // records of those whose EF.ARR has changed
	files   []*file                           // all, each once
	keyFile *file
	sqnFile *file
	ust     *file // EF.UST
	gba     [gbaApps]gbaState
	pins    []*pin
	made    []*made // in the order of their creation, what CREATE FILE made
	// authLeft is how many authentications are left; nil is no limit.
	authLeft *uint32
	// channelKey is shared with the terminal; empty: the card has no secure channel.
	channelKey   secret.Bytes
	channelLimit int // commands that a connection carries
}

// Snapshot is the whole state of a card at one moment: its files and what they hold,
// created ones too, life cycles, the values and counters of its codes, sequence numbers,
// keys of GBA, of local keys and of the secure channel, the limit of authentications. Not
// in it is what a reset takes from a card: selections, channels, which codes are verified,
// proactive commands that wait; and a suspension. Cards made of it begin as after a reset.
//
// A snapshot never changes, and costs little: files lie in memory once for all cards that
// have not changed them. Several goroutines may use one.
type Snapshot struct{ state state }

// Format implements fmt.Formatter: a snapshot holds keys.
func (s Snapshot) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("snapshot of a software UICC")) }

// Snapshot takes the state of the card, which goes on as before.
func (c *Card) Snapshot() Snapshot {
	c.freeze()
	return Snapshot{c.fork()}
}

// Fork makes a card in memory with the state of the snapshot. From there on the two know
// nothing of each other; both have the ICCID and the keys, so only one of them should meet
// a network: sequence numbers that one has used the other has not seen.
func (s Snapshot) Fork() *Card { return begin(s.state.fork()) }

// Restore puts the card back to a snapshot, of this card or of another one, as after a
// reset; a card with an image has it on disk before Restore returns. After an error the
// state is as it was.
func (c *Card) Restore(s Snapshot) error {
	before := c.state
	c.state = s.state.fork()
	if c.storage != nil {
		if err := c.storage.compact(); err != nil {
			c.state = before
			return fmt.Errorf("restore the card image: %w", err)
		}
	}
	c.gsm, c.engine, c.suspended = nil, nil, nil
	c.channels = make([]channel, c.layout.Channels)
	c.powerUp()
	return nil
}

// begin is a card with that state, after a reset.
func begin(s state) *Card {
	c := &Card{state: s, channels: make([]channel, s.layout.Channels)}
	c.powerUp()
	return c
}

// freeze makes all files shared ones, so that the state can be forked.
func (s *state) freeze() {
	for _, f := range s.files {
		if !f.shared { // else others may be reading it
			f.shared = true
		}
	}
}

// fork is a state of its own with the files of this one, which are all shared.
func (s *state) fork() state {
	n := *s
	n.files, n.rules, n.ruled = slices.Clone(s.files), slices.Clone(s.rules), maps.Clone(s.ruled)
	dirs := map[*dir]*dir{}
	n.mf = s.mf.fork(nil, dirs)
	n.adf = dirs[s.adf]
	n.apps = make([]*dir, len(s.apps))
	for i, app := range s.apps {
		n.apps[i] = dirs[app]
	}
	for i := range n.gba {
		n.gba[i].nafs = maps.Clone(s.gba[i].nafs)
	}
	n.pins = make([]*pin, len(s.pins))
	pins := make([]pin, len(s.pins))
	for i, p := range s.pins {
		pins[i] = *p
		pins[i].app = dirs[p.app]
		n.pins[i] = &pins[i]
	}
	n.made = make([]*made, len(s.made))
	for i, m := range s.made {
		one := *m
		one.parent, one.dir = dirs[m.parent], dirs[m.dir]
		n.made[i] = &one
	}
	if s.authLeft != nil {
		left := *s.authLeft
		n.authLeft = &left
	}
	return n
}

// fork copies the directory and those below it, and notes which is which.
func (d *dir) fork(parent *dir, dirs map[*dir]*dir) *dir {
	n := *d
	dirs[d] = &n
	n.parent, n.files, n.dirs = parent, slices.Clone(d.files), make([]*dir, len(d.dirs))
	for i, child := range d.dirs {
		n.dirs[i] = child.fork(&n, dirs)
	}
	return &n
}

// writable is the file, or in the place of a shared one a copy that is the card's own.
// Whoever changes a file asks for it first, and goes on with what it gets.
func (c *Card) writable(f *file) *file {
	if !f.shared {
		return f
	}
	mine := f.with(slices.Clone(f.data))
	c.replace(f, mine)
	return mine
}

// with is a copy of the file that is not shared, with other data.
func (f *file) with(data []byte) *file {
	n := *f
	n.data, n.shared = data, false
	return &n
}

// replace puts a file into the place of another, wherever the card knows it.
func (c *Card) replace(old, with *file) {
	for _, known := range []**file{&c.keyFile, &c.sqnFile, &c.ust} {
		if *known == old {
			*known = with
		}
	}
	for _, m := range c.made {
		if m.file == old {
			m.file = with
		}
	}
	open := [][]channel{c.channels}
	if c.suspended != nil {
		open = append(open, c.suspended.channels)
	}
	for _, channels := range open {
		for i := range channels {
			if channels[i].file == old {
				channels[i].file = with
			}
		}
	}
	replaceIn(c.files, old, with)
	c.mf.replace(old, with)
}

func (d *dir) replace(old, with *file) {
	replaceIn(d.files, old, with)
	for _, child := range d.dirs {
		child.replace(old, with)
	}
}

func replaceIn(files []*file, old, with *file) {
	if i := slices.Index(files, old); i >= 0 {
		files[i] = with
	}
}

// maxTemplates is how many layouts are kept for the next card. Cards of a lab are of few.
const maxTemplates = 8

// templates are the last layouts that cards were made of, the latest first: cards of one
// layout share what they have in common.
var templates struct {
	sync.Mutex
	list []*template
}

// templateOf finds or makes the template of the card l.
func templateOf(l *model.Card) (*template, error) {
	templates.Lock()
	defer templates.Unlock()
	at := slices.IndexFunc(templates.list, func(t *template) bool { return t.layout == l })
	if at < 0 {
		t, err := makeTemplate(l)
		if err != nil {
			return nil, err
		}
		templates.list = slices.Insert(templates.list, 0, t)
		templates.list = templates.list[:min(len(templates.list), maxTemplates)]
		return t, nil
	}
	t := templates.list[at]
	copy(templates.list[1:at+1], templates.list[:at])
	templates.list[0] = t
	return t, nil
}
