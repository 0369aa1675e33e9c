// Services of which nothing is there yet: every method answers kUnimplemented. api.md 1.1.
#pragma once

#include "api/context.h"

namespace keelson::api {

// Auth, Lock, Election.
void add_missing_services(http::Router& router, Context& context);

}  // namespace keelson::api
