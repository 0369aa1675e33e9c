#include "base/result.h"

namespace keelson::base {

std::string Error::message() const { return context + ": " + code.message(); }

Error make_error(std::errc code, std::string context) {
  return Error{std::make_error_code(code), std::move(context)};
}

Error errno_error(int error_number, std::string context) {
  return Error{std::error_code(error_number, std::generic_category()), std::move(context)};
}

}  // namespace keelson::base
