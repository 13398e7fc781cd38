package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// bearerHeader carries the bearer's name in a CONNECT request.
const bearerHeader = "Mcim-Bearer"

// connectPath is the Path of a Message that was a CONNECT request.
const connectPath = "CONNECT "

// Gateway is the restricted connectivity that a visited network gives to a
// machine (P2.8): peers connect through it, by HTTP CONNECT over mutual TLS, to
// the targets that Allow does not refuse. It carries bytes and sees no message.
type Gateway struct {
	// Allow decides on a peer that asks for target ("host:port") in the name of
	// bearer, the name that the network gave its access when it was attached. A
	// returned *Error reaches the peer as it is, any other error as ErrRefused.
	Allow func(ctx context.Context, p Peer, bearer, target string) error
	// Dial reaches the target; nil connects directly.
	Dial DialFunc
}

// serveConnect answers a CONNECT request and then carries its bytes.
func (s *Server) serveConnect(w http.ResponseWriter, r *http.Request, peer Peer, m Message) {
	begin := time.Now()
	m.Path = connectPath + r.Host
	bearer := r.Header.Get(bearerHeader)
	target, err := s.openTarget(r, peer, bearer)
	m.Duration = time.Since(begin)
	if err != nil {
		failure := s.failure(err)
		m.Code = failure.Code
		s.opts.Count(m)
		s.answer(w, nil, failure)
		return
	}
	s.opts.Count(m)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = target.Close()
		return
	}
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		_ = near.Close()
		_ = target.Close()
		return
	}
	_ = near.SetDeadline(time.Time{})
	s.tunnels.carry(tunnel{peer.Role, bearer, near, target}, buffered.Reader)
}

func (s *Server) openTarget(r *http.Request, peer Peer, bearer string) (net.Conn, error) {
	g := s.opts.Gateway
	if g == nil {
		return nil, Refuse("", "%s is no gateway", s.id.Role)
	}
	if _, _, err := net.SplitHostPort(r.Host); err != nil {
		return nil, Errorf(CodeInvalid, "", "the target is not host:port: %w", err)
	}
	if err := g.Allow(r.Context(), peer, bearer, r.Host); err != nil {
		var own *Error
		if errors.As(err, &own) {
			return nil, own
		}
		return nil, Refuse("", "%w", err)
	}
	dial := g.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeout(r.Context(), defaultDialTimeout)
	defer cancel()
	conn, err := dial(ctx, "tcp", r.Host)
	if err != nil {
		return nil, Errorf(CodeUnavailable, "", "target of the gateway: %w", err)
	}
	return conn, nil
}

// Bearer is a client's way through a gateway.
type Bearer struct {
	peer
	name string
}

// NewBearer makes the way of the role id through the gateway that the role
// listens for at addr; name is what the network called the access, which its
// Allow hears.
func NewBearer(id *Identity, addr, role, name string, opts ClientOptions) *Bearer {
	return &Bearer{newPeer(id, addr, role, opts), name}
}

// Dial connects to address through the gateway; it is a DialFunc for
// ClientOptions. A refusal is an *Error that errors.Is ErrRefused.
func (b *Bearer) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, b.failed(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	tunnel, err := b.open(ctx, conn, address)
	if err != nil {
		_ = conn.Close()
		return nil, b.failed(err)
	}
	return tunnel, nil
}

func (b *Bearer) open(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	r, err := http.NewRequest(http.MethodConnect, "https://"+address, nil)
	if err != nil {
		return nil, Errorf(CodeInvalid, "", "target %q: %w", address, err)
	}
	if strings.ContainsAny(b.name, "\r\n\x00") {
		return nil, Errorf(CodeInvalid, "", "the bearer's name %q cannot be sent", b.name)
	}
	r.Header.Set(bearerHeader, b.name)
	setStep(r)
	if step := Path(ctx); step != "" {
		r.Header.Set(StepHeader, step)
	}
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_, failure, err := b.response(resp)
		if err == nil {
			err = failure
		}
		return nil, err
	}
	return &bufferedConn{conn, reader}, nil
}

// bufferedConn is a connection of which some bytes were read ahead.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.reader.Read(b) }

// tunnel is one open way through a gateway.
type tunnel struct {
	role, bearer string
	near, far    net.Conn
}

func (t tunnel) end() {
	_ = t.near.Close()
	_ = t.far.Close()
}

// tunnels are those that a server carries; the zero value is ready.
type tunnels struct {
	mu     sync.Mutex
	open   map[*tunnel]struct{}
	closed bool
	wg     sync.WaitGroup
}

// carry copies both ways until one side ends. fromNear holds what the near side
// has sent already.
func (t *tunnels) carry(one tunnel, fromNear io.Reader) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		one.end()
		return
	}
	if t.open == nil {
		t.open = map[*tunnel]struct{}{}
	}
	t.open[&one] = struct{}{}
	t.wg.Add(2)
	t.mu.Unlock()
	go t.copy(&one, one.far, fromNear)
	go t.copy(&one, one.near, one.far)
}

// copy is one direction; its end is the tunnel's end, with whatever error.
func (t *tunnels) copy(one *tunnel, dst io.Writer, src io.Reader) {
	defer t.wg.Done()
	_, _ = io.Copy(dst, src)
	one.end()
	t.mu.Lock()
	delete(t.open, one)
	t.mu.Unlock()
}

func (t *tunnels) drop(role, bearer string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for one := range t.open {
		if one.role == role && (bearer == "" || bearer == one.bearer) {
			one.end()
			n++
		}
	}
	return n
}

func (t *tunnels) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for one := range t.open {
		one.end()
	}
}

func (t *tunnels) wait() { t.wg.Wait() }
