package proctest

import (
	"os"
	"syscall"
	"testing"
)

// WriteProgram writes a file that can be started at once. A child process that is
// being started meanwhile would hold the file open for writing, and the kernel starts
// no such file (ETXTBSY): none is started until the file is closed.
func WriteProgram(t testing.TB, path string, content []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
}
