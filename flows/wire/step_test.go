package wire

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStepPathsNestByProcedure(t *testing.T) {
	t.Parallel()
	var got []string
	ctx := WithObserver(t.Context(), func(e Event) {
		if !e.End {
			got = append(got, e.Path)
		}
	})
	step := func(ctx context.Context, name string, f func(context.Context) error) {
		if err := Step(ctx, name, "ro", "sho-a", "", f); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func(context.Context) error { return nil }
	step(ctx, "P8a.8", func(ctx context.Context) error {
		step(ctx, "P5c.1", func(ctx context.Context) error {
			step(ctx, "P5c.2", nothing)
			return nil
		})
		if p := Procedure(ctx); p != "P8a" {
			t.Errorf("procedure %q", p)
		}
		step(ctx, "P8a.9", nothing)
		step(At(ctx, "P8a.10"), "P6.6", nothing)
		return nil
	})
	want := []string{"P8a.8", "P8a.8/P5c.1", "P8a.8/P5c.2", "P8a.9", "P8a.10/P6.6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestStepErrorKeepsInnermostStep(t *testing.T) {
	t.Parallel()
	cause := errors.New("forged")
	var ends []error
	ctx := WithObserver(t.Context(), func(e Event) {
		if e.End {
			ends = append(ends, e.Err)
		}
	})
	err := Step(ctx, "P6.6", "ro", "m2me-1", "", func(ctx context.Context) error {
		return Step(ctx, "P6.8", "m2me-1", "m2me-1", "", func(context.Context) error { return cause })
	})
	var e *Error
	if !errors.As(err, &e) || e.Step != "P6.8" || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if len(ends) != 2 || ends[0] == nil || ends[1] == nil {
		t.Errorf("ends %v", ends)
	}
}

func TestWithPathDropsWhatIsNoPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"P4.5":                 "P4.5",
		"P8a.8/P5c.4":          "P8a.8/P5c.4",
		"P8a":                  "P8a",
		"":                     "",
		"P4.5\r\nX: 1":         "",
		"P4.5/":                "",
		"p4.5":                 "",
		"P1/P1/P1/P1/P1/P1/P1": "",
	} {
		if got := Path(WithPath(t.Context(), path)); got != want {
			t.Errorf("%q: got %q", path, got)
		}
	}
}
