#include "member/shared.h"

#include "env/log.h"
#include "member/front.h"
#include "member/store_keeper.h"

namespace keelson::member {

store::Store& Shared::store() { return store_keeper->store(); }

void stop_process(std::string_view why) {
  env::log_fatal("durability is in doubt, stopping", {{"error", why}});
}

}  // namespace keelson::member
