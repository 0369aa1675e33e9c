// Lists of URLs that name one member's places in different words: one with host names, the other
// with IPs. Told apart by what DNS says, which whoever may wait for it asks. operations.md 2.3.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "membership/urls.h"

namespace keelson::membership {

// By a URL's host ("n1.example:2380"): what stands in its place ("10.0.0.1:2380"), or why DNS does
// not say.
using ResolvedHosts = base::OrderedMap<std::string, base::Result<std::string, std::string>>;

// The URLs whose hosts DNS must be asked about before a and b can be told apart: none if the lists
// are equal as they are, or cannot be equal whatever it says. "localhost" is never asked about:
// another name for the same place is another place.
Urls urls_to_resolve(const Urls& a, const Urls& b);

// nullopt if a and b name the same places, one to one, by what DNS says; else why not, in etcd's
// words.
std::optional<std::string> why_unequal(const Urls& a, const Urls& b, const ResolvedHosts& resolved);

}  // namespace keelson::membership
