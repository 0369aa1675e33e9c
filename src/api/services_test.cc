// Runs testdata/services/*.txt: calls of a client to a whole member on a simulated host.
//
//   start [quota=N] [request_bytes=N] [txn_ops=N] [no_fast_renew] [progress=SECONDS]
//                                                 another member, new
//   call SERVICE/METHOD [name=value metadata]     the request in protobuf's text form as input
//   raw SERVICE/METHOD                            the request as hexadecimal bytes
//   open SERVICE/METHOD [name=value]   send   half-close   cancel   hear        a stream
//   wait SECONDS
//   lag N                     entries committed and not applied, as the front sees it
//   leader lost | found                           what the member knows of its leader
//
// An answer is OK and the message, or the status. Ids of member and cluster are always the same and
// left out; sizes of files and the hash over all buckets are N.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <regex>

#include "api/one_member_test.h"
#include "proto/health.pb.h"
#include "proto/rpc.pb.h"
#include "testing/script.h"

namespace keelson::api {
namespace {

using google::protobuf::Message;

// The message types of a method, by etcd's rule of names and its exceptions.
struct Types {
  std::string request, response;
};
Types types_of(const std::string& path) {
  const auto slash = path.rfind('/');
  std::string package = path.substr(0, path.find('.', 0) + 1), method = path.substr(slash + 1);
  if (path.starts_with("grpc.health.v1.")) {
    const std::string name = "grpc.health.v1.Health" + (method == "List" ? method : "Check");
    return {name + "Request", name + "Response"};
  }
  if (method == "Compact")
    return {"etcdserverpb.CompactionRequest", "etcdserverpb.CompactionResponse"};
  if (method == "RangeStream")
    return {"etcdserverpb.RangeRequest", "etcdserverpb.RangeStreamResponse"};
  return {package + method + "Request", package + method + "Response"};
}

std::unique_ptr<Message> make(const std::string& type) {
  const auto* descriptor =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(type);
  if (descriptor == nullptr) return nullptr;
  auto* factory = google::protobuf::MessageFactory::generated_factory();
  return std::unique_ptr<Message>(factory->GetPrototype(descriptor)->New());
}

std::string show(const Message& message) {
  std::string text;
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  printer.PrintToString(message, &text);
  while (text.ends_with(' ')) text.pop_back();
  static const std::regex kIds("(cluster_id|member_id): [0-9]+ ");
  static const std::regex kSizes("(dbSize|dbSizeInUse): [0-9]+");
  return std::regex_replace(std::regex_replace(text, kIds, ""), kSizes, "$1: N");
}

class Script {
 public:
  std::string run(const testing::Directive& d) {
    if (d.command == "start") return start(d);
    if (!member_) start(d);
    if (d.command == "call") return call(d, encode(d));
    if (d.command == "raw") return call(d, unhex(d.input));
    if (d.command == "open") return open(d);
    if (d.command == "send") return send(encode(path_, d.input));
    if (d.command == "half-close") return half_close();
    if (d.command == "cancel") return cancel();
    if (d.command == "hear") return hear();
    if (d.command == "lag") return lag(std::stoull(d.bare(0)));
    if (d.command == "wait") return wait(std::stoll(d.bare(0)));
    if (d.command == "leader") return leader(d.bare(0) == "found");
    return "no such command: " + d.command + "\n";
  }

 private:
  std::string start(const testing::Directive& d) {
    stream_.reset();
    member_.reset();
    member_ = std::make_unique<OneMember>([&](member::Config& config) {
      config.quota_bytes = d.number("quota");
      config.request_bytes_max = static_cast<std::size_t>(d.number("request_bytes", 1'572'864));
      config.txn_operations_max = static_cast<std::size_t>(d.number("txn_ops", 128));
      config.fast_lease_keep_alive = !d.has("no_fast_renew");
      config.watch_progress_interval = base::Seconds(d.number("progress", 600));
    });
    return "ok\n";
  }

  static std::string unhex(const std::string& text) {
    std::string out;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
      out.push_back(static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16)));
    }
    return out;
  }
  static std::string encode(const std::string& path, const std::string& text) {
    const auto request = make(types_of(path).request);
    if (!request) return "";
    // "key: <1000 x>" stands for a thousand of them.
    static const std::regex kMany("<([0-9]+) (.)>");
    std::string input = text;
    for (std::smatch found; std::regex_search(input, found, kMany);) {
      const std::string many(std::stoul(found[1]), found[2].str()[0]);
      input = found.prefix().str() + '"' + many + '"' + found.suffix().str();
    }
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(input, request.get())) << text;
    return request->SerializeAsString();
  }
  static std::string encode(const testing::Directive& d) { return encode(d.bare(0), d.input); }
  static std::vector<std::pair<std::string, std::string>> metadata(const testing::Directive& d) {
    std::vector<std::pair<std::string, std::string>> fields;
    for (const auto& argument : d.arguments) {
      if (argument.values.empty()) continue;
      const std::string& value = argument.values.front();
      fields.emplace_back(argument.key, value == "\\xff" ? "\xff" : value);
    }
    return fields;
  }
  static std::string show_status(const http::Status& status) {
    return fmt::format("{} {}\n", http::status_code_name(status.code), status.message);
  }
  std::string show_message(const std::string& path, const std::string& bytes) {
    const auto response = make(types_of(path).response);
    if (!response || !response->ParseFromString(bytes)) return "unreadable\n";
    std::string text = show(*response);
    if (path.ends_with("/Hash"))
      text = std::regex_replace(text, std::regex("hash: [0-9]+"), "hash: N");
    return text.empty() ? "empty message\n" : text + "\n";
  }

  std::string call(const testing::Directive& d, const std::string& request) {
    const std::string path = d.bare(0);
    const auto answer = member_->call("/" + path, request, metadata(d));
    if (!answer.status.ok()) return show_status(answer.status);
    return show_message(path, answer.message);
  }

  std::string open(const testing::Directive& d) {
    path_ = d.bare(0);
    stream_ = member_->open("/" + path_, metadata(d));
    return "ok\n";
  }
  std::string send(const std::string& message) {
    member_->on_client([&] { stream_->call->send(message); });
    return hear();
  }
  std::string half_close() {
    member_->on_client([&] { stream_->call->half_close(); });
    return hear();
  }
  std::string cancel() {
    member_->on_client([&] { stream_->call.reset(); });
    return wait(1);
  }
  // What came on the stream meanwhile.
  std::string hear() {
    member_->world().run_for(base::Milliseconds(20));
    std::string out;
    for (const std::string& message : std::exchange(stream_->messages, {})) {
      out += show_message(path_, message);
    }
    if (auto end = std::exchange(stream_->end, std::nullopt)) out += "end: " + show_status(*end);
    return out.empty() ? "nothing\n" : out;
  }
  std::string leader(bool known) {
    auto& shared = member_->member().shared();
    shared.progress.leader = known ? shared.identity.member_id : raft::kNone;
    return "ok\n";
  }
  std::string wait(std::int64_t seconds) {
    member_->world().run_for(base::Seconds(seconds));
    return "ok\n";
  }

  std::string lag(raft::Index entries) {
    auto& progress = member_->member().shared().progress;
    progress.committed = progress.applied + entries;
    return "ok\n";
  }

  std::unique_ptr<OneMember> member_;
  std::string path_;  // of the open stream
  std::unique_ptr<OneMember::Stream> stream_;
};

TEST(Services, Scripts) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/testdata/services", [] {
    return [script = std::make_shared<Script>()](const testing::Directive& d) {
      return script->run(d);
    };
  });
}

}  // namespace
}  // namespace keelson::api
