package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shrink looks for a short history with the same kind of difference, each attempt on fresh servers: first
// by leaving out steps, then by leaving out single requests, then by emptying fields of those that remain.
func (o options) shrink(ctx context.Context, fault *twist, found *Difference, history []uint64) {
	ctx, cancel := context.WithTimeout(ctx, o.shrinkFor)
	defer cancel()
	patience = 5 * time.Second
	o.extra += " --heartbeat-interval=10 --election-timeout=100" // starts four times as fast
	fmt.Printf("\nshrinking for at most %v\n", o.shrinkFor)
	attempts := 0
	best, bestFound := []action(nil), found

	fails := func(plan func(*execution) (int, func(int))) bool {
		attempts++
		x, again, err := o.run(ctx, fault, plan)
		if err != nil || again == nil || again.kind != found.kind || ctx.Err() != nil {
			return false
		}
		best, bestFound = x.done, again
		return true
	}
	bySteps := reduce(ctx, history, "steps", func(steps []uint64) bool {
		return fails(func(x *execution) (int, func(int)) {
			return len(steps), func(i int) { step(steps[i], x) }
		})
	})
	if best == nil {
		fmt.Printf("it did not show again in %d attempts (%d steps): it depends on timing, or time ran out\n",
			attempts, len(bySteps))
		return
	}
	replays := func(actions []action) bool {
		return fails(func(x *execution) (int, func(int)) {
			return len(actions), func(i int) { x.do(actions[i]) }
		})
	}
	shortest := reduce(ctx, best, "requests", replays)
	shortest = simplify(ctx, shortest, replays)

	fmt.Printf("\nSHORTEST HISTORY FOUND: %d requests, %d attempts, seed %d\n", len(shortest), attempts, o.seed)
	for i, a := range shortest {
		fmt.Printf("%4d  %s\n", i+1, a)
	}
	fmt.Println(bestFound)
}

// reduce leaves out ever smaller runs of items while the rest still fails (delta debugging). The last item,
// which showed the difference, is left out only by chance of the others.
func reduce[T any](ctx context.Context, items []T, what string, fails func([]T) bool) []T {
	for size := (len(items) + 1) / 2; size >= 1 && ctx.Err() == nil; size /= 2 {
		for start := len(items) - size; start > -size && ctx.Err() == nil; start -= size {
			from, to := max(0, start), min(len(items), start+size)
			if from >= to || to-from == len(items) {
				continue
			}
			rest := append(append([]T(nil), items[:from]...), items[to:]...)
			if fails(rest) {
				items = rest
				fmt.Printf("  %d %s\n", len(items), what)
			}
		}
	}
	return items
}

// simplify empties one field or drops one element at a time, latest request first.
func simplify(ctx context.Context, actions []action, fails func([]action) bool) []action {
	for i := len(actions) - 1; i >= 0; i-- {
		if actions[i].request == nil {
			continue
		}
		for n := 0; ctx.Err() == nil; n++ {
			simpler := proto.Clone(actions[i].request)
			if left := n; !dropNth(simpler.ProtoReflect(), &left) {
				break
			}
			attempt := append([]action(nil), actions...)
			attempt[i].request = simpler
			if fails(attempt) {
				actions = attempt
				n--
			}
		}
	}
	return actions
}

// dropNth clears the n-th thing that can be cleared, counted depth first; false if there are fewer.
func dropNth(m protoreflect.Message, n *int) bool {
	dropped := false
	fields := m.Descriptor().Fields()
	for i := 0; i < fields.Len() && !dropped; i++ {
		field := fields.Get(i)
		if !m.Has(field) {
			continue
		}
		if *n == 0 {
			m.Clear(field)
			return true
		}
		*n--
		switch {
		case field.IsList():
			list := m.Mutable(field).List()
			for j := 0; j < list.Len() && !dropped; j++ {
				if *n == 0 {
					for k := j; k+1 < list.Len(); k++ {
						list.Set(k, list.Get(k+1))
					}
					list.Truncate(list.Len() - 1)
					return true
				}
				*n--
				if field.Message() != nil {
					dropped = dropNth(list.Get(j).Message(), n)
				}
			}
		case field.Message() != nil:
			dropped = dropNth(m.Mutable(field).Message(), n)
		}
	}
	return dropped
}
