// SPDX-License-Identifier: LGPL-2.1-or-later
#include <nlohmann/json.hpp>

#include "common/bytes.h"
#include "osd/records/unflushed_ledger.h"

// The ledger's two durable records. `unflushed` changes with the first write after a flush and with
// that flush; `losses` holds what hardly ever changes, and the verifier, so that both change in one
// atomic write.

namespace lunar::osd {
namespace {
constexpr uint16_t kMarksVersion = 1;
constexpr uint16_t kLossesVersion = 2;
constexpr uint16_t kLossesWithoutIds = 1;  // an image's loss had no number of its own
}  // namespace

Outcome<void> UnflushedLedger::read_records() {
  const auto read = [this](const char* key, auto decode) -> Outcome<void> {
    const auto record = records_.get_record(key);
    if (!record) return {};  // none yet
    if ((this->*decode)(*record)) return {};
    return failure(OsdErrc::kCorrupt,
                   std::string("record ") + key +
                       " of the store is damaged, or of another version of lunar-osd; it says "
                       "which images may have lost writes, so the server does not start");
  };
  auto marks = read("unflushed", &UnflushedLedger::decode_marks);
  if (!marks) return marks;
  return read("losses", &UnflushedLedger::decode_losses);
}

std::vector<std::byte> UnflushedLedger::encode_marks() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kMarksVersion);
  writer.put(static_cast<uint32_t>(marked_images()));
  for (const auto& [image, entry] : images_) {
    if (!entry.is_marked) continue;
    writer.put(image);
    writer.put(incarnation_);
  }
  return out;
}

bool UnflushedLedger::decode_marks(ConstBytes record) {
  ByteReader reader(record);
  if (reader.get<uint16_t>() != kMarksVersion) return false;
  const auto count = reader.get<uint32_t>();
  if (!reader.can_hold(count, 16)) return false;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    ImageMark& entry = images_[reader.get<ImageId>()];
    reader.get<uint64_t>();  // the incarnation that marked it; for people who read the record
    entry.is_marked = entry.is_durable = true;
  }
  return reader.is_finished();
}

std::vector<std::byte> UnflushedLedger::encode_losses() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kLossesVersion);
  writer.put(verifier_);
  writer.put(static_cast<uint32_t>(lost_.size()));
  for (const auto& [image, loss] : lost_) {
    writer.put(image);
    writer.put(loss.id);
    writer.put(static_cast<uint32_t>(loss.told.size()));
    for (const std::string& client : loss.told) writer.put_string(client);
  }
  writer.put(static_cast<uint32_t>(damaged_.size()));
  for (const ObjectId& id : damaged_) {
    writer.put(id.pool);
    writer.put_string(id.name);
  }
  return out;
}

bool UnflushedLedger::decode_losses(ConstBytes record) {
  ByteReader reader(record);
  const auto version = reader.get<uint16_t>();
  if (version != kLossesVersion && version != kLossesWithoutIds) return false;
  verifier_ = reader.get<uint64_t>();
  const auto images = reader.get<uint32_t>();
  if (!reader.can_hold(images, 12)) return false;
  for (uint32_t i = 0; i < images && reader.ok(); ++i) {
    ImageLoss& loss = lost_[reader.get<ImageId>()];
    loss.id = version == kLossesWithoutIds ? verifier_ : reader.get<uint64_t>();
    const auto clients = reader.get<uint32_t>();
    if (!reader.can_hold(clients, 4)) return false;
    for (uint32_t c = 0; c < clients && reader.ok(); ++c)
      loss.told.push_back(reader.get_string(kMaxClientBytes));
  }
  const auto damaged = reader.get<uint32_t>();
  if (!reader.can_hold(damaged, 12)) return false;
  for (uint32_t i = 0; i < damaged && reader.ok(); ++i) {
    ObjectId id;
    id.pool = reader.get<objecter::PoolId>();
    id.name = reader.get_string(ObjectId::kMaxNameBytes);
    damaged_.insert(std::move(id));
  }
  return reader.is_finished();
}

std::string UnflushedLedger::to_json() const {
  using Json = nlohmann::ordered_json;
  Json out;
  out["verifier"] = verifier_;
  out["records_failed"] = is_unrecorded_;
  out["unflushed_images"] = Json::array();
  for (const auto& [image, entry] : images_)
    if (entry.is_marked) out["unflushed_images"].push_back(image);
  out["lost_writes"] = Json::array();
  for (const auto& [image, loss] : lost_)
    out["lost_writes"].push_back({{"image", image}, {"loss", loss.id}, {"told", loss.told}});
  out["damaged_objects"] = Json::array();
  for (const ObjectId& id : damaged_)
    out["damaged_objects"].push_back({{"pool", id.pool}, {"object", id.name}});
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
