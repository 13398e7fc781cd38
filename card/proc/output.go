package proc

import (
	"os"
	"strings"
	"sync"
)

const tailLen = 4096

// output is where a program prints to: a file, if wanted, and the last bytes
// of it in memory.
type output struct {
	mu   sync.Mutex
	file *os.File // nil without a log file
	tail []byte
}

func newOutput(path string) (*output, error) {
	o := &output{}
	if path == "" {
		return o, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	o.file = f
	return o, err
}

// Write keeps the tail and passes b on to the file.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, b...)
	if n := len(o.tail) - tailLen; n > 0 {
		o.tail = append(o.tail[:0], o.tail[n:]...)
	}
	if o.file == nil {
		return len(b), nil
	}
	return o.file.Write(b)
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.tail)
}

func (o *output) lastLine() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
