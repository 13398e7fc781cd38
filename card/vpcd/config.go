package vpcd

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstCopyFD is the first file descriptor behind the socket of pcscd.
const firstCopyFD = 4

// stanza is the name of the i-th pair of readers.
func (c *Config) stanza(i int) string {
	if i == 0 {
		return c.Name
	}
	return fmt.Sprintf("%s %d", c.Name, i+1)
}

// drawPorts finds a pair of free ports for each pair of readers. They can be
// taken until the driver opens them; ready sees that.
func drawPorts(c Config) ([]int, error) {
	var ports []int
	for tries := 0; len(ports) < (c.Slots+1)/slotsPerDriver; tries++ {
		if tries == 1000 {
			return nil, fmt.Errorf("%w: no free pair between %d and %d", ErrNoPort, minPort, endPort-1)
		}
		p := c.draw()
		near := func(q int) bool { return q-p < slotsPerDriver && p-q < slotsPerDriver }
		if !slices.ContainsFunc(ports, near) && free(p) && free(p+1) {
			ports = append(ports, p)
		}
	}
	return ports, nil
}

func free(port int) bool {
	l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// writeConfig writes one stanza for each pair of readers.
func writeConfig(conf string, c Config, ports []int) error {
	if err := os.MkdirAll(conf, 0o700); err != nil {
		return err
	}
	var text bytes.Buffer
	for i, port := range ports {
		lib := c.Driver
		if i > 0 {
			lib = fmt.Sprintf("/proc/self/fd/%d", firstCopyFD+i-1)
		}
		fmt.Fprintf(&text, "FRIENDLYNAME \"%s\"\nDEVICENAME /dev/null:0x%04X\nLIBPATH %s\nCHANNELID 0x%04X\n\n", c.stanza(i), port, lib, port)
	}
	return os.WriteFile(filepath.Join(conf, "vpcd"), text.Bytes(), 0o600)
}

// copies makes n copies of the driver in memory. All stanzas with one driver
// would share one table of slots, and the loader knows one by its inode. The
// path of a file of the folder would not do either: LIBPATH has no spaces.
func copies(driver string, n int) ([]*os.File, error) {
	var files []*os.File
	for range n {
		fd, err := unix.MemfdCreate("libifdvpcd", unix.MFD_CLOEXEC)
		if err != nil {
			return files, fmt.Errorf("copy of the virtual reader driver: %w", err)
		}
		f := os.NewFile(uintptr(fd), "libifdvpcd")
		files = append(files, f)
		b, err := os.ReadFile(driver)
		if err != nil {
			return files, err
		}
		if _, err := f.Write(b); err != nil {
			return files, fmt.Errorf("copy of the virtual reader driver: %w", err)
		}
	}
	return files, nil
}

// listening tells whether the process has a listening socket on each pair of
// ports, and whether somebody else has one on any of them.
func listening(pid int, ports []int) (own, foreign bool, err error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false, false, err
	}
	inodes := listeners(table)
	fds, err := sockets(pid)
	if err != nil {
		return false, false, err
	}
	own = true
	for _, first := range ports {
		for port := first; port < first+slotsPerDriver; port++ {
			inode, ok := inodes[port]
			own = own && ok
			foreign = foreign || ok && !slices.Contains(fds, inode)
		}
	}
	return own && !foreign, foreign, nil
}

// listeners reads the table of TCP sockets: port to inode of those that listen.
func listeners(table []byte) map[int]string {
	const (
		local  = 1 // columns
		state  = 3
		inode  = 9
		listen = "0A"
	)
	found := map[int]string{}
	for s := bufio.NewScanner(bytes.NewReader(table)); s.Scan(); {
		col := strings.Fields(s.Text())
		if len(col) <= inode || col[state] != listen {
			continue
		}
		_, hexPort, _ := strings.Cut(col[local], ":")
		if b, err := hex.DecodeString(hexPort); err == nil && len(b) == 2 {
			found[int(b[0])<<8|int(b[1])] = col[inode]
		}
	}
	return found
}

// sockets gives the inodes of a process's sockets; none once it has ended.
func sockets(pid int) ([]string, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	fds, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	var inodes []string
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			inodes = append(inodes, strings.TrimSuffix(inode, "]"))
		}
	}
	return inodes, nil
}
