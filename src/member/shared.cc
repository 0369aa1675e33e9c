#include "member/shared.h"

#include <spdlog/spdlog.h>

#include <cstdlib>

#include "member/front.h"
#include "member/store_keeper.h"

namespace keelson::member {

store::Store& Shared::store() { return store_keeper->store(); }

void stop_process(std::string_view why) {
  spdlog::critical("stopping: {}", why);
  spdlog::default_logger()->flush();
  std::_Exit(1);
}

}  // namespace keelson::member
