// Spares: files of the log made ready before they are needed, so that going on to a new file costs
// a rename.
//
// A spare is a locked file `N.tmp` of zeros, written out and synced: an fdatasync of a write into
// blocks that are already written need not touch the file's metadata. Making one takes long (64
// MB), so it is done in steps by a lane that may block, at its own pace; only finished spares meet
// the Wal.
//
//   Wal::next_spare() -> SpareMaker::begin -> step ... step -> finish() -> Wal::add_spare
//
// It is written around the page cache: 64 MB of zeros that nobody reads would push out as much that
// somebody does.
//
// A spare is a convenience until the disk is full: one that would leave less than a sixteenth of
// the volume free (or than its own size) is not made. Otherwise it would eat, step by step, what
// the store gives up of its reserve to tell that there is no more space.
//
// A maker or spare that is dropped leaves its file behind; opening the log removes such files.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "env/file.h"
#include "wal/error.h"

namespace keelson::wal {

struct SpareRequest {
  std::string path;
  std::uint64_t bytes = 0;
  bool leaves_room = true;  // is not made where it would leave others too little
  bool unsafe_no_fsync = false;
};

struct Spare {
  std::string path;
  std::unique_ptr<env::File> file;  // locked
};

// One lane at a time; may be handed over between steps.
class SpareMaker {
 public:
  // Makes and locks the file. A full disk is an ordinary error here: nothing durable is in doubt,
  // try again later.
  static Result<SpareMaker> begin(env::FileSystem& files, SpareRequest request);
  // Writes some zeros and waits until they are out, so that the syncs of the log do not queue
  // behind them. True when all is written and synced. After an error the file is gone.
  Result<bool> step();
  // Needs: step() answered true.
  Spare finish();

 private:
  SpareMaker(env::FileSystem& files, SpareRequest request, std::unique_ptr<env::File> file)
      : files_(&files), request_(std::move(request)), file_(std::move(file)) {}
  Result<> check_room() const;
  Result<bool> write_step();

  env::FileSystem* files_;
  SpareRequest request_;
  std::unique_ptr<env::File> file_;
  std::uint64_t written_ = 0;
  bool done_ = false;
};

// All steps at once.
Result<Spare> make_spare(env::FileSystem& files, SpareRequest request);

}  // namespace keelson::wal
