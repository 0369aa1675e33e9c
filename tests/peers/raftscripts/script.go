package main

import (
	"fmt"
	"os"
	"strings"
)

// A step of a script: a command and what etcd's raft printed.
type step struct {
	command, output string
}

// text writes a script as datadriven files are written.
func text(title string, steps []step) string {
	var out strings.Builder
	for line := range strings.SplitSeq(strings.TrimSpace(title), "\n") {
		fmt.Fprintf(&out, "# %s\n", line)
	}
	for _, s := range steps {
		output := s.output
		if strings.Contains(output, "\n\n") || strings.HasPrefix(output, "\n") {
			output = "----\n" + output + "----\n----\n"
		}
		fmt.Fprintf(&out, "\n%s\n----\n%s", s.command, output)
	}
	return out.String()
}

// answer asks etcd's raft all commands, up to the first that it has no answer to.
func answer(commands []string) (steps []step, err error) {
	e := newEnvironment()
	for _, command := range commands {
		output, err := e.run(command)
		if err != nil {
			return steps, fmt.Errorf("%s: %w", command, err)
		}
		steps = append(steps, step{command, output})
	}
	return steps, nil
}

// rewrite answers the commands of a file in place; comments stay.
func rewrite(path string) error {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	e := newEnvironment()
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(string(bytes), "\n"), "\n")
	for at := 0; at < len(lines); {
		if trimmed := strings.TrimSpace(lines[at]); trimmed == "" || trimmed[0] == '#' {
			fmt.Fprintln(&out, lines[at])
			at++
			continue
		}
		start := at
		for at < len(lines) && lines[at] != "----" {
			at++
		}
		command := strings.Join(lines[start:at], "\n")
		for at++; at < len(lines) && strings.TrimSpace(lines[at]) != ""; {
			at++
		}
		output, err := e.run(strings.ReplaceAll(command, "\\\n", " "))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, start+1, err)
		}
		fmt.Fprintf(&out, "%s\n----\n%s", command, output)
	}
	return os.WriteFile(path, []byte(out.String()), 0o644)
}
