package wire

import (
	"context"
	"fmt"
	"sync"
)

// Directory says where the roles listen: "host:port" by role name. It is safe
// for concurrent use; the zero value is empty.
type Directory struct {
	mu    sync.RWMutex
	addrs map[string]string
}

// Set enters a role, or moves it.
func (d *Directory) Set(role, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.addrs == nil {
		d.addrs = map[string]string{}
	}
	d.addrs[role] = addr
}

// Address is where role listens; ErrUnavailable where the directory does not
// know the role, which may be about to start.
func (d *Directory) Address(role string) (string, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	addr, ok := d.addrs[role]
	if !ok {
		return "", Errorf(CodeUnavailable, "", "no role %s is in the directory", role)
	}
	return addr, nil
}

// Contacts are the other roles as one role sees them: a directory, and the
// connections to those that it has asked something. It is safe for concurrent
// use.
type Contacts struct {
	id      *Identity
	dir     *Directory
	backoff Backoff

	mu      sync.Mutex
	clients map[string]*Client // by role
}

// NewContacts are the contacts of the role id; backoff bounds how often Ask asks
// a role that is not reached.
func NewContacts(id *Identity, dir *Directory, backoff Backoff) *Contacts {
	return &Contacts{id: id, dir: dir, backoff: backoff, clients: map[string]*Client{}}
}

// Client is the kept client for role at its present address.
func (c *Contacts) Client(role string) (*Client, error) {
	addr, err := c.dir.Address(role)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	client := c.clients[role]
	if client == nil || client.addr != addr {
		if client != nil {
			client.Close()
		}
		client = NewClient(c.id, addr, role, ClientOptions{})
		c.clients[role] = client
	}
	return client, nil
}

// Close ends the connections that are idle.
func (c *Contacts) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, client := range c.clients {
		client.Close()
	}
}

// Ask sends req to role over r and waits for the answer, again and again within
// the bounds of the contacts' Backoff while the role is not reached. The error
// is an *Error as of Route.Call.
func Ask[Req, Resp any](ctx context.Context, c *Contacts, role string, r Route[Req, Resp], req Req) (Resp, error) {
	return Retry(ctx, c.backoff, func(ctx context.Context) (Resp, error) {
		client, err := c.Client(role)
		if err != nil {
			var zero Resp
			return zero, fmt.Errorf("ask at %s: %w", string(r), err)
		}
		return r.Call(ctx, client, req)
	})
}
