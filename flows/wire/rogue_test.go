package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestRoguePeer calls a peer that is certified but does not speak as roles do.
func TestRoguePeer(t *testing.T) {
	t.Parallel()
	ca := must(NewCA("test lab", time.Now()))
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter)
		is     error
	}{
		{"status without error", func(w http.ResponseWriter) { http.Error(w, "no", http.StatusTeapot) }, ErrInternal},
		{"redirect", func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, ErrInternal},
		{"null for an error", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte{0xf6})
		}, ErrInternal},
		{"no message", func(w http.ResponseWriter) { _, _ = w.Write([]byte("hello")) }, ErrInvalid},
		{"too much", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 300)) }, ErrInvalid},
		{"cut answer", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("half"))
		}, ErrUnavailable},
		{"hung up", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			listener := must(net.Listen("tcp", "127.0.0.1:0"))
			rogue := &http.Server{
				Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tc.answer(w) }),
				ReadHeaderTimeout: time.Minute,
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = rogue.Serve(tls.NewListener(listener, must(ca.Identity("sho-a", time.Now())).tlsConfig()))
			}()
			defer func() { _ = rogue.Close(); <-ended }()
			ro, addr := must(ca.Identity("ro", time.Now())), listener.Addr().String()
			c := NewClient(ro, addr, "sho-a", ClientOptions{MaxBody: 200})
			defer c.Close()
			if _, err := hello.Call(t.Context(), c, ask{}); !errors.Is(err, tc.is) {
				t.Errorf("client: got %v, want %v", err, tc.is)
			}
			s, err := Dial(t.Context(), ro, addr, "sho-a", ClientOptions{MaxBody: 200})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if _, err := hello.Call(t.Context(), s, ask{}); !errors.Is(err, tc.is) {
				t.Errorf("session: got %v, want %v", err, tc.is)
			}
		})
	}
}

// TestTimesAreUTC: one instant has one form, whatever zone it was made in.
func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	at := time.Unix(1, 2)
	a, b := must(Marshal(at.UTC())), must(Marshal(at.In(time.FixedZone("x", 3600))))
	if !bytes.Equal(a, b) {
		t.Errorf("%x and %x", a, b)
	}
	if _, err := Unmarshal[time.Time]([]byte("\x78\x191970-01-01T01:00:01+01:00")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a time of another zone: got %v", err)
	}
}
