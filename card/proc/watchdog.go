package proc

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdog is a shell that waits for one line from this process. When the pipe
// closes without one, this process has died, and the watchdog kills the group
// that it was started for: what a program has forked gets no PDEATHSIG.
type watchdog struct {
	cmd  *exec.Cmd
	pipe *os.File
}

const watch = `read _ || kill -KILL "-$1"`

// newWatchdog watches over a process group.
func newWatchdog(group int) (*watchdog, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", watch, "watchdog", strconv.Itoa(group))
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = r.Close()
	if err != nil {
		_ = w.Close()
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	return &watchdog{cmd, w}, nil
}

// end calls the watchdog off: the program has ended, and its group may be
// another's soon.
func (w *watchdog) end() {
	_, _ = w.pipe.WriteString("\n") // it is there until it has read this
	_ = w.pipe.Close()
	_ = w.cmd.Wait()
}
