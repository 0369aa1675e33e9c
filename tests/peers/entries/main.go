// Entries reads what the fuzz target of requests wrote: entries of the log in a client's own bytes, each beside the
// same entry encoded anew by the member that accepted it. Go's protobuf must decode both, to the same content: else
// one client could stop a member of the other kind.
//
// Usage: entries FILE
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: entries FILE")
		os.Exit(2)
	}
	file, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "entries:", err)
		os.Exit(2)
	}
	checked, wrong := 0, 0
	for len(file) > 0 {
		sent, rest, err := next(file)
		if err != nil {
			break // the target was ended in mid-write
		}
		understood, rest, err := next(rest)
		if err != nil {
			break
		}
		file = rest
		checked++
		if err := compare(sent, understood); err != nil {
			wrong++
			fmt.Printf("FAIL %x\n  %v\n", sent, err)
		}
	}
	fmt.Printf("entries: %d read, %d wrong\n", checked, wrong)
	if wrong > 0 || checked == 0 {
		os.Exit(1)
	}
}

// next takes one field 1 of bytes off the front.
func next(file []byte) (bytes, rest []byte, err error) {
	if len(file) == 0 || file[0] != 0x0a {
		return nil, nil, errors.New("no entry here")
	}
	length, n := binary.Uvarint(file[1:])
	if n <= 0 || length > uint64(len(file)-1-n) {
		return nil, nil, errors.New("cut short")
	}
	return file[1+n : 1+n+int(length)], file[1+n+int(length):], nil
}

func compare(sent, understood []byte) error {
	var a, b pb.InternalRaftRequest
	if err := proto.Unmarshal(sent, &a); err != nil {
		return fmt.Errorf("Go does not decode it: %w", err)
	}
	if err := proto.Unmarshal(understood, &b); err != nil {
		return fmt.Errorf("Go does not decode the new encoding: %w", err)
	}
	if where := unknown(a.ProtoReflect()); where != "" {
		return fmt.Errorf("unknown fields in %s", where)
	}
	if !proto.Equal(&a, &b) {
		return fmt.Errorf("Go reads %v\n  the member %v", prototext.Format(&a), prototext.Format(&b))
	}
	return nil
}

// unknown names a message that holds fields nobody knows.
func unknown(m protoreflect.Message) (where string) {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().FullName())
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsList() && field.Message() != nil:
			for i := 0; i < value.List().Len() && where == ""; i++ {
				where = unknown(value.List().Get(i).Message())
			}
		case !field.IsList() && field.Message() != nil:
			where = unknown(value.Message())
		}
		return where == ""
	})
	return where
}
