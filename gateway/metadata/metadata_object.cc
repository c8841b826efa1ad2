// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/metadata_object.h"

#include <utility>

#include "msgr/awaiters.h"
#include "objecter/protocol/placement.h"
#include "objecter/protocol/steps.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::ObjectOp;
using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::SubOp;

constexpr int kMaxUpdateRounds = 64;

ObjectOp metadata_op(const ObjectId& object, uint64_t io_id) {
  ObjectOp op;
  op.object = object;
  op.io_id = io_id;
  op.flags = objecter::kOpMetadata;
  return op;
}

ObjectOp read_op(const ObjectId& object, uint64_t io_id) {
  ObjectOp op = metadata_op(object, io_id);
  op.flags |= objecter::kOpIdempotent;
  SubOp read;
  read.code = OpCode::kRead;
  read.length = 0;  // all of it
  op.steps.push_back(read);
  return op;
}

Result<MetadataContent> content_of(const OpReply& reply) {
  MetadataContent content;
  content.version = reply.version;
  if (reply.error == OsdErrc::kNoSuchObject) return content;
  if (reply.error) return failure(reply.error);
  content.exists = true;
  content.text = as_text(reply.data);
  return content;
}

}  // namespace

Task<Result<MetadataContent>> read_metadata(Client& client, ObjectId object, uint64_t io_id) {
  ObjectOp op = read_op(object, io_id);
  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  co_return content_of(reply);  // its data is valid: we run inside the op's done
}

void read_metadata_later(Client& client, ObjectId object,
                         UniqueFunction<void(Result<MetadataContent>)> done) {
  client.objecter().submit(
      read_op(object, client.next_io_id()),
      [done = std::move(done)](const OpReply& reply) mutable { done(content_of(reply)); });
}

Task<std::error_code> swap_metadata(Client& client, ObjectId object, ObjectVersion expected,
                                    std::optional<std::string> text, uint64_t io_id) {
  ObjectOp op = metadata_op(object, io_id);
  SubOp change;
  change.code = OpCode::kDelete;
  if (text) {
    change.code = OpCode::kWriteFull;
    change.length = text->size();
    change.data_length = static_cast<uint32_t>(text->size());
    op.data.push_back(as_const_bytes(*text));  // borrowed until done: this frame holds it
  }
  op.steps.push_back(assert_version(expected));
  op.steps.push_back(change);

  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  co_return reply.error;
}

bool must_look_again(std::error_code swapped) noexcept {
  return swapped == OsdErrc::kVersionMismatch || swapped == OsdErrc::kUnknownOutcome;
}

bool is_illegible(std::error_code read) noexcept {
  return read == OsdErrc::kCorrupt || read == OsdErrc::kIncompatible;
}

Error changes_too_often(const std::string& what) {
  return {make_error_code(OsdErrc::kBusy), what + " changes all the time: repeat the command"};
}

Task<Result<bool>> has_metadata_changed(Client& client, ObjectId object, ObjectVersion version,
                                        uint64_t io_id) {
  ObjectOp op = metadata_op(object, io_id);
  op.flags |= objecter::kOpIdempotent;
  op.steps.push_back(assert_version(version));

  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  if (reply.error == OsdErrc::kVersionMismatch) co_return true;
  if (reply.error) co_return failure(reply.error);
  co_return false;
}

Task<Outcome<void>> update_metadata(Client& client, ObjectId object, MetadataEditor edit) {
  const uint64_t io_id = client.next_io_id();
  for (int round = 1;; ++round) {
    const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
    if (!content) co_return failure(metadata_error(client, "read", object, content.error()));

    Outcome<MetadataEdit> wanted = edit(*content);
    if (!wanted) co_return failure(wanted.error());
    if (wanted->action == MetadataEdit::Action::kKeep) co_return Outcome<void>();
    std::optional<std::string> text;
    if (wanted->action == MetadataEdit::Action::kWrite) text = std::move(wanted->text);

    const ObjectVersion expected = content->version;
    const std::error_code error =
        co_await swap_metadata(client, object, expected, std::move(text), io_id);
    if (!error) co_return Outcome<void>();
    if (!must_look_again(error) || round == kMaxUpdateRounds) {
      co_return failure(metadata_error(client, "update", object, error));
    }
  }
}

ObjectServer server_of(const Client& client, const ObjectId& object) {
  const auto map = client.objecter().map();
  const objecter::PoolInfo* pool = map ? map->find_pool(object.pool) : nullptr;
  if (pool == nullptr) return {};
  const objecter::OsdId id =
      objecter::osd_of_pg(*map, *pool, objecter::pg_of_object(*pool, object.name));
  const auto* osd = map->find_osd(id);
  return {id, osd != nullptr && osd->up};
}

Error metadata_error(const Client& client, const char* what, const ObjectId& object,
                     std::error_code code) {
  std::string text = std::string(what) + " of " + object.name + " failed: " + code.message();
  const ObjectServer server = server_of(client, object);
  const bool is_silent = code == OsdErrc::kTimedOut || code == OsdErrc::kUnreachable;
  if (!is_silent || server.osd < 0) return {code, text};
  text += "; osd." + std::to_string(server.osd) + ", which has it, ";
  text += server.is_up ? "does not answer" : "is down: start it";
  return {code, text};
}

}  // namespace lunar::gateway
