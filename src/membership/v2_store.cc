// The v2 store's dump. etcd 3.7 only writes it; older ones take the membership from it.
// formats.md 2.2.

#include <functional>
#include <map>
#include <string>

#include "membership/cluster.h"
#include "membership/json.h"

namespace keelson::membership {

namespace {

// A file has a value, a directory children.
struct Node {
  std::string path;
  std::uint64_t index = 0;  // created and last modified, counted by the store
  std::string value;
  bool is_directory = true;
  std::map<std::string, Node> children;
};

class Tree {
 public:
  Tree() {
    root_.path = "/";
    directory({"0"});
    directory({"1"});
  }

  // Makes the file and the directories on its way; each file counts as one change.
  void file(const std::vector<std::string>& path, std::string value) {
    index_++;
    Node& node = directory(path);
    node.is_directory = false;
    node.value = std::move(value);
  }

  std::string dump() const {
    json::ObjectWriter out;
    out.raw("Root", dump(root_));
    out.number("CurrentIndex", index_);
    out.number("CurrentVersion", 2);
    return std::move(out).finish();
  }

 private:
  Node& directory(const std::vector<std::string>& path) {
    Node* node = &root_;
    for (const std::string& name : path) {
      const auto [it, is_new] = node->children.try_emplace(name);
      if (is_new) {
        it->second.path = (node == &root_ ? "/" : node->path + "/") + name;
        it->second.index = index_;
      }
      node = &it->second;
    }
    return *node;
  }

  static std::string dump(const Node& node) {
    json::ObjectWriter out;
    out.text("Path", node.path);
    out.number("CreatedIndex", node.index);
    out.number("ModifiedIndex", node.index);
    out.text("ExpireTime", "0001-01-01T00:00:00Z");  // Go's zero time: never
    out.text("Value", node.value);
    if (!node.is_directory) {
      out.raw("Children", "null");
      return std::move(out).finish();
    }
    json::ObjectWriter children;
    for (const auto& [name, child] : node.children) children.raw(name, dump(child));
    out.raw("Children", std::move(children).finish());
    return std::move(out).finish();
  }

  Node root_;
  std::uint64_t index_ = 0;
};

}  // namespace

std::string v2_store_json(const Roster& roster) {
  Tree tree;
  for (const Member& member : roster.members) {
    const std::string id = id_text(member.id);
    tree.file({"0", "members", id, "raftAttributes"}, raft_attributes_json(member));
    // Only after the member published itself: a name alone comes from the first conf changes.
    if (!member.client_urls.empty()) {
      tree.file({"0", "members", id, "attributes"}, attributes_json(member));
    }
  }
  for (const MemberId id : roster.removed) tree.file({"0", "removed_members", id_text(id)}, "");
  if (roster.version) tree.file({"0", "version"}, roster.version->text());
  return tree.dump();
}

}  // namespace keelson::membership
