#include "peer/link.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "peer/protocol.h"
#include "raft/describe.h"

namespace keelson::peer {

using membership::id_text;

std::string_view describe(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTaken:
      return "taken";
    case Verdict::kIgnored:
      return "ignored";
    case Verdict::kRemoved:
      return "cannot process message from removed member";
    case Verdict::kMismatch:
      return "cannot process message to mismatch member";
    case Verdict::kFull:
      return "no room";
  }
  return "?";
}

Context::Context(env::Lane& the_lane, Connector& the_connector, Options the_options,
                 Handler& the_handler, Observer* the_observer)
    : lane(the_lane),
      connector(the_connector),
      options(std::move(the_options)),
      headers(request_headers(options)),
      handler(the_handler),
      observer(the_observer) {}

Verdict Context::judge(const raft::Message& message) const {
  if (handler.is_removed(message.from)) {
    env::log_warn("rejected Raft message from removed member",
                  {{"local-member-id", id_text(options.member_id)},
                   {"removed-member-id", id_text(message.from)}});
    return Verdict::kRemoved;
  }
  if (message.to != options.member_id) {
    env::log_warn("rejected Raft message to mismatch member",
                  {{"local-member-id", id_text(options.member_id)},
                   {"mismatch-member-id", id_text(message.to)}});
    return Verdict::kMismatch;
  }
  return is_local(message) || message.from == options.member_id ? Verdict::kIgnored
                                                                : Verdict::kTaken;
}

Verdict Context::deliver(raft::Message message) {
  const Verdict verdict = judge(message);
  if (verdict != Verdict::kTaken) return verdict;
  const raft::NodeId from = message.from;
  const raft::MessageType type = message.type;
  if (handler.receive(std::move(message))) return Verdict::kTaken;
  stats.of(from).received_failures.add();
  env::log_warn("dropped internal Raft message since receiving buffer is full (overloaded network)",
                {{"message-type", raft::describe(type)},
                 {"local-member-id", id_text(options.member_id)},
                 {"from", id_text(from)}});
  return Verdict::kFull;
}

std::vector<membership::Url> usable_urls(raft::NodeId id, const std::vector<std::string>& texts) {
  std::vector<membership::Url> urls;
  for (const std::string& text : texts) {
    auto parsed = membership::parse_urls(std::span(&text, 1));
    if (parsed) {
      urls.push_back(std::move(parsed->front()));
    } else {
      env::log_warn("ignored a peer URL", {{"remote-peer-id", id_text(id)},
                                           {"remote-peer-url", text},
                                           {"error", parsed.error().text}});
    }
  }
  return urls;
}

Link::Link(Context& the_context, raft::NodeId the_id, std::vector<membership::Url> urls, Kind kind)
    : context(the_context),
      id(the_id),
      id_text(membership::id_text(the_id)),
      picker(std::move(urls)),
      stats(the_context.stats.of(the_id)),
      kind_(kind) {}

Link::~Link() {
  if (!active_) return;
  stats.disconnected.add();
  context.active.erase(id);
}

void Link::activate() {
  if (std::exchange(active_, true)) return;
  env::log_info("peer became active", {{"peer-id", id_text}});
  stats.became_active.add();
  if (kind_ == Kind::kPeer) context.active.set(id, context.now());
}

void Link::deactivate(std::string_view what, std::string_view where, std::string_view reason) {
  const auto error = [&] {
    return fmt::format("failed to {} {} on {} ({})", what, id_text, where, reason);
  };
  if (!active_ || streams_read_ > 0) {
    if (env::log_wants(env::LogLevel::kDebug)) {
      env::log_debug("peer deactivated again", {{"peer-id", id_text}, {"error", error()}});
    }
    return;
  }
  active_ = false;
  env::log_warn("peer became inactive (message send to peer failed)",
                {{"peer-id", id_text}, {"error", error()}});
  stats.disconnected.add();
  if (kind_ == Kind::kPeer) context.active.erase(id);
}

void Link::report_unreachable() {
  if (std::exchange(unreachable_due_, true)) return;
  context.lane.at_turn_end([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    unreachable_due_ = false;
    if (!context.stopped) context.handler.on_unreachable(id);
  });
}

void Link::sending_failed() {
  stats.sent_failures.add();
  report_unreachable();
}

}  // namespace keelson::peer
