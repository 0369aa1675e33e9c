// A client's HTTP/2 connection: any frames, in any pieces, read or not, at any pace.

#include "fuzz/connection.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keelson::fuzz::Input input(data, size);
  keelson::fuzz::Connection connection(nullptr);
  connection.feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  connection.play(input);
  return 0;
}
