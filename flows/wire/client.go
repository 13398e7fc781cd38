package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// DialFunc connects to "host:port", as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// ClientOptions is what a Client or Session may do otherwise; the zero value is
// useful.
type ClientOptions struct {
	// Dial reaches the peer's address; nil connects directly. Bearer.Dial goes
	// through a gateway, with TLS to the peer inside.
	Dial DialFunc
	// MaxBody is the largest answer in bytes; 0 is 1 MiB.
	MaxBody int64
	// Timeout is for connecting including the TLS handshake; 0 is 10 s. The wait
	// for an answer is bounded by the context of the call alone.
	Timeout time.Duration
}

const defaultDialTimeout = 10 * time.Second

// peer is the far end that Client, Session and Bearer connect to.
type peer struct {
	id      *Identity
	addr    string
	role    string
	dial    DialFunc
	maxBody int64
	timeout time.Duration
}

func newPeer(id *Identity, addr, role string, opts ClientOptions) peer {
	p := peer{id, addr, role, opts.Dial, opts.MaxBody, opts.Timeout}
	if p.dial == nil {
		p.dial = new(net.Dialer).DialContext
	}
	if p.maxBody == 0 {
		p.maxBody = defaultMaxBody
	}
	if p.timeout == 0 {
		p.timeout = defaultDialTimeout
	}
	return p
}

// connect opens a TLS connection on which the far end has proven its role.
func (p *peer) connect(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	raw, err := p.dial(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	config := p.id.tlsConfig()
	config.ServerName = hostName(p.role)
	config.VerifyConnection = func(state tls.ConnectionState) error {
		role, err := RoleOf(state.PeerCertificates[0])
		if err == nil && role != p.role {
			err = fmt.Errorf("%w: it is %s", ErrRole, role)
		}
		return err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// failed turns an error of a connection into an Error: the peer's own (of a
// gateway), a certificate that one side did not accept, or unavailable.
func (p *peer) failed(err error) error {
	var own *Error
	var alert tls.AlertError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &untrusted), errors.Is(err, ErrRole):
		return Refuse("", "the peer at %s is not %s: %w", p.addr, p.role, err)
	case errors.As(err, &alert):
		return Refuse("", "%s does not accept %s: %w", p.role, p.id.Role, err)
	}
	return Errorf(CodeUnavailable, "", "%s at %s: %w", p.role, p.addr, err)
}

func (p *peer) request(ctx context.Context, path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.addr+path, bytes.NewReader(body))
	if err != nil {
		return nil, Errorf(CodeInvalid, "", "%w", err)
	}
	r.Header.Set("Content-Type", contentType)
	if step := Path(ctx); step != "" {
		r.Header.Set(StepHeader, step)
	}
	return r, nil
}

// setStep labels a request with the step in which it is made.
func setStep(r *http.Request) {
	if path := Path(r.Context()); path != "" {
		r.Header.Set(StepHeader, path)
	}
}

// response reads an answer or the failure that the peer states instead of it; err
// is the end of the connection's use.
func (p *peer) response(r *http.Response) (answer []byte, failure *Error, err error) {
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(r.Body, p.maxBody+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(body)) > p.maxBody {
		return nil, nil, Errorf(CodeInvalid, "", "the answer of %s is larger than %d bytes", p.role, p.maxBody)
	}
	if r.StatusCode == http.StatusOK {
		return body, nil, nil
	}
	failure, err = Unmarshal[*Error](body)
	if err != nil || failure == nil {
		return nil, nil, Errorf(CodeInternal, "", "%s answered HTTP status %d without saying why", p.role, r.StatusCode)
	}
	return nil, failure, nil
}

// Client calls one peer role over connections that it keeps.
type Client struct {
	peer
	http *http.Client
}

// NewClient makes a client of the role id for the role that listens at addr
// ("host:port"). It connects when it is first used.
func NewClient(id *Identity, addr, role string, opts ClientOptions) *Client {
	c := &Client{peer: newPeer(id, addr, role, opts)}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return c.connect(ctx) },
			// More than the calls that a role makes at once.
			MaxIdleConnsPerHost: 16,
		},
		// No role redirects.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

func (c *Client) post(ctx context.Context, path string, body []byte) ([]byte, error) {
	r, err := c.request(ctx, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.failed(err)
	}
	answer, failure, err := c.response(resp)
	if err != nil {
		return nil, c.failed(err)
	}
	if failure != nil {
		return nil, failure
	}
	return answer, nil
}

// Close ends the connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }
