#include "client/connections.h"

#include <algorithm>
#include <utility>

namespace keelson::client {

Connections::Connections(env::Lane& lane, env::Network& network, const Options& options,
                         base::Function<void()> on_ready)
    : lane_(lane),
      network_(network),
      options_(options),
      on_ready_(std::move(on_ready)),
      random_(options.seed) {
  for (const std::string& text : options.endpoints) {
    slots_.push_back(std::make_unique<Slot>(parse_endpoint(text)));
  }
}

Connections::~Connections() {
  if (sweep_timer_ != 0) lane_.cancel(sweep_timer_);
  for (const auto& slot : slots_) {
    if (slot->timer != 0) lane_.cancel(slot->timer);
  }
}

std::optional<Connections::Picked> Connections::pick() {
  dial_all();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = *slots_[(next_ + i) % slots_.size()];
    if (slot.client == nullptr || !slot.client->usable()) continue;
    next_ = (next_ + i + 1) % slots_.size();
    return Picked{slot.client.get(), &slot.endpoint};
  }
  return std::nullopt;
}

void Connections::dial_all() {
  for (const auto& slot : slots_) {
    if (slot->client == nullptr && !slot->dialing && slot->timer == 0) dial(*slot);
  }
}

void Connections::dial(Slot& slot) {
  slot.dialing = true;
  network_.connect(lane_, slot.endpoint.address, options_.dial_timeout,
                   [this, &slot, alive = std::weak_ptr(alive_)](auto dialled) {
                     if (!alive.expired()) on_dialled(slot, std::move(dialled));
                   });
}

void Connections::on_dialled(Slot& slot, base::Result<std::unique_ptr<env::Stream>> dialled) {
  slot.dialing = false;
  if (!dialled) {
    last_error_ = dialled.error().message();
    return back_off(slot);
  }
  slot.backoff = base::Duration::zero();
  slot.client = std::make_unique<http::GrpcClient>(
      lane_, *std::move(dialled),
      http::GrpcClientOptions{.authority = slot.endpoint.authority,
                              .user_agent = options_.user_agent,
                              .message_bytes_max = options_.answer_bytes_max,
                              .keepalive_time = options_.keepalive_time,
                              .keepalive_timeout = options_.keepalive_timeout},
      [this, &slot] { on_unusable(slot); });
  on_ready_();
}

// Called by the client itself, which therefore lives on until a job of its own.
void Connections::on_unusable(Slot& slot) {
  retiring_.push_back(std::move(slot.client));
  slot.client = nullptr;
  on_call_end();
  // A server that accepts and hangs up must not be dialled without pause.
  back_off(slot);
}

void Connections::on_call_end() {
  if (retiring_.empty() || std::exchange(sweep_wanted_, true)) return;
  lane_.post([this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) sweep();
  });
}

// A connection counts a call for a moment after its end was told, so one look may be too early.
void Connections::sweep() {
  sweep_wanted_ = false;
  std::erase_if(retiring_, [](const auto& client) { return client->open_calls() == 0; });
  if (retiring_.empty() || sweep_timer_ != 0) return;
  sweep_timer_ = lane_.after(kSweepPause, [this] {
    sweep_timer_ = 0;
    sweep();
  });
}

void Connections::back_off(Slot& slot) {
  slot.backoff = std::clamp(slot.backoff * 2, kBackoffMin, kBackoffMax);
  const std::uint64_t nanoseconds = static_cast<std::uint64_t>(slot.backoff.count());
  const base::Duration jitter(nanoseconds * 4 / 5 + random_.below(nanoseconds * 2 / 5));
  slot.timer = lane_.after(jitter, [this, &slot] {
    slot.timer = 0;
    dial(slot);
  });
}

}  // namespace keelson::client
