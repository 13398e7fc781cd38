package dump

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/usim"
	"mcim/card/model"
)

// candidate is a file that may be in a directory.
type candidate struct {
	ef.File
	keys bool // a key file of the card model, which is not read
}

// folder is a directory of the table with what may be in it.
type folder struct {
	dir   ef.Dir
	name  string // "DF.5GS"
	fid   uint16 // 0 for an application
	files []candidate
	below []*folder
}

// table is the MF and the applications of the table of package ef, by their
// names.
func table() map[ef.Dir]*folder {
	all := map[ef.Dir]*folder{}
	for _, f := range ef.Files() {
		d := all[f.Dir]
		if d == nil {
			d = newFolder(f.Dir)
			all[f.Dir] = d
		}
		d.files = append(d.files, candidate{File: f})
	}
	for _, name := range sortedDirs(all) {
		d := all[name]
		slices.SortStableFunc(d.files, readingOrder)
		d.files = slices.CompactFunc(d.files, func(a, b candidate) bool { return a.FID == b.FID })
		if above := all[parentOf(name)]; above != nil {
			above.below = append(above.below, d)
		}
	}
	return all
}

func newFolder(dir ef.Dir) *folder {
	d := &folder{dir: dir, name: string(dir[strings.LastIndex(string(dir), "/")+1:])}
	if fids := dir.FIDs(); dir == ef.DirMF || len(fids) > 1 {
		d.fid = fids[len(fids)-1]
	}
	return d
}

func sortedDirs(all map[ef.Dir]*folder) []ef.Dir {
	var dirs []ef.Dir
	for d := range all {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	return dirs
}

// parentOf is the directory above, empty for the MF and for applications.
func parentOf(dir ef.Dir) ef.Dir {
	above, _, nested := cut(string(dir))
	switch {
	case nested:
		return ef.Dir(above)
	case strings.HasPrefix(string(dir), "DF."):
		return ef.DirMF
	default:
		return ""
	}
}

func cut(dir string) (above, name string, nested bool) {
	i := strings.LastIndex(dir, "/")
	if i < 0 {
		return "", dir, false
	}
	return dir[:i], dir[i+1:], true
}

// readingOrder puts EF.ARR, which has the rules of the others, before them.
func readingOrder(a, b candidate) int {
	rank := func(c candidate) int {
		if c.Name == "EF.ARR" {
			return 0
		}
		return 1
	}
	return cmp.Or(rank(a)-rank(b), int(a.FID)-int(b.FID))
}

// aidISIM is RID and application code of an ISIM (TS 101 220, annex E).
func aidISIM() []byte { return []byte{0xA0, 0x00, 0x00, 0x00, 0x87, 0x10, 0x04} }

// applicationDir is the directory of the table for an AID; empty for an
// application of which no file is known.
func applicationDir(aid []byte) ef.Dir {
	switch {
	case bytes.HasPrefix(aid, usim.AIDPrefix()):
		return ef.DirUSIM
	case bytes.HasPrefix(aid, aidISIM()):
		return ef.DirISIM
	default:
		return ""
	}
}

// keyFiles are the files of a card model in the application with that AID, which
// hold keys and sequence numbers.
func keyFiles(m *model.Model, aid []byte, dir ef.Dir) []candidate {
	if m == nil || m.SIM() || !bytes.HasPrefix(aid, m.AID) {
		return nil
	}
	var list []candidate
	for _, fid := range []uint16{m.KeyFile.FID, m.SQNFile.FID} {
		list = append(list, candidate{File: ef.File{Name: fmt.Sprintf("EF.%04X", fid), Dir: dir, FID: fid}, keys: true})
	}
	return list
}
