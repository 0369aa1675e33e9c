#include "watch/hub.h"

#include <algorithm>

namespace keelson::watch {
namespace {

// Requests for progress one stream may have waiting; more are dropped, as etcd's full buffer drops
// them.
constexpr std::size_t kProgressRequestsMax = 128;

constexpr std::size_t variant(bool previous, EventList::Filter filter) {
  return (previous ? 4u : 0u) + (filter.no_put ? 2u : 0u) + (filter.no_delete ? 1u : 0u);
}
constexpr std::size_t kVariants = 8;

// Events whose watchers are prefetched at once, and watchers of each.
constexpr std::size_t kPrefetchedEvents = 16;
constexpr std::size_t kPrefetchedWatchers = 4;

// Removes by moving the last into the place.
template <class T, class Moved>
void swap_out(std::vector<T*>& list, std::size_t at, Moved&& moved) {
  list[at] = list.back();
  moved(*list[at], at);
  list.pop_back();
}

}  // namespace

// Watchers of one and the same range of keys.
struct Hub::Group {
  explicit Group(const mvcc::KeyRange& of) : range(of) {}

  const OwnedRange range;
  std::size_t watchers = 0;  // in any state
  std::vector<Watcher*> synced;
  // While something is delivered, or a round begun, and empty or false in between:
  std::vector<Watcher*> members;    // those of the round
  std::vector<std::size_t> chosen;  // the events for it
  bool wanted = false;
};

struct Hub::Watcher {
  enum class State : std::uint8_t { kNone, kSynced, kUnsynced, kVictim, kEnded };

  Stream& stream;
  Group& group;
  const WatchId id;
  const std::uint64_t serial;
  const std::int64_t start_revision;
  std::int64_t next = 0;
  std::int64_t placed = 0;  // `next` as it was when it was put into the order of rounds
  State state = State::kNone;
  const EventList::Filter filter;
  const bool previous;
  const bool progress_notify;
  const bool fragment;
  bool told = false;             // of events, since the last tick
  bool held_back = false;        // in a round, until its end: not told of its slice
  std::size_t synced_at = 0;     // in group.synced
  std::size_t member_at = kNot;  // in the round's members

  static constexpr std::size_t kNot = static_cast<std::size_t>(-1);
};

class Hub::Stream {
 public:
  Stream(Outlet& o, std::uint64_t s) : outlet(o), serial(s) {}

  Outlet& outlet;
  const std::uint64_t serial;
  base::OrderedMap<WatchId, std::unique_ptr<Watcher>> watchers;
  WatchId next_id = 0;
  std::size_t behind = 0;  // watchers that are not synced
  std::vector<Watcher*> victims;
  std::size_t clogged_at = 0;          // in clogged_, while there are victims
  std::size_t progress_requests = 0;   // waiting
  std::int64_t progress_revision = 0;  // that H must reach first
};

Hub::Hub(Options options, std::int64_t revision) : options_(options), revision_(revision) {}

Hub::~Hub() { CHECK(streams_.empty()); }

// --- streams

Hub::Stream& Hub::open(Outlet& outlet) {
  const std::uint64_t serial = next_serial_++;
  stats_.streams++;
  return *streams_.emplace(serial, std::make_unique<Stream>(outlet, serial)).first->second;
}

void Hub::close(Stream& stream) {
  while (!stream.watchers.empty()) remove(*stream.watchers.begin()->second);
  std::erase(progress_waiting_, &stream);
  stats_.streams--;
  streams_.erase(stream.serial);
}

std::optional<Refusal> Hub::refusal(const Stream& stream, const CreateRequest& request) const {
  if (request.start_revision < 0) return Refusal::kCompacted;
  const std::string_view key = request.key.empty() ? std::string_view("\0", 1) : request.key;
  if (mvcc::KeyRange::of(key, request.range_end).empty()) return Refusal::kEmptyRange;
  if (request.id != 0 && stream.watchers.contains(request.id)) return Refusal::kDuplicateId;
  if (stats_.watchers >= options_.watchers_max) return Refusal::kTooMany;
  return std::nullopt;
}

WatchId Hub::choose_id(Stream& stream, WatchId wanted) {
  if (wanted != 0) return wanted;
  while (stream.watchers.contains(stream.next_id)) stream.next_id++;
  return stream.next_id++;
}

void Hub::create(Stream& stream, const CreateRequest& request, const mvcc::View& published) {
  CHECK_LE(revision_, published.revision);
  if (const auto refused = refusal(stream, request)) {
    return stream.outlet.deliver(
        {.kind = Response::Kind::kRefused, .revision = published.revision, .refusal = *refused});
  }
  const std::string_view key = request.key.empty() ? std::string_view("\0", 1) : request.key;
  Group& group = group_of(mvcc::KeyRange::of(key, request.range_end));
  group.watchers++;
  const WatchId id = choose_id(stream, request.id);
  auto made = std::make_unique<Watcher>(
      Watcher{.stream = stream,
              .group = group,
              .id = id,
              .serial = next_serial_++,
              .start_revision = request.start_revision,
              .filter = {.no_put = request.no_put, .no_delete = request.no_delete},
              .previous = request.prev_kv,
              .progress_notify = request.progress_notify,
              .fragment = request.fragment});
  Watcher& watcher = *made;
  stream.watchers.emplace(id, std::move(made));
  stats_.watchers++;
  stream.outlet.deliver(
      {.kind = Response::Kind::kCreated, .id = id, .revision = published.revision});
  watcher.next = request.start_revision == 0 ? published.revision + 1 : request.start_revision;
  if (watcher.next < published.compact_revision) {
    return end(watcher, {.kind = Response::Kind::kCompacted,
                         .compact_revision = published.compact_revision});
  }
  if (watcher.next > revision_) return join_synced(watcher);
  become_unsynced(watcher, watcher.next);
}

void Hub::cancel(Stream& stream, WatchId id, const mvcc::View& published) {
  const auto it = stream.watchers.find(id);
  if (it == stream.watchers.end()) return;
  remove(*it->second);
  stream.outlet.deliver(
      {.kind = Response::Kind::kCanceled, .id = id, .revision = published.revision});
}

void Hub::remove(Watcher& watcher) {
  leave_state(watcher);
  if (watcher.member_at != Watcher::kNot) round_->members[watcher.member_at] = nullptr;
  Group& group = watcher.group;
  Stream& stream = watcher.stream;
  stream.watchers.erase(WatchId{watcher.id});
  stats_.watchers--;
  leave_group(group);
}

// --- groups

Hub::Group& Hub::group_of(const mvcc::KeyRange& range) {
  if (range.single) {
    auto& group = singles_[std::string(range.key)];
    if (!group) group = std::make_unique<Group>(range);
    return *group;
  }
  const End end{.key = range.open ? std::string_view() : range.end, .open = range.open};
  if (auto* found = ranges_.find(range.key, end)) return **found;
  ranges_.insert(range.key, end, std::make_unique<Group>(range));
  return **ranges_.find(range.key, end);
}

// One watcher of it is gone.
void Hub::leave_group(Group& group) {
  if (--group.watchers > 0) return;
  CHECK(group.synced.empty());
  const mvcc::KeyRange range = group.range.borrow();
  if (range.single) {
    singles_.erase(std::string(range.key));
  } else {
    const std::string from(range.key), end(range.open ? std::string_view() : range.end);
    ranges_.erase(from, {.key = end, .open = range.open});
  }
}

template <class F>
void Hub::each_group(std::string_view key, F&& found) const {
  if (const auto it = singles_.find(key); it != singles_.end()) found(*it->second);
  ranges_.stab(key, [&](const std::unique_ptr<Group>& group) { found(*group); });
}

// --- states

void Hub::join_synced(Watcher& watcher) {
  CHECK_GT(watcher.next, revision_);
  CHECK(watcher.state == Watcher::State::kNone);
  watcher.state = Watcher::State::kSynced;
  watcher.synced_at = watcher.group.synced.size();
  watcher.group.synced.push_back(&watcher);
}

void Hub::leave_state(Watcher& watcher) {
  const auto state = std::exchange(watcher.state, Watcher::State::kNone);
  switch (state) {
    case Watcher::State::kNone:
      return;
    case Watcher::State::kSynced:
      return swap_out(watcher.group.synced, watcher.synced_at,
                      [](Watcher& moved, std::size_t at) { moved.synced_at = at; });
    case Watcher::State::kUnsynced:
      CHECK_EQ(unsynced_.erase(Place{watcher.placed, watcher.serial}), 1u);
      stats_.slow--;
      break;
    case Watcher::State::kVictim:
      std::erase(watcher.stream.victims, &watcher);
      if (watcher.stream.victims.empty()) unclog(watcher.stream);
      stats_.slow--;
      break;
    case Watcher::State::kEnded:
      break;
  }
  watcher.stream.behind--;
}

void Hub::become_unsynced(Watcher& watcher, std::int64_t next) {
  leave_state(watcher);
  watcher.state = Watcher::State::kUnsynced;
  watcher.next = watcher.placed = next;
  watcher.stream.behind++;
  stats_.slow++;
  unsynced_.emplace(Place{next, watcher.serial}, &watcher);
}

void Hub::become_victim(Watcher& watcher, std::int64_t next) {
  leave_state(watcher);
  watcher.state = Watcher::State::kVictim;
  watcher.next = next;
  Stream& stream = watcher.stream;
  stream.behind++;
  stats_.slow++;
  if (stream.victims.empty()) {
    stream.clogged_at = clogged_.size();
    clogged_.push_back(&stream);
  }
  stream.victims.push_back(&watcher);
}

// Tells why and keeps the id taken.
void Hub::end(Watcher& watcher, Response response) {
  leave_state(watcher);
  watcher.state = Watcher::State::kEnded;
  watcher.stream.behind++;
  response.id = watcher.id;
  watcher.stream.outlet.deliver(response);
}

void Hub::unclog(Stream& stream) {
  swap_out(clogged_, stream.clogged_at,
           [](Stream& moved, std::size_t at) { moved.clogged_at = at; });
}

void Hub::resume(Stream& stream) {
  if (stream.victims.empty() || !stream.outlet.has_room()) return;
  const std::vector<Watcher*> victims = std::exchange(stream.victims, {});
  unclog(stream);
  for (Watcher* victim : victims) {
    victim->state = Watcher::State::kNone;
    stream.behind--;
    stats_.slow--;
    become_unsynced(*victim, victim->next);
  }
}

void Hub::resume_all() {
  const std::vector<Stream*> clogged = clogged_;
  for (Stream* stream : clogged) resume(*stream);
}

// --- batches

void Hub::push(std::shared_ptr<const mvcc::EventBatch> batch, const mvcc::View& published) {
  if (batches_.size() >= options_.batches_max) return lose(published);
  stats_.pending += batch->events.size();
  batches_.push_back(std::move(batch));
}

void Hub::lose(const mvcc::View& published) {
  CHECK_LE(revision_, published.revision);
  stats_.losses++;
  batches_.clear();
  stats_.pending = 0;
  batch_at_ = 0;
  if (round_) round_->kept_all = false;
  if (published.revision == revision_) return;  // what was lost changed no key
  const std::int64_t lost_from = revision_ + 1;
  revision_ = published.revision;
  for (const auto& [serial, stream] : streams_) {
    for (const auto& [id, watcher] : stream->watchers) {
      const bool synced = watcher->state == Watcher::State::kSynced;
      if (!synced || watcher->next > revision_) continue;
      become_unsynced(*watcher, std::max(watcher->next, lost_from));
    }
  }
  reached(revision_);
}

bool Hub::deliver(const mvcc::View& published, const base::RevisionReader& reader,
                  std::size_t budget) {
  const std::uint64_t goal = work_ + budget;
  while (!batches_.empty() && work_ < goal) {
    const std::shared_ptr<const mvcc::EventBatch> batch = batches_.front();
    // One that is half delivered when a round begins lies within the round's View.
    if (round_ && batch_at_ == 0) keep_for_round(batch);
    deliver_batch(*batch, published, reader, goal);
    if (batch_at_ < batch->events.size()) break;
    batches_.pop_front();
    batch_at_ = 0;
    work_++;
    reached(std::max(batch->revision, revision_));
  }
  return !batches_.empty();
}

void Hub::keep_for_round(std::shared_ptr<const mvcc::EventBatch> batch) {
  if (batch->events.empty()) return;
  round_->kept_all = round_->kept_all && round_->kept.size() < options_.kept_batches_max;
  if (round_->kept_all) round_->kept.push_back(std::move(batch));
}

// Keys, groups and watchers have been out of the cache since their last event. Asked for one after
// the other each would be waited for; these come side by side.
void Hub::prefetch(const mvcc::EventBatch& batch, std::size_t from) const {
  if (singles_.empty()) return;
  const auto part = batch.events.part(from);
  if (part.packed != nullptr) return;
  const auto events = part.alone.first(std::min(part.size(), kPrefetchedEvents));
  for (const mvcc::Event& event : events) __builtin_prefetch(event.record.encoded.view().data());
  std::array<const Group*, kPrefetchedEvents> groups;
  std::size_t found = 0;
  for (const mvcc::Event& event : events) {
    const auto it = singles_.find(event.record.key());
    if (it == singles_.end()) continue;
    __builtin_prefetch(groups[found++] = it->second.get());
  }
  for (const Group* group : std::span(groups).first(found)) {
    __builtin_prefetch(group->synced.data());
  }
  for (const Group* group : std::span(groups).first(found)) {
    const std::span watchers = group->synced;
    for (const Watcher* watcher : watchers.first(std::min(watchers.size(), kPrefetchedWatchers))) {
      __builtin_prefetch(watcher);
    }
  }
}

// The first of the batches, from where it was left, revision by revision.
void Hub::deliver_batch(const mvcc::EventBatch& batch, const mvcc::View& published,
                        const base::RevisionReader& reader, std::uint64_t goal) {
  std::size_t& at = batch_at_;
  std::size_t prefetched = at;
  EventList events;
  while (at < batch.events.size() && work_ < goal) {
    const std::size_t from = at;
    if (from >= prefetched) {
      prefetch(batch, from);
      prefetched = from + kPrefetchedEvents;
    }
    const std::int64_t main = batch.events.revision(at).main;
    at = batch.events.end_of_main(from);
    work_ += at - from;
    stats_.pending -= at - from;
    if (main <= revision_) continue;  // was not news when the hub began, or was caught up
    events.clear();
    const Delivery delivery{.events = events,
                            .header_revision = main,
                            .reader = reader,
                            .compact_revision = published.compact_revision,
                            .targets = &Group::synced};
    choose(batch.events, from, at, delivery);
    deliver(delivery);
    reached(main);
  }
}

// H is `revision` now.
void Hub::reached(std::int64_t revision) {
  revision_ = revision;
  if (progress_waiting_.empty()) return;
  std::vector<Stream*> ready;
  std::erase_if(progress_waiting_, [&](Stream* stream) {
    if (stream->progress_revision > revision_) return false;
    ready.push_back(stream);
    return true;
  });
  for (Stream* stream : ready) {
    for (auto left = std::exchange(stream->progress_requests, 0); left > 0; left--) {
      progress(*stream);
    }
  }
}

// `add` adds the event of this key to the list, the first time that somebody wants it.
template <class Add>
void Hub::choose_one(std::string_view key, const Delivery& delivery, const Add& add) {
  std::optional<std::size_t> place;
  each_group(key, [&](Group& group) {
    if ((group.*delivery.targets).empty()) return;
    if (!place) place = add();
    if (group.chosen.empty()) touched_.push_back(&group);
    group.chosen.push_back(*place);
  });
}

void Hub::choose(const base::ChangeList<mvcc::Event>& events, std::size_t from, std::size_t to,
                 const Delivery& delivery) {
  while (from < to) {
    const auto part = events.part(from);
    const std::size_t count = std::min(part.size(), to - from);
    from += count;
    if (part.packed != nullptr) {
      choose_packed(*part.packed, part.from, part.from + count, delivery);
      continue;
    }
    for (const mvcc::Event& event : part.alone.first(count)) {
      choose_one(event.record.key(), delivery, [&] { return delivery.events.add(event); });
    }
  }
}

void Hub::choose_packed(const base::Tombstones& deleted, std::size_t from, std::size_t to,
                        const Delivery& delivery) {
  for (const auto& [begin, end] : wanted_of(deleted, from, to)) {
    for (std::size_t i = begin; i < end; i++) {
      choose_one(deleted.key(i), delivery,
                 [&] { return delivery.events.adopt(mvcc::Event::of(deleted, i)); });
    }
  }
}

// Where the ranges of groups touch what was deleted, ascending and apart. Keys that nobody watches
// are not even looked at.
std::vector<Hub::Stretch> Hub::wanted_of(const base::Tombstones& deleted, std::size_t from,
                                         std::size_t to) const {
  if (singles_.size() + ranges_.size() > (to - from) / 8) return {{from, to}};
  std::vector<Stretch> found;
  const auto add = [&](const std::unique_ptr<Group>& group) {
    const mvcc::KeyRange range = group->range.borrow();
    const std::size_t begin = std::max(from, deleted.lower_bound(range.key));
    const std::size_t end = range.single ? begin + 1
                            : range.open ? to
                                         : deleted.lower_bound(range.end);
    if (begin < std::min(end, to)) found.emplace_back(begin, std::min(end, to));
  };
  for (const auto& [key, group] : singles_) add(group);
  ranges_.each(add);
  std::ranges::sort(found);
  std::vector<Stretch> apart;
  for (const Stretch& next : found) {
    if (apart.empty() || apart.back().second < next.first) {
      apart.push_back(next);
    } else {
      apart.back().second = std::max(apart.back().second, next.second);
    }
  }
  return apart;
}

void Hub::deliver(const Delivery& delivery) {
  for (Group* group : touched_) {
    deliver(*group, delivery);
    group->chosen.clear();
  }
  touched_.clear();
}

void Hub::deliver(Group& group, const Delivery& delivery) {
  std::array<std::optional<Payload>, kVariants> payloads;
  std::optional<bool> warm;  // the superseded values could be had
  const bool live = delivery.targets == &Group::synced;
  const std::int64_t first = delivery.events.revision(group.chosen.front());
  std::vector<Watcher*>& targets = group.*delivery.targets;
  for (std::size_t i = 0; i < targets.size();) {
    Watcher& watcher = *targets[i];
    const std::size_t before = targets.size();
    if (watcher.previous && !warm) {
      warm = delivery.events.find_previous(group.chosen, delivery.reader, delivery.compact_revision,
                                           stats_.unreadable);
    }
    if (watcher.previous && !*warm) {
      if (!live || watcher.next <= first) hold_back(watcher, first, live);
    } else {
      auto& payload = payloads[variant(watcher.previous, watcher.filter)];
      if (!payload) {
        payload = delivery.events.payload(group.chosen, watcher.filter, watcher.previous);
      }
      if (!send(watcher, *payload, delivery.header_revision)) {
        become_victim(watcher, live ? std::max(watcher.next, first) : watcher.next);
      }
    }
    if (targets.size() == before) i++;  // else the last one has taken its place
  }
}

// What it superseded is cold. A live watcher has seen all before `revision`; one in a round is
// where it was.
void Hub::hold_back(Watcher& watcher, std::int64_t revision, bool live) {
  if (live) {
    become_unsynced(watcher, std::max(watcher.next, revision));
  } else {
    watcher.held_back = true;
  }
}

// False, and nothing sent, if there is something to tell and the stream is full.
bool Hub::send(Watcher& watcher, const Payload& payload, std::int64_t header_revision) {
  if (payload.empty() || payload.pieces.back().revision < watcher.next) return true;
  if (watcher.stream.outlet.is_full()) return false;
  const bool whole = payload.pieces.front().revision >= watcher.next;
  send_pieces(watcher, payload, whole ? 0 : payload.first_from(watcher.next), header_revision);
  return true;
}

void Hub::send_pieces(Watcher& watcher, const Payload& payload, std::size_t from,
                      std::int64_t header_revision) {
  Outlet& outlet = watcher.stream.outlet;
  const std::size_t count = payload.pieces.size();
  Response response{.kind = Response::Kind::kEvents, .id = watcher.id, .revision = header_revision};
  std::size_t begin = from;
  const std::size_t overhead =
      watcher.fragment ? outlet.overhead_bytes(watcher.id, header_revision) : 0;
  const std::size_t all = overhead + payload.pieces.back().end - payload.begin_of(from);
  if (watcher.fragment && all >= options_.fragment_bytes && count - from > 1) {
    constexpr std::size_t kFragmentField = 2;
    for (std::size_t end = begin + 1; end < count; end++) {
      const std::size_t bytes = payload.pieces[end].end - payload.begin_of(begin);
      if (overhead + kFragmentField + bytes < options_.fragment_bytes) continue;
      response.fragment = true;
      response.events = payload.slice(begin, end);
      outlet.deliver(response);
      begin = end;
    }
    response.fragment = false;
  }
  response.events_head = payload.head;
  response.events = payload.slice(begin, count);
  outlet.deliver(response);
  watcher.told = true;
  CHECK_LE(watcher.next, payload.pieces[from].revision);  // W1
  watcher.next = payload.pieces.back().revision + 1;
  stats_.events += count - from;
  work_ += count - from;
}

// --- catching up

// The watchers of the next round: from its turn on, or from the first if none is left there.
std::vector<Hub::Watcher*> Hub::take_members() {
  auto it = unsynced_.lower_bound(Place{turn_, 0});
  if (it == unsynced_.end()) it = unsynced_.begin();
  const std::size_t members_max = alone_ > 0 ? 1 : options_.round_watchers;
  std::vector<Watcher*> members;
  for (; it != unsynced_.end() && members.size() < members_max; ++it) {
    it->second->member_at = members.size();
    members.push_back(it->second);
  }
  return members;
}

std::optional<Wanted> Hub::begin_round(const mvcc::View& published) {
  if (round_) return std::nullopt;
  while (!unsynced_.empty() && unsynced_.begin()->first.first < published.compact_revision) {
    end(*unsynced_.begin()->second,
        {.kind = Response::Kind::kCompacted, .compact_revision = published.compact_revision});
  }
  if (unsynced_.empty()) return std::nullopt;
  round_.emplace(Round{.members = take_members(), .revision = published.revision});
  stats_.rounds++;
  Wanted wanted{.first = round_->members.front()->next, .last = published.revision};
  for (Watcher* member : round_->members) {
    wanted.previous = wanted.previous || member->previous;
    if (std::exchange(member->group.wanted, true)) continue;
    wanted.ranges.push_back(member->group.range);
  }
  for (Watcher* member : round_->members) member->group.wanted = false;
  return wanted;
}

void Hub::end_round(base::Result<CaughtUp, mvcc::Errc> slice, const mvcc::View& published,
                    const base::RevisionReader& reader) {
  CHECK(round_.has_value());
  const Round round = *std::exchange(round_, std::nullopt);
  std::vector<Watcher*> members;
  for (Watcher* member : round.members) {
    if (member == nullptr) continue;
    member->member_at = Watcher::kNot;
    members.push_back(member);
  }
  if (!slice) return could_not_read(members, published);
  if (alone_ > 0) alone_--;
  turn_ = slice->through + 2;
  EventList events;
  for (std::size_t i = 0; i < slice->events.size(); i++) {
    events.add(slice->events[i],
               slice->previous.empty() ? base::SharedBytes() : slice->previous[i]);
  }
  tell_members(members,
               {.events = events,
                .header_revision = round.revision,
                .reader = reader,
                .compact_revision = published.compact_revision,
                .targets = &Group::members},
               slice->through, [&](const Delivery& delivery) {
                 for (std::size_t i = 0; i < events.size(); i++) {
                   choose_one(events.event(i).record.key(), delivery, [i] { return i; });
                 }
               });
  if (slice->through == round.revision) join_from_kept(members, round, published, reader);
}

// Somebody needs a record that cannot be read. If there are several, each is looked at alone, so
// that only those end who need it.
void Hub::could_not_read(const std::vector<Watcher*>& members, const mvcc::View& published) {
  if (members.size() > 1) {
    alone_ = members.size();
    turn_ = members.front()->next;
    return;
  }
  if (alone_ > 0) alone_--;
  for (Watcher* member : members) {
    end(*member, {.kind = Response::Kind::kFailed,
                  .revision = published.revision,
                  .refusal = Refusal::kUnreadable});
  }
}

// Tells the unsynced among `members`, and moves them on beyond `through`.
template <class Choose>
void Hub::tell_members(const std::vector<Watcher*>& members, const Delivery& delivery,
                       std::int64_t through, const Choose& choose) {
  const auto behind = [&](const Watcher* member) {
    return member->state == Watcher::State::kUnsynced && member->next <= through;
  };
  std::vector<Watcher*> told;
  std::copy_if(members.begin(), members.end(), std::back_inserter(told), behind);
  for (Watcher* member : told) member->group.members.push_back(member);
  choose(delivery);
  deliver(delivery);
  for (Watcher* member : told) {
    member->group.members.clear();
    if (std::exchange(member->held_back, false)) continue;
    if (member->state == Watcher::State::kUnsynced) advance(*member, through);
  }
}

// All up to `through` is told.
void Hub::advance(Watcher& watcher, std::int64_t through) {
  const std::int64_t next = std::max(watcher.next, through + 1);
  if (next <= revision_) return become_unsynced(watcher, next);
  leave_state(watcher);
  watcher.next = next;
  join_synced(watcher);
}

// The round has reached its View, and the hub has gone on from there with batches that are kept.
void Hub::join_from_kept(const std::vector<Watcher*>& members, const Round& round,
                         const mvcc::View& published, const base::RevisionReader& reader) {
  if (!round.kept_all) return;
  const auto waits = [&](const Watcher* member) {
    return member->state == Watcher::State::kUnsynced && member->next == round.revision + 1;
  };
  std::vector<Watcher*> joining;
  std::copy_if(members.begin(), members.end(), std::back_inserter(joining), waits);
  if (joining.empty()) return;
  const auto first = [&](const mvcc::EventBatch& batch) {
    return batch.events.lower_bound({round.revision + 1, 0});
  };
  const auto last = [&](const mvcc::EventBatch& batch) {
    return batch.events.lower_bound({revision_ + 1, 0});
  };
  std::size_t revisions = 0;
  for (const auto& batch : round.kept) {
    const std::size_t end = last(*batch);
    for (std::size_t at = first(*batch); at < end; revisions++) at = batch->events.end_of_main(at);
  }
  if (revisions > options_.slice.revisions) return;  // another round then
  EventList events;
  tell_members(joining,
               {.events = events,
                .header_revision = revision_,
                .reader = reader,
                .compact_revision = published.compact_revision,
                .targets = &Group::members},
               revision_, [&](const Delivery& delivery) {
                 for (const auto& batch : round.kept) {
                   choose(batch->events, first(*batch), last(*batch), delivery);
                 }
               });
}

// --- progress

bool Hub::may_progress(const Watcher& watcher) const {
  return watcher.state == Watcher::State::kSynced && watcher.start_revision <= revision_ &&
         watcher.next <= revision_ + 1;
}

void Hub::request_progress(Stream& stream, const mvcc::View& published) {
  if (published.revision <= revision_) return progress(stream);
  if (stream.progress_requests == 0) progress_waiting_.push_back(&stream);
  if (stream.progress_requests < kProgressRequestsMax) stream.progress_requests++;
  stream.progress_revision = published.revision;
}

void Hub::progress(Stream& stream) {
  if (stream.watchers.empty() || stream.behind > 0 || stream.outlet.is_full()) return;
  for (const auto& [id, watcher] : stream.watchers) {
    if (!may_progress(*watcher)) return;
  }
  stream.outlet.deliver({.kind = Response::Kind::kProgress, .revision = revision_});
}

void Hub::tick(Stream& stream) {
  for (const auto& [id, watcher] : stream.watchers) {
    const bool told = std::exchange(watcher->told, false);
    if (!watcher->progress_notify || told || !may_progress(*watcher)) continue;
    if (stream.outlet.is_full()) continue;
    stream.outlet.deliver({.kind = Response::Kind::kProgress, .id = id, .revision = revision_});
  }
}

// --- checks

void Hub::check() const {
  std::size_t watchers = 0, slow = 0;
  for (const auto& [serial, stream] : streams_) {
    std::size_t behind = 0, victims = 0;
    for (const auto& [id, watcher] : stream->watchers) {
      watchers++;
      CHECK_EQ(watcher->id, id);
      CHECK(!watcher->held_back);
      const bool synced = watcher->state == Watcher::State::kSynced;
      const bool unsynced = watcher->state == Watcher::State::kUnsynced;
      const bool victim = watcher->state == Watcher::State::kVictim;
      CHECK(watcher->state != Watcher::State::kNone);
      if (synced) CHECK(watcher->group.synced.at(watcher->synced_at) == watcher.get());
      if (unsynced) CHECK_EQ(watcher->next, watcher->placed);
      if (unsynced) CHECK(unsynced_.contains(Place{watcher->next, watcher->serial}));
      if (unsynced || victim) CHECK_LE(watcher->next, revision_);
      behind += synced ? 0 : 1;
      victims += victim ? 1 : 0;
      slow += unsynced || victim ? 1 : 0;
    }
    CHECK_EQ(behind, stream->behind);
    CHECK_EQ(victims, stream->victims.size());
    if (victims > 0) CHECK(clogged_.at(stream->clogged_at) == stream.get());
  }
  CHECK_EQ(watchers, stats_.watchers);
  CHECK_EQ(slow, stats_.slow);
  CHECK_EQ(streams_.size(), stats_.streams);
  ranges_.check();
  CHECK_LE(unsynced_.size(), slow);
}

}  // namespace keelson::watch
