// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/data_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "gateway/scrub/findings.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::OsdId;
using objecter::SubOp;

constexpr std::size_t kReadsInFlight = 4;

// What a read has brought: its number in DataWalk, and how it ended.
struct CheckedRead {
  std::size_t object = 0;
  std::error_code error;
  uint64_t bytes = 0;
};

// Which object is read next, and what became of each.
class DataWalk {
 public:
  DataWalk(Client& client, const PoolSurvey& survey, const ScrubOptions& options)
      : client_(client), survey_(survey), io_id_(client.next_io_id()) {
    std::set<std::string> refused;
    for (const ServerFacts& server : survey.servers) {
      refused.insert(server.damaged.begin(), server.damaged.end());
    }
    for (const auto& [id, facts] : survey.images) {
      const auto header = decoded_header(survey, id);
      if (!header && image_name_in(survey, id).empty() && survey.knows_all_names()) continue;
      const uint64_t bytes = header ? header->layout.object_size : survey.pool.object_size;
      for (const uint64_t number : facts.data) {
        std::string name = data_object_name(id, number);
        const bool is_wanted = options.only_objects.empty() || options.only_objects.contains(name);
        if (!is_wanted || refused.contains(name)) continue;
        objects_.push_back({std::move(name), id, number, bytes});
      }
    }
    for (const auto& each : survey.unlisted) silent_[each.osd] = each.error;
  }

  std::size_t size() const noexcept { return objects_.size(); }
  std::size_t next_object() const noexcept { return next_; }

  // Asks for as much as may be in flight; false if nothing is.
  bool fill(msgr::Inbox<CheckedRead>& answers) {
    while (next_ < objects_.size() && in_flight_ < kReadsInFlight) {
      const ReadObject& object = objects_[next_];
      if (silent_.contains(survey_.osd_of(object.name)) || offset_ >= object.bytes) {
        ++next_;
        offset_ = 0;
        continue;
      }
      const uint64_t length = std::min(kScrubReadBytes, object.bytes - offset_);
      ++in_flight_;
      client_.objecter().submit(read_op(object.name, offset_, length),
                                [&answers, number = next_](const OpReply& reply) {
                                  answers.push({number, reply.error, reply.data.size()});
                                });
      offset_ += length;
    }
    return in_flight_ != 0;
  }

  void take(const CheckedRead& read, ScrubReport& report) {
    --in_flight_;
    report.bytes_read += read.bytes;
    if (!read.error || read.error == OsdErrc::kNoSuchObject) return;
    const ReadObject& object = objects_[read.object];
    const OsdId osd = survey_.osd_of(object.name);
    if (read.error != OsdErrc::kIoError && read.error != OsdErrc::kCorrupt) {
      if (silent_.emplace(osd, read.error).second) {
        report.unchecked.push_back("osd." + std::to_string(osd) +
                                   ": its data is not read: " + read.error.message());
      }
      return;
    }
    if (!damaged_.insert(read.object).second) return;
    report.findings.push_back({FindingKind::kDamaged, object.name,
                               "object " + std::to_string(object.number) + " of image '" +
                                   image_label(survey_, object.image) + "' (" + object.name +
                                   ") cannot be read whole on osd." + std::to_string(osd) + " (" +
                                   read.error.message() + "); the server's log says why",
                               "zero what cannot be read of it, in steps of 4 KiB", true});
  }

 private:
  struct ReadObject {
    std::string name;
    ImageId image = 0;
    uint64_t number = 0;
    uint64_t bytes = 0;  // how long it can be
  };

  ObjectOp read_op(const std::string& name, uint64_t offset, uint64_t length) const {
    ObjectOp op;
    op.object = {survey_.pool.id, name};
    op.io_id = io_id_;
    op.flags = objecter::kOpIdempotent;
    SubOp step;
    step.code = OpCode::kSparseRead;
    step.flags = objecter::kFadviseDontNeed;
    step.offset = offset;
    step.length = length;
    op.steps = {step};
    return op;
  }

  Client& client_;
  const PoolSurvey& survey_;
  const uint64_t io_id_;
  std::vector<ReadObject> objects_;
  std::map<OsdId, std::error_code> silent_;  // whose objects are passed over
  std::set<std::size_t> damaged_;            // told already
  std::size_t next_ = 0;
  uint64_t offset_ = 0;  // in the next object
  std::size_t in_flight_ = 0;
};

}  // namespace

Task<bool> check_data(Client& client, PoolSurvey& survey, ScrubOptions options,
                      OnProgress on_progress, ScrubReport& report) {
  DataWalk walk(client, survey, options);
  msgr::Inbox<CheckedRead> answers;  // this frame outlives every op: it takes all answers
  while (walk.fill(answers)) {
    const Result<CheckedRead> read = co_await answers.next();
    walk.take(*read, report);
    if (on_progress) on_progress(walk.next_object(), walk.size());
  }
  co_return true;
}

}  // namespace lunar::gateway
