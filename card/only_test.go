package card_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// spending are the commands that only the Guard may build.
var spending = regexp.MustCompile(`uicc\.(Verify|ChangePIN|DisablePIN|EnablePIN|UnblockPIN|UpdateBinary|UpdateRecord|Increase|SetData|CreateFile|DeleteFile|ResizeFile|ActivateFile|DeactivateFile|TerminateEF|TerminateDF|TerminateCard)\{|uicc\.(SetObject|DeleteObject)\(|usim\.(Authenticate|RunGSM|GBABootstrap|GBADerive|LocalKeyDerive)\{[^}]*\}\.Command\(`)

// TestOnlyTheGuardSpends holds the program to its one way to verify, write and
// authenticate: no other package builds such a command.
func TestOnlyTheGuardSpends(t *testing.T) {
	t.Parallel()
	allowed := map[string]bool{"verify.go": true, "guardpin.go": true, "update.go": true, "authenticate.go": true, "guardrecords.go": true,
		"guardfiles.go": true, "dataobjects.go": true}
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") ||
			strings.HasPrefix(path, filepath.Join("..", "apdu")) {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found := spending.Find(text)
		switch {
		case found == nil:
		case filepath.Dir(path) == filepath.Join("..", "card") && allowed[filepath.Base(path)]:
			seen++
		default:
			t.Errorf("%s builds %s by itself: use a card.Guard", path, found)
		}
		return nil
	})
	if err != nil || seen != len(allowed) {
		t.Errorf("saw %d of %d files of the guard: %v", seen, len(allowed), err)
	}
}
