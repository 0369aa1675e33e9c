#include "mvcc/record.h"

#include "base/check.h"
#include "base/field_writer.h"
#include "base/varint.h"

namespace keelson::mvcc {
namespace {

constexpr std::uint32_t kKey = 1, kCreateRevision = 2, kModRevision = 3, kVersion = 4, kValue = 5,
                        kLease = 6;

constexpr std::uint64_t as_varint(std::int64_t value) { return static_cast<std::uint64_t>(value); }

// The number field of `kv` with this tag, nullptr if there is none.
std::int64_t* number_field(KeyValueView& kv, std::uint64_t tag) {
  switch (tag) {
    case base::varint_tag(kCreateRevision):
      return &kv.create_revision;
    case base::varint_tag(kModRevision):
      return &kv.mod_revision;
    case base::varint_tag(kVersion):
      return &kv.version;
    case base::varint_tag(kLease):
      return &kv.lease;
    default:
      return nullptr;
  }
}

std::string_view* bytes_field(KeyValueView& kv, std::uint64_t tag) {
  switch (tag) {
    case base::bytes_tag(kKey):
      return &kv.key;
    case base::bytes_tag(kValue):
      return &kv.value;
    default:
      return nullptr;
  }
}

// encoded_size(kv) bytes; the place behind them.
char* put(char* at, const KeyValueView& kv) {
  base::FieldWriter out(at);
  out.bytes(kKey, kv.key);
  out.number(kCreateRevision, as_varint(kv.create_revision));
  out.number(kModRevision, as_varint(kv.mod_revision));
  out.number(kVersion, as_varint(kv.version));
  out.bytes(kValue, kv.value);
  out.number(kLease, as_varint(kv.lease));
  return out.at();
}

}  // namespace

std::size_t encoded_size(const KeyValueView& kv) {
  return base::bytes_field_size(kKey, kv.key.size()) +
         base::varint_field_size(kCreateRevision, as_varint(kv.create_revision)) +
         base::varint_field_size(kModRevision, as_varint(kv.mod_revision)) +
         base::varint_field_size(kVersion, as_varint(kv.version)) +
         base::bytes_field_size(kValue, kv.value.size()) +
         base::varint_field_size(kLease, as_varint(kv.lease));
}

base::SharedBytes encode(const KeyValueView& kv) {
  const std::size_t size = encoded_size(kv);
  if (size == 0) return {};
  auto bytes = std::make_shared_for_overwrite<char[]>(size);
  const std::string_view encoded(bytes.get(), put(bytes.get(), kv));
  CHECK_EQ(encoded.size(), size);
  return {std::move(bytes), encoded};
}

base::SharedBytes PackedRecords::encode(const KeyValueView& kv) {
  const std::size_t size = encoded_size(kv);
  if (size > kChunkBytes / 8 || ++records_ <= kAlone) return mvcc::encode(kv);
  if (chunk_ == nullptr || used_ + size > kChunkBytes) {
    chunk_ = std::make_shared_for_overwrite<char[]>(kChunkBytes);
    used_ = 0;
  }
  char* const place = chunk_.get() + used_;
  used_ += size;
  CHECK(put(place, kv) == chunk_.get() + used_);
  return {chunk_, std::string_view(place, size)};
}

std::optional<KeyValueView> decode(std::string_view encoded) {
  KeyValueView kv;
  while (!encoded.empty()) {
    const auto tag = base::take_varint(encoded);
    const auto number = tag ? base::take_varint(encoded) : std::nullopt;  // or a length
    if (!number) return std::nullopt;
    if (auto* field = number_field(kv, *tag)) {
      *field = static_cast<std::int64_t>(*number);
    } else if (auto* bytes = bytes_field(kv, *tag)) {
      if (*number > encoded.size()) return std::nullopt;
      *bytes = encoded.substr(0, *number);
      encoded.remove_prefix(*number);
    } else {
      return std::nullopt;
    }
  }
  return kv;
}

}  // namespace keelson::mvcc
