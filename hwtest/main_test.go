package hwtest

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain keeps the temporary labs of the tests out of the user's folders. Those
// on hardware that is named stay where the next run finds them.
func TestMain(m *testing.M) {
	if at := os.Getenv(cutAt); at != "" {
		os.Exit(cutChild(at))
	}
	flag.Parse()
	if onHardware() {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "mcim-state-")
	if err == nil {
		err = os.Setenv("XDG_STATE_HOME", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
