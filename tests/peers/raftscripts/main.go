// Raftscripts writes random interaction scripts (src/raft/interaction_test.h), lets etcd's raft answer them, and
// asks our core the same: every line must be the same, narration included.
//
//	raftscripts -n 300 -runner build/release/bin/raft_script_test
//	raftscripts -answer FILE       writes etcd's answers into a script by hand
//
// A script is one seed. The first that is answered differently is shrunk, printed with its seed, and kept as a
// script in the directory that -keep names; it belongs into src/raft/testdata once the core is mended.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.etcd.io/raft/v3"
)

type options struct {
	runner   string
	keep     string
	commands int
	leaveOut bool
	verbose  bool
}

const perRun = 250 // scripts that the runner gets at once

func main() {
	var o options
	n := flag.Int("n", 300, "scripts")
	seed := flag.Uint64("seed", 0, "the first seed; 0: a new one, -1 less than which is told at the end")
	rewriteFile := flag.String("answer", "", "write etcd's answers into this script, and do nothing else")
	within := flag.Duration("within", 0, "stop early after this time; 0: not")
	flag.StringVar(&o.runner, "runner", os.Getenv("KEELSON_RAFT_RUNNER"), "raft_script_test")
	flag.StringVar(&o.keep, "keep", "raft-differences", "directory for scripts that are answered differently")
	flag.IntVar(&o.commands, "commands", 90, "commands in a script")
	flag.BoolVar(&o.leaveOut, "no-narration", false, "leave narration out of the comparison")
	flag.BoolVar(&o.verbose, "v", false, "say why scripts ended early")
	flag.Parse()
	raft.SetLogger(&raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}) // what its storage says before it panics
	if *rewriteFile != "" {
		check(rewrite(*rewriteFile))
		return
	}
	if o.runner == "" {
		check(errors.New("no -runner, and no KEELSON_RAFT_RUNNER"))
	}
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	o.compare(*seed, *n, *within)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "raftscripts:", err)
		os.Exit(1)
	}
}

// compare goes through n seeds, and ends the program at the first difference.
func (o options) compare(first uint64, n int, within time.Duration) {
	start := time.Now()
	done, commands, ended := 0, 0, map[string]int{}
	for done < n && (within == 0 || time.Since(start) < within) {
		scripts := map[string][]step{}
		for range min(perRun, n-done) {
			seed := first + uint64(done)
			steps, why := generate(seed, o.commands)
			if o.verbose && why != "" {
				fmt.Printf("seed %d ended after %d commands: %s\n", seed, len(steps), why)
			}
			if why != "" {
				ended["early"]++
			}
			scripts[fmt.Sprintf("seed-%d", seed)] = steps
			commands += len(steps)
			done++
		}
		failed, _ := o.ask(scripts)
		if len(failed) > 0 {
			fmt.Printf("raftscripts: %d of %d scripts are answered differently: %s\n", len(failed), len(scripts),
				strings.Join(failed, " "))
			o.report(failed[0], scripts[failed[0]])
			os.Exit(1)
		}
	}
	fmt.Printf("raftscripts: %d scripts from seed %d, %d commands, answered alike in %v; %d ended early, where etcd's raft panics\n",
		done, first, commands, time.Since(start).Round(time.Millisecond), ended["early"])
}

var (
	failedLine = regexp.MustCompile(`(?m)^\[  FAILED  \] RaftScript\.([\w-]+) \(`)
	startLine  = regexp.MustCompile(`(?m)^\[ RUN      \] RaftScript\.([\w-]+)$`)
)

// ask lets our core answer scripts, and returns the names of those where it differs, or dies, and what it printed.
func (o options) ask(scripts map[string][]step) (failed []string, printed string) {
	dir, err := os.MkdirTemp("", "raftscripts")
	check(err)
	defer os.RemoveAll(dir)
	for name, steps := range scripts {
		check(os.WriteFile(filepath.Join(dir, name+".txt"), []byte(text(name, steps)), 0o644))
	}
	args := []string{"--dir", dir}
	if !o.leaveOut {
		args = append(args, "--narration")
	}
	out, err := exec.Command(o.runner, args...).CombinedOutput()
	printed = string(out)
	if err == nil {
		return nil, printed
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		check(err)
	}
	for _, match := range failedLine.FindAllStringSubmatch(printed, -1) {
		if !slices.Contains(failed, match[1]) {
			failed = append(failed, match[1])
		}
	}
	if started := startLine.FindAllStringSubmatch(printed, -1); exit.ExitCode() != 1 && len(started) > 0 {
		failed = append(failed, started[len(started)-1][1]) // it died there
	}
	if len(failed) == 0 {
		check(fmt.Errorf("%s: %w\n%s", o.runner, err, printed))
	}
	return failed, printed
}

// units are what is left out together: a tick without its election timeout would leave it to chance.
func units(steps []step) (units [][]step) {
	for i, s := range steps {
		if i > 0 && strings.HasPrefix(steps[i-1].command, "set-randomized-election-timeout") {
			last := &units[len(units)-1]
			*last = append(*last, s)
			continue
		}
		units = append(units, []step{s})
	}
	return units
}

// report shrinks a script by leaving out commands while etcd's raft still answers and ours still differs.
func (o options) report(name string, steps []step) {
	best := units(steps)
	fails := func(candidate [][]step) bool {
		var texts []string
		for _, s := range slices.Concat(candidate...) {
			texts = append(texts, s.command)
		}
		answered, _ := answer(texts)
		if len(answered) == 0 {
			return false
		}
		if failed, _ := o.ask(map[string][]step{name: answered}); len(failed) == 0 {
			return false
		}
		best = units(answered)
		return true
	}
	deadline := time.Now().Add(30 * time.Second)
	for size := len(best) / 2; size >= 1 && time.Now().Before(deadline); {
		smaller := false
		for at := len(best) - size; at >= 0 && time.Now().Before(deadline); at -= size {
			if at+size <= len(best) && fails(slices.Concat(best[:at], best[at+size:])) {
				smaller = true
			}
		}
		if !smaller || size > 1 {
			size /= 2
		}
	}
	shortest := slices.Concat(best...)
	_, printed := o.ask(map[string][]step{name: shortest})
	fmt.Printf("%s\n", printed)
	check(os.MkdirAll(o.keep, 0o755))
	path := filepath.Join(o.keep, name+".txt")
	script := text("Found by random scripts ("+name+"): answered differently by our core.", shortest)
	check(os.WriteFile(path, []byte(script), 0o644))
	fmt.Printf("raftscripts: %s, shrunk from %d commands to %d, is kept as %s:\n\n%s", name, len(steps), len(shortest),
		path, script)
}
