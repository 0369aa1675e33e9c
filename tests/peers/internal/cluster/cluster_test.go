package cluster

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Only ticks count, however much time lies between them.
func TestRunningTime(t *testing.T) {
	ticks := make(chan time.Time)
	ctx, cancel := afterTicks(t.Context(), 3, ticks)
	defer cancel()
	for range 3 {
		if ctx.Err() != nil {
			t.Fatal("ended early")
		}
		ticks <- time.Time{}
	}
	<-ctx.Done()
	if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		t.Errorf("ended for %v", context.Cause(ctx))
	}
	other, cancelOther := afterTicks(t.Context(), 3, ticks)
	cancelOther()
	<-other.Done()
}
