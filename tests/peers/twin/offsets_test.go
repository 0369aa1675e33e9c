package main

import "testing"

func TestOffsets(t *testing.T) {
	// The oracle has 5 and 6 alone; from 10 (there 8) on both are the same; then the subject has 12 alone, and 20 is 19.
	o := &offsets{steps: []offset{{0, 0}, {10, 8}, {20, 19}}}
	for _, row := range []struct {
		what        string
		here, there int64
	}{
		{"before the first", 4, 4}, {"the start", 10, 8}, {"after it", 15, 13}, {"the next start", 20, 19}, {"the future", 25, 24},
		{"not a revision", -1, -1}, {"the current one", 0, 0}, {"far beyond", 1 << 40, 1 << 40},
	} {
		if got := o.there(row.here); got != row.there {
			t.Errorf("%s: %d there is %d, expected %d", row.what, row.here, got, row.there)
		}
		if got := o.here(row.there); got != row.here {
			t.Errorf("%s: %d here is %d, expected %d", row.what, row.there, got, row.here)
		}
	}
	for here := int64(1); here < 30; here++ { // what lies in between keeps its place
		if o.there(here) > o.there(here+1) {
			t.Errorf("order is lost at %d", here)
		}
	}
	if got := o.there(9); got != 7 {
		t.Errorf("in between: %d", got)
	}
}
