#include "peer/stream_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "peer/protocol.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

constexpr std::size_t kRefusalBytesMax = 4096;

}  // namespace

StreamReader::StreamReader(Link& link, StreamKind kind)
    : link_(link), kind_(kind), next_dial_(link.context.now()) {
  env::log_info("started stream reader with remote peer",
                {{"stream-reader-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"remote-peer-id", link_.id_text}});
  wait();
}

StreamReader::~StreamReader() {
  if (timer_ != 0) link_.context.lane.cancel(timer_);
  env::log_info("stopped stream reader with remote peer",
                {{"stream-reader-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"remote-peer-id", link_.id_text}});
}

void StreamReader::on_urls_changed() {
  if (state_ == State::kWaiting && timer_ == 0) wait();
}

void StreamReader::wait() {
  if (state_ == State::kReading) link_.end_reading();
  state_ = State::kWaiting;
  client_.reset();
  decoder_.reset();
  if (link_.picker.empty()) return;
  timer_ = link_.context.lane.at(next_dial_, [this] {
    timer_ = 0;
    dial();
  });
}

void StreamReader::dial() {
  if (link_.picker.empty()) return;
  const Options& options = link_.context.options;
  state_ = State::kDialing;
  next_dial_ = link_.context.now() + options.dial_retry;
  url_ = link_.picker.pick();
  link_.dial(url_, alive_, [this](Dialled dialled) {
    if (!dialled) return fail("dial", dialled.error().message());
    ask(*std::move(dialled));
  });
}

void StreamReader::ask(std::unique_ptr<http::Http1Client> client) {
  state_ = State::kAsking;
  client_ = std::move(client);
  client_->start(request(), *this);
}

http::ClientRequest StreamReader::request() const {
  const Options& options = link_.context.options;
  http::Headers headers = link_.context.headers;
  headers.add(std::string(kRaftTo), link_.id_text);
  return {.target = fmt::format("{}{}/{}", kStreamPath, path_name(kind_),
                                membership::id_text(options.member_id)),
          .host = url_.host,
          .headers = std::move(headers),
          .timeouts = {.send = options.write_timeout,
                       .head = options.read_timeout,
                       .body = options.read_timeout}};
}

void StreamReader::on_head(const http::ResponseHead& head) {
  const auto supported = serves_streams(link_.context.options, head.headers);
  if (supported == false) {
    link_.picker.unreachable(url_);
    return wait();
  }
  switch (head.status) {
    case 200:
      return supported ? begin_reading() : fail("dial", "server version cannot be read");
    case 404:
      return fail("dial", fmt::format("peer {} failed to find local node {}", link_.id_text,
                                      membership::id_text(link_.context.options.member_id)));
    case 410:
      fail("dial", kMemberRemoved);
      return link_.context.handler.on_member_removed(link_.id);
    case 412:
      state_ = State::kRefused;
      refusal_.clear();
      remote_cluster_id_ = head.headers.find(kClusterId).value_or("");
      return;
    default:
      return fail("dial", fmt::format("unhandled http status {}", head.status));
  }
}

void StreamReader::begin_reading() {
  const Options& options = link_.context.options;
  state_ = State::kReading;
  decoder_.emplace(kind_, link_.id, options.member_id, options.limits.message_bytes_max);
  link_.begin_reading();
  env::log_info("established TCP streaming connection with remote peer",
                {{"stream-reader-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(options.member_id)},
                 {"remote-peer-id", link_.id_text}});
}

void StreamReader::on_body(std::string_view bytes) {
  if (state_ == State::kRefused) {
    refusal_ += bytes.substr(0, kRefusalBytesMax - std::min(refusal_.size(), kRefusalBytesMax));
    return;
  }
  if (state_ != State::kReading) return;
  if (const auto fed = decoder_->feed(bytes, *this); !fed) {
    const std::string_view reason = describe(fed.error());
    end_reading(reason);
    link_.deactivate("read", log_name(kind_), reason);
  }
}

void StreamReader::on_message(raft::Message message) {
  link_.stats.received_bytes.add(raft::encoded_size(message));
  if (link_.cut) return;
  if (message.type == raft::MessageType::kSnap) {
    return env::log_warn("ignored a snapshot without its file",
                         {{"local-member-id", membership::id_text(link_.context.options.member_id)},
                          {"remote-peer-id", link_.id_text}});
  }
  link_.context.deliver(std::move(message));
}

// The peer has ended the stream in order: another one of ours took its place, or it stops.
void StreamReader::on_end() {
  if (state_ == State::kRefused) return on_refusal();
  end_reading("EOF");
}

void StreamReader::on_failed(const http::RequestFailure& failure) {
  const std::string reason = failure.error.message();
  if (state_ != State::kReading) return fail("dial", reason);
  end_reading(reason);
  link_.deactivate("read", log_name(kind_), reason);
}

void StreamReader::on_refusal() {
  const auto& options = link_.context.options;
  std::string_view text = refusal_;
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text == kIncompatibleVersion) {
    env::log_warn("request sent was ignored by remote peer due to server version incompatibility",
                  {{"local-member-id", membership::id_text(options.member_id)},
                   {"remote-peer-id", link_.id_text},
                   {"error", kIncompatibleVersion}});
    return fail("dial", kIncompatibleVersion);
  }
  if (text == kClusterIdMismatch) {
    env::log_warn("request sent was ignored by remote peer due to cluster ID mismatch",
                  {{"remote-peer-id", link_.id_text},
                   {"remote-peer-cluster-id", remote_cluster_id_},
                   {"local-member-id", membership::id_text(options.member_id)},
                   {"local-member-cluster-id", membership::id_text(options.cluster_id)},
                   {"error", kClusterIdMismatch}});
    return fail("dial", kClusterIdMismatch);
  }
  fail("dial", fmt::format("unhandled error \"{}\" when precondition failed", text));
}

void StreamReader::fail(std::string_view what, std::string_view reason) {
  link_.picker.unreachable(url_);
  link_.deactivate(what, log_name(kind_), reason);
  wait();
}

void StreamReader::end_reading(std::string_view reason) {
  env::log_warn("lost TCP streaming connection with remote peer",
                {{"stream-reader-type", log_name(kind_)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"remote-peer-id", link_.id_text},
                 {"error", reason}});
  wait();
}

}  // namespace keelson::peer
