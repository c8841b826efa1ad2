// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/metadata_object.h"

#include <utility>

#include "msgr/awaiters.h"

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

SubOp assert_version(ObjectVersion version) {
  SubOp step;
  step.code = OpCode::kAssertVersion;
  step.version = version;
  return step;
}

}  // namespace

Task<Result<MetadataContent>> read_metadata(Client& client, ObjectId object, uint64_t io_id) {
  ObjectOp op = metadata_op(object, io_id);
  op.flags |= objecter::kOpIdempotent;
  SubOp read;
  read.code = OpCode::kRead;
  read.length = 0;  // all of it
  op.steps.push_back(read);

  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  MetadataContent content;
  content.version = reply.version;
  if (reply.error == OsdErrc::kNoSuchObject) co_return content;
  if (reply.error) co_return failure(reply.error);
  content.exists = true;
  content.text = as_text(reply.data);  // valid: we run inside the op's done
  co_return content;
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
    if (!content) co_return failure(metadata_error("read", object, content.error()));

    Outcome<MetadataEdit> wanted = edit(*content);
    if (!wanted) co_return failure(wanted.error());
    if (wanted->action == MetadataEdit::Action::kKeep) co_return Outcome<void>();
    std::optional<std::string> text;
    if (wanted->action == MetadataEdit::Action::kWrite) text = std::move(wanted->text);

    const ObjectVersion expected = content->version;
    const std::error_code error =
        co_await swap_metadata(client, object, expected, std::move(text), io_id);
    if (!error) co_return Outcome<void>();
    const bool must_look_again =
        error == OsdErrc::kVersionMismatch || error == OsdErrc::kUnknownOutcome;
    if (!must_look_again || round == kMaxUpdateRounds) {
      co_return failure(metadata_error("update", object, error));
    }
  }
}

Error metadata_error(const char* what, const ObjectId& object, std::error_code code) {
  return {code, std::string(what) + " of " + object.name + " failed: " + code.message()};
}

}  // namespace lunar::gateway
