// Output: where a command writes. Gathered and written out in whole pieces, so that lines of the
// same moment leave together. From any thread: a client's lane prints what comes.
#pragma once

#include <cstdio>
#include <mutex>
#include <string>
#include <string_view>

namespace keelson::cmd::ctl {

class Output {
 public:
  virtual ~Output() = default;
  // To stdout, kept until flush().
  void print(std::string_view text) {
    const std::scoped_lock lock(mutex_);
    pending_ += text;
  }
  void print_line(std::string_view text) {
    const std::scoped_lock lock(mutex_);
    pending_ += text;
    pending_ += '\n';
  }
  void flush() {
    const std::scoped_lock lock(mutex_);
    write_pending();
  }
  // To stderr, at once; what was printed before leaves first.
  void complain(std::string_view text) {
    const std::scoped_lock lock(mutex_);
    write_pending();
    write_error(text);
  }

 protected:
  virtual void write_out(std::string_view text) = 0;
  virtual void write_error(std::string_view text) = 0;

 private:
  void write_pending() {
    if (!pending_.empty()) write_out(pending_);
    pending_.clear();
  }

  std::mutex mutex_;
  std::string pending_;
};

class StandardOutput final : public Output {
 public:
  ~StandardOutput() override { flush(); }

 protected:
  void write_out(std::string_view text) override {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  void write_error(std::string_view text) override {
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
};

}  // namespace keelson::cmd::ctl
