package device

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"mcim/apdu/cat"
	"mcim/card"
	"mcim/card/emul"
	"mcim/card/pcsc"
	"mcim/card/toolkit"
)

// asking is a software UICC that asks for the same commands after each reset.
type asking struct {
	*emul.Card
	commands []cat.Proactive
}

func (a asking) Reset(ctx context.Context) ([]byte, error) {
	atr, err := a.Card.Reset(ctx)
	if err != nil {
		return nil, err
	}
	return atr, a.Queue(a.commands...)
}

// echo is a TCP server that sends back what it gets.
func echo(t *testing.T) netip.AddrPort {
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
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// TestChannelThroughReader has a card behind pcscd reach a TCP server, and not another.
// Not parallel: the process reaches one pcscd.
func TestChannelThroughReader(t *testing.T) {
	server := echo(t)
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), server.Port())
	b := newBackends(t)
	open := func(to netip.AddrPort) cat.Proactive {
		return cat.NewProactive(cat.CommandDetails{Number: 1, Type: cat.TypeOpenChannel, Qualifier: 1}, cat.DeviceTerminal,
			&cat.Bearer{Type: cat.BearerDefault}, &cat.BufferSize{Bytes: 255},
			&cat.TransportLevel{Protocol: cat.TCPRemote, Port: to.Port()}, &cat.OtherAddress{IP: to.Addr()})
	}
	played := asking{b.card(t), []cat.Proactive{open(other), open(server)}} // it sends "hello" into any channel
	dir := fmt.Sprintf("/tmp/device-%d", os.Getpid())
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	reader, err := PlayPrivate(t.Context(), dir, played)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	if err := pcsc.UseSocket(reader.Socket); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), "pcsc:"+reader.Reader, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	session := card.NewSession(c, card.Options{})
	if _, err := session.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	terminal, err := toolkit.Start(t.Context(), session, toolkit.Config{Allow: []netip.AddrPort{server}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(terminal.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	came := func() bool {
		return slices.ContainsFunc(terminal.Log(), func(e toolkit.Entry) bool {
			return e.Command == "RECEIVE DATA" && slices.Contains(e.Answered, "channel data: 68656c6c6f")
		})
	}
	for !came() {
		if err := ctx.Err(); err != nil {
			t.Fatalf("%v: %+v", err, terminal.Log())
		}
		if err := terminal.Wait(ctx, time.Hour); err != nil {
			t.Fatalf("%v: %+v", err, terminal.Log())
		}
		if err := terminal.Poll(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.ContainsFunc(terminal.Log(), func(e toolkit.Entry) bool {
		return e.Refused && e.Why == other.String()+" is not on the list of servers"
	}) {
		t.Errorf("the other server was not refused: %+v", terminal.Log())
	}
}
