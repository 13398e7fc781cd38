package wire

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type ask struct {
	Name string `cbor:"name"`
	N    uint64 `cbor:"n"`
}

type reply struct {
	Text     string    `cbor:"text"`
	Exporter []byte    `cbor:"exporter"`
	At       time.Time `cbor:"at"`
}

const (
	hello   Route[ask, reply] = "/test/hello"
	refuse  Route[ask, reply] = "/test/refuse"
	relay   Route[ask, reply] = "/test/relay"
	explode Route[ask, reply] = "/test/explode"
	slow    Route[ask, reply] = "/test/slow"
	unknown Route[ask, reply] = "/test/unknown"
)

var errLocal = errors.New("the contract has ended")

// lab is a CA with a server of role sho-a that counts what it handles.
type lab struct {
	ca     *CA
	server *Server

	mu       sync.Mutex
	messages []Message
}

func newLab(t testing.TB, opts ServerOptions) *lab {
	t.Helper()
	l := &lab{ca: must(NewCA("test lab", time.Now()))}
	opts.Count = func(m Message) {
		l.mu.Lock()
		defer l.mu.Unlock()
		m.Duration = 0
		l.messages = append(l.messages, m)
	}
	l.server = NewServer(l.identity(t, "sho-a"), opts)
	allow := []string{"ro", "m2me-1"}
	hello.Handle(l.server, allow, func(_ context.Context, p Peer, a ask) (reply, error) {
		return reply{fmt.Sprintf("hello %s %d from %s", a.Name, a.N, p.Role), p.Exporter, time.Unix(7, 9).UTC()}, nil
	})
	relay.Handle(l.server, allow, func(context.Context, Peer, ask) (reply, error) {
		return reply{}, fmt.Errorf("order: %w", &Error{Code: CodeConflict, Role: "sho-b", Step: "P8a.4", Text: "bound"})
	})
	refuse.Handle(l.server, allow, func(context.Context, Peer, ask) (reply, error) {
		return reply{}, fmt.Errorf("registration: %w", Refuse("P4.6", "%w", errLocal))
	})
	explode.Handle(l.server, allow, func(_ context.Context, _ Peer, a ask) (reply, error) {
		panic(a.Name)
	})
	slow.Handle(l.server, allow, func(ctx context.Context, _ Peer, _ ask) (reply, error) {
		<-ctx.Done()
		return reply{}, ctx.Err()
	})
	start(t, l.server)
	return l
}

func start(t testing.TB, s *Server) {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func (l *lab) identity(t testing.TB, role string) *Identity {
	t.Helper()
	id, err := l.ca.Identity(role, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (l *lab) client(t testing.TB, role string, opts ClientOptions) *Client {
	t.Helper()
	c := NewClient(l.identity(t, role), l.server.Addr(), "sho-a", opts)
	t.Cleanup(c.Close)
	return c
}

func TestCall(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	c := l.client(t, "ro", ClientOptions{})
	got, err := hello.Call(t.Context(), c, ask{"x", 3})
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != "hello x 3 from ro" || !got.At.Equal(time.Unix(7, 9)) || len(got.Exporter) != 32 {
		t.Errorf("got %+v", got)
	}
	want := []Message{{From: "ro", To: "sho-a", Path: "/test/hello", RequestSize: 11, ResponseSize: len(must(Marshal(got)))}}
	if diff := cmp.Diff(want, l.messages); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsCrossTheWire(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{MaxBody: 100})
	ro, vno := l.client(t, "ro", ClientOptions{}), l.client(t, "vno", ClientOptions{})
	session, err := Dial(t.Context(), l.identity(t, "ro"), l.server.Addr(), "sho-a", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	for _, tc := range []struct {
		name   string
		call   func(Caller) error
		caller Caller
		want   *Error
		is     error
	}{
		{"refused with step", call(refuse, ask{}), ro,
			&Error{Code: CodeRefused, Role: "sho-a", Step: "P4.6", Text: "the contract has ended"}, ErrRefused},
		{"of a third role", call(relay, ask{}), ro,
			&Error{Code: CodeConflict, Role: "sho-b", Step: "P8a.4", Text: "bound"}, ErrConflict},
		{"wrong role", call(hello, ask{}), vno,
			&Error{Code: CodeRefused, Role: "sho-a", Text: "vno may not call /test/hello, only ro, m2me-1 may"}, ErrRefused},
		{"panic", call(explode, ask{Name: "boom\x1b[31m"}), ro,
			&Error{Code: CodeInternal, Role: "sho-a", Text: "the handler of /test/explode panicked: boom [31m"}, ErrInternal},
		{"unknown path", call(unknown, ask{}), ro,
			&Error{Code: CodeNotFound, Role: "sho-a", Text: `sho-a serves no "/test/unknown"`}, ErrNotFound},
		{"too large", call(hello, ask{Name: strings.Repeat("x", 100)}), ro,
			&Error{Code: CodeInvalid, Role: "sho-a", Text: "request body: http: request body too large"}, ErrInvalid},
	} {
		for kind, caller := range map[string]Caller{"client": tc.caller, "session": session} {
			if kind == "session" && tc.caller != ro {
				continue
			}
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				var got *Error
				err := tc.call(caller)
				if !errors.As(err, &got) || !errors.Is(err, tc.is) {
					t.Fatalf("got %v", err)
				}
				if *got != *tc.want {
					t.Errorf("got %#v, want %#v", got, tc.want)
				}
			})
			if tc.name == "too large" && kind == "session" {
				break // the server ends the connection after it
			}
		}
	}
}

func call(r Route[ask, reply], a ask) func(Caller) error {
	return func(c Caller) error {
		_, err := r.Call(context.Background(), c, a)
		return err
	}
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	c := l.client(t, "ro", ClientOptions{})
	for name, body := range map[string]string{
		"empty":            "",
		"no map":           "\x01",
		"unknown field":    "\xa3\x61n\x03\x64name\x61x\x61z\x00",
		"missing field":    "\xa1\x61n\x03",
		"duplicated key":   "\xa2\x61n\x03\x61n\x03",
		"duplicate beside": "\xa3\x61n\x03\x61n\x04\x64name\x61x",
		"other order":      "\xa2\x64name\x61x\x61n\x03",
		"long integer":     "\xa2\x61n\x18\x03\x64name\x61x",
		"indefinite":       "\xbf\x61n\x03\x64name\x61x\xff",
		"tag":              "\xc1\xa2\x61n\x03\x64name\x61x",
		"case":             "\xa2\x61N\x03\x64name\x61x",
		"bytes after":      "\xa2\x61n\x03\x64name\x61x\x00",
	} {
		_, err := c.post(t.Context(), string(hello), []byte(body))
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
	if _, err := c.post(t.Context(), string(hello), []byte("\xa2\x61n\x03\x64name\x61x")); err != nil {
		t.Errorf("the well-formed one: %v", err)
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		r := must(http.NewRequestWithContext(t.Context(), method, "https://"+l.server.Addr()+string(hello), nil))
		resp, err := c.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, failure, err := c.response(resp); err != nil || !errors.Is(failure, ErrInvalid) {
			t.Errorf("%s: got %v %v, want ErrInvalid", method, failure, err)
		}
	}
}

// TestHandshake covers what each end refuses before a message is read.
func TestHandshake(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	ro := l.identity(t, "ro")
	other := must(NewCA("another lab", time.Now()))
	foreign := must(other.Identity("ro", time.Now()))
	sameNameServer := NewServer(must(other.Identity("sho-a", time.Now())), ServerOptions{})
	start(t, sameNameServer)
	vnoServer := NewServer(l.identity(t, "vno"), ServerOptions{})
	start(t, vnoServer)
	late := *ro
	late.Now = func() time.Time { return time.Now().Add(2 * validity) }

	for _, tc := range []struct {
		name string
		id   *Identity
		addr string
	}{
		{"server of another CA", ro, sameNameServer.Addr()},
		{"server of another role", ro, vnoServer.Addr()},
		{"client of another CA", foreign, l.server.Addr()},
		{"expired", &late, l.server.Addr()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := NewClient(tc.id, tc.addr, "sho-a", ClientOptions{})
			defer c.Close()
			if _, err := hello.Call(t.Context(), c, ask{}); !errors.Is(err, ErrRefused) {
				t.Errorf("client: got %v, want ErrRefused", err)
			}
			if _, err := Dial(t.Context(), tc.id, tc.addr, "sho-a", ClientOptions{}); !errors.Is(err, ErrRefused) {
				t.Errorf("session: got %v, want ErrRefused", err)
			}
		})
	}
	if len(l.messages) != 0 {
		t.Errorf("handled %v", l.messages)
	}
}

// TestServerRefusesHandshake speaks to the server by bare TLS, as no Client does.
func TestServerRefusesHandshake(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	ro := l.identity(t, "ro")
	foreign := must(must(NewCA("another lab", time.Now())).Identity("ro", time.Now()))
	for name, change := range map[string]func(*tls.Config){
		"no certificate":            func(c *tls.Config) { c.Certificates = nil },
		"certificate of another CA": func(c *tls.Config) { c.Certificates = foreign.tlsConfig().Certificates },
		"TLS 1.2":                   func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
	} {
		config := ro.tlsConfig()
		config.ServerName = hostName("sho-a")
		change(config)
		conn, err := tls.Dial("tcp", l.server.Addr(), config)
		if err == nil { // TLS 1.3: the server's alert comes with the first read
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		var alert tls.AlertError
		var op *net.OpError
		if !errors.As(err, &alert) && !errors.As(err, &op) {
			t.Errorf("%s: got %v, want an alert", name, err)
		}
	}
	config := ro.tlsConfig()
	config.ServerName = hostName("sho-a")
	conn, err := tls.Dial("tcp", l.server.Addr(), config)
	if err != nil {
		t.Fatalf("the proper handshake: %v", err)
	}
	_ = conn.Close()
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	addr := listener.Addr().String()
	_ = listener.Close()
	c := NewClient(l.identity(t, "ro"), addr, "sho-a", ClientOptions{})
	if _, err := hello.Call(t.Context(), c, ask{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if _, err := Dial(t.Context(), l.identity(t, "ro"), addr, "sho-a", ClientOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ro := l.client(t, "ro", ClientOptions{})
	if _, err := slow.Call(ctx, ro, ask{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrUnavailable by the deadline", err)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	quick := Backoff{Attempts: 3, First: time.Microsecond}
	down, no := Errorf(CodeUnavailable, "", "down"), Refuse("", "no")
	for _, tc := range []struct {
		name   string
		errs   []error
		calls  int
		result error
	}{
		{"at once", []error{nil}, 1, nil},
		{"comes back", []error{down, down, nil}, 3, nil},
		{"stays away", []error{down, down, down, nil}, 3, down},
		{"refused", []error{no, nil}, 1, no},
	} {
		calls := 0
		_, err := Retry(t.Context(), quick, func(context.Context) (int, error) {
			calls++
			return calls, tc.errs[calls-1]
		})
		if calls != tc.calls || !errors.Is(err, tc.result) {
			t.Errorf("%s: %d calls, %v", tc.name, calls, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := Retry(ctx, Backoff{First: time.Hour}, func(context.Context) (int, error) {
		calls++
		time.AfterFunc(time.Millisecond, cancel)
		return 0, down
	})
	if calls != 1 || !errors.Is(err, ErrUnavailable) {
		t.Errorf("cancelled: %d calls, %v", calls, err)
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	one, err := Dial(t.Context(), l.identity(t, "m2me-1"), l.server.Addr(), "sho-a", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = one.Close() }()
	two, err := Dial(t.Context(), l.identity(t, "m2me-1"), l.server.Addr(), "sho-a", ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = two.Close() }()
	if cmp.Equal(one.Exporter(), two.Exporter()) {
		t.Error("two sessions have the same exporter")
	}
	if got := must(RoleOf(one.conn.ConnectionState().PeerCertificates[0])); got != "sho-a" {
		t.Errorf("peer is %s", got)
	}
	for range 3 {
		got, err := hello.Call(t.Context(), one, ask{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one.Exporter(), got.Exporter); diff != "" {
			t.Errorf("the ends' exporters differ: %s", diff)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.Call(ctx, one, ask{}); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrUnavailable by the deadline", err)
	}
	if _, err := hello.Call(t.Context(), one, ask{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a session goes on after a lost answer: %v", err)
	}
	if err := l.server.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := hello.Call(t.Context(), two, ask{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("server closed: got %v", err)
	}
}

// network is a vno with a gateway that allows one bearer to reach one target.
func network(t *testing.T, l *lab, count func(Message)) *Server {
	t.Helper()
	vno := NewServer(l.identity(t, "vno"), ServerOptions{Count: count, Gateway: &Gateway{
		Allow: func(_ context.Context, p Peer, bearer, target string) error {
			switch {
			case p.Role != "m2me-1":
				return errors.New("not attached")
			case bearer != "pcid-1":
				return Errorf(CodeNotFound, "P2.8", "no bearer %q", bearer)
			case target != l.server.Addr():
				return Refuse("P2.8", "this access reaches the registration operator only")
			}
			return nil
		},
	}})
	start(t, vno)
	return vno
}

func TestGateway(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	vno := network(t, l, nil)
	machine := l.identity(t, "m2me-1")
	bearer := NewBearer(machine, vno.Addr(), "vno", "pcid-1", ClientOptions{})
	through := ClientOptions{Dial: bearer.Dial}

	session, err := Dial(t.Context(), machine, l.server.Addr(), "sho-a", through)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	got, err := hello.Call(t.Context(), session, ask{"x", 1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(session.Exporter(), got.Exporter); diff != "" {
		t.Errorf("the gateway is not transparent: %s", diff)
	}
	c := l.client(t, "m2me-1", through)
	if _, err := hello.Call(t.Context(), c, ask{"x", 1}); err != nil {
		t.Error(err)
	}
	if n := vno.Drop("m2me-1", "another"); n != 0 {
		t.Errorf("dropped %d tunnels of another bearer", n)
	}
	if n := vno.Drop("m2me-1", "pcid-1"); n != 2 {
		t.Errorf("dropped %d tunnels, want 2", n)
	}
	if _, err := hello.Call(t.Context(), session, ask{"x", 1}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("after the drop: got %v", err)
	}
}

func TestGatewayRefuses(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	var counted atomic.Int64
	vno := network(t, l, func(m Message) {
		if m.Code == "" || !strings.HasPrefix(m.Path, "CONNECT ") {
			t.Errorf("counted %+v", m)
		}
		counted.Add(1)
	})
	machine, ro := l.identity(t, "m2me-1"), l.identity(t, "ro")
	target := l.server.Addr()
	for _, tc := range []struct {
		name           string
		id             *Identity
		addr, role     string
		bearer, target string
		is             error
		step           string
	}{
		{"other target", machine, vno.Addr(), "vno", "pcid-1", "127.0.0.1:1", ErrRefused, "P2.8"},
		{"other bearer", machine, vno.Addr(), "vno", "pcid-2", target, ErrNotFound, "P2.8"},
		{"other peer", ro, vno.Addr(), "vno", "pcid-1", target, ErrRefused, ""},
		{"no gateway", machine, l.server.Addr(), "sho-a", "pcid-1", target, ErrRefused, ""},
		{"gateway of another role", machine, vno.Addr(), "ro", "pcid-1", target, ErrRefused, ""},
		{"bearer with a line end", machine, vno.Addr(), "vno", "a\r\nb", target, ErrInvalid, ""},
		{"target without port", machine, vno.Addr(), "vno", "pcid-1", "host", ErrInvalid, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bearer := NewBearer(tc.id, tc.addr, tc.role, tc.bearer, ClientOptions{})
			_, err := Dial(t.Context(), tc.id, tc.target, "sho-a", ClientOptions{Dial: bearer.Dial})
			var e *Error
			if !errors.Is(err, tc.is) || !errors.As(err, &e) || e.Step != tc.step {
				t.Errorf("session: got %v, want %v at %q", err, tc.is, tc.step)
			}
			c := NewClient(tc.id, tc.target, "sho-a", ClientOptions{Dial: bearer.Dial})
			defer c.Close()
			if _, err := hello.Call(t.Context(), c, ask{}); !errors.Is(err, tc.is) {
				t.Errorf("client: got %v, want %v", err, tc.is)
			}
		})
	}
	// The targets and peers that the network refused, by Session and by Client.
	if n := counted.Load(); n != 8 {
		t.Errorf("%d refusals counted, want 8", n)
	}
}

func TestIdentityFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) }
	ca := must(NewCA("test lab", time.Now()))
	if err := ca.Save(dir, write); err != nil {
		t.Fatal(err)
	}
	again, err := LoadCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	id := must(again.Identity("sho-a", time.Now()))
	if err := id.Save(dir, write); err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadIdentity(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Role != "sho-a" || !loaded.Box.Equal(id.Box) || !loaded.CA.Equal(ca.Certificate) {
		t.Errorf("loaded %+v", loaded)
	}
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	if _, err := LoadIdentity(dir, other); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a key of another certificate: got %v", err)
	}

	held := must(ca.IdentityFor("m2me-1", other, time.Now()))
	held.Signer = hidden{other}
	away := t.TempDir()
	if err := held.Save(away, write); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(away, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key held elsewhere was written: %v", err)
	}
	if _, err := LoadIdentity(away, hidden{other}); err != nil {
		t.Error(err)
	}

	for _, name := range []string{certFile, keyFile, boxFile} {
		kept := must(os.ReadFile(dir + "/" + name))
		if err := os.WriteFile(dir+"/"+name, kept[:len(kept)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(dir, nil); !errors.Is(err, ErrKeyFile) {
			t.Errorf("half of %s: got %v", name, err)
		}
		if err := os.WriteFile(dir+"/"+name, kept, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir+"/"+keyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(dir, nil); !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a readable key: got %v", err)
	}
	if err := os.Remove(dir + "/" + caKeyFile); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCA(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no CA key: got %v", err)
	}
}

// hidden is a key that is only a crypto.Signer, as one in a TPM.
type hidden struct{ key *ecdsa.PrivateKey }

func (h hidden) Public() (p crypto.PublicKey) { return h.key.Public() }
func (h hidden) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return h.key.Sign(r, digest, opts)
}

func TestKeyHeldElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	id, err := l.ca.IdentityFor("m2me-1", hidden{key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(id, l.server.Addr(), "sho-a", ClientOptions{})
	defer c.Close()
	if _, err := hello.Call(t.Context(), c, ask{}); err != nil {
		t.Error(err)
	}
	m := must(SignAs(id, "ask", ask{"x", 1}))
	if _, _, err := m.VerifyFrom(l.identity(t, "ro"), "m2me", "ask"); err != nil {
		t.Error(err)
	}
	if _, err := l.ca.Issue("m2me-1", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).Public(), time.Now()); err == nil {
		t.Error("a key on P-384 got a certificate")
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"ro", "sho-a", "m2me-12", "a-b-c"} {
		if err := CheckRole(good); err != nil {
			t.Error(err)
		}
	}
	ca := must(NewCA("test lab", time.Now()))
	for _, bad := range []string{"", "Sho", "sho_a", "sho-", "-a", "1", "sho a", "sho.a", strings.Repeat("a", 64), "é"} {
		if err := CheckRole(bad); !errors.Is(err, ErrRole) {
			t.Errorf("%q: got %v", bad, err)
		}
		if _, err := ca.Identity(bad, time.Now()); !errors.Is(err, ErrRole) {
			t.Errorf("certificate for %q: got %v", bad, err)
		}
	}
	if _, err := RoleOf(ca.Certificate); !errors.Is(err, ErrRole) {
		t.Errorf("the CA has a role: %v", err)
	}
	cert := must(ca.Identity("ro", time.Now())).Certificate
	for _, uri := range []string{"mcim://role/RO", "mcim:role/ro", "http://role/ro", "mcim://role/ro?x", "mcim://other/ro", "mcim://role:1/ro", "mcim://role//ro", "mcim://role/vno"} {
		c := x509.Certificate{DNSNames: cert.DNSNames, URIs: append(cert.URIs[:0:0], must(cert.URIs[0].Parse(uri)))}
		if role, err := RoleOf(&c); !errors.Is(err, ErrRole) {
			t.Errorf("%s: got %q %v", uri, role, err)
		}
	}
}

func TestCountFromManyCallers(t *testing.T) {
	t.Parallel()
	l := newLab(t, ServerOptions{})
	c := l.client(t, "ro", ClientOptions{})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range 8 {
		wg.Go(func() {
			for n := range 10 {
				if _, err := hello.Call(t.Context(), c, ask{"x", uint64(n)}); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() != 0 || len(l.messages) != 80 {
		t.Errorf("%d failed, %d counted, want 0 and 80", failed.Load(), len(l.messages))
	}
}

func BenchmarkCall(b *testing.B) {
	l := newLab(b, ServerOptions{})
	for name, caller := range map[string]Caller{
		"client":  l.client(b, "ro", ClientOptions{}),
		"session": must(Dial(b.Context(), l.identity(b, "ro"), l.server.Addr(), "sho-a", ClientOptions{})),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := hello.Call(b.Context(), caller, ask{"x", 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDial(b *testing.B) {
	l := newLab(b, ServerOptions{})
	ro := l.identity(b, "ro")
	for b.Loop() {
		s, err := Dial(b.Context(), ro, l.server.Addr(), "sho-a", ClientOptions{})
		if err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}
