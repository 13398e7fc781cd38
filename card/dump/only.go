package dump

import (
	"slices"
	"strings"

	"mcim/apdu/ef"
	"mcim/apdu/uicc"
	"mcim/card"
)

// wanted tells whether a file of the current directory is to be read: it was asked
// for, or tells which card it is, which rights files need or which applications
// there are.
func (r *reader) wanted(c candidate) bool {
	if len(r.options.Only) == 0 || c.Name == "EF.ARR" {
		return true
	}
	if c.Dir == ef.DirMF && (c.FID == uicc.FIDEFDIR || c.FID == uicc.FIDEFICCID) {
		return true
	}
	return slices.Contains(r.options.Only, r.here().path+"/"+c.Name)
}

// inside tells whether a file in that directory or below it is to be read.
func (r *reader) inside(dir string) bool {
	return len(r.options.Only) == 0 ||
		slices.ContainsFunc(r.options.Only, func(path string) bool { return strings.HasPrefix(path, dir+"/") })
}

// below is the file with that identifier in a directory.
func below(dir card.File, fid uint16) card.File {
	return card.File{AID: dir.AID, Path: append(slices.Clone(dir.Path), fid)}
}
