package wire

import "context"

// Route is one arrow of the message chart: the path of an HTTPS resource, with
// the types of its request and its response. Both are structs with cbor tags.
type Route[Req, Resp any] string

// Handle registers h at s for this route, before s is started. allow lists the
// roles that may call it, by name ("sho-a") or by kind ("sho"); all others get
// ErrRefused. h gets a request that is well-formed, nothing more. Its error
// reaches the caller as an *Error (AsError), its panic as one with CodeInternal.
func (r Route[Req, Resp]) Handle(s *Server, allow []string, h func(ctx context.Context, p Peer, req Req) (Resp, error)) {
	s.routes[string(r)] = handler{allow, func(ctx context.Context, p Peer, body []byte) ([]byte, error) {
		req, err := Unmarshal[Req](body)
		if err != nil {
			return nil, Errorf(CodeInvalid, "", "%w", err)
		}
		resp, err := h(ctx, p, req)
		if err != nil {
			return nil, err
		}
		return Marshal(resp)
	}}
}

// Caller is one who can send a request to a peer: a Client or a Session.
type Caller interface {
	// post sends body to path and returns the body of the response; the error is
	// an *Error.
	post(ctx context.Context, path string, body []byte) ([]byte, error)
}

// Call sends req to the peer of c and waits for its answer. The error is an
// *Error: the peer's own, ErrUnavailable when it was not reached or the answer
// was lost, ErrRefused when one side did not accept the other's certificate, or
// ErrInvalid when the answer is malformed.
func (r Route[Req, Resp]) Call(ctx context.Context, c Caller, req Req) (Resp, error) {
	var zero Resp
	body, err := Marshal(req)
	if err != nil {
		return zero, Errorf(CodeInvalid, "", "%w", err)
	}
	answer, err := c.post(ctx, string(r), body)
	if err != nil {
		return zero, err
	}
	resp, err := Unmarshal[Resp](answer)
	if err != nil {
		return zero, Errorf(CodeInvalid, "", "answer to %s: %w", string(r), err)
	}
	return resp, nil
}
