// packet_delay QUEUE MILLISECONDS
//
// Holds each packet of an NFQUEUE for so long, then lets it pass, in the order they came: a longer
// wire. It prints "ready" once packets may be sent its way, and ends when its standard input does,
// so with whoever started it; what it holds then is dropped by the kernel.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

extern "C" {
#include <libnetfilter_queue/libnetfilter_queue.h>
}

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iostream>

namespace {

using Clock = std::chrono::steady_clock;

// More is dropped by the kernel, as a full router would.
constexpr std::uint32_t kPacketsMax = 20'000;

struct Held {
  std::uint32_t id;
  Clock::time_point due;
};

struct Wire {
  std::chrono::milliseconds delay;
  std::deque<Held> held;
};

int take(nfq_q_handle* /*queue*/, nfgenmsg* /*message*/, nfq_data* packet, void* data) {
  auto& wire = *static_cast<Wire*>(data);
  const nfqnl_msg_packet_hdr* header = nfq_get_msg_packet_hdr(packet);
  if (header == nullptr) return 0;
  wire.held.push_back({ntohl(header->packet_id), Clock::now() + wire.delay});
  return 0;
}

// Milliseconds until the first is due; -1: none is held.
int until_due(const Wire& wire) {
  if (wire.held.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(wire.held.front().due - Clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

void let_pass(Wire& wire, nfq_q_handle* queue) {
  while (!wire.held.empty() && wire.held.front().due <= Clock::now()) {
    nfq_set_verdict(queue, wire.held.front().id, NF_ACCEPT, 0, nullptr);
    wire.held.pop_front();
  }
}

int fail(const char* what) {
  std::cerr << "packet_delay: " << what << ": errno " << errno << '\n';
  return 1;
}

int run(std::uint16_t number, std::chrono::milliseconds delay) {
  Wire wire{.delay = delay, .held = {}};
  nfq_handle* handle = nfq_open();
  if (handle == nullptr) return fail("nfq_open");
  nfq_q_handle* queue = nfq_create_queue(handle, number, &take, &wire);
  if (queue == nullptr) return fail("nfq_create_queue");
  if (nfq_set_mode(queue, NFQNL_COPY_META, 0) < 0) return fail("nfq_set_mode");
  if (nfq_set_queue_maxlen(queue, kPacketsMax) < 0) return fail("nfq_set_queue_maxlen");
  std::cout << "ready" << std::endl;

  std::array<pollfd, 2> sources{pollfd{nfq_fd(handle), POLLIN, 0}, pollfd{STDIN_FILENO, POLLIN, 0}};
  std::array<char, 65536> bytes{};
  while (true) {
    if (poll(sources.data(), sources.size(), until_due(wire)) < 0 && errno != EINTR)
      return fail("poll");
    if (sources[1].revents != 0) return 0;
    if ((sources[0].revents & POLLIN) != 0) {
      const auto n = recv(sources[0].fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (n > 0) nfq_handle_packet(handle, bytes.data(), static_cast<int>(n));
      // ENOBUFS: packets came faster than they were read; they are lost, as on a wire.
      if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) return fail("recv");
    }
    let_pass(wire, queue);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: packet_delay QUEUE MILLISECONDS\n";
    return 2;
  }
  return run(static_cast<std::uint16_t>(std::atoi(argv[1])),
             std::chrono::milliseconds(std::atoi(argv[2])));
}
