// Peertwin holds our transport between members against etcd's own (package rafthttp).
//
// Both ends of one wire: messages of every kind by streams and by posts, in both directions, come out as they went
// in; snapshots come whole; what one refuses the other understands; and each finds the other again when it was gone.
//
// Usage: peertwin -tool build/release/bin/peer_member [-run case]
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// A case gets a fresh pair; what it returns is what went wrong.
type testCase struct {
	name string
	run  func(tool string) error
}

var cases = []testCase{
	{"streams", streams},
	{"posts", posts},
	{"snapshot to us", snapshotToUs},
	{"snapshot to etcd", snapshotToEtcd},
	{"a torn snapshot", tornSnapshot},
	{"another cluster", anotherCluster},
	{"a version that does not fit", anotherVersion},
	{"we were removed", weWereRemoved},
	{"etcd's member was removed", itWasRemoved},
	{"a message that is not for it", notForIt},
	{"our restart", ourRestart},
	{"etcd's restart", itsRestart},
	{"idle for a while", idle},
	{"cut and mended", cutAndMended},
}

func main() {
	tool := flag.String("tool", os.Getenv("KEELSON_PEER_MEMBER"), "peer_member of the build (default $KEELSON_PEER_MEMBER)")
	only := flag.String("run", "", "only the cases that contain this")
	flag.Parse()
	failed := false
	for _, c := range cases {
		if !strings.Contains(c.name, *only) {
			continue
		}
		start := time.Now()
		if err := c.run(*tool); err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "peertwin: %s: %v\n", c.name, err)
			continue
		}
		fmt.Printf("peertwin: %s (%.1f s)\n", c.name, time.Since(start).Seconds())
	}
	if failed {
		os.Exit(1)
	}
}
