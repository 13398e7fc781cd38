package wire

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"time"
)

// NodeConfig is what every role needs to be one among the others.
type NodeConfig struct {
	// Identity is who the role is. Required.
	Identity *Identity
	// Directory says where the others listen; Start enters the role itself.
	// Required.
	Directory *Directory
	// Clock is the time by which the role judges validity; nil is the system's.
	Clock func() time.Time
	// Rand is where keys, challenges and nonces come from; nil is crypto/rand.
	Rand io.Reader
	// Observer hears of the role's steps; nil is nobody.
	Observer Observer
	// Count hears of each request that the role handled; nil is nobody.
	Count func(Message)
	// Logger hears of failed handshakes and of panics; nil discards.
	Logger *slog.Logger
	// Address to listen at; "" is "127.0.0.1:0", a free port on loopback.
	Address string
	// Backoff bounds how often a role that is not reached is asked again.
	Backoff Backoff
	// Gateway lets peers connect through the role; nil refuses them.
	Gateway *Gateway
}

// Node is one role at the wire: its server, its contacts, its clock and its
// source of randomness.
type Node struct {
	Role     string
	Identity *Identity
	Contacts *Contacts
	Server   *Server
	Rand     io.Reader

	config NodeConfig
	cancel context.CancelFunc
}

// NewNode makes the node of the role c.Identity. The role registers its routes
// at Server and then calls Start.
func NewNode(c NodeConfig) *Node {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return &Node{
		Role:     c.Identity.Role,
		Identity: c.Identity,
		Contacts: NewContacts(c.Identity, c.Directory, c.Backoff),
		Server:   NewServer(c.Identity, ServerOptions{Address: c.Address, Count: c.Count, Gateway: c.Gateway, Logger: c.Logger}),
		Rand:     c.Rand,
		config:   c,
	}
}

// Now is the role's time, in UTC.
func (n *Node) Now() time.Time { return n.config.Clock().UTC() }

// Directory says where the others listen.
func (n *Node) Directory() *Directory { return n.config.Directory }

// Context is ctx with the role's observer: for what the role does by itself, not
// in a handler.
func (n *Node) Context(ctx context.Context) context.Context {
	return WithObserver(ctx, n.config.Observer)
}

// Bytes are size fresh random bytes.
func (n *Node) Bytes(size int) ([]byte, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(n.Rand, b); err != nil {
		return nil, Errorf(CodeInternal, "", "no randomness: %w", err)
	}
	return b, nil
}

// Start serves the role's routes until Close and enters it into the directory.
func (n *Node) Start(ctx context.Context) error {
	ctx, n.cancel = context.WithCancel(n.Context(ctx))
	if err := n.Server.Start(ctx); err != nil {
		n.cancel()
		return err
	}
	n.config.Directory.Set(n.Role, n.Server.Addr())
	return nil
}

// Close ends the server and the connections to others.
func (n *Node) Close() error {
	if n.cancel != nil {
		n.cancel()
	}
	n.Contacts.Close()
	return n.Server.Close()
}
