// Messages that wait for one stream, told as one. Pure.
//
// A leader makes an append for each batch of proposals and for each step of the commit index, a
// follower an answer for each append. What has gathered before a stream takes it says the same in
// fewer messages, each of which costs both ends about as much as an entry does.
//
//   MsgApp     after 4: 5 6, commit 3   and  after 6: 7, commit 5   are  after 4: 5 6 7, commit 5
//
//   MsgAppResp up to 6                  and  up to 7                are  up to 7
//
// To the reader it is as if the former had been lost or late: to raft both are legal, and the
// latter says all of it again. Inflights are freed up to an index, however many answers say so.
#pragma once

#include <cstddef>

#include "raft/types.h"

namespace keelson::peer {

// Of the data of what is joined: one long message holds up those behind it.
inline constexpr std::size_t kJoinedBytesMax = std::size_t{64} << 10;

// Joins `next` to `last`, the message in front of it to the same peer. False, and both untouched,
// if they are not of those kinds, or `next` does not go on from `last`.
bool join(raft::Message& last, raft::Message& next);

}  // namespace keelson::peer
