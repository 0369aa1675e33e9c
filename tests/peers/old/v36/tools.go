//go:build tools

// Package tools keeps in go.mod what ../build builds.
package tools

import _ "go.etcd.io/etcd/server/v3"
