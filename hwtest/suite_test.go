package hwtest

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mcim/card/emul"
	"mcim/flows/wire"
	"mcim/flows/world"
	"mcim/hwtest/report"
)

// The hardware that the suite is to run on; with none named it runs on a software
// UICC behind a private pcscd, and on swtpm.
var (
	cardFlag    = flag.String("card", "", "`URI` of the card, such as pcsc:0")
	tpmFlag     = flag.String("tpm", "", "`URI` of the TPM, such as device:/dev/tpmrm0")
	allowFlag   = flag.String("allow", "", "`ICCID` of the card that may be written")
	profileFlag = flag.String("profile", "", "`FILE` with what the present operator and the maker of the card know of it")
	rootsFlag   = flag.String("ek-roots", "", "PEM `FILE` with the certificates of the TPM makers that are trusted")
	logFlag     = flag.String("boot-log", "", "`FILE` with the event log of the boot, where the TPM is not this machine's own")
	pcrFlag     = flag.Uint("register", 0, "PCR of the TPM that is the TRE's own, where something else uses 14")
	update      = flag.Bool("update", false, "write the golden files")
)

// namedLab is the lab that the flags describe.
func namedLab(t *testing.T) world.Config {
	t.Helper()
	c := world.Config{Command: "go test", Card: *cardFlag, TPM: *tpmFlag, EKRoots: *rootsFlag, BootLog: *logFlag}
	c.TPMOptions.Register = *pcrFlag
	if *allowFlag != "" {
		c.Allow = []string{*allowFlag}
	}
	if *profileFlag != "" {
		p, err := emul.ReadProfile(*profileFlag)
		if err != nil {
			t.Fatal(err)
		}
		c.Profile = &p
	}
	return c
}

// onHardware says whether a flag names a device.
func onHardware() bool { return *cardFlag != "" || *tpmFlag != "" }

// spending notes what each case spends.
type spending struct {
	spent func() world.Spend
	at    map[string]world.Spend // spent when the case began
	order []string
}

// Case implements Listener. The opening of the lab is before the first one, and a
// part of it.
func (s *spending) Case(id, _ string) {
	if len(s.order) > 0 {
		s.at[id] = s.spent()
	}
	s.order = append(s.order, id)
}
func (s *spending) Step(wire.Event)          {}
func (s *spending) Proof(string)             {}
func (s *spending) Negative(report.Negative) {}

// of is what case i of the order spent, with all that came up to the next one.
func (s *spending) of(i int) world.Spend {
	end := s.spent()
	if i+1 < len(s.order) {
		end = s.at[s.order[i+1]]
	}
	return end.Minus(s.at[s.order[i]])
}

// TestSuite runs all procedures and their negative proofs on the hardware that is
// named, or in software: every verdict is pass, every case spends no more than it
// declares, the files of the run agree with each other, and in software the counts
// are those of the golden file.
func TestSuite(t *testing.T) {
	dir := t.TempDir()
	spent := &world.Spent{}
	notes := &spending{spent: spent.Total, at: map[string]world.Spend{}}
	r := &Runner{Lab: namedLab(t), Version: "test", Out: dir, JUnit: filepath.Join(dir, "junit.xml"), Listeners: []Listener{notes, report.NewChart(t.Output())}}
	r.Lab.Sinks = append(r.Lab.Sinks, spent)
	result, err := r.Run(context.Background())
	if result != nil {
		if err := result.WriteText(t.Output()); err != nil {
			t.Error(err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if result.Verdict != report.Pass {
		t.Errorf("verdict %s", result.Verdict)
	}
	for i, c := range Suite() {
		got, bound := notes.of(i), c.Spends
		if i == len(Suite())-1 && onHardware() { // then all is given back
			for _, c := range Suite() {
				bound = bound.Plus(c.Frees)
			}
		}
		if !got.Within(bound) {
			t.Errorf("%s spent %s, it declares %s", c.ID, got, bound)
		}
		// The card that is new has nothing in the eight files that are written only then.
		slack := world.Spend{Auths: 1, CardWrites: 11, NVWrites: 1}
		if !onHardware() && !bound.Within(got.Plus(slack)) {
			t.Errorf("%s spent %s, and declares as much as %s", c.ID, got, bound)
		}
	}
	agree(t, result, dir)
	if !onHardware() {
		golden(t, result)
	}
}

// agree compares the report with the traces.
func agree(t *testing.T, r *report.Report, dir string) {
	t.Helper()
	var stored report.Report
	text, err := os.ReadFile(filepath.Join(dir, reportFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*r, stored); diff != "" {
		t.Errorf("report.json is not the report (-report +file):\n%s", diff)
	}
	var apdus, bytes, commands uint64
	for _, p := range r.Procedures {
		apdus, bytes, commands = apdus+p.APDUs, bytes+p.LinkBytes, commands+p.TPMCommands
	}
	lines, linked := traced(t, filepath.Join(dir, traceFile))
	if apdus != lines["apdu"] || commands != lines["tpm"] || bytes != linked {
		t.Errorf("the report counts %d APDUs of %d bytes and %d TPM commands, the trace has %v and %d bytes", apdus, bytes, commands, lines, linked)
	}
}

// traced counts the lines of a trace by kind, and the bytes of the APDUs.
func traced(t *testing.T, path string) (lines map[string]uint64, bytes uint64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	lines = map[string]uint64{}
	for d := json.NewDecoder(f); d.More(); {
		var line struct{ Kind, Command, Response string }
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		lines[line.Kind]++
		bytes += uint64(len(line.Command)+len(line.Response)) / 2
	}
	return lines, bytes
}

// counts are those of a procedure in the golden file.
type counts struct {
	APDUs       uint64 `json:"apdus"`
	LinkBytes   uint64 `json:"link_bytes"`
	TPMCommands uint64 `json:"tpm_commands"`
	Messages    uint64 `json:"messages"`
	Steps       int    `json:"steps"`
}

// golden compares the counts of a run in software with the golden file.
func golden(t *testing.T, r *report.Report) {
	t.Helper()
	const path = "testdata/counts.golden.json"
	got := struct {
		Source     string            `json:"source"`
		Procedures map[string]counts `json:"procedures"`
	}{"a run of TestSuite in software: go test ./hwtest -run TestSuite -update", map[string]counts{}}
	for _, p := range r.Procedures {
		got.Procedures[p.ID] = counts{p.APDUs, p.LinkBytes, p.TPMCommands, p.Messages, len(p.Steps)}
	}
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(text, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	want := got
	want.Procedures = nil
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counts differ (-golden +got); if that is meant, run with -update:\n%s", diff)
	}
}

// TestCasesCoverAllProcedures holds the suite to the procedures of the bridge.
func TestCasesCoverAllProcedures(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, c := range Suite() {
		for _, p := range c.Procedures {
			ids = append(ids, p.ID)
		}
	}
	if want := []string{"P1", "P2", "P4", "P5c", "P6", "P7", "P8a", "P8c"}; !slices.Equal(ids, want) {
		t.Errorf("procedures %v, want %v", ids, want)
	}
}
