// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/loss_table.h"

#include <algorithm>
#include <utility>

#include "common/random.h"

namespace lunar::osd {
namespace {

constexpr uint16_t kLossesVersion = 2;
constexpr uint16_t kLossesVersionTooMany = 3;     // the same; there were too many damaged objects
constexpr uint16_t kLossesVersionWithoutIds = 1;  // an image's loss had no number of its own

// As it is in the record.
std::string name_of(const ClientName& client) {
  return client.to_string().substr(0, LossTable::kMaxClientBytes);
}

bool has_heard(const LossTable::ImageLoss& loss, const std::string& client) {
  return std::find(loss.told.begin(), loss.told.end(), client) != loss.told.end();
}

}  // namespace

LossTable::LossTable(ServerRecords& records)
    : writer_(records, kRecord, [this] { return encode(); }) {}

std::vector<std::byte> LossTable::encode() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(has_too_many_damaged_ ? kLossesVersionTooMany : kLossesVersion);
  writer.put(verifier_);
  writer.put(static_cast<uint32_t>(losses_.size()));
  for (const auto& [image, loss] : losses_) {
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

bool LossTable::decode(ConstBytes record) {
  ByteReader reader(record);
  const auto version = reader.get<uint16_t>();
  if (version < kLossesVersionWithoutIds || version > kLossesVersionTooMany) return false;
  has_too_many_damaged_ = version == kLossesVersionTooMany;
  verifier_ = reader.get<uint64_t>();
  const auto images = reader.get<uint32_t>();
  if (!reader.can_hold(images, 12)) return false;
  for (uint32_t i = 0; i < images && reader.ok(); ++i) {
    ImageLoss& loss = losses_[reader.get<ImageId>()];
    loss.id = version == kLossesVersionWithoutIds ? verifier_ : reader.get<uint64_t>();
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

void LossTable::lose(const std::vector<ImageId>& images) {
  verifier_ = random_u64() | 1;
  for (const ImageId image : images) losses_[image] = {verifier_, {}};
}

bool LossTable::add_heard(ImageId image, const ClientName& client, uint64_t heard) {
  const auto lost = losses_.find(image);
  if (lost == losses_.end() || heard != lost->second.id) return false;
  std::string name = name_of(client);
  if (has_heard(lost->second, name)) return false;
  lost->second.told.push_back(std::move(name));
  if (lost->second.told.size() > kMaxToldClients) lost->second.told.pop_front();
  return true;
}

uint64_t LossTable::unheard_by(ImageId image, const ClientName& client) const {
  const auto lost = losses_.find(image);
  if (lost == losses_.end() || has_heard(lost->second, name_of(client))) return 0;
  return lost->second.id;
}

void LossTable::add_damaged(const ObjectId& object) {
  if (damaged_.contains(object)) return;
  if (damaged_.size() < kMaxDamaged)
    damaged_.insert(object);
  else
    has_too_many_damaged_ = true;
}

void LossTable::repaired(const ObjectId& object, StoreDone done) {
  damaged_.erase(object);
  const auto settle = [this, object](std::error_code error) {
    if (error) damaged_.insert(object);  // as the record has it
  };
  writer_.save(settle, std::move(done));
}

}  // namespace lunar::osd
