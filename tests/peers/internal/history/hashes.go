package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// SameHash asks each member for the hash of one revision and compares them. Between two answers a compaction may come,
// which hashes depend on: then all are asked again. False: it is not known now, because a member is away or behind.
func SameHash(ctx context.Context, names []string, conns []*grpc.ClientConn, revision int64) (known bool, err error) {
	for range 5 {
		var first *pb.HashKVResponse
		again := false
		for i, conn := range conns {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			r, err := pb.NewMaintenanceClient(conn).HashKV(ctx, &pb.HashKVRequest{Revision: revision})
			cancel()
			if err != nil {
				return false, nil
			}
			switch {
			case first == nil:
				first = r
			case r.CompactRevision != first.CompactRevision:
				again = true
			case r.Hash != first.Hash:
				return true, fmt.Errorf("hashes of revision %d, compacted at %d, differ: %s %d, %s %d", revision,
					r.CompactRevision, names[0], first.Hash, names[i], r.Hash)
			}
		}
		if !again {
			return true, nil
		}
	}
	return false, nil
}

// AllSame is the last word: so many revisions between the floor and the end, each to be known and equal.
func AllSame(ctx context.Context, names []string, conns []*grpc.ClientConn, floor, last int64, n int) error {
	for i := range n {
		revision := floor + 1 + (last-floor-1)*int64(i)/int64(n)
		deadline := time.Now().Add(60 * time.Second)
		for {
			known, err := SameHash(ctx, names, conns, revision)
			if err != nil {
				return err
			}
			if known {
				break
			}
			if time.Now().After(deadline) {
				return errors.Join(fmt.Errorf("no hashes of revision %d from all members", revision), ctx.Err())
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}
