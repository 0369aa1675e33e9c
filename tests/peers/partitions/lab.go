package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"keelson.dev/tests/peers/internal/cluster"
	"keelson.dev/tests/peers/internal/server"
)

// lab is a network of its own: a bridge, to which each member is tied by a cable from a namespace that only it is in.
//
//	this process, 10.77.0.1 --- bridge --- 10.77.0.11, m1
//	                                 \---- 10.77.0.12, m2 ...
//
// Packets among members cross the bridge, where they may be dropped and delayed; ours to them do not: clients reach
// everybody always, also who is cut off from the others.
type lab struct {
	holders []*exec.Cmd // a process keeps each namespace
	cut     [][2]int    // drop what goes from the one to the other
	loss    int         // percent of all else
	delay   *exec.Cmd
	delayIn io.Closer
	program string // that delays; empty: none
}

func address(i int) string { return fmt.Sprintf("10.77.0.%d", 11+i) }

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

func newLab(members int, delayProgram string) (*lab, error) {
	l := &lab{program: delayProgram}
	steps := []string{"link set lo up", "link add name br0 type bridge", "addr add 10.77.0.1/24 dev br0", "link set br0 up"}
	for _, step := range steps {
		if err := run("ip", strings.Fields(step)...); err != nil {
			return l, err
		}
	}
	for i := range members {
		if err := l.plug(i); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *lab) plug(i int) error {
	holder := exec.Command("unshare", "--net", "cat")
	if _, err := holder.StdinPipe(); err != nil {
		return err
	}
	if err := server.Spawn(holder); err != nil {
		return err
	}
	l.holders = append(l.holders, holder)
	pid := holder.Process.Pid
	if err := awaitOwnNetwork(pid); err != nil {
		return err
	}
	cable := fmt.Sprintf("v%d", i)
	if err := run("ip", "link", "add", "name", cable, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)); err != nil {
		return err
	}
	if err := run("ip", "link", "set", cable, "master", "br0", "up"); err != nil {
		return err
	}
	for _, step := range []string{"link set lo up", "addr add " + address(i) + "/24 dev eth0", "link set eth0 up"} {
		if err := run("nsenter", append(l.inside(i)[1:], append([]string{"ip"}, strings.Fields(step)...)...)...); err != nil {
			return err
		}
	}
	return nil
}

func awaitOwnNetwork(pid int) error {
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	return cluster.Until(context.Background(), "a namespace is there", func(context.Context) error {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil && theirs == ours {
			err = errors.New("not yet")
		}
		return err
	})
}

// inside is what a command line begins with to run where member i is.
func (l *lab) inside(i int) []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", l.holders[i].Process.Pid), "--"}
}

// apply makes the filters what `cut` and `loss` say, at once.
func (l *lab) apply() error {
	rules := "add table bridge lab\nflush table bridge lab\n" +
		"table bridge lab {\n  chain forward {\n    type filter hook forward priority 0; policy accept;\n"
	for _, pair := range l.cut {
		rules += fmt.Sprintf("    ip saddr %s ip daddr %s drop\n", address(pair[0]), address(pair[1]))
	}
	if l.loss > 0 {
		rules += fmt.Sprintf("    ip protocol tcp numgen random mod 100 < %d drop\n", l.loss)
	}
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(rules + "  }\n}\n")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s\n%s", err, out, rules)
	}
	return nil
}

// part cuts what goes from any of `from` to any of `to`.
func (l *lab) part(from, to []int) {
	for _, a := range from {
		for _, b := range to {
			l.cut = append(l.cut, [2]int{a, b})
		}
	}
}

func (l *lab) partBothWays(a, b []int) {
	l.part(a, b)
	l.part(b, a)
}

// lengthen delays each packet among members by so much, each way.
func (l *lab) lengthen(by time.Duration) error {
	l.delay = exec.Command(l.program, "0", fmt.Sprint(by.Milliseconds()))
	l.delay.Stderr = os.Stderr
	in, err := l.delay.StdinPipe()
	if err != nil {
		return err
	}
	out, err := l.delay.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Spawn(l.delay); err != nil {
		l.delay = nil
		return err
	}
	l.delayIn = in
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		return fmt.Errorf("%s says %q: %w", l.program, line, err)
	}
	return run("iptables", "-w", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass")
}

func (l *lab) shorten() error {
	if l.delay == nil {
		return nil
	}
	err := run("iptables", "-w", "-F", "FORWARD")
	l.delayIn.Close()
	l.delay.Wait()
	l.delay = nil
	return err
}

// calm says whether nobody still waits to send again what a cut has swallowed: after one TCP does that ever more seldom,
// and a connection is of no use until it has tried.
func (l *lab) calm() error {
	for i := range l.holders {
		line := append(l.inside(i)[1:], "ss", "-tinH", "state", "established", "( sport = :2380 or dport = :2380 )")
		out, err := exec.Command("nsenter", line...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ss: %w: %s", err, out)
		}
		if strings.Contains(string(out), " backoff:") {
			return fmt.Errorf("member %d waits to send again", i+1)
		}
	}
	return nil
}

// heal makes the network whole.
func (l *lab) heal() error {
	l.cut, l.loss = nil, 0
	return errors.Join(l.apply(), l.shorten())
}

func (l *lab) close() {
	for _, holder := range l.holders {
		holder.Process.Kill()
		holder.Wait()
	}
}
