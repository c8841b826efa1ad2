// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "gateway/metadata_object.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

bool changes_image(IoType type) noexcept { return type != IoType::kRead && type != IoType::kFlush; }

IoWork work_on(IoType type, uint64_t offset, uint64_t length) {
  IoWork work;
  work.type = type;
  work.offset = offset;
  work.length = length;
  return work;
}

}  // namespace

void Image::open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                 InlineFunction<void(Outcome<std::shared_ptr<Image>>)> done) {
  struct Open {
    Client& client;
    ImageSpec spec;
    OpenOptions options;
    InlineFunction<void(Outcome<std::shared_ptr<Image>>)> done;

    void finish(VersionedHeader found) {
      const auto pool = client.find_pool(spec.pool);
      if (!pool) return done(failure(pool.error()));
      std::shared_ptr<Image> image(new Image(client, spec, pool->id, std::move(found), options));
      image->schedule_poll();
      done(std::move(image));
    }
  };
  auto state = std::make_shared<Open>(Open{client, spec, options, std::move(done)});
  const auto reread = [state] {
    find_image(state->client, state->spec, [state](Outcome<VersionedHeader> found) {
      if (!found) return state->done(failure(found.error()));
      state->finish(std::move(*found));
    });
  };
  find_image(client, spec, [state, reread](Outcome<VersionedHeader> found) {
    if (!found) return state->done(failure(found.error()));
    if (found->header.state == ImageState::kRemoving) {
      return state->done(failure(OsdErrc::kBusy, "image '" + state->spec.to_string() +
                                                     "' is being removed: finish with 'lunar rm'"));
    }
    if (state->options.read_only) return state->finish(std::move(*found));
    const auto pool = state->client.find_pool(state->spec.pool);
    if (!pool) return state->done(failure(pool.error()));
    update_header(
        state->client, pool->id, found->header.id,
        [state](ImageHeader& header) -> Outcome<void> {
          const Client& client = state->client;
          if (auto* mine = header.find_registration(client.entity(), client.instance())) {
            mine->nonce = client.nonce();
            return {};
          }
          if (header.registrations.size() >= ImageHeader::kMaxRegistrations) {
            return failure(OsdErrc::kBusy, "image '" + header.name +
                                               "' has 64 registrations already: strike dead ones "
                                               "with 'lunar unregister'");
          }
          header.registrations.push_back({client.entity(), client.instance(), client.nonce()});
          return {};
        },
        [state, reread](Outcome<void> result) {
          if (!result) return state->done(failure(result.error()));
          reread();
        });
  });
}

Image::Image(Client& client, ImageSpec spec, objecter::PoolId pool, VersionedHeader header,
             const OpenOptions& options)
    : client_(client),
      spec_(std::move(spec)),
      pool_(pool),
      header_(std::move(header.header)),
      header_version_(header.version),
      options_(options) {}

Image::~Image() {
  LUNAR_CHECK(in_flight_.empty(), "image destroyed with IO in flight");
  client_.center().cancel(poll_timer_);
}

void Image::close(InlineFunction<void(Outcome<void>)> done) {
  LUNAR_CHECK(!closing_, "image closed twice");
  closing_ = true;
  on_closed_ = std::move(done);
  client_.center().cancel(poll_timer_);
  poll_timer_ = msgr::TimerId::kNone;
  client_.center().post([self = shared_from_this()] {
    if (self->in_flight_.empty()) self->strike_registration();
  });
}

void Image::io_ended() {
  if (closing_ && in_flight_.empty() && on_closed_) strike_registration();
}

void Image::strike_registration() {
  if (!on_closed_) return;  // an IO and the post of close() may both arrive here
  auto finish = std::make_shared<InlineFunction<void(Outcome<void>)>>(std::move(on_closed_));
  on_closed_.reset();
  if (options_.read_only || fenced_) return (*finish)({});
  update_header(
      client_, pool_, header_.id,
      [self = shared_from_this()](ImageHeader& header) -> Outcome<void> {
        std::erase_if(header.registrations, [&](const Registration& each) {
          return each.entity == self->client_.entity() &&
                 each.instance == self->client_.instance() && each.nonce == self->client_.nonce();
        });
        return {};
      },
      [finish, self = shared_from_this()](Outcome<void> result) { (*finish)(std::move(result)); });
}

std::error_code Image::check(const IoWork& work) const noexcept {
  if (closing_) return make_error_code(OsdErrc::kShutdown);
  if (fenced_) return make_error_code(OsdErrc::kFenced);
  if (options_.read_only && changes_image(work.type)) return make_error_code(OsdErrc::kReadOnly);
  if (work.offset > size() || work.length > size() - work.offset) {
    return make_error_code(OsdErrc::kInvalid);
  }
  if (work.type == IoType::kCompareAndWrite) {
    const uint64_t in_unit = work.offset % layout().stripe_unit;
    const bool fits = work.length <= layout().stripe_unit - in_unit;
    if (!fits || work.second.size() != work.length) return make_error_code(OsdErrc::kInvalid);
  }
  if (work.type == IoType::kWriteSame) {
    const uint64_t pattern = work.data.size();
    const bool divides = pattern != 0 && StripeLayout::kMinStripeUnit % pattern == 0 &&
                         work.offset % pattern == 0 && work.length % pattern == 0;
    if (!divides) return make_error_code(OsdErrc::kInvalid);
  }
  return {};
}

void Image::read(uint64_t offset, Bytes into, const IoOptions& options, IoDone done) {
  IoWork work = work_on(IoType::kRead, offset, into.size());
  work.read_into = into;
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::write(uint64_t offset, ConstBytes from, const IoOptions& options, IoDone done) {
  IoWork work = work_on(IoType::kWrite, offset, from.size());
  work.data = from;
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::discard(uint64_t offset, uint64_t length, const IoOptions& options, IoDone done) {
  const IoWork work = work_on(IoType::kDiscard, offset, length);
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::write_zeroes(uint64_t offset, uint64_t length, const IoOptions& options, IoDone done) {
  const IoWork work = work_on(IoType::kWriteZeroes, offset, length);
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::write_same(uint64_t offset, uint64_t length, ConstBytes pattern,
                       const IoOptions& options, IoDone done) {
  IoWork work = work_on(IoType::kWriteSame, offset, length);
  work.data = pattern;
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::compare_and_write(uint64_t offset, ConstBytes compare, ConstBytes write,
                              const IoOptions& options, IoDone done) {
  IoWork work = work_on(IoType::kCompareAndWrite, offset, compare.size());
  work.data = compare;
  work.second = write;
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::or_write(uint64_t offset, ConstBytes from, const IoOptions& options, IoDone done) {
  IoWork work = work_on(IoType::kOrWrite, offset, from.size());
  work.data = from;
  IoRequest::start(shared_from_this(), work, options, std::move(done));
}

void Image::flush(const IoOptions& options, IoDone done) {
  IoRequest::start(shared_from_this(), work_on(IoType::kFlush, 0, 0), options, std::move(done));
}

void Image::allocation_at(uint64_t offset, uint64_t io_id,
                          InlineFunction<void(Result<Allocation>)> done) {
  using Done = InlineFunction<void(Result<Allocation>)>;
  auto boxed = std::make_unique<Done>(std::move(done));
  if (closing_ || offset >= size()) {
    client_.center().post([boxed = std::move(boxed), closing = closing_] {
      (*boxed)(failure(closing ? OsdErrc::kShutdown : OsdErrc::kInvalid));
    });
    return;
  }
  const ObjectExtent extent = ExtentCursor(layout(), offset, size() - offset).next();
  objecter::ObjectOp op;
  op.object = {pool_, data_object_name(header_.id, extent.object_no)};
  op.io_id = io_id;
  op.flags = objecter::kOpIdempotent;
  objecter::SubOp step;
  step.code = objecter::OpCode::kMapExtents;
  step.offset = extent.offset;
  step.length = extent.length;
  op.steps = {step};
  client_.objecter().submit(
      std::move(op), [self = shared_from_this(), boxed = std::move(boxed), begin = extent.offset,
                      length = extent.length](objecter::OpReply reply) {
        if (reply.error == OsdErrc::kNoSuchObject) return (*boxed)(Allocation{length, false});
        if (reply.error) return (*boxed)(failure(reply.error));
        ConstBytes data = reply.data;
        const auto map = objecter::decode_extent_map(data);
        if (!map) return (*boxed)(failure(map.error()));
        Allocation out{length, false};
        for (const auto& [start, run] : map->extents) {
          if (start <= begin && begin < start + run) {
            out = {std::min(length, start + run - begin), true};
          } else if (start > begin && !out.allocated) {
            out.length = std::min(out.length, start - begin);
          }
        }
        (*boxed)(out);
      });
}

void Image::cancel(uint64_t io_id) {
  for (IoRequest& io : in_flight_) {
    if (io.io_id() == io_id) io.cancel();
  }
}

void Image::schedule_poll() {
  const auto interval = client_.config().get_duration("lunar_header_poll");
  if (interval.count() == 0 || closing_) return;
  poll_timer_ = client_.center().run_after(interval, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->poll_header();
  });
}

void Image::poll_header() {
  check_metadata_version(client_, {pool_, header_object_name(header_.id)}, header_version_,
                         client_.next_io_id(), [weak = weak_from_this()](Result<bool> changed) {
                           const auto self = weak.lock();
                           if (self == nullptr || self->closing_) return;
                           if (changed && *changed) return self->header_changed();
                           self->schedule_poll();
                         });
}

void Image::header_changed() {
  find_image(client_, spec_, [weak = weak_from_this()](Outcome<VersionedHeader> found) {
    const auto self = weak.lock();
    if (self == nullptr || self->closing_) return;
    if (found && found->header.id == self->header_.id) self->adopt_header(std::move(*found));
    self->schedule_poll();
  });
}

void Image::adopt_header(VersionedHeader found) {
  const auto* mine = found.header.find_registration(client_.entity(), client_.instance());
  if (!options_.read_only && (mine == nullptr || mine->nonce != client_.nonce()) && !fenced_) {
    fenced_ = true;
    LUNAR_ERROR(kGateway, "image {}: the registration of {} was struck: fenced, IO is refused",
                spec_.to_string(), client_.instance());
  }
  const uint64_t old_size = header_.size;
  header_ = std::move(found.header);
  header_version_ = found.version;
  if (header_.size == old_size) return;
  LUNAR_LOG(kGateway, 1, "image {}: size {} -> {}", spec_.to_string(), old_size, header_.size);
  if (on_resize_) on_resize_(header_.size);
}

}  // namespace lunar::gateway
