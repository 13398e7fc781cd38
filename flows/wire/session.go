package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Session is exactly one TLS connection to a peer role, for a series of calls
// that belong together: it is never replaced by another one, so what was bound
// to its exporter holds for all of them. After a failed call that is not the
// peer's own Error the session is over, and further calls are ErrUnavailable.
// Calls from several goroutines are made one after the other.
type Session struct {
	peer
	conn     *tls.Conn
	exporter []byte

	mu     sync.Mutex
	reader *bufio.Reader
	over   error
}

// Dial opens a session of the role id with the role that listens at addr. The
// error is an *Error as of Route.Call.
func Dial(ctx context.Context, id *Identity, addr, role string, opts ClientOptions) (*Session, error) {
	s := &Session{peer: newPeer(id, addr, role, opts)}
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	state := conn.ConnectionState()
	s.exporter, err = state.ExportKeyingMaterial(ExporterLabel, nil, exporterSize)
	if err != nil {
		_ = conn.Close()
		return nil, s.failed(err)
	}
	s.conn, s.reader = conn, bufio.NewReader(conn)
	return s, nil
}

// Exporter is the TLS exporter of the connection for ExporterLabel, 32 bytes;
// the peer's handlers find the same in Peer.Exporter.
func (s *Session) Exporter() []byte { return slices.Clone(s.exporter) }

// Close ends the connection.
func (s *Session) Close() error { return s.conn.Close() }

func (s *Session) post(ctx context.Context, path string, body []byte) ([]byte, error) {
	r, err := s.request(ctx, path, body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return nil, s.over
	}
	answer, failure, err := s.exchange(ctx, r)
	if err != nil {
		s.over = s.failed(err)
		_ = s.conn.Close()
		return nil, s.over
	}
	if failure != nil {
		return nil, failure
	}
	return answer, nil
}

// exchange writes a request and reads its response; when ctx ends, the
// connection's deadline passes.
func (s *Session) exchange(ctx context.Context, r *http.Request) (answer []byte, failure *Error, err error) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			answer, failure, err = nil, nil, ctx.Err()
		}
	}()
	if err := r.Write(s.conn); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(s.reader, r)
	if err != nil {
		return nil, nil, err
	}
	return s.response(resp)
}
