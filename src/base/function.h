// A job: called once, owns what it captured, need not be copyable.
#pragma once

#include <functional>

namespace keelson::base {

template <class Signature>
using Function = std::move_only_function<Signature>;

using Job = Function<void()>;

}  // namespace keelson::base
