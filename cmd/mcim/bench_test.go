package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// benchTable is what .ci/benchtable makes of the output of benchmarks, and its exit
// code.
func benchTable(t *testing.T, output string) (table string, code int) {
	t.Helper()
	cmd := exec.Command("../../.ci/benchtable")
	cmd.Stdin = strings.NewReader(output)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// TestBenchTable: each value stands beside its bar, met or not, and a benchmark that
// fails is no table.
func TestBenchTable(t *testing.T) {
	t.Parallel()
	head := "goos: linux\npkg: mcim/card/pcsc\ncpu: Some Chip\n"
	for _, tt := range []struct{ line, want string }{
		{"BenchmarkTransmitAgainstC-2 \t 4 \t 81.01 C_us/APDU \t 1.10 ratio_to_C", `card/pcsc +TransmitAgainstC +81\.01 C_us/APDU\n +1\.10 ratio_to_C +at most 1\.10 \(goal 1\.05\): ok\n`},
		{"BenchmarkTransmitAgainstC-2 \t 4 \t 1.101 ratio_to_C", `TransmitAgainstC +1\.101 ratio_to_C +at most 1\.10 \(goal 1\.05\): over\n`},
		{"pkg: mcim/tpm/mcim\nBenchmarkAKAWithSQN \t 9 \t 400 AKA/s \t 13.00 TPM-commands/AKA \t 4016 allocs/op",
			`tpm/mcim +AKAWithSQN +400 AKA/s +at least 400: ok\n +13\.00 TPM-commands/AKA +at most 13: ok\n +4016 allocs/op\n`},
		{"pkg: mcim/tpm/mcim\nBenchmarkAKAWithSQN \t 9 \t 399.9 AKA/s \t 14.00 TPM-commands/AKA",
			`399\.9 AKA/s +at least 400: under\n +14\.00 TPM-commands/AKA +at most 13: over\n`},
		{"pkg: mcim/tpm/engine\nBenchmarkAKA-16 \t 9 \t 1000 AKA/s", `tpm/engine +AKA +1000 AKA/s +at least 1000: ok\n`},
		{"pkg: mcim/card/emul\nBenchmarkReadBinary-2 \t 9 \t 4000000 cmd/s \t 0 B/op \t 1 allocs/op",
			`card/emul +ReadBinary +4000000 cmd/s +at least 3000000: ok\n +0 B/op\n +1 allocs/op +at most 1: ok\n`},
		{"pkg: mcim/card/emul\nBenchmarkAuthenticate \t 9 \t 999999.5 cmd/s", `999999\.5 cmd/s +at least 1000000: under\n`},
		{"pkg: mcim/card/dump\nBenchmarkDump \t 9 \t 120.5 ms_link_floor \t 1.301 ratio_to_bare",
			`120\.5 ms_link_floor +the least, TA1 96 at 5 MHz\n +1\.301 ratio_to_bare +at most 1\.3: over\n`},
	} {
		table, code := benchTable(t, head+tt.line+"\nPASS\n")
		if code != 0 || !regexp.MustCompile(tt.want).MatchString(table) || !strings.HasSuffix(table, "measured on: Some Chip\n") {
			t.Errorf("%q: exit code %d\n%s", tt.line, code, table)
		}
		if wide := tooWide(table); len(wide) > 0 {
			t.Errorf("too wide: %q", wide)
		}
	}
	if table, code := benchTable(t, head+"--- FAIL: BenchmarkTransmitAgainstC\nFAIL\n"); code != 1 || !strings.Contains(table, "FAIL") {
		t.Errorf("a failure: exit code %d\n%s", code, table)
	}
}

// TestBenchBars: each bar is for a value that some benchmark gives.
func TestBenchBars(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../.ci/benchtable")
	if err != nil {
		t.Fatal(err)
	}
	bars := regexp.MustCompile(`(?:most|least)\["(\S+) (\S+) (\S+)"\]`).FindAllStringSubmatch(string(script), -1)
	if len(bars) < 4 {
		t.Fatalf("bars %q", bars)
	}
	for _, b := range bars {
		out, err := exec.Command("grep", "-rlE", "--include=*_test.go", "func Benchmark"+b[2]+`\(`, "../../"+b[1]).Output()
		file := strings.TrimSpace(string(out))
		if err != nil || file == "" {
			t.Errorf("%s has no benchmark %s", b[1], b[2])
			continue
		}
		reports := `"` + b[3] + `")`
		if b[3] == "allocs/op" {
			reports = "ReportAllocs()"
		}
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), reports) {
			t.Errorf("%s reports no %s: %v", file, b[3], err)
		}
	}
}
