// Twin starts etcd and the server under test side by side, sends both the same random requests, and
// compares every answer. Whatever it finds it shrinks to the shortest history that still shows it.
//
//	twin -n 20000 -seed 7 -subject build/release/bin/keelson
//
// Both servers get the same advertised URLs, hence the same member and cluster ids, and one request at a
// time, hence the same history: headers, revisions, raft indexes and hashes must agree to the bit. What may
// differ stands in one list, `ignored` in compare.go.
//
// With -members 3 the server under test is a cluster: each request goes to any of its members, and leaders and
// followers are killed, stopped and moved meanwhile (crew.go, unknown.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"math/rand/v2"

	"keelson.dev/tests/peers/internal/server"
	"keelson.dev/tests/peers/internal/trial"
)

type options struct {
	requests        int
	members         int
	within          time.Duration
	seed            uint64
	oracle, subject string
	extra           string
	verbose         bool
	coverage        bool
	shrinkFor       time.Duration
	fault           string
	services        string
}

func main() {
	var o options
	flag.IntVar(&o.requests, "n", 20000, "steps; one may be several requests")
	flag.IntVar(&o.members, "members", 1, "of the subject; with several, they are killed and stopped meanwhile")
	flag.DurationVar(&o.within, "within", 0, "begin no further step after this long; 0: as long as it takes")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of the history; 0: a new one")
	flag.StringVar(&o.subject, "subject", os.Getenv("KEELSON_BIN"), "server under test (default $KEELSON_BIN)")
	flag.StringVar(&o.oracle, "oracle", trial.Oracle(), "etcd")
	flag.StringVar(&o.extra, "args", "--unsafe-no-fsync", "more flags for both servers, space separated")
	flag.BoolVar(&o.verbose, "verbose", false, "print every request")
	flag.BoolVar(&o.coverage, "coverage", false, "print how often each answer was seen")
	flag.DurationVar(&o.shrinkFor, "shrink", 3*time.Minute, "time for shrinking a failing history; 0: none")
	flag.StringVar(&o.fault, "fault", "",
		"spoil the subject's answers, and succeed if that is found: "+strings.Join(faults, ", ")+", or all of them in turn")
	flag.StringVar(&o.services, "services", "", "ask these services only, space separated: "+strings.Join(knownServices, " ")+"; empty: all")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "twin: %q is no flag\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := trial.Begin("twin", &o.subject, o.oracle, &o.seed)
	defer stop()
	code, err := o.all(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "twin:", err)
		code = 2
	}
	os.Exit(code)
}

// all plays the history once, or once with each fault.
func (o options) all(ctx context.Context) (int, error) {
	if o.fault == "" {
		return twin(ctx, o)
	}
	wanted := []string{o.fault}
	if o.fault == "all" {
		wanted = faults
	}
	for _, fault := range wanted {
		o.fault = fault
		if code, err := twin(ctx, o); code != 0 || err != nil {
			return code, err
		}
	}
	return 0, nil
}

// judgeFault says whether what was spoiled was found.
func judgeFault(fault *twist, found *Difference, steps int) (int, error) {
	spoiled := fault.spoiled.Load()
	switch {
	case spoiled == 0 && found == nil:
		return 2, fmt.Errorf("%d steps had no answer to spoil by fault %q: it takes more (-n)", steps, fault.fault)
	case spoiled == 0:
		fmt.Printf("twin: nothing was spoiled: the difference is a real one\n")
		return 1, nil
	case found == nil:
		fmt.Printf("twin: fault %q spoiled %d answers, and the twin did not see it\n", fault.fault, spoiled)
		return 1, nil
	}
	fmt.Printf("twin: fault %q was found, %d answers were spoiled\n", fault.fault, spoiled)
	return 0, nil
}

func twin(ctx context.Context, o options) (int, error) {
	fault, err := newTwist(o.fault)
	if err != nil {
		return 2, err
	}
	fmt.Printf("twin: seed %d, %d steps\n", o.seed, o.requests)
	dice := rand.New(rand.NewPCG(o.seed, 0))
	history := make([]uint64, o.requests)
	for i := range history {
		history[i] = dice.Uint64()
	}

	start := time.Now()
	reached := 0
	x, found, err := o.run(ctx, fault, func(x *execution) (int, func(int)) {
		if o.verbose && x.crew == nil {
			x.trace = func(text string) { fmt.Printf("%6d  %s\n", reached, text) }
		}
		return len(history), func(i int) {
			reached = i
			if o.within > 0 && time.Since(start) > o.within {
				return
			}
			step(history[i], x)
			if (i+1)%5000 == 0 {
				fmt.Printf("twin: %d steps, %d requests, revision %d, %.0f s\n", i+1, len(x.done), x.revision,
					time.Since(start).Seconds())
			}
		}
	})
	if err != nil {
		return 2, err
	}
	if ctx.Err() != nil {
		return 2, fmt.Errorf("stopped at step %d: %w", reached, ctx.Err())
	}
	if o.coverage {
		for _, text := range slices.Sorted(maps.Keys(x.seen)) {
			fmt.Printf("%7d  %s\n", x.seen[text], text)
		}
	}
	if x.crew != nil {
		for _, text := range slices.Sorted(maps.Keys(x.crew.count)) {
			fmt.Printf("%7d  %s\n", x.crew.count[text], text)
		}
	}
	if found == nil && fault == nil {
		fmt.Printf("twin: no difference in %d requests of seed %d (revision %d, %.0f s)\n", len(x.done), o.seed,
			x.revision, time.Since(start).Seconds())
		return 0, nil
	}
	if found != nil {
		fmt.Printf("\nDIFFERENCE, seed %d, step %d of %d, request %d\n%v\n", o.seed, reached, o.requests, len(x.done), found)
		if o.shrinkFor > 0 && o.members == 1 { // troubles come at their own moments: the story has to do
			o.shrink(ctx, fault, found, history[:reached+1])
		}
	}
	if fault != nil {
		return judgeFault(fault, found, o.requests)
	}
	return 1, nil
}

// run starts two fresh servers and plays one history on them.
func (o options) run(ctx context.Context, fault *twist, plan func(*execution) (int, func(int))) (*execution, *Difference, error) {
	peer, err := server.FreePort()
	if err != nil {
		return nil, nil, err
	}
	config := server.Config{
		AdvertisePeer:   fmt.Sprintf("http://127.0.0.1:%d", peer),
		AdvertiseClient: fmt.Sprintf("http://127.0.0.1:%d", peer),
		Args:            strings.Fields(o.extra),
	}
	if o.members > 1 { // of both, because the shortest lease follows from it
		o.extra += " --heartbeat-interval=50 --election-timeout=500"
		config.Args = strings.Fields(o.extra)
	}
	asked, err := newServices(o.services)
	if err != nil {
		return nil, nil, err
	}
	var sides [2]*side
	var errs [2]error
	var both sync.WaitGroup
	twists := []*twist{nil, fault}
	for i, bin := range []string{o.oracle, o.subject} {
		if i == 1 && o.members > 1 {
			both.Go(func() { sides[i], errs[i] = startCrewSide(ctx, o, twists[i], asked) })
			continue
		}
		each := config
		each.Bin, each.Name = bin, []string{"oracle", "subject"}[i]
		both.Go(func() { sides[i], errs[i] = startSide(ctx, each, twists[i], asked) })
	}
	both.Wait()
	for _, s := range sides {
		if s != nil {
			defer s.close()
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, nil, err
	}
	sides[0].unsigned = o.members > 1
	x := newExecution(sides[0], sides[1], asked)
	steps, step := plan(x)
	return x, x.play(ctx, steps, step), nil
}
