package vpcd

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
)

// reader takes messages off the connection to the driver.
type reader struct {
	read  func([]byte) (int, error)
	buf   []byte // grows to the longest message
	start int    // unread bytes are buf[start:end]
	end   int
}

const headerLen = 2 // bytes, length of what follows

func newReader(conn net.Conn) (*reader, error) {
	q, err := newQuickAck(conn)
	if err != nil {
		return nil, err
	}
	return &reader{read: q.Read, buf: make([]byte, 512)}, nil
}

// next returns a message without its length field, to keep until the next
// call; io.EOF at the end of the connection.
func (r *reader) next() ([]byte, error) {
	if err := r.fill(headerLen); err != nil {
		return nil, err
	}
	n := headerLen + int(binary.BigEndian.Uint16(r.buf[r.start:]))
	if err := r.fill(n); err != nil {
		return nil, err
	}
	msg := r.buf[r.start+headerLen : r.start+n]
	r.start += n
	return msg, nil
}

// fill reads until n bytes are unread.
func (r *reader) fill(n int) error {
	if r.start == r.end {
		r.start, r.end = 0, 0
	}
	if r.start+n > len(r.buf) {
		buf := r.buf
		if n > len(buf) {
			buf = make([]byte, n)
		}
		r.end = copy(buf, r.buf[r.start:r.end])
		r.buf, r.start = buf, 0
	}
	for r.end-r.start < n {
		got, err := r.read(r.buf[r.end:])
		r.end += got
		if err != nil {
			return err
		}
	}
	return nil
}

// quickAck reads from a TCP connection with TCP_QUICKACK set around each read.
// The driver sends the length and what follows in two segments, and without
// the option the kernel's delayed acknowledgement holds each message back for
// 44 ms. The kernel clears it by itself, so it is set again each time.
type quickAck struct {
	raw  syscall.RawConn
	step func(fd uintptr) bool // once, kept, so that a read allocates nothing
	buf  []byte
	n    int
	err  error
}

func newQuickAck(conn net.Conn) (*quickAck, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("connection to the virtual reader is no socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	q := &quickAck{raw: raw}
	q.step = q.once
	return q, nil
}

// Read is as in io.Reader.
func (q *quickAck) Read(b []byte) (int, error) {
	q.buf = b
	switch err := q.raw.Read(q.step); {
	case err != nil:
		return 0, err
	case q.err != nil:
		return 0, q.err
	case q.n == 0:
		return 0, io.EOF
	}
	return q.n, nil
}

// once reports whether the read is done; if not, it is called again when there
// is something to read.
func (q *quickAck) once(fd uintptr) bool {
	// It can only fail on what is no TCP socket, where it is not needed.
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	q.n, q.err = syscall.Read(int(fd), q.buf)
	for errors.Is(q.err, syscall.EINTR) {
		q.n, q.err = syscall.Read(int(fd), q.buf)
	}
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	return !errors.Is(q.err, syscall.EAGAIN)
}
