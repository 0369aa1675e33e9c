//go:build tools

// Package peers holds what the tests measure Keelson against: the programs of etcd itself, named here so
// that `go mod` keeps their modules, and built by ./build into bin/.
package peers

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/etcdutl/v3"
	_ "go.etcd.io/etcd/server/v3"
	_ "go.etcd.io/raft/v3"
)
