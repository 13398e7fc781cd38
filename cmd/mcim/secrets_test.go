package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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
	out, artefacts := runSearched(t, t.TempDir(), map[string]secret.Bytes{})
	if len(out.children) < 2 {
		t.Errorf("children seen: %v, want pcscd and swtpm", out.children)
	}
	if len(artefacts["lab/card.img"]) == 0 {
		t.Error("the lab's card is not there")
	}
}

// TestSecretsOfProfile runs the demo on a card that its user names, and finds the
// keys, the codes and the PIN of its profile nowhere but in the profile. The image is
// the inside of that card; they lie in it sealed, so that it is searched, too.
func TestSecretsOfProfile(t *testing.T) {
	dir := t.TempDir()
	pin1, profile := "86420975", filepath.Join(dir, "card.toml")
	text := strings.Replace(profileTOML("8988211000000467343"), `"1234"`, strconv.Quote(pin1), 1)
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := emul.ReadProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "own.img")
	c, err := emul.Open(image, &p)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]secret.Bytes{"own/K": p.K, "own/OPc": p.OPc, "own/ADM1": p.ADM1}
	if found := leaks([]byte(text), secrets); len(found) < len(secrets) {
		t.Errorf("in the profile are found %v", found)
	}
	_, artefacts := runSearched(t, dir, secrets, "--card", "emul:"+image, "--profile", profile, "--allow", p.ICCID)
	if len(artefacts["own.img"]) == 0 {
		t.Error("the image is not there")
	}
	// Eight digits alone can stand in a string of hexadecimal digits by chance.
	digits := regexp.MustCompile("(^|[^0-9A-Fa-f])(" + pin1 + "|" + string(p.PUK1.Reveal()) + ")($|[^0-9A-Fa-f])")
	if !digits.MatchString(text) {
		t.Error("the digits of PIN1 are not found where they are")
	}
	for name, data := range artefacts {
		if digits.Match(data) {
			t.Errorf("%s has the digits of PIN1 or PUK1", name)
		}
	}
}

// runSearched runs the demo in a lab in dir, with these flags besides, and searches
// all that it leaves for the secrets given and those that its roles have. It gives
// what was searched, by name: all but the profile and the state of swtpm.
func runSearched(t *testing.T, dir string, secrets map[string]secret.Bytes, flags ...string) (*watcher, map[string][]byte) {
	t.Helper()
	t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := &watcher{t: t, lab: filepath.Join(dir, "lab"), secrets: secrets, children: map[string]bool{}}
	var talk bytes.Buffer
	args := []string{"demo", "--lab", out.lab, "--out", filepath.Join(dir, "out"), "--junit", filepath.Join(dir, "out", "junit.xml")}
	if code := run(context.Background(), append(args, flags...), out, &talk); code != exitPass {
		t.Fatalf("exit code %d: %s%s", code, out.String(), talk.String())
	}
	out.sweep()
	enough(t, out)
	artefacts := map[string][]byte{"stdout": out.Bytes(), "stderr": talk.Bytes()}
	for line := range out.children {
		artefacts["command line "+strings.ReplaceAll(line, "\x00", " ")] = []byte(line)
	}
	readAll(t, dir, artefacts)
	delete(artefacts, "card.toml")
	for _, name := range []string{"out/report.json", "out/trace.jsonl", "out/trace.pcap", "out/log.jsonl", "out/junit.xml",
		"lab/tpm/swtpm.log", "lab/tpm/ca/signkey.pem"} {
		if len(artefacts[name]) == 0 {
			t.Errorf("%s is not there", name)
		}
	}
	for name, data := range artefacts {
		if found := leaks(data, out.secrets); len(found) > 0 {
			t.Errorf("%s has %s", name, strings.Join(found, ", "))
		}
	}
	return out, artefacts
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

// readAll reads the files of a run, but for those in which swtpm keeps its state.
func readAll(t *testing.T, dir string, into map[string][]byte) {
	t.Helper()
	states := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, rerr := filepath.Rel(dir, path)
		if err != nil || rerr != nil || !e.Type().IsRegular() {
			return errors.Join(err, rerr)
		}
		if state, _ := filepath.Match("lab/tpm/tpm/tpm2-00.*", name); state {
			states++
			return nil
		}
		into[name], err = os.ReadFile(path)
		return err
	})
	if err != nil || states == 0 {
		t.Fatalf("%d files with the state of swtpm, %v", states, err)
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
