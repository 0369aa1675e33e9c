#include "sim/checker.h"

#include <fmt/format.h>

#include <algorithm>

namespace keelson::sim {
namespace {

using http::StatusCode;

template <class Message>
Message parse(std::string_view bytes) {
  Message message;
  CHECK(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return message;
}

template <class Response>
Answer ok_answer(std::string_view bytes) {
  return answer_of(parse<Response>(bytes));
}

// nullopt: a method whose answers this checker does not know.
std::optional<Answer> write_answer(std::string_view method, std::string_view message) {
  if (method == "Put") return ok_answer<etcdserverpb::PutResponse>(message);
  if (method == "DeleteRange") return ok_answer<etcdserverpb::DeleteRangeResponse>(message);
  if (method == "Txn") return ok_answer<etcdserverpb::TxnResponse>(message);
  if (method == "Compact") return ok_answer<etcdserverpb::CompactionResponse>(message);
  if (method == "LeaseGrant") return ok_answer<etcdserverpb::LeaseGrantResponse>(message);
  if (method == "LeaseRevoke") return ok_answer<etcdserverpb::LeaseRevokeResponse>(message);
  return std::nullopt;
}

bool writes(const etcdserverpb::TxnRequest& request) {
  const auto any = [](const auto& branch) {
    return std::any_of(branch.begin(), branch.end(),
                       [](const auto& op) { return !op.has_request_range(); });
  };
  return any(request.success()) || any(request.failure());
}

std::string shortened(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() > 300) text = text.substr(0, 300) + "...";
  return text;
}

template <class Message>
std::string text_of(std::string_view bytes) {
  return shortened(parse<Message>(bytes).ShortDebugString());
}

}  // namespace

std::string describe(std::string_view method, std::string_view request) {
  if (method == "Range") return text_of<etcdserverpb::RangeRequest>(request);
  if (method == "Put") return text_of<etcdserverpb::PutRequest>(request);
  if (method == "DeleteRange") return text_of<etcdserverpb::DeleteRangeRequest>(request);
  if (method == "Txn") return text_of<etcdserverpb::TxnRequest>(request);
  if (method == "Compact") return text_of<etcdserverpb::CompactionRequest>(request);
  if (method == "LeaseGrant") return text_of<etcdserverpb::LeaseGrantRequest>(request);
  if (method == "LeaseRevoke") return text_of<etcdserverpb::LeaseRevokeRequest>(request);
  return fmt::format("{} bytes", request.size());
}

bool leaves_open(const http::Status& status) {
  switch (status.code) {
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kCancelled:
      return true;
    case StatusCode::kUnknown:
      return status.message == "etcdserver: too many requests" ||
             status.message == "raft proposal dropped";
    default:
      return false;
  }
}

void Checker::violate(std::string what) {
  story_.add("checker", "VIOLATION: " + what);
  if (violation_.empty()) violation_ = std::move(what);
}

void Checker::on_apply(const std::string& member, const raft::Entry& entry) {
  if (entry.index <= model_.last()) {
    const LogEntry& known = model_.at(entry.index);
    if (known.term != entry.term || known.data != entry.data.view()) {
      violate(
          fmt::format("entry {} is another one than the one applied before: term {} and {}, {} "
                      "was \"{}\"",
                      entry.index, entry.term, known.term, member, known.method));
    }
    return;
  }
  if (entry.index != model_.last() + 1) {
    return violate(
        fmt::format("entry {} is applied, but {} was the last", entry.index, model_.last()));
  }
  model_.apply(entry, clock_.now());
  const LogEntry& made = model_.at(entry.index);
  story_.tell(member, "applies {} {} revision={} floor={}", entry.index,
              made.method.empty() ? "-" : made.method, made.revision, made.floor);
  check_expiry(made);
}

void Checker::check_expiry(const LogEntry& entry) {
  if (entry.method != "LeaseRevoke" || !entry.by_server || entry.answer.code != StatusCode::kOk) {
    return;
  }
  const auto id = parse<etcdserverpb::LeaseRevokeRequest>(entry.request).id();
  const Model::Lease& lease = model_.leases().at(id);
  if (entry.applied < lease.granted_at + base::Seconds(lease.ttl)) {
    violate(fmt::format("lease {} of {} s ended too early", id, lease.ttl));
  }
}

Operation Checker::ask(std::string client, std::string method, std::string request) {
  stats_.asked++;
  Operation operation{.id = ++last_id_,
                      .client = std::move(client),
                      .method = std::move(method),
                      .request = std::move(request),
                      .low = told_,
                      .asked = clock_.now()};
  story_.tell(operation.client, "#{} asks {} {}", operation.id, operation.method,
              describe(operation.method, operation.request));
  return operation;
}

void Checker::answer(const Operation& operation, const http::Status& status,
                     std::string_view message) {
  story_.tell(operation.client, "#{} is answered {}{}{}", operation.id,
              http::status_code_name(status.code), status.ok() ? "" : " ", status.message);
  if (leaves_open(status)) {
    stats_.unknown++;
    unknown_[{operation.method, operation.request}].push_back(operation.low);
    return;
  }
  stats_.answered++;
  if (!status.ok()) stats_.refused++;
  if (operation.method == "Range") return check_range(operation, status.code, message);
  if (operation.method == "Txn") {
    const auto request = parse<etcdserverpb::TxnRequest>(operation.request);
    if (!writes(request)) return check_read_txn(operation, request, message);
  }
  if (!status.ok()) return check_write(operation, {.code = status.code});
  if (auto answer = write_answer(operation.method, message)) check_write(operation, *answer);
}

void Checker::check_write(const Operation& operation, const Answer& answer) {
  for (raft::Index i = operation.low + 1; i <= model_.last(); i++) {
    LogEntry& entry = model_.at(i);
    if (entry.claimed || entry.by_server || entry.method != operation.method ||
        entry.request != operation.request || entry.answer.code != answer.code) {
      continue;
    }
    if (answer.code == StatusCode::kOk && entry.answer != answer) continue;
    entry.claimed = true;
    return told(i);
  }
  std::string others;
  for (raft::Index i = 1; i <= model_.last(); i++) {
    const LogEntry& entry = model_.at(i);
    if (entry.method != operation.method || entry.request != operation.request) continue;
    others += fmt::format(" [entry {}{}: {} revision {}]", i, entry.claimed ? ", another's" : "",
                          http::status_code_name(entry.answer.code), entry.answer.revision);
  }
  violate(fmt::format("#{} {} got an answer ({}, revision {}) that no entry after {} explains:{}",
                      operation.id, operation.method, http::status_code_name(answer.code),
                      answer.revision, operation.low, others.empty() ? " none at all" : others));
}

bool Checker::check_read_revision(const Operation& operation, std::int64_t revision) {
  if (revision < model_.revision(operation.low)) {
    violate(fmt::format("#{} read at revision {}, but {} had been answered before it was asked",
                        operation.id, revision, model_.revision(operation.low)));
    return false;
  }
  if (revision > model_.revision()) {
    violate(
        fmt::format("#{} read at revision {}, which was never written", operation.id, revision));
    return false;
  }
  told(model_.first_with(revision));
  return true;
}

void Checker::check_range(const Operation& operation, StatusCode code, std::string_view message) {
  const auto request = parse<etcdserverpb::RangeRequest>(operation.request);
  const std::int64_t asked_for = request.revision();
  if (code == StatusCode::kOutOfRange) {
    const bool compacted = asked_for > 0 && asked_for < model_.floor();
    const bool future = asked_for > model_.revision(operation.low);
    if (!compacted && !future) {
      violate(fmt::format("#{} was refused revision {} between {} and {}", operation.id, asked_for,
                          model_.floor(), model_.revision(operation.low)));
    }
    return;
  }
  if (code != StatusCode::kOk) {
    return violate(fmt::format("#{} Range failed: {}", operation.id, http::status_code_name(code)));
  }
  auto response = parse<etcdserverpb::RangeResponse>(message);
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  const std::int64_t at = asked_for > 0 ? asked_for : revision;
  const raft::Index earliest = std::max(operation.low, model_.first_with(revision));
  if (at > revision || at < model_.floor(earliest)) {
    return violate(fmt::format("#{} was given revision {}, which is not between {} and {}",
                               operation.id, at, model_.floor(earliest), revision));
  }
  const auto expected = model_.range(request, at);
  response.clear_header();
  if (response.SerializeAsString() != expected.SerializeAsString()) {
    violate(fmt::format("#{} at revision {} is not what was there: got {} | expected {}",
                        operation.id, at, shortened(response.ShortDebugString()),
                        shortened(expected.ShortDebugString())));
  }
}

void Checker::check_read_txn(const Operation& operation, const etcdserverpb::TxnRequest& request,
                             std::string_view message) {
  const auto response = parse<etcdserverpb::TxnResponse>(message);
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  const Answer expected = model_.read_txn(request, revision);
  if (answer_of(response).message != expected.message) {
    violate(fmt::format("#{} at revision {} is not what was there: got {}", operation.id, revision,
                        shortened(response.ShortDebugString())));
  }
}

void Checker::finish() {
  for (auto& [request, lows] : unknown_) std::sort(lows.begin(), lows.end());
  for (raft::Index i = 1; i <= model_.last(); i++) {
    const LogEntry& entry = model_.at(i);
    if (entry.method.empty() || entry.by_server || entry.claimed) continue;
    auto& lows = unknown_[{entry.method, entry.request}];
    if (lows.empty() || lows.front() >= i) {
      return violate(fmt::format("entry {} ({} {}) is there more often than it was asked for", i,
                                 entry.method, describe(entry.method, entry.request)));
    }
    lows.erase(lows.begin());
  }
}

}  // namespace keelson::sim
