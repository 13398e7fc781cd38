package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mcim/apdu/secret"
	"mcim/card/emul"
	"mcim/flows/store"
)

// forms are the ways in which a secret could be written down, by name.
func forms(value []byte) map[string][]byte {
	digits := strings.Trim(fmt.Sprintf("%d", value), "[]")
	m := map[string][]byte{
		"raw": value, "hex": fmt.Appendf(nil, "%x", value), "HEX": fmt.Appendf(nil, "%X", value),
		"%v": []byte(digits), "JSON array": []byte(strings.ReplaceAll(digits, " ", ",")),
		"%#v":         []byte(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", value), "[]byte{"), "}")),
		"hex, spaced": fmt.Appendf(nil, "% x", value),
		"%q":          inner(strconv.Quote(string(value))),
		"%+q":         inner(strconv.QuoteToASCII(string(value))),
	}
	for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 URL": base64.RawURLEncoding} {
		for before := range 3 { // bytes of something else in front of it
			text := encoding.EncodeToString(append(make([]byte, before), value...))
			first, last := (8*before+5)/6, 8*(before+len(value))/6 // characters that depend on the secret alone
			m[fmt.Sprintf("%s, %d before", name, before)] = []byte(text[first:last])
		}
	}
	return m
}

// inner is a quoted string without its quotes.
func inner(quoted string) []byte { return []byte(quoted[1 : len(quoted)-1]) }

// leaks says in which forms data has one of the secrets.
func leaks(data []byte, secrets map[string]secret.Bytes) []string {
	var found []string
	for name, s := range secrets {
		for form, pattern := range forms(s.Reveal()) {
			if bytes.Contains(data, pattern) {
				found = append(found, name+" as "+form)
			}
		}
	}
	slices.Sort(found)
	return found
}

// watcher is standard output of a run. Each time that something is written to it,
// it notes the secrets that the roles have then, and the command lines of the
// children.
type watcher struct {
	bytes.Buffer
	t        *testing.T
	lab      string
	secrets  map[string]secret.Bytes
	children map[string]bool
}

func (w *watcher) Write(b []byte) (int, error) {
	w.note(b)
	return w.Buffer.Write(b)
}

// note looks at the children, and at the stores when a case begins or ends, and all through P1.
func (w *watcher) note(b []byte) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		w.t.Error(err)
	}
	for _, path := range paths {
		if child(filepath.Dir(path)) {
			line, _ := os.ReadFile(path) // it may have ended
			w.children[string(line)] = true
		}
	}
	for _, at := range []string{"\nP", "  proof ", "  P1."} { // the supplier forgets PIN1 and ADM1 within P1
		if bytes.HasPrefix(b, []byte(at)) {
			w.sweep()
			return
		}
	}
}

// child tells whether the process with that folder in /proc is one of ours.
func child(dir string) bool {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	return err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid())
}

// sweep notes all secrets in the roles' stores.
func (w *watcher) sweep() {
	err := filepath.WalkDir(filepath.Join(w.lab, "roles"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "store.db" {
			return err
		}
		s, err := store.Open(context.Background(), filepath.Dir(path))
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		all, err := s.Secrets(context.Background())
		for name, value := range all {
			w.secrets[filepath.Base(filepath.Dir(path))+"/"+name] = value
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		w.t.Error(err)
	}
}

// TestSecretsStayInside runs the demo in a lab and finds K, OPc, PIN1 and ADM1 of
// no subscription in anything that the run leaves or shows: report, traces, capture,
// log, JUnit, both outputs, command lines of children, and the lab's folder outside
// of the state of swtpm, which is the inside of a TPM.
func TestSecretsStayInside(t *testing.T) {
	t.Setenv("PCSCLITE_CSOCK_NAME", "") // the run changes it
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := &watcher{t: t, lab: filepath.Join(dir, "lab"), secrets: map[string]secret.Bytes{}, children: map[string]bool{}}
	var talk bytes.Buffer
	code := run(context.Background(), []string{"demo", "--lab", out.lab, "--out", filepath.Join(dir, "out"), "--junit", filepath.Join(dir, "out", "junit.xml")}, out, &talk)
	if code != exitPass {
		t.Fatalf("exit code %d: %s%s", code, out.String(), talk.String())
	}
	out.sweep()
	enough(t, out)
	artefacts := map[string][]byte{"stdout": out.Bytes(), "stderr": talk.Bytes()}
	for line := range out.children {
		artefacts["command line "+strings.ReplaceAll(line, "\x00", " ")] = []byte(line)
	}
	if len(out.children) < 2 {
		t.Errorf("children seen: %v, want pcscd and swtpm", out.children)
	}
	readAll(t, dir, artefacts)
	for _, name := range []string{"out/report.json", "out/trace.jsonl", "out/trace.pcap", "out/log.jsonl", "out/junit.xml", "lab/card.img"} {
		if len(artefacts[name]) == 0 {
			t.Errorf("%s is not there", name)
		}
	}
	for name, data := range artefacts {
		if found := leaks(data, out.secrets); len(found) > 0 {
			t.Errorf("%s has %s", name, strings.Join(found, ", "))
		}
	}
}

// enough checks that the run had the secrets that it has to keep.
func enough(t *testing.T, w *watcher) {
	t.Helper()
	kinds := map[string]int{}
	for name, value := range w.secrets {
		if value.Len() < 8 {
			t.Errorf("%s has %d bytes", name, value.Len())
		}
		kinds[strings.Split(name, "/")[1]]++
	}
	// K of the PCID, of the card, of two MCIMs in the TRE and of the new one in the card.
	for kind, want := range map[string]int{"auc-k": 5, "auc-opc": 5, "card-pin1": 1, "card-adm1": 1} {
		if kinds[kind] < want {
			t.Errorf("%d secrets of the kind %s seen, want %d: %v", kinds[kind], kind, want, kinds)
		}
	}
}

// readAll reads the files of a run.
func readAll(t *testing.T, dir string, into map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(dir, path)
		switch {
		case err != nil || rerr != nil:
			return err
		case e.IsDir() && name == filepath.Join("lab", "tpm"):
			return filepath.SkipDir
		case !e.Type().IsRegular():
			return nil
		}
		into[name], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPlantedSecretsAreFound: the search finds a secret in each form.
func TestPlantedSecretsAreFound(t *testing.T) {
	t.Parallel()
	p, err := emul.RandomProfile("usim")
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]secret.Bytes{"K": p.K, "ADM1": p.ADM1}
	k := p.K.Reveal()
	for name, planted := range map[string]string{
		"raw": string(k), "hex": fmt.Sprintf("%x", k), "HEX": fmt.Sprintf("%X", k), "ADM1": fmt.Sprintf("%x", p.ADM1.Reveal()),
		"%v": fmt.Sprintf("%v", k), "%#v": fmt.Sprintf("%#v", k), "slice of slices": fmt.Sprint([][]byte{{1}, k}), "%q": fmt.Sprintf("%q", k),
		"base64":              base64.StdEncoding.EncodeToString(k),
		"base64 URL":          base64.URLEncoding.EncodeToString(k),
		"base64 in a message": base64.StdEncoding.EncodeToString(append(append([]byte("1"), k...), "after"...)),
		"base64 later":        base64.URLEncoding.EncodeToString(append(append([]byte("12"), k...), "after"...)),
		"base64 later still":  base64.StdEncoding.EncodeToString(append(append([]byte("123"), k...), 0xFF)),
	} {
		if len(leaks([]byte("before "+planted+" after"), secrets)) == 0 {
			t.Errorf("a secret planted as %s is not found", name)
		}
	}
	if found := leaks([]byte("nothing here"), secrets); len(found) > 0 {
		t.Errorf("found %v in nothing", found)
	}
}
