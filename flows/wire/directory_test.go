package wire

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestAskReachesRoleThatMovesAndCarriesStep(t *testing.T) {
	t.Parallel()
	ca, err := NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	identity := func(role string) *Identity {
		id, err := ca.Identity(role, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var dir Directory
	contacts := NewContacts(identity("ro"), &dir, Backoff{Attempts: 2, First: time.Millisecond})
	t.Cleanup(contacts.Close)
	if _, err := Ask(t.Context(), contacts, "sho-a", PathLive, OrderRequest{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("unknown role: %v", err)
	}
	for _, imsi := range []string{"001", "002"} {
		messages := make(chan Message, 1)
		server := NewServer(identity("sho-a"), ServerOptions{Count: func(m Message) { messages <- m }})
		PathLive.Handle(server, []string{"ro"}, func(ctx context.Context, _ Peer, _ OrderRequest) (LiveAnswer, error) {
			return LiveAnswer{Live: Path(ctx) == "P6.12/P7.4", IMSI: imsi}, nil
		})
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		dir.Set("sho-a", server.Addr())
		ctx := At(At(t.Context(), "P6.12"), "P7.4")
		got, err := Ask(ctx, contacts, "sho-a", PathLive, OrderRequest{Order: "o"})
		if err != nil || !got.Live || got.IMSI != imsi {
			t.Errorf("answer %+v, %v", got, err)
		}
		if m := <-messages; m.Step != "P6.12/P7.4" {
			t.Errorf("counted for step %q", m.Step)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
}
