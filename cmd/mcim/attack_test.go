package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"mcim/flows/world"
	"mcim/hwtest"
)

// TestAttackExit: exit code 1 is for an attack that was refused; one that was not
// ends with 3, its outcome as the last line, and nothing on standard error.
func TestAttackExit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		lab  world.Config
		code int
		last string
	}{
		{world.Config{InProcess: true}, exitFailed, "refused: autn at P2.7: "},
		{world.Config{InProcess: true, Weak: world.Weakness{AcceptForgedAUTN: true}}, exitEnvironment, "succeeded: autn: no defence acted"},
	} {
		var out, talk bytes.Buffer
		con := console{out: &out, talk: &talk}
		err := (&demoCmd{Attack: "autn"}).attack(con, context.Background(), &hwtest.Runner{Lab: tt.lab})
		if code := con.finish(err); code != tt.code || !strings.HasPrefix(out.String(), tt.last) || talk.Len() != 0 {
			t.Errorf("exit code %d, %q, %q; want %d, %q", code, out.String(), talk.String(), tt.code, tt.last)
		}
	}
}
