package toolkit

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mcim/apdu/cat"
	"mcim/apdu/ef"
)

const (
	// maxChannels is the number of channels of a card (TS 102 223, 8.56).
	maxChannels = 7
	// maxBuffer is the most bytes of a buffer that a card gets.
	maxBuffer = 1500
	// maxReceived is how many bytes of data one TERMINAL RESPONSE to RECEIVE DATA has room
	// for, beside 12 bytes of its head and the headers of data and length.
	maxReceived = 255 - 12 - 3 - 3
	// netTimeout bounds the opening of a connection, and a write to it.
	netTimeout = 10 * time.Second
)

// channel is a connection that the card opened. The fields behind mu are shared with the
// goroutine that reads.
type channel struct {
	id     int
	conn   net.Conn
	bearer cat.Bearer
	size   int    // of each buffer, bytes
	out    []byte // stored, not sent
	told   bool   // of the data in the buffer
	down   bool   // the card was told that the link was dropped
	ended  chan struct{}

	mu      sync.Mutex
	room    *sync.Cond // in is shorter than size, or the channel is closed
	in      []byte
	dropped bool
	closed  bool
}

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, netTimeout)
	defer cancel()
	return d.DialContext(ctx, "tcp", to.String())
}

// ResolveAllow reads a list of HOST:PORT for Config.Allow; a name becomes all its
// addresses. An error names the entry.
func ResolveAllow(ctx context.Context, list []string) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for _, s := range list {
		if a, err := netip.ParseAddrPort(s); err == nil {
			all = append(all, a)
			continue
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return nil, fmt.Errorf("%q: want HOST:PORT, as in 192.0.2.1:443", s)
		}
		n, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
		if err != nil || n == 0 || host == "" {
			return nil, fmt.Errorf("%q: want HOST:PORT, as in 192.0.2.1:443", s)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a.Unmap(), uint16(n)))
		}
	}
	return all, nil
}

// bearerError refuses with the bearer independent protocol error.
func bearerError(problem cat.BearerProblem, format string, args ...any) Answer {
	a := refuse(cat.ResultBearerError, format, args...)
	a.Result.Info = ef.Hex{byte(problem)}
	return a
}

// openChannel is OPEN CHANNEL (TS 102 223, 6.4.27): TCP, the UICC as client, to a server on
// the list.
func (t *Terminal) openChannel(ctx context.Context, p cat.Proactive) Answer {
	bearer, hasBearer := cat.Find[cat.Bearer](p.Objects)
	size, hasSize := cat.Find[cat.BufferSize](p.Objects)
	level, hasLevel := cat.Find[cat.TransportLevel](p.Objects)
	to, hasAddress := cat.Find[cat.OtherAddress](lastAddress(p.Objects))
	switch {
	case !hasBearer || !hasSize || size.Bytes == 0:
		return refuse(cat.ResultValuesMissing, "no bearer description or buffer size")
	case !hasLevel || level.Protocol != cat.TCPRemote:
		return bearerError(cat.BearerTransport, "only TCP with the UICC as client is there")
	case !hasAddress || !to.IP.IsValid():
		return refuse(cat.ResultValuesMissing, "no address of a server")
	}
	server := netip.AddrPortFrom(to.IP.Unmap(), level.Port)
	if !slices.Contains(t.config.Allow, server) {
		return bearerError(cat.BearerSecurity, "%s is not on the list of servers", server)
	}
	id := slices.Index(t.bearers[1:], nil) + 1
	if id == 0 {
		return bearerError(cat.BearerNoChannel, "all %d channels are open", maxChannels)
	}
	conn, err := t.config.Dial(ctx, server)
	if err != nil {
		return bearerError(cat.BearerUnreachable, "%v", err)
	}
	var a Answer
	if size.Bytes > maxBuffer || bearer.Type != cat.BearerDefault {
		a.Result.General = cat.ResultModified
		size.Bytes, bearer = min(size.Bytes, maxBuffer), cat.Bearer{Type: cat.BearerDefault}
	}
	c := &channel{id: id, conn: conn, bearer: bearer, size: int(size.Bytes), ended: make(chan struct{})}
	c.room = sync.NewCond(&c.mu)
	t.bearers[id] = c
	go c.read(t.arrived)
	status := c.status()
	a.Objects = []cat.Object{&status, &bearer, &size}
	return a
}

// lastAddress is from the last address on: the one in front of the transport level is the
// terminal's own (TS 102 223, 6.6.27.4).
func lastAddress(objects cat.Objects) cat.Objects {
	for i := len(objects) - 1; i >= 0; i-- {
		if _, ok := objects[i].Object.(*cat.OtherAddress); ok {
			return objects[i:]
		}
	}
	return nil
}

// read fills the buffer until the connection ends; news says that something came.
func (c *channel) read(news chan<- struct{}) {
	defer close(c.ended)
	b := make([]byte, maxBuffer)
	for {
		c.mu.Lock()
		for len(c.in) >= c.size && !c.closed {
			c.room.Wait()
		}
		room := b[:max(c.size-len(c.in), 1)]
		c.mu.Unlock()
		n, err := c.conn.Read(room)
		c.mu.Lock()
		c.in = append(c.in, room[:n]...)
		c.dropped = c.dropped || err != nil
		c.mu.Unlock()
		select {
		case news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (c *channel) close() {
	c.mu.Lock()
	c.closed = true
	c.room.Broadcast()
	c.mu.Unlock()
	_ = c.conn.Close()
	<-c.ended
}

// state is what waits, and whether the link is gone.
func (c *channel) state() (waiting int, dropped bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.in), c.dropped
}

func (c *channel) status() cat.ChannelStatus {
	if _, dropped := c.state(); dropped {
		return cat.ChannelStatus{Channel: uint8(c.id), Info: cat.LinkDropped}
	}
	return cat.ChannelStatus{Channel: uint8(c.id), State: cat.LinkUp}
}

// channelOf is the channel that a command is for.
func (t *Terminal) channelOf(p cat.Proactive) (*channel, Answer) {
	n := int(p.Devices().Destination) - int(cat.DeviceChannel) + 1
	if n < 1 || n > maxChannels || t.bearers[n] == nil {
		return nil, bearerError(cat.BearerNoSuchChannel, "%s is not open", p.Devices().Destination)
	}
	return t.bearers[n], Answer{}
}

// closeChannel is CLOSE CHANNEL (TS 102 223, 6.4.28).
func (t *Terminal) closeChannel(p cat.Proactive) Answer {
	c, refused := t.channelOf(p)
	if c == nil {
		return refused
	}
	t.bearers[c.id] = nil
	c.close()
	return Answer{}
}

func (t *Terminal) closeChannels() {
	for i, c := range t.bearers {
		if c != nil {
			t.bearers[i] = nil
			c.close()
		}
	}
}

// sendData is SEND DATA (TS 102 223, 6.4.30).
func (t *Terminal) sendData(p cat.Proactive) Answer {
	c, refused := t.channelOf(p)
	if c == nil {
		return refused
	}
	data, ok := cat.Find[cat.ChannelData](p.Objects)
	if _, dropped := c.state(); dropped {
		return bearerError(cat.BearerClosed, "the server ended the connection")
	}
	switch {
	case !ok:
		return refuse(cat.ResultValuesMissing, "no channel data")
	case len(c.out)+len(data.Data) > c.size:
		return bearerError(cat.BearerBuffer, "%d bytes are stored, %d more do not fit the buffer of %d", len(c.out), len(data.Data), c.size)
	}
	c.out = append(c.out, data.Data...)
	if p.Details().Qualifier&cat.SendImmediately != 0 {
		_ = c.conn.SetWriteDeadline(time.Now().Add(netTimeout)) // of the socket, not of the card's clock
		if _, err := c.conn.Write(c.out); err != nil {
			return bearerError(cat.BearerClosed, "%v", err)
		}
		c.out = nil
	}
	return Answer{Objects: []cat.Object{&cat.ChannelDataLength{Bytes: uint8(min(c.size-len(c.out), 0xFF))}}}
}

// receiveData is RECEIVE DATA (TS 102 223, 6.4.29).
func (t *Terminal) receiveData(p cat.Proactive) Answer {
	c, refused := t.channelOf(p)
	if c == nil {
		return refused
	}
	want, ok := cat.Find[cat.ChannelDataLength](p.Objects)
	if !ok {
		return refuse(cat.ResultValuesMissing, "no channel data length")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := min(int(want.Bytes), len(c.in), maxReceived)
	data := slices.Clone(c.in[:n])
	c.in = c.in[n:]
	c.told = len(c.in) > 0
	c.room.Broadcast()
	a := Answer{Objects: []cat.Object{
		&cat.ChannelData{Data: data}, &cat.ChannelDataLength{Bytes: uint8(min(len(c.in), 0xFF))},
	}}
	if n < int(want.Bytes) {
		a.Result.General = cat.ResultMissing
	}
	return a
}

// channelStatus is GET CHANNEL STATUS (TS 102 223, 6.4.31).
func (t *Terminal) channelStatus() Answer {
	var a Answer
	for _, c := range t.bearers {
		if c != nil {
			status := c.status()
			a.Objects = append(a.Objects, &status)
		}
	}
	if a.Objects == nil {
		a.Objects = []cat.Object{&cat.ChannelStatus{}}
	}
	return a
}

// news reports whether the card has not been told of something in a channel.
func (t *Terminal) news() bool {
	for _, c := range t.bearers {
		if c == nil {
			continue
		}
		if n, dropped := c.state(); n > 0 && !c.told || dropped && !c.down {
			return true
		}
	}
	return false
}

// tellChannels tells the card of data and of links that were dropped, where it wants to
// know (TS 102 223, 7.5.10 and 7.5.11).
func (t *Terminal) tellChannels(ctx context.Context) error {
	for id := range t.bearers {
		if err := t.tellChannel(ctx, t.bearers[id]); err != nil {
			return err
		}
	}
	return nil
}

func (t *Terminal) tellChannel(ctx context.Context, c *channel) error {
	if c == nil {
		return nil
	}
	n, dropped := c.state()
	if n > 0 && !c.told {
		c.told = true
		if t.events[cat.EventDataAvailable] {
			if _, err := t.Envelope(ctx, cat.DataAvailable(c.status(), n)); err != nil {
				return err
			}
		}
	}
	if dropped && !c.down && t.bearers[c.id] == c {
		c.down = true
		if t.events[cat.EventChannelStatus] {
			if _, err := t.Envelope(ctx, cat.ChannelStatusEvent(c.status())); err != nil {
				return err
			}
		}
	}
	return nil
}
