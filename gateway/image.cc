// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "gateway/metadata/open_header.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

// What of the `length` bytes from `begin` on, in one object, has the state of the first of them.
Image::Allocation allocation_in(const objecter::ExtentMap& map, uint64_t begin, uint64_t length) {
  Image::Allocation out{length, false};
  for (const auto& [start, run] : map.extents) {
    if (start <= begin && begin < start + run) {
      out = {std::min(length, start + run - begin), true};
    } else if (start > begin && !out.is_allocated) {
      out.length = std::min(out.length, start - begin);
    }
  }
  return out;
}

}  // namespace

void Image::open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                 UniqueFunction<void(Outcome<std::shared_ptr<Image>>)> done) {
  OpenHeader::open(client, spec, options,
                   [&client, options,
                    done = std::move(done)](Outcome<std::shared_ptr<OpenHeader>> header) mutable {
                     if (!header) return done(failure(header.error()));
                     done(std::shared_ptr<Image>(new Image(std::move(*header), client, options)));
                   });
}

Image::Image(std::shared_ptr<OpenHeader> header, Client& client, const OpenOptions& options)
    : client_(client),
      header_(std::move(header)),
      id_(header_->header().id),
      pool_(header_->pool()),
      layout_(header_->header().layout),
      writes_(client.objecter().writes_of(id_)),
      options_(options) {
  header_->watch_ends([this](uint64_t end, UniqueFunction<void()> done) {
    ios_.when_none_beyond(end, std::move(done));
    client_.center().post([self = shared_from_this()] { self->ios_.notify(); });
  });
}

Image::~Image() {
  if (is_closing_) return;
  header_->stop();
  header_->strike({});
}

const ImageSpec& Image::spec() const noexcept { return header_->spec(); }
const Uuid& Image::uuid() const noexcept { return header_->header().uuid; }
uint64_t Image::size() const noexcept { return header_->size(); }

void Image::on_fenced() { header_->on_fenced(); }

void Image::close(UniqueFunction<void(Outcome<void>)> done) {
  LUNAR_CHECK(!is_closing_, "image closed twice");
  is_closing_ = true;
  header_->stop();
  ios_.when_none(
      [header = header_, done = std::move(done)]() mutable { header->strike(std::move(done)); });
  client_.center().post([self = shared_from_this()] { self->ios_.notify(); });
}

std::error_code Image::readiness() const noexcept {
  if (is_closing_) return make_error_code(OsdErrc::kShutdown);
  if (header_->is_fenced()) return make_error_code(OsdErrc::kFenced);
  return {};
}

std::error_code Image::refusal_of(const IoWork& work) const noexcept {
  if (const auto error = readiness()) return error;
  if (options_.read_only && work.changes()) return make_error_code(OsdErrc::kReadOnly);
  if (work.offset > size() || work.length > size() - work.offset) {
    return make_error_code(OsdErrc::kInvalid);
  }
  if (work.type == IoType::kCompareAndWrite) {
    const uint64_t in_unit = work.offset % layout_.stripe_unit;
    const bool fits = work.length <= layout_.stripe_unit - in_unit;
    if (!fits || work.second.size() != work.length) return make_error_code(OsdErrc::kInvalid);
  }
  if (work.type == IoType::kWriteSame) {
    const uint64_t pattern = work.data.size();
    const bool divides_all = pattern != 0 && StripeLayout::kMinStripeUnit % pattern == 0 &&
                             work.offset % pattern == 0 && work.length % pattern == 0;
    if (!divides_all) return make_error_code(OsdErrc::kInvalid);
  }
  return {};
}

void Image::read(uint64_t offset, Bytes into, const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::read(offset, into), options, std::move(done));
}

void Image::write(uint64_t offset, ConstBytes from, const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::write(offset, from), options, std::move(done));
}

void Image::discard(uint64_t offset, uint64_t length, const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::discard(offset, length), options, std::move(done));
}

void Image::write_zeroes(uint64_t offset, uint64_t length, const IoOptions& options,
                         ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::write_zeroes(offset, length), options, std::move(done));
}

void Image::write_same(uint64_t offset, uint64_t length, ConstBytes pattern,
                       const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::write_same(offset, length, pattern), options,
               std::move(done));
}

void Image::compare_and_write(uint64_t offset, ConstBytes compare, ConstBytes write,
                              const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::compare_and_write(offset, compare, write), options,
               std::move(done));
}

void Image::or_write(uint64_t offset, ConstBytes from, const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::or_write(offset, from), options, std::move(done));
}

void Image::on_loss_unheard() { client_.objecter().on_loss_unheard(id_); }

void Image::flush(const IoOptions& options, ImageIoDone done) {
  IoRun::start(shared_from_this(), IoWork::flush(), options, std::move(done));
}

void Image::write_back(const IoOptions& options, ImageIoDone done) {
  const auto self = shared_from_this();
  ios_.when_none_beyond(0, [self, options, done = std::move(done)]() mutable {
    self->flush(options, std::move(done));
  });
  client_.center().post([self] { self->ios_.notify(); });
}

void Image::allocation_at(uint64_t offset, uint64_t io_id,
                          UniqueFunction<void(Result<Allocation>)> done) {
  if (is_closing_ || offset >= size()) {
    const OsdErrc error = is_closing_ ? OsdErrc::kShutdown : OsdErrc::kInvalid;
    client_.center().post([done = std::move(done), error]() mutable { done(failure(error)); });
    return;
  }
  const ObjectExtent extent = ExtentCursor(layout_, offset, size() - offset).next();
  objecter::ObjectOp op;
  op.object = {pool_, data_object_name(id_, extent.object_no)};
  op.io_id = io_id;
  op.flags = objecter::kOpIdempotent;
  objecter::SubOp step;
  step.code = objecter::OpCode::kMapExtents;
  step.offset = extent.offset;
  step.length = extent.length;
  op.steps = {step};
  const auto query = queries_.insert(
      queries_.end(), {.io_id = io_id, .offset = extent.offset, .length = extent.length});
  query->tid =
      client_.objecter().submit(std::move(op), [self = shared_from_this(), done = std::move(done),
                                                query](const objecter::OpReply& reply) mutable {
        const AllocationQuery asked = *query;
        self->queries_.erase(query);
        if (reply.error == OsdErrc::kNoSuchObject) return done(Allocation{asked.length, false});
        if (reply.error) return done(failure(reply.error));
        ConstBytes data = reply.data;
        const auto map = objecter::decode_extent_map(data);
        if (!map) return done(failure(map.error()));
        done(allocation_in(*map, asked.offset, asked.length));
      });
}

void Image::cancel(uint64_t io_id) {
  ios_.cancel(io_id);
  for (AllocationQuery& query : queries_) {
    if (query.io_id != io_id || std::exchange(query.is_cancelled, true)) continue;
    client_.objecter().cancel(query.tid);
  }
}

void Image::watch_size(UniqueFunction<void(uint64_t)> on_resize) {
  header_->watch_size(std::move(on_resize));
}

}  // namespace lunar::gateway
