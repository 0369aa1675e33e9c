package main

import (
	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// authData edits users and roles while nobody is checked. Users have no password: the salt of a stored one
// is random, and Hash would see it. A permission's range end follows from its key: granting one key with
// several ends is a known quirk of etcd that need not be kept.
func authData(d dice) {
	user := pick(d, []string{"root", "anna", "ben", "", "nobody"})
	role := pick(d, []string{"root", "reader", "writer", "", "none"})
	permission := pick(d, []*authpb.Permission{nil,
		{Key: []byte("a")}, {Key: []byte("b"), RangeEnd: []byte("c")}, {Key: []byte("d"), RangeEnd: []byte{0}},
		{Key: nil}, {Key: []byte("z"), RangeEnd: []byte("y")}, {Key: []byte{0}, RangeEnd: []byte{0}}})
	if permission != nil {
		permission = &authpb.Permission{Key: permission.Key, RangeEnd: permission.RangeEnd,
			PermType: pick(d, []authpb.Permission_Type{0, 1, 2})}
	}
	switch d.IntN(16) {
	case 0, 1:
		d.call("Auth/UserAdd", &pb.AuthUserAddRequest{Name: user, Options: &authpb.UserAddOptions{NoPassword: true}})
	case 2:
		d.call("Auth/UserGet", &pb.AuthUserGetRequest{Name: user})
	case 3:
		d.call("Auth/UserList", &pb.AuthUserListRequest{})
	case 4:
		d.call("Auth/UserDelete", &pb.AuthUserDeleteRequest{Name: user})
	case 5, 6:
		d.call("Auth/UserGrantRole", &pb.AuthUserGrantRoleRequest{User: user, Role: role})
	case 7:
		d.call("Auth/UserRevokeRole", &pb.AuthUserRevokeRoleRequest{Name: user, Role: role})
	case 8, 9:
		d.call("Auth/RoleAdd", &pb.AuthRoleAddRequest{Name: role})
	case 10:
		d.call("Auth/RoleGet", &pb.AuthRoleGetRequest{Role: role})
	case 11:
		d.call("Auth/RoleList", &pb.AuthRoleListRequest{})
	case 12:
		d.call("Auth/RoleDelete", &pb.AuthRoleDeleteRequest{Role: role})
	case 13:
		d.call("Auth/RoleGrantPermission", &pb.AuthRoleGrantPermissionRequest{Name: role, Perm: permission})
	case 14:
		d.call("Auth/RoleRevokePermission", &pb.AuthRoleRevokePermissionRequest{Role: role,
			Key: permission.GetKey(), RangeEnd: permission.GetRangeEnd()})
	case 15:
		d.call("Auth/AuthStatus", &pb.AuthStatusRequest{})
	}
}
