#include "member/shared.h"

#include "base/planted.h"
#include "env/log.h"
#include "member/front.h"
#include "member/store_keeper.h"

namespace keelson::member {

store::Store& Shared::store() { return store_keeper->store(); }

void Shared::removed() {
  if (KEELSON_PLANTED(kRemovedMemberStays) || is_removed.exchange(true)) return;
  fronts.front()->lane().post([this] {
    if (on_removed) on_removed();
  });
}

namespace {
StopHandler stop_handler = nullptr;
}  // namespace

void set_stop_handler(StopHandler handler) { stop_handler = handler; }

void stop_process(std::string_view why) {
  if (stop_handler != nullptr) {
    env::log(env::LogLevel::kFatal, "durability is in doubt, stopping", {{"error", why}});
    stop_handler(why);
  }
  env::log_fatal("durability is in doubt, stopping", {{"error", why}});
}

}  // namespace keelson::member
