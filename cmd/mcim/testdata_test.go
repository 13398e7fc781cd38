package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVectorsNameTheirSource holds every file of test vectors to saying where
// its values come from.
func TestVectorsNameTheirSource(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "testdata") || filepath.Ext(path) != ".json" {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		if err == nil && !bytes.Contains(b, []byte(`"source`)) {
			t.Errorf("%s names no source", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("no vector file seen")
	}
}
