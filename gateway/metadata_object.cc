// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata_object.h"

#include <memory>
#include <optional>
#include <utility>

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::SubOp;

constexpr int kMaxUpdateRounds = 64;

// A callback does not fit inside another's 64 bytes; here, off the path of an IO, one allocation
// is fine.
template <typename F>
std::unique_ptr<F> box(F function) {
  return std::make_unique<F>(std::move(function));
}

ObjectOp metadata_op(const objecter::ObjectId& object, uint64_t io_id) {
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

// One update_metadata() call; owns itself through the callbacks.
struct Update : std::enable_shared_from_this<Update> {
  Client& client;
  objecter::ObjectId object;
  InlineFunction<Outcome<MetadataEdit>(const MetadataContent&)> edit;
  InlineFunction<void(Outcome<void>)> done;
  uint64_t io_id;
  int rounds = 0;

  Update(Client& c, objecter::ObjectId o,
         InlineFunction<Outcome<MetadataEdit>(const MetadataContent&)> e,
         InlineFunction<void(Outcome<void>)> d)
      : client(c),
        object(std::move(o)),
        edit(std::move(e)),
        done(std::move(d)),
        io_id(c.next_io_id()) {}

  void round() {
    ++rounds;
    read_metadata(client, object, io_id, [self = shared_from_this()](Result<MetadataContent> got) {
      if (!got) return self->finish("read", got.error());
      self->apply(*got);
    });
  }

  void apply(const MetadataContent& content) {
    auto wanted = edit(content);
    if (!wanted) return done(failure(wanted.error()));
    if (wanted->action == MetadataEdit::Action::kKeep) return done({});
    std::optional<std::string> text;
    if (wanted->action == MetadataEdit::Action::kWrite) text = std::move(wanted->text);
    swap_metadata(client, object, content.version, std::move(text), io_id,
                  [self = shared_from_this()](std::error_code error) { self->swapped(error); });
  }

  void swapped(std::error_code error) {
    const bool look_again = error == OsdErrc::kVersionMismatch || error == OsdErrc::kUnknownOutcome;
    if (look_again && rounds < kMaxUpdateRounds) return round();
    finish("update", error);
  }

  void finish(const char* what, std::error_code error) {
    if (error) return done(failure(metadata_error(what, object, error)));
    done({});
  }
};

}  // namespace

void read_metadata(Client& client, const objecter::ObjectId& object, uint64_t io_id,
                   InlineFunction<void(Result<MetadataContent>)> done) {
  ObjectOp op = metadata_op(object, io_id);
  op.flags |= objecter::kOpIdempotent;
  SubOp read;
  read.code = OpCode::kRead;
  read.length = 0;  // all of it
  op.steps = {read};
  client.objecter().submit(std::move(op), [boxed = box(std::move(done))](OpReply reply) {
    auto& done = *boxed;
    MetadataContent content;
    content.version = reply.version;
    if (reply.error == OsdErrc::kNoSuchObject) return done(std::move(content));
    if (reply.error) return done(failure(reply.error));
    content.exists = true;
    content.text = as_text(reply.data);
    done(std::move(content));
  });
}

void swap_metadata(Client& client, const objecter::ObjectId& object, ObjectVersion expected,
                   std::optional<std::string> text, uint64_t io_id,
                   InlineFunction<void(std::error_code)> done) {
  struct Swap {
    std::string text;  // borrowed by the op until done
    InlineFunction<void(std::error_code)> done;
  };
  auto swap = std::make_unique<Swap>();
  swap->done = std::move(done);
  ObjectOp op = metadata_op(object, io_id);
  SubOp change;
  change.code = OpCode::kDelete;
  if (text) {
    swap->text = std::move(*text);
    change.code = OpCode::kWriteFull;
    change.length = swap->text.size();
    change.data_length = static_cast<uint32_t>(swap->text.size());
    op.data.push_back(as_const_bytes(swap->text));
  }
  op.steps = {assert_version(expected), change};
  client.objecter().submit(std::move(op),
                           [swap = std::move(swap)](OpReply reply) { swap->done(reply.error); });
}

void check_metadata_version(Client& client, const objecter::ObjectId& object, ObjectVersion version,
                            uint64_t io_id, InlineFunction<void(Result<bool>)> done) {
  ObjectOp op = metadata_op(object, io_id);
  op.flags |= objecter::kOpIdempotent;
  op.steps = {assert_version(version)};
  client.objecter().submit(std::move(op), [boxed = box(std::move(done))](OpReply reply) {
    auto& done = *boxed;
    if (reply.error == OsdErrc::kVersionMismatch) return done(true);
    if (reply.error) return done(failure(reply.error));
    done(false);
  });
}

void update_metadata(Client& client, const objecter::ObjectId& object,
                     InlineFunction<Outcome<MetadataEdit>(const MetadataContent&)> edit,
                     InlineFunction<void(Outcome<void>)> done) {
  std::make_shared<Update>(client, object, std::move(edit), std::move(done))->round();
}

Error metadata_error(const char* what, const objecter::ObjectId& object, std::error_code code) {
  return {code, std::string(what) + " of " + object.name + " failed: " + code.message()};
}

}  // namespace lunar::gateway
