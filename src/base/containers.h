// Container aliases, so that hash and comparison are transparent everywhere and the library can
// change.
//
// No output order may be taken from a hash map. Abseil's string_view is not std's in Debian's
// build, so its default string hash cannot serve; this one is used instead.
#pragma once

#include <absl/container/btree_map.h>
#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <functional>
#include <string>
#include <string_view>

namespace keelson::base {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

namespace internal {
template <class K>
struct HashOf {
  using type = absl::container_internal::hash_default_hash<K>;
  using equal = absl::container_internal::hash_default_eq<K>;
};
template <>
struct HashOf<std::string> {
  using type = StringHash;
  using equal = std::equal_to<>;
};
template <>
struct HashOf<std::string_view> {
  using type = StringHash;
  using equal = std::equal_to<>;
};
template <class K>
struct LessOf {
  using type = std::less<K>;
};
template <>
struct LessOf<std::string> {
  using type = std::less<>;
};
}  // namespace internal

template <class K, class V>
using HashMap = absl::flat_hash_map<K, V, typename internal::HashOf<K>::type,
                                    typename internal::HashOf<K>::equal>;
template <class K>
using HashSet =
    absl::flat_hash_set<K, typename internal::HashOf<K>::type, typename internal::HashOf<K>::equal>;
template <class K, class V>
using OrderedMap = absl::btree_map<K, V, typename internal::LessOf<K>::type>;
template <class K>
using OrderedSet = absl::btree_set<K, typename internal::LessOf<K>::type>;

}  // namespace keelson::base
