package toolkit_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mcim/apdu"
	"mcim/apdu/cat"
	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/apdu/usim"
	"mcim/card"
	"mcim/card/cardtest"
	"mcim/card/emul"
	"mcim/card/toolkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that stands still but for what sleeps.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 24, 12, 30, 50, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return ctx.Err()
}

// still is a clock whose sleepers wait for their context: time comes from elsewhere.
type still struct{ *clock }

func (still) Sleep(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// software is a software UICC of the model, in its session after a reset.
func software(t testing.TB, model string) (*emul.Card, *card.Session) {
	t.Helper()
	p, err := emul.RandomProfile(model)
	if err != nil {
		t.Fatal(err)
	}
	c, err := emul.New(p)
	if err != nil {
		t.Fatal(err)
	}
	s := card.NewSession(c, card.Options{})
	if _, err := s.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// start puts a terminal on a card without toolkit, which is then asked to queue commands.
func start(t testing.TB, config toolkit.Config) (*emul.Card, *card.Session, *toolkit.Terminal) {
	t.Helper()
	c, s := software(t, "usim")
	if config.Clock == nil {
		config.Clock = newClock()
	}
	queue(t, c, order(cat.TypeMoreTime, 0)) // a proactive card
	terminal, err := toolkit.Start(t.Context(), s, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(terminal.Close)
	poll(t, terminal)
	return c, s, terminal
}

// order is a command to the terminal.
func order(kind cat.Type, qualifier uint8, objects ...cat.Object) cat.Proactive {
	return cat.NewProactive(cat.CommandDetails{Number: 1, Type: kind, Qualifier: qualifier}, cat.DeviceTerminal, objects...)
}

// toChannel is a command to channel n.
func toChannel(kind cat.Type, qualifier uint8, n int, objects ...cat.Object) cat.Proactive {
	to := cat.DeviceChannel + cat.Device(n-1)
	return cat.NewProactive(cat.CommandDetails{Number: 1, Type: kind, Qualifier: qualifier}, to, objects...)
}

func queue(t testing.TB, c *emul.Card, commands ...cat.Proactive) {
	t.Helper()
	if err := c.Queue(commands...); err != nil {
		t.Fatal(err)
	}
}

func poll(t testing.TB, terminal *toolkit.Terminal) {
	t.Helper()
	if err := terminal.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// answers lets the card ask, and gives what it is told, a line for each command.
func answers(t testing.TB, c *emul.Card, terminal *toolkit.Terminal, commands ...cat.Proactive) []string {
	t.Helper()
	before := len(terminal.Log())
	queue(t, c, commands...)
	poll(t, terminal)
	told := slices.Clone(terminal.Log()[before:])
	return lines(slices.DeleteFunc(told, func(e toolkit.Entry) bool { return e.Envelope != "" }))
}

func lines(log []toolkit.Entry) []string {
	var list []string
	for _, e := range log {
		if e.Envelope != "" {
			list = append(list, e.Envelope)
			continue
		}
		list = append(list, strings.Join(e.Answered, "; "))
	}
	return list
}

// TestDefaults asks a machine without display for everything.
func TestDefaults(t *testing.T) {
	t.Parallel()
	c, _, terminal := start(t, toolkit.Config{
		IMEI: "123456789012345", Location: &cat.Location{PLMN: "001-01", LAC: 1, Cell: 2},
	})
	const beyond = "result: beyond the terminal's capabilities"
	for name, tt := range map[string]struct {
		p    cat.Proactive
		want string
	}{
		"MORE TIME":       {order(cat.TypeMoreTime, 0), "result: performed"},
		"LANGUAGE":        {order(cat.TypeLanguage, 0), "result: performed"},
		"POLL INTERVAL":   {order(cat.TypePollInterval, 0, &cat.Duration{Unit: cat.Tenths, Interval: 5}), "result: performed; duration: 5 tenths of a second"},
		"no interval":     {order(cat.TypePollInterval, 0), "result: required values are missing"},
		"wrong unit":      {order(cat.TypePollInterval, 0, &cat.Duration{Unit: 7, Interval: 5}), "result: data of command not understood"},
		"location":        {order(cat.TypeProvideLocal, 0), "result: performed; location information: plmn 001-01, lac 1, cell 2"},
		"IMEI":            {order(cat.TypeProvideLocal, 1), `result: performed; imei: "123456789012345"`},
		"no IMEISV":       {order(cat.TypeProvideLocal, 8), beyond},
		"language":        {order(cat.TypeProvideLocal, 4), `result: performed; language: "en"`},
		"battery":         {order(cat.TypeProvideLocal, 10), beyond},
		"events":          {order(cat.TypeSetUpEventList, 0, &cat.EventList{Events: []cat.Event{cat.EventDataAvailable}}), "result: performed"},
		"event of a user": {order(cat.TypeSetUpEventList, 0, &cat.EventList{Events: []cat.Event{cat.EventUserActivity}}), beyond},
		"no event list":   {order(cat.TypeSetUpEventList, 0), "result: required values are missing"},
		"DISPLAY TEXT":    {order(cat.TypeDisplayText, 0), beyond},
		"GET INPUT":       {order(cat.TypeGetInput, 0), beyond},
		"SET UP MENU":     {order(cat.TypeSetUpMenu, 0), beyond},
		"hidden SMS":      {order(cat.TypeSendShortMessage, 0), beyond},
		"SET UP CALL":     {order(cat.TypeSetUpCall, 0), beyond},
		"LAUNCH BROWSER":  {order(cat.TypeLaunchBrowser, 0), beyond},
		"unknown type":    {order(0x6E, 0), beyond},
		"unknown object":  {order(cat.TypeMoreTime, 0, &cat.Raw{ID: 0x1234}), "result: data of command not understood"},
		"no timer":        {order(cat.TypeTimerManagement, 0), "result: required values are missing"},
		"timer 9":         {order(cat.TypeTimerManagement, 0, &cat.TimerID{ID: 9}), "result: data of command not understood"},
		"no timer value":  {order(cat.TypeTimerManagement, 0, &cat.TimerID{ID: 1}), "result: required values are missing"},
		"timer action":    {order(cat.TypeTimerManagement, 3, &cat.TimerID{ID: 1}), "result: data of command not understood"},
		"timer at rest":   {order(cat.TypeTimerManagement, 2, &cat.TimerID{ID: 1}), "result: contradiction with the state of the timer"},
	} {
		if got := answers(t, c, terminal, tt.p); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := answers(t, c, terminal, order(cat.TypePollInterval, 0, &cat.Duration{Unit: cat.Minutes, Interval: 2})); len(got) != 1 || terminal.PollInterval() != 2*time.Minute {
		t.Errorf("%q, %v", got, terminal.PollInterval())
	}
	if answers(t, c, terminal, order(cat.TypePollingOff, 0)); terminal.PollInterval() != 0 {
		t.Errorf("still polled every %v", terminal.PollInterval())
	}
}

func TestForgedSource(t *testing.T) {
	t.Parallel()
	c, _, terminal := start(t, toolkit.Config{})
	forged := order(cat.TypeRefresh, byte(cat.RefreshReset))
	forged.Objects[1].Object = &cat.DeviceIdentities{Source: cat.DeviceNetwork, Destination: cat.DeviceTerminal}
	if got := answers(t, c, terminal, forged); !slices.Equal(got, []string{"result: data of command not understood"}) {
		t.Error(got)
	}
	if last := terminal.Log()[len(terminal.Log())-1]; !last.Refused || !strings.Contains(last.Why, "network") {
		t.Errorf("%+v", last)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	shown := ""
	c, _, terminal := start(t, toolkit.Config{Policy: map[cat.Type]toolkit.Handler{
		cat.TypeDisplayText: func(_ context.Context, p cat.Proactive) toolkit.Answer {
			text, _ := cat.Find[cat.TextString](p.Objects)
			shown = text.Text.Text
			return toolkit.Answer{}
		},
		cat.TypeSetUpMenu: toolkit.Accept,
		cat.TypeMoreTime:  toolkit.Refuse(cat.ResultUserRefused, "the user is away"),
	}})
	text := order(cat.TypeDisplayText, 0, &cat.TextString{Text: cat.Text{Text: "hello"}})
	got := answers(t, c, terminal, text, order(cat.TypeSetUpMenu, 0), order(cat.TypeMoreTime, 0))
	if want := []string{"result: performed", "result: performed", "result: user did not accept"}; !slices.Equal(got, want) || shown != "hello" {
		t.Errorf("%q %q", got, shown)
	}
}

// TestDriversSeeNone uses a card that asks after every command: no driver sees 91xx.
func TestDriversSeeNone(t *testing.T) {
	t.Parallel()
	c, s, terminal := start(t, toolkit.Config{})
	for range 5 {
		queue(t, c, order(cat.TypeMoreTime, 0))
	}
	r, err := s.Send(t.Context(), uicc.SelectFID(uicc.FIDMF).Command())
	if err != nil || r.SW != apdu.SWOK || len(r.Data) == 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := uicc.ParseFCP(r.Data); err != nil {
		t.Errorf("the data are not those of SELECT: %v", err)
	}
	if n := len(terminal.Log()); n != 6 {
		t.Errorf("%d entries", n)
	}
	terminal.Close()
	queue(t, c, order(cat.TypeMoreTime, 0))
	if r, err := s.Send(t.Context(), uicc.Status{Data: uicc.StatusNothing}.Command()); err != nil || r.SW.SW1() != 0x91 {
		t.Errorf("without a terminal: %v %v", r.SW, err)
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	now := newClock()
	c, _, terminal := start(t, toolkit.Config{Clock: now})
	id := &cat.TimerID{ID: 3}
	ask := func(action cat.Timer, objects ...cat.Object) string {
		t.Helper()
		got := answers(t, c, terminal, order(cat.TypeTimerManagement, byte(action), append([]cat.Object{id}, objects...)...))
		return strings.Join(got, "|")
	}
	value := &cat.TimerValue{Minutes: 1, Seconds: 5}
	if got := ask(cat.TimerStart, value); got != "result: performed; timer identifier: 3" {
		t.Error(got)
	}
	_ = now.Sleep(t.Context(), 35*time.Second)
	if got := ask(cat.TimerGet); got != "result: performed; timer identifier: 3; timer value: 00:00:30" {
		t.Error(got)
	}
	if got := ask(cat.TimerDeactivate); got != "result: performed; timer identifier: 3; timer value: 00:00:30" {
		t.Error(got)
	}
	if got := ask(cat.TimerDeactivate); got != "result: contradiction with the state of the timer" {
		t.Error(got)
	}
	ask(cat.TimerStart, value)
	if err := terminal.Wait(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	before := len(terminal.Log())
	poll(t, terminal)
	poll(t, terminal)
	log := terminal.Log()[before:]
	if len(log) != 1 || log[0].Envelope != "timer expiration" || !slices.Contains(log[0].Fields, "timer value: 00:01:05") {
		t.Errorf("%+v", log)
	}
}

// scripted is a terminal on a scripted card that has taken the profile 01.
func scripted(t *testing.T, config toolkit.Config, exchange ...string) (*toolkit.Terminal, error) {
	t.Helper()
	config.Profile = cat.Profile{1}
	if config.Clock == nil {
		config.Clock = newClock()
	}
	script := cardtest.NewScript(t, append([]string{"801000000101"}, exchange...)...)
	terminal, err := toolkit.Start(t.Context(), card.NewSession(script, card.Options{}), config)
	if err == nil {
		t.Cleanup(terminal.Close)
	}
	return terminal, err
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	_, err := scripted(t, toolkit.Config{},
		"9103", "8012000003", "d001819000", "801400000c"+"8103000000"+"02028281"+"830132", "9000")
	if err != nil {
		t.Error(err)
	}
}

func TestEndless(t *testing.T) {
	t.Parallel()
	exchange := []string{"910b"}
	for range 3 {
		exchange = append(exchange, "801200000b", "d009"+"8103010200"+"82028182"+"9000", "801400000c"+"8103010200"+"02028281"+"830100", "910b")
	}
	if _, err := scripted(t, toolkit.Config{Rounds: 3}, exchange...); !errors.Is(err, toolkit.ErrEndless) {
		t.Errorf("%v, want ErrEndless", err)
	}
}

// TestEndlessResets has a card that asks for a reset each time it gets a profile.
func TestEndlessResets(t *testing.T) {
	t.Parallel()
	refresh := []string{"801200000b", "d009" + "8103010104" + "82028182" + "9000"}
	exchange := []string{"910b"}
	for range 3 {
		exchange = append(append(exchange, refresh...), "801000000101", "910b")
	}
	exchange = append(append(exchange, refresh...), "801400000c"+"8103010104"+"02028281"+"830120", "9000")
	terminal, err := scripted(t, toolkit.Config{}, exchange...)
	if err != nil {
		t.Fatal(err)
	}
	if log := terminal.Log(); len(log) != 4 || !log[3].Refused {
		t.Errorf("%+v", log)
	}
}

func TestBusy(t *testing.T) {
	t.Parallel()
	envelope := "80c2000009" + "d307" + "82020181" + "900101" + "00"
	now := newClock()
	begin := now.Now()
	terminal, err := scripted(t, toolkit.Config{Clock: now}, "9000", envelope, "9300", envelope, "9300", envelope, "9000")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := terminal.Envelope(t.Context(), cat.MenuSelection(1, false)); err != nil || r.SW != apdu.SWOK {
		t.Errorf("%v %v", r.SW, err)
	}
	if waited := now.Now().Sub(begin); waited != 200*time.Millisecond {
		t.Errorf("waited %v", waited)
	}
	never, err := scripted(t, toolkit.Config{Busy: 2}, "9000", envelope, "9300", envelope, "9300")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := never.Envelope(t.Context(), cat.MenuSelection(1, false)); !errors.Is(err, toolkit.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	refused, err := scripted(t, toolkit.Config{}, "9000", "80c20000010100", "6a80")
	if err != nil {
		t.Fatal(err)
	}
	var no *card.CommandError
	if _, err := refused.RawEnvelope(t.Context(), []byte{1}); !errors.As(err, &no) || no.SW != apdu.SWWrongData {
		t.Errorf("%v, want 6A80", err)
	}
}

func TestRefusedProfile(t *testing.T) {
	t.Parallel()
	var refused *card.CommandError
	if _, err := scripted(t, toolkit.Config{}, "6d00"); !errors.As(err, &refused) {
		t.Errorf("%v, want a *card.CommandError", err)
	}
	if _, err := scripted(t, toolkit.Config{}, "910b", "801200000b", "6985"); !errors.As(err, &refused) || refused.Command != "FETCH" {
		t.Errorf("%v, want the refusal of FETCH", err)
	}
	if p := toolkit.DefaultProfile(); !p.Has("OPEN CHANNEL") || !p.Has("REFRESH") || p.Has("DISPLAY TEXT") || p.Channels() != 7 {
		t.Error(p.Words())
	}
}

// TestRefresh asks for every mode.
func TestRefresh(t *testing.T) {
	t.Parallel()
	var heard []toolkit.Refresh
	c, s, terminal := start(t, toolkit.Config{Refresh: func(_ context.Context, r toolkit.Refresh) error {
		heard = append(heard, r)
		return nil
	}})
	app := usim.AIDPrefix()
	imsi, iccid, none := cat.Path{0x3F00, 0x7FFF, 0x6F07}, cat.Path{0x3F00, 0x2FE2}, cat.Path{0x3F00, 0x6FFE}
	files := func(list ...cat.Path) cat.Object { return &cat.FileList{Files: list} }
	for _, tt := range []struct {
		mode    cat.Refresh
		objects []cat.Object
		answer  string
		want    toolkit.Refresh
	}{
		{cat.RefreshInitFull, nil, "performed", toolkit.Refresh{All: true}},
		{cat.RefreshFiles, []cat.Object{files(imsi, iccid)}, "performed", toolkit.Refresh{Files: []cat.Path{imsi, iccid}}},
		{cat.RefreshFiles, []cat.Object{files(imsi, none)}, "performed with missing information", toolkit.Refresh{Files: []cat.Path{imsi, none}, Missing: []cat.Path{none}}},
		{cat.RefreshInitFiles, []cat.Object{files(cat.Path{0x7FFF, 0x6F07})}, "performed", toolkit.Refresh{Files: []cat.Path{{0x7FFF, 0x6F07}}}},
		{cat.RefreshInit, nil, "performed", toolkit.Refresh{}},
		{cat.RefreshApplicationReset, []cat.Object{&cat.AID{AID: ef.Hex(app)}}, "performed", toolkit.Refresh{All: true, Reselect: true, AID: app}},
		{cat.RefreshSessionReset, nil, "performed", toolkit.Refresh{All: true, Reselect: true}},
		{cat.RefreshSteering, []cat.Object{&cat.PLMNs{List: []cat.PLMNwAcT{{PLMN: "262-01", AcT: 0x8000}}}}, "performed", toolkit.Refresh{Networks: []cat.PLMNwAcT{{PLMN: "262-01", AcT: 0x8000}}}},
		{cat.RefreshSteeringWLAN, nil, "performed", toolkit.Refresh{}},
		{cat.RefreshProfileState, nil, "performed", toolkit.Refresh{All: true}},
		{cat.RefreshApplication, nil, "performed", toolkit.Refresh{All: true}},
	} {
		heard = nil
		tt.want.Mode = tt.mode
		if got := answers(t, c, terminal, order(cat.TypeRefresh, byte(tt.mode), tt.objects...)); !slices.Equal(got, []string{"result: " + tt.answer}) {
			t.Errorf("%s: %q", tt.mode, got)
		}
		if diff := cmp.Diff([]toolkit.Refresh{tt.want}, heard); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.mode, diff)
		}
	}
	for mode, want := range map[cat.Refresh]string{
		cat.RefreshFiles: "result: required values are missing", 0x77: "result: data of command not understood",
	} {
		if got := answers(t, c, terminal, order(cat.TypeRefresh, byte(mode))); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %q", mode, got)
		}
	}
	absent := &cat.AID{AID: ef.Hex("no such AID")}
	if got := answers(t, c, terminal, order(cat.TypeRefresh, byte(cat.RefreshApplicationReset), absent)); !slices.Equal(got, []string{"result: REFRESH performed, but the application was not active"}) {
		t.Errorf("%q", got)
	}
	if _, err := s.ICCID(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRefreshKeepsTheSelection has the card ask between SELECT and READ BINARY.
func TestRefreshKeepsTheSelection(t *testing.T) {
	t.Parallel()
	c, s, _ := start(t, toolkit.Config{})
	before, err := s.ReadFile(t.Context(), card.InMF(uicc.FIDEFICCID))
	if err != nil {
		t.Fatal(err)
	}
	before = bytes.Clone(before)
	queue(t, c, order(cat.TypeRefresh, byte(cat.RefreshFiles), &cat.FileList{Files: []cat.Path{{0x3F00, 0x7FFF, 0x6F07}}}))
	if after, err := s.ReadFile(t.Context(), card.InMF(uicc.FIDEFICCID)); err != nil || !bytes.Equal(after, before) {
		t.Errorf("%x %v, want %x", after, err, before)
	}
}

// counted counts the commands to a card by their name.
type counted struct {
	card.Card
	n map[string]int
}

func (c counted) Transmit(ctx context.Context, command []byte) ([]byte, error) {
	c.n[card.CommandName(apdu.Command{INS: command[1]})]++
	return c.Card.Transmit(ctx, command)
}

// TestRefreshForgets counts how often EF.DIR is read.
func TestRefreshForgets(t *testing.T) {
	t.Parallel()
	c, _ := software(t, "usim")
	n := counted{c, map[string]int{}}
	s := card.NewSession(n, card.Options{})
	queue(t, c, order(cat.TypeMoreTime, 0))
	terminal, err := toolkit.Start(t.Context(), s, toolkit.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	read := func() int {
		t.Helper()
		n.n["READ RECORD"] = 0
		if _, err := s.FindApp(t.Context(), usim.AIDPrefix()); err != nil {
			t.Fatal(err)
		}
		return n.n["READ RECORD"]
	}
	first := read()
	if again := read(); first == 0 || again != 0 {
		t.Errorf("%d records, then %d, want none", first, again)
	}
	queue(t, c, order(cat.TypeRefresh, byte(cat.RefreshProfileState)))
	poll(t, terminal)
	if again := read(); again != first {
		t.Errorf("after a REFRESH %d records, want %d", again, first)
	}
}

func TestRefreshResets(t *testing.T) {
	t.Parallel()
	refused := true
	c, s, terminal := start(t, toolkit.Config{Refresh: func(_ context.Context, r toolkit.Refresh) error {
		if refused && r.Reset {
			return errors.New("a call is going on")
		}
		return nil
	}})
	other, err := s.OpenChannel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := answers(t, c, terminal, order(cat.TypeRefresh, byte(cat.RefreshReset))); !slices.Equal(got, []string{"result: terminal currently unable"}) {
		t.Errorf("%q", got)
	}
	if _, err := other.ICCID(t.Context()); err != nil {
		t.Errorf("the channel was lost: %v", err)
	}
	refused = false
	answers(t, c, terminal, order(cat.TypeRefresh, byte(cat.RefreshReset)))
	if _, err := other.ICCID(t.Context()); !errors.Is(err, card.ErrChannelClosed) {
		t.Errorf("after the reset: %v, want ErrChannelClosed", err)
	}
	if _, err := s.ICCID(t.Context()); err != nil {
		t.Error(err)
	}
	if got := answers(t, c, terminal, order(cat.TypeMoreTime, 0)); len(got) != 1 {
		t.Errorf("the card is not served after the reset: %q", got)
	}
}

func TestSteeringWithoutRadio(t *testing.T) {
	t.Parallel()
	c, _, terminal := start(t, toolkit.Config{})
	if got := answers(t, c, terminal, order(cat.TypeRefresh, byte(cat.RefreshSteering))); !slices.Equal(got, []string{"result: beyond the terminal's capabilities"}) {
		t.Errorf("%q", got)
	}
}

// echo is a TCP server that sends back what it gets, and ends a connection that sends
// "bye".
func echo(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				b := make([]byte, 4096)
				for {
					n, err := conn.Read(b)
					if err != nil || string(b[:n]) == "bye" {
						return
					}
					if _, err := conn.Write(b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// open is OPEN CHANNEL to a server.
func open(to netip.AddrPort, size uint16) cat.Proactive {
	return order(cat.TypeOpenChannel, 1, &cat.Bearer{Type: cat.BearerDefault}, &cat.BufferSize{Bytes: size},
		&cat.TransportLevel{Protocol: cat.TCPRemote, Port: to.Port()}, &cat.OtherAddress{IP: to.Addr()})
}

var wantEvents = order(cat.TypeSetUpEventList, 0, &cat.EventList{Events: []cat.Event{cat.EventDataAvailable, cat.EventChannelStatus}})

// until lets the card be told of what happens until it has been told, behind the first
// entries of the log, of the event.
func until(t testing.TB, terminal *toolkit.Terminal, first int, event string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !slices.ContainsFunc(terminal.Log()[first:], func(e toolkit.Entry) bool { return e.Envelope == event }) {
		if err := terminal.Wait(ctx, time.Hour); err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		poll(t, terminal)
	}
}

const (
	eventData   = "event download, data available"
	eventStatus = "event download, channel status"
)

// TestChannel takes a channel to a real TCP server through its life.
func TestChannel(t *testing.T) {
	t.Parallel()
	server := echo(t)
	c, _, terminal := start(t, toolkit.Config{Allow: []netip.AddrPort{server}, Clock: still{newClock()}})
	data := func(s string) cat.Object { return &cat.ChannelData{Data: ef.Hex(s)} }
	got := answers(t, c, terminal, wantEvents, open(server, 100), order(cat.TypeGetChannelStatus, 0),
		toChannel(cat.TypeSendData, 0, 1, data("hel")), toChannel(cat.TypeSendData, 1, 1, data("lo")))
	want := []string{
		"result: performed",
		"result: performed; channel status: channel 1 is up; bearer description: type default; buffer size: 100",
		"result: performed; channel status: channel 1 is up",
		"result: performed; channel data length: 97",
		"result: performed; channel data length: 100",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	until(t, terminal, 0, eventData)
	receive := toChannel(cat.TypeReceiveData, 0, 1, &cat.ChannelDataLength{Bytes: 4})
	got = answers(t, c, terminal, receive, receive)
	want = []string{
		"result: performed; channel data: 68656c6c; channel data length: 1",
		"result: performed with missing information; channel data: 6f; channel data length: 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first := len(terminal.Log())
	answers(t, c, terminal, toChannel(cat.TypeSendData, 1, 1, data("again")))
	until(t, terminal, first, eventData)
	answers(t, c, terminal, receive, receive, toChannel(cat.TypeSendData, 1, 1, data("bye")))
	until(t, terminal, first, eventStatus)
	got = answers(t, c, terminal, toChannel(cat.TypeSendData, 1, 1, data("x")), order(cat.TypeGetChannelStatus, 0),
		toChannel(cat.TypeCloseChannel, 0, 1), toChannel(cat.TypeCloseChannel, 0, 1), order(cat.TypeGetChannelStatus, 0))
	want = []string{
		"result: bearer independent protocol error, channel closed",
		"result: performed; channel status: channel 1: the link was dropped",
		"result: performed",
		"result: bearer independent protocol error, channel identifier not valid",
		"result: performed; channel status: no channel",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestChannelRefused(t *testing.T) {
	t.Parallel()
	server := echo(t)
	silent := netip.MustParseAddrPort("192.0.2.1:80")
	c, _, terminal := start(t, toolkit.Config{
		Allow: []netip.AddrPort{server, silent},
		Dial: func(_ context.Context, to netip.AddrPort) (net.Conn, error) {
			if to == silent {
				return nil, errors.New("no route")
			}
			return net.Dial("tcp", to.String())
		},
	})
	udp := open(server, 100)
	udp.Objects[4].Object = &cat.TransportLevel{Protocol: cat.UDPRemote, Port: 1}
	bare := open(server, 100)
	bare.Objects = bare.Objects[:5]
	for name, tt := range map[string]struct {
		p    cat.Proactive
		want string
	}{
		"another port":   {open(netip.AddrPortFrom(server.Addr(), server.Port()^1), 100), "result: bearer independent protocol error, security error"},
		"another host":   {open(netip.MustParseAddrPort("198.51.100.7:443"), 100), "result: bearer independent protocol error, security error"},
		"unreachable":    {open(silent, 100), "result: bearer independent protocol error, remote device not reachable"},
		"UDP":            {udp, "result: bearer independent protocol error, transport level not available"},
		"no address":     {bare, "result: required values are missing"},
		"no buffer":      {open(server, 0), "result: required values are missing"},
		"data to none":   {toChannel(cat.TypeSendData, 1, 1, &cat.ChannelData{}), "result: bearer independent protocol error, channel identifier not valid"},
		"data from none": {toChannel(cat.TypeReceiveData, 1, 7, &cat.ChannelDataLength{}), "result: bearer independent protocol error, channel identifier not valid"},
	} {
		if got := answers(t, c, terminal, tt.p); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if last := terminal.Log(); !slices.ContainsFunc(last, func(e toolkit.Entry) bool { return strings.Contains(e.Why, "198.51.100.7:443") }) {
		t.Error("the log does not tell which server was refused")
	}
	for n := 1; n <= 7; n++ {
		want := fmt.Sprintf("result: performed; channel status: channel %d is up; bearer description: type default; buffer size: 100", n)
		if got := answers(t, c, terminal, open(server, 100)); !slices.Equal(got, []string{want}) {
			t.Errorf("%q", got)
		}
	}
	for name, tt := range map[string]struct {
		p    cat.Proactive
		want string
	}{
		"eighth":    {open(server, 100), "result: bearer independent protocol error, no channel available"},
		"too much":  {toChannel(cat.TypeSendData, 0, 2, &cat.ChannelData{Data: make(ef.Hex, 101)}), "result: bearer independent protocol error, buffer size not available"},
		"no data":   {toChannel(cat.TypeSendData, 0, 2), "result: required values are missing"},
		"no length": {toChannel(cat.TypeReceiveData, 0, 2), "result: required values are missing"},
	} {
		if got := answers(t, c, terminal, tt.p); !slices.Equal(got, []string{tt.want}) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := answers(t, c, terminal, toChannel(cat.TypeCloseChannel, 0, 2), open(server, 9000)); len(got) != 2 ||
		got[1] != "result: performed with modification; channel status: channel 2 is up; bearer description: type default; buffer size: 1500" {
		t.Errorf("%q", got)
	}
}

// TestLargeTransfer sends 4000 bytes through a buffer of 300.
func TestLargeTransfer(t *testing.T) {
	t.Parallel()
	server := echo(t)
	c, _, terminal := start(t, toolkit.Config{Allow: []netip.AddrPort{server}, Clock: still{newClock()}})
	answers(t, c, terminal, wantEvents, open(server, 300))
	sent := bytes.Repeat([]byte("0123456789abcdefghij"), 200)
	for chunk := range slices.Chunk(sent, 200) {
		answers(t, c, terminal, toChannel(cat.TypeSendData, 1, 1, &cat.ChannelData{Data: chunk}))
	}
	var received []byte
	for first, left := 0, "0"; len(received) < len(sent); {
		if left == "0" { // the event is for a buffer that was empty
			until(t, terminal, first, eventData)
		}
		before := len(terminal.Log())
		first = before
		answers(t, c, terminal, toChannel(cat.TypeReceiveData, 0, 1, &cat.ChannelDataLength{Bytes: 255}))
		for _, e := range terminal.Log()[before:] {
			for _, line := range e.Answered {
				if text, ok := strings.CutPrefix(line, "channel data: "); ok {
					b, err := hex.DecodeString(text)
					if err != nil {
						t.Fatal(err)
					}
					received = append(received, b...)
				}
				if n, ok := strings.CutPrefix(line, "channel data length: "); ok {
					left = n
				}
			}
		}
	}
	if !bytes.Equal(received, sent) {
		t.Error("other data came back")
	}
}

func TestResolveAllow(t *testing.T) {
	t.Parallel()
	got, err := toolkit.ResolveAllow(t.Context(), []string{"192.0.2.1:443", "[2001:db8::1]:80", "localhost:7"})
	if err != nil || !slices.Contains(got, netip.MustParseAddrPort("192.0.2.1:443")) || !slices.Contains(got, netip.MustParseAddrPort("127.0.0.1:7")) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "192.0.2.1", ":80", "192.0.2.1:0x", "host:", "192.0.2.1:70000", "::1:80:", "localhost:0"} {
		if got, err := toolkit.ResolveAllow(t.Context(), []string{bad}); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestLocationChanged(t *testing.T) {
	t.Parallel()
	c, _, terminal := start(t, toolkit.Config{})
	if err := terminal.LocationChanged(t.Context(), 0, nil); err != nil || len(terminal.Log()) != 1 {
		t.Errorf("%v, %d entries", err, len(terminal.Log()))
	}
	answers(t, c, terminal, order(cat.TypeSetUpEventList, 0, &cat.EventList{Events: []cat.Event{cat.EventLocationStatus}}))
	if err := terminal.LocationChanged(t.Context(), 0, &cat.Location{PLMN: "001-01"}); err != nil {
		t.Fatal(err)
	}
	if log := lines(terminal.Log()); log[len(log)-1] != "event download, location status" {
		t.Errorf("%q", log)
	}
}

// TestToolkitCard plays the script of the card "toolkit" from its start to the echo.
func TestToolkitCard(t *testing.T) {
	t.Parallel()
	server := echo(t)
	_, s := software(t, "toolkit")
	terminal, err := toolkit.Start(t.Context(), s, toolkit.Config{
		Clock: newClock(), Allow: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7")},
		Dial: func(context.Context, netip.AddrPort) (net.Conn, error) { return net.Dial("tcp", server.String()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if err := terminal.Wait(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	poll(t, terminal)
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !slices.ContainsFunc(terminal.Log(), func(e toolkit.Entry) bool { return e.Command == "CLOSE CHANNEL" }) {
		if err := deadline.Err(); err != nil {
			t.Fatalf("%v: %q", err, lines(terminal.Log()))
		}
		poll(t, terminal)
	}
	if got := strings.Join(lines(terminal.Log()), "|"); !strings.Contains(got, "channel data: 68656c6c6f") {
		t.Error(got)
	}
}
