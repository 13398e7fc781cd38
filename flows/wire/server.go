package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// Peer is who sent a request.
type Peer struct {
	// Role is the name in the peer's certificate, like "sho-a".
	Role        string
	Certificate *x509.Certificate
	// Exporter is the TLS exporter of the connection for ExporterLabel, 32 bytes;
	// Session.Exporter gives the peer the same.
	Exporter []byte
}

// ExporterLabel is the label of the TLS exporter (RFC 8446, 7.5) that evidence is
// bound to.
const ExporterLabel = "EXPORTER-mcim-attest"

const exporterSize = 32

// Message is one request and its answer, as the handler's side saw them.
type Message struct {
	From, To string // roles
	Path     string
	// Step is the path of the step in which the peer sent it, as in
	// "P8a.8/P5c.4"; may be empty.
	Step string
	// RequestSize and ResponseSize are those of the CBOR bodies, in bytes.
	RequestSize, ResponseSize int
	// Code is that of the Error that was answered, empty for success.
	Code Code
	// Duration is that of the handler.
	Duration time.Duration
}

// ServerOptions is what a server may do otherwise; the zero value is useful.
type ServerOptions struct {
	// Address to listen at; "" is "127.0.0.1:0", a free port on loopback.
	Address string
	// Count is called once for each handled request, before the answer leaves,
	// from many goroutines at once; nil counts nothing.
	Count func(Message)
	// MaxBody is the largest request in bytes; 0 is 1 MiB.
	MaxBody int64
	// Gateway lets peers connect through this server; nil refuses them.
	Gateway *Gateway
	// Logger hears of failed handshakes and of panics; nil discards.
	Logger *slog.Logger
}

const defaultMaxBody = 1 << 20

// closeGrace is how long Close waits for handlers that run.
const closeGrace = 300 * time.Millisecond

const contentType = "application/cbor"

// Server is one role's HTTPS end. Register its routes with Route.Handle, then
// Start it.
type Server struct {
	id      *Identity
	opts    ServerOptions
	routes  map[string]handler
	http    *http.Server
	addr    string
	served  chan struct{}
	tunnels tunnels
	closing sync.Once
}

// handler is a Route's handler with its types erased.
type handler struct {
	allow []string
	run   func(ctx context.Context, p Peer, body []byte) (answer []byte, err error)
}

// NewServer makes a server for the role id.
func NewServer(id *Identity, opts ServerOptions) *Server {
	if opts.Address == "" {
		opts.Address = "127.0.0.1:0"
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = defaultMaxBody
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Count == nil {
		opts.Count = func(Message) {}
	}
	return &Server{id: id, opts: opts, routes: map[string]handler{}}
}

// Start listens and serves until Close. The context of every handler comes from
// ctx, with its observer, and has the path of the step in which the peer called.
func (s *Server) Start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Address)
	if err != nil {
		return fmt.Errorf("role %s cannot listen at %s: %w", s.id.Role, s.opts.Address, err)
	}
	s.addr = listener.Addr().String()
	s.served = make(chan struct{})
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
		Protocols:         new(http.Protocols),
	}
	s.http.Protocols.SetHTTP1(true)
	go func() {
		defer close(s.served)
		// What is not ErrServerClosed is a listener that was taken away; the
		// peers see the role as unavailable.
		if err := s.http.Serve(tls.NewListener(listener, s.id.tlsConfig())); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("server ended", "role", s.id.Role, "error", err)
		}
	}()
	return nil
}

// Addr is "host:port" where the server listens, once started.
func (s *Server) Addr() string { return s.addr }

// Role is the server's own role.
func (s *Server) Role() string { return s.id.Role }

// Drop ends the tunnels that the gateway holds open for a peer role, as when a
// network detaches a machine, and says how many there were. bearer limits it to
// those of one bearer; "" is all.
func (s *Server) Drop(role, bearer string) int { return s.tunnels.drop(role, bearer) }

// Close stops listening, waits a moment for running handlers, and ends every
// connection and tunnel. It is safe to call twice.
func (s *Server) Close() error {
	var err error
	s.closing.Do(func() {
		if s.http == nil {
			return
		}
		s.tunnels.close()
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if err = s.http.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = s.http.Close()
		}
		<-s.served
		s.tunnels.wait()
	})
	return err
}

// serve handles every request: find the peer, the route, the body, run, count,
// answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	peer, err := peerOf(r.TLS)
	if err != nil {
		s.answer(w, nil, s.failure(Refuse("", "%w", err)))
		return
	}
	r = r.WithContext(WithPath(r.Context(), r.Header.Get(StepHeader)))
	m := Message{From: peer.Role, To: s.id.Role, Path: r.URL.Path, Step: Path(r.Context())}
	if r.Method == http.MethodConnect {
		s.serveConnect(w, r, peer, m)
		return
	}
	begin := time.Now()
	body, answer, err := s.handle(w, r, peer)
	var failure *Error
	if err != nil {
		failure = s.failure(err)
		m.Code = failure.Code
	}
	m.RequestSize, m.ResponseSize, m.Duration = len(body), len(answer), time.Since(begin)
	s.opts.Count(m)
	s.answer(w, answer, failure)
}

func (s *Server) handle(w http.ResponseWriter, r *http.Request, peer Peer) (body, answer []byte, err error) {
	h, ok := s.routes[r.URL.Path]
	if !ok {
		return nil, nil, Errorf(CodeNotFound, "", "%s serves no %q", s.id.Role, r.URL.Path)
	}
	if !allowed(h.allow, peer.Role) {
		return nil, nil, Refuse("", "%s may not call %s, only %s may", peer.Role, r.URL.Path, strings.Join(h.allow, ", "))
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != contentType {
		return nil, nil, Errorf(CodeInvalid, "", "a request is a POST of %s", contentType)
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, s.opts.MaxBody))
	if err != nil {
		return nil, nil, Errorf(CodeInvalid, "", "request body: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Error("handler panicked", "role", s.id.Role, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			answer, err = nil, Errorf(CodeInternal, "", "the handler of %s panicked: %v", r.URL.Path, p)
		}
	}()
	answer, err = h.run(r.Context(), peer, body)
	return body, answer, err
}

// failure is err as the peer gets it: said by this role, unless it is what another
// role said to this one.
func (s *Server) failure(err error) *Error {
	e := AsError(err, "")
	if e.Role == "" {
		e.Role = s.id.Role
	}
	return e
}

// answer writes a response body, or the Error instead of it. Its write error is
// the connection's end, which the peer sees by itself.
func (s *Server) answer(w http.ResponseWriter, body []byte, failure *Error) {
	status := http.StatusOK
	if failure != nil {
		status = failure.Code.httpStatus()
		// An Error has only strings: it always has a message form.
		body, _ = Marshal(failure)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (c Code) httpStatus() int {
	switch c {
	case CodeRefused:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// peerOf names the peer of a connection whose certificate TLS has verified.
func peerOf(state *tls.ConnectionState) (Peer, error) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Peer{}, fmt.Errorf("%w: no verified certificate", ErrRole)
	}
	cert := state.PeerCertificates[0]
	role, err := RoleOf(cert)
	if err != nil {
		return Peer{}, err
	}
	exporter, err := state.ExportKeyingMaterial(ExporterLabel, nil, exporterSize)
	if err != nil {
		return Peer{}, err
	}
	return Peer{role, cert, exporter}, nil
}
