// What both sides of HTTP/1.1 share of Beast's parser: where it puts a body, and how it must be
// fed. Internal to http/; included by the two files that may know Beast.
//
// Beast asserts what it asks of its caller (docs/design/0004-assertions.md):
//   - a parser that is done gets no further byte
//   - the beginning of a chunk that was cut is not given twice with fewer than kChunkBytesMin bytes
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstddef>
#include <string_view>

namespace keelson::http {

// Where a parser puts the body: straight to its connection.
class BodySink {
 public:
  virtual void take_body(std::string_view bytes) = 0;

 protected:
  ~BodySink() = default;
};

struct SinkBody {
  using value_type = BodySink*;
  class reader {
   public:
    template <bool is_request, class F>
    reader(boost::beast::http::header<is_request, F>&, value_type& sink) : sink_(sink) {}
    void init(const boost::optional<std::uint64_t>&, boost::beast::error_code& ec) { ec = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, boost::beast::error_code& ec) {
      ec = {};
      std::size_t size = 0;
      for (auto it = boost::asio::buffer_sequence_begin(buffers);
           it != boost::asio::buffer_sequence_end(buffers); ++it) {
        const boost::asio::const_buffer piece = *it;
        sink_->take_body({static_cast<const char*>(piece.data()), piece.size()});
        size += piece.size();
      }
      return size;
    }
    void finish(boost::beast::error_code& ec) { ec = {}; }

   private:
    value_type& sink_;  // set after the parser has made its reader
  };
};

// Beast asserts that it is given this much when it looks again at a chunk that was cut. The last
// chunk has no fewer, and with those that must follow it no other has.
inline constexpr std::size_t kChunkBytesMin = 5;

inline std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace keelson::http
