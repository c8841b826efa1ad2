// SPDX-License-Identifier: LGPL-2.1-or-later
// Resizing, also of an image that is open. A shrink has four steps, each checked inside the
// compare-and-swap that publishes it:
// 1. state `shrinking`: opens begin no IO beyond the new end any more. Nothing is lost yet.
// 2. All opens of that moment have said that no such IO is in flight, or are fenced everywhere.
// 3. The new size: from here on the shrink can only go forward.
// 4. What is beyond it is cut; state `ready`.
// Growing clears what an earlier shrink may have left beyond the end, and then publishes the size.
// Whoever finds that a resize was interrupted begins with the size that the header has.
#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "gateway/image_directory.h"
#include "gateway/metadata/fence.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "gateway/metadata/open_header.h"
#include "gateway/metadata/run_to_done.h"
#include "gateway/metadata/trim.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;
using objecter::PoolInfo;

constexpr std::chrono::milliseconds kAskAgain{250};

// What has to be cleared on the way from this header to `size` bytes; empty: nothing. An earlier
// shrink may have been interrupted: then there is data beyond the end of this header.
struct StaleRange {
  uint64_t from = 0;
  uint64_t to = 0;
};
StaleRange stale_range(const ImageHeader& header, uint64_t size) {
  if (size < header.size) return {size, header.size};
  const uint64_t old_data_end =
      size == header.size ? header.trimmed_from : std::min(size, header.trimmed_from);
  if (old_data_end > header.size) return {header.size, old_data_end};
  return {};
}

Error shrinks(const ImageSpec& spec, const ImageHeader& header, uint64_t size) {
  return {make_error_code(OsdErrc::kNotPermitted),
          "image '" + spec.image + "' has " + std::to_string(header.size) + " bytes: making it " +
              std::to_string(header.size - size) +
              " bytes smaller destroys the data at its end; if that is meant, repeat with "
              "--allow-shrink"};
}

// A resizer whose process has ended is fenced and struck; one of ours that failed is struck: all
// its ops have ended. kBusy if it lives.
Task<Outcome<void>> strike_dead_resizer(Client& client, PoolInfo pool, ImageHeader header,
                                        Registration mine) {
  const Registration other = *header.resizer;
  header.registrations = {other};
  const Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool.id, header);
  if (!holders) co_return failure(holders.error());
  const bool is_left_over = other.is_of_start(mine) && !client.resizes().contains(other.cookie);
  if (!is_left_over && !holders->front().is_dead) {
    co_return failure(OsdErrc::kBusy, "image '" + header.name + "' is being resized by " +
                                          text_of_holders({holders->front()}) +
                                          ": wait until it is done");
  }
  if (!is_left_over) {
    const Outcome<void> fenced = co_await fence_start(client, pool, other);
    if (!fenced) co_return failure(fenced.error());
  }
  HeaderEditor strike = [&other](ImageHeader& current) -> Outcome<void> {
    if (current.resizer == other) current.resizer.reset();
    return {};
  };
  Outcome<void> struck = co_await update_header(client, pool.id, header.id, std::move(strike));
  co_return struck;
}

// Inside the compare-and-swap: it may have been removed or renamed since it was looked up.
Outcome<void> require_resizable(const ImageHeader& header, const ImageSpec& spec) {
  if (auto whole = require_whole(header); !whole) return whole;
  if (header.is_renaming()) return failure(is_being_renamed(spec.pool, header));
  if (header.name != spec.image) return failure(was_renamed(spec, header));
  return {};
}

// Makes `mine` the resizer and publishes what it is about to do. Gives the header as it is then.
Task<Outcome<ImageHeader>> begin_resize(Client& client, PoolInfo pool, ImageSpec spec, ImageId id,
                                        ResizeOptions options, Registration mine) {
  for (;;) {
    ImageHeader published;
    HeaderEditor edit = [&](ImageHeader& current) -> Outcome<void> {
      published = current;
      if (auto resizable = require_resizable(current, spec); !resizable) {
        published.resizer.reset();
        return resizable;
      }
      if (current.resizer && current.resizer->cookie == mine.cookie) return {};  // it is done
      if (current.resizer) return failure(OsdErrc::kBusy, "another resizer");
      if (options.size < current.size && !options.allows_shrink) {
        return failure(shrinks(spec, current, options.size));
      }
      const bool is_shrink = options.size < current.size;
      current.state = is_shrink ? ImageState::kShrinking : ImageState::kGrowing;
      if (is_shrink) current.trimmed_from = std::max(current.trimmed_from, current.size);
      current.resize_to = options.size;
      current.resizer = mine;
      published = current;
      return {};
    };
    const Outcome<void> begun = co_await update_header(client, pool.id, id, std::move(edit));
    if (begun) co_return published;
    const bool is_held_by_another = published.resizer && published.resizer->cookie != mine.cookie;
    if (!is_held_by_another) co_return failure(begun.error());
    const Outcome<void> struck = co_await strike_dead_resizer(client, pool, published, mine);
    if (!struck) co_return failure(struck.error());
  }
}

// Still ours to change, inside the compare-and-swap.
Outcome<void> require_resizer(const ImageHeader& header, const Registration& mine) {
  if (header.resizer == mine && header.is_resizing()) return {};
  return failure(OsdErrc::kFenced, "resizing image '" + header.name +
                                       "' was taken over by another resize, or by a removal");
}

// Takes those out of `waiting` whose ack is in `told`.
void strike_acked(std::vector<Registration>& waiting, const objecter::NotifyResult& told) {
  std::erase_if(waiting, [&](const Registration& each) {
    return std::any_of(told.acks.begin(), told.acks.end(), [&](const objecter::NotifyAck& ack) {
      return ack.who.cookie == each.cookie && ack.who.client.entity == each.entity &&
             ack.who.client.instance == each.instance && ack.who.client.nonce == each.nonce;
    });
  });
}

void keep_registered(std::vector<Registration>& waiting, const ImageHeader& header) {
  std::erase_if(waiting, [&](const Registration& each) {
    return std::find(header.registrations.begin(), header.registrations.end(), each) ==
           header.registrations.end();
  });
}

Error does_not_let_go(const ImageHeader& header, const std::vector<Holder>& holders) {
  return {make_error_code(OsdErrc::kBusy),
          "shrinking image '" + header.name +
              "' was given up, and nothing is lost: " + text_of_holders(holders) +
              " has it open and did not say in time that it uses the end no more; close it there, "
              "or fence that gateway with 'lunar unregister POOL/IMAGE INSTANCE'"};
}

// Until every open of `published` has said that it has no IO beyond the new end in flight, was
// closed, or was fenced at every server because its gateway is dead.
Task<Outcome<void>> await_opens(Client& client, PoolInfo pool, ImageHeader published,
                                Registration mine) {
  const Config& config = client.config();
  const auto deadline = client.center().now() + config.get_duration("objecter_op_timeout") +
                        config.get_duration("ms_keepalive_timeout") +
                        config.get_duration("lunar_lock_timeout") + 2s;
  std::vector<Registration> waiting = published.registrations;
  for (;;) {
    if (waiting.empty()) co_return Outcome<void>();
    const ImageId id = published.id;
    const Result<objecter::NotifyResult> told = co_await tell_of_change(client, pool.id, id);
    if (told) strike_acked(waiting, *told);
    const Outcome<VersionedHeader> found = co_await read_header(client, pool.id, id);
    if (!found) co_return failure(found.error());
    if (auto ours = require_resizer(found->header, mine); !ours) co_return failure(ours.error());
    keep_registered(waiting, found->header);
    if (waiting.empty()) continue;

    ImageHeader header = found->header;
    header.registrations = waiting;
    Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool.id, header);
    if (!holders) co_return failure(holders.error());
    std::erase_if(*holders, [](const Holder& each) { return each.is_reader; });
    const std::vector<Holder> judged = *holders;
    const Outcome<void> struck = co_await strike_dead(client, pool, id, judged);
    if (!struck) co_return failure(struck.error());
    std::erase_if(*holders, [](const Holder& each) { return each.is_dead; });
    if (holders->empty()) continue;
    if (client.center().now() >= deadline) co_return failure(does_not_let_go(header, *holders));
    Client::RetryDelay delay(client);
    const std::error_code ended = co_await delay.sleep(kAskAgain);
    if (ended) co_return failure(OsdErrc::kShutdown, "the client shuts down");
  }
}

// Of a shrink that has lost nothing yet. If this fails it is left to the next resize.
Task<bool> undo_shrink(Client& client, PoolInfo pool, ImageId id, Registration mine) {
  HeaderEditor undo = [&mine](ImageHeader& current) -> Outcome<void> {
    if (auto ours = require_resizer(current, mine); !ours) return ours;
    current.state = ImageState::kReady;
    current.resizer.reset();
    return {};
  };
  const Outcome<void> undone = co_await update_header(client, pool.id, id, std::move(undo));
  if (undone) {
    tell_of_change_later(client, pool.id, id);
  } else {
    LUNAR_LOG(kGateway, 0, "image {}: undoing a shrink failed: {}", image_id_text(id),
              undone.error().message);
  }
  co_return undone.has_value();
}

// Steps 2 and 3.
Task<Outcome<void>> give_up_end(Client& client, PoolInfo pool, ImageHeader published,
                                Registration mine) {
  const ImageId id = published.id;
  Outcome<void> given_up = co_await await_opens(client, pool, published, mine);
  if (given_up) {
    HeaderEditor publish = [&](ImageHeader& current) -> Outcome<void> {
      if (auto ours = require_resizer(current, mine); !ours) return ours;
      current.size = current.resize_to;
      return {};
    };
    Outcome<void> cut = co_await update_header(client, pool.id, id, std::move(publish));
    if (cut) co_return cut;
    // It may be published; then undoing would hide that the end is gone.
    if (cut.error().code == OsdErrc::kFenced) co_return cut;
    co_return failure(cut.error().code, cut.error().message + "; repeat the command");
  }
  co_await undo_shrink(client, pool, id, mine);
  co_return given_up;
}

Task<Outcome<void>> resize_watched(Client& client, PoolInfo pool, ImageSpec spec, ImageId id,
                                   ResizeOptions options, Registration mine,
                                   OnProgress on_progress) {
  const Outcome<ImageHeader> begun = co_await begin_resize(client, pool, spec, id, options, mine);
  if (!begun) co_return failure(begun.error());
  const ImageHeader published = *begun;
  if (published.state == ImageState::kShrinking) {
    const Outcome<void> given_up = co_await give_up_end(client, pool, published, mine);
    if (!given_up) co_return failure(given_up.error());
  }
  const StaleRange stale = stale_range(published, options.size);
  if (stale.from < stale.to) {
    const std::error_code trimmed =
        co_await trim_image(client, pool, published, stale.from, stale.to, std::move(on_progress));
    if (trimmed) {
      co_return failure(trimmed, "clearing image '" + spec.image + "' from its old end failed: " +
                                     trimmed.message() + "; repeat the command");
    }
  }
  HeaderEditor finish = [&](ImageHeader& current) -> Outcome<void> {
    const bool is_done =
        current.state == ImageState::kReady && !current.resizer && current.size == options.size;
    if (is_done) return {};
    if (auto ours = require_resizer(current, mine); !ours) return ours;
    current.size = options.size;
    current.state = ImageState::kReady;
    current.resizer.reset();
    return {};
  };
  Outcome<void> finished = co_await update_header(client, pool.id, id, std::move(finish));
  if (finished) {  // a gateway that does not hear of it finds out by its poll
    const auto told = co_await tell_of_change(client, pool.id, id);
    static_cast<void>(told);
  }
  co_return finished;
}

Task<Outcome<void>> resize(Client& client, ImageSpec spec, ResizeOptions options,
                           OnProgress on_progress) {
  if (auto r = validate_image_size(options.size); !r) co_return failure(r.error());
  const OpenOptions reading{.read_only = true};
  msgr::Completion<Outcome<std::shared_ptr<OpenHeader>>> opened;
  OpenHeader::open(client, spec, reading, opened.callback());
  const Outcome<std::shared_ptr<OpenHeader>> found = co_await opened;
  if (!found) co_return failure(found.error());
  const std::shared_ptr<OpenHeader> watch = *found;
  const ImageId id = watch->header().id;
  const Registration mine = watch->registration();
  Outcome<void> resized = failure(OsdErrc::kNoSuchPool, "the pool is gone");
  const auto pool = client.find_pool(spec.pool);
  if (pool) {
    const PoolInfo pool_info = *pool;
    client.resizes().insert(mine.cookie);
    Outcome<void> ended =
        co_await resize_watched(client, pool_info, spec, id, options, mine, std::move(on_progress));
    client.resizes().erase(mine.cookie);
    resized = std::move(ended);
  }
  watch->stop();
  msgr::Completion<Outcome<void>> left;  // as at a close: the program may end at once
  watch->strike(left.callback());
  const Outcome<void> ended = co_await left;
  static_cast<void>(ended);
  co_return resized;
}

}  // namespace

void resize_image(Client& client, const ImageSpec& spec, const ResizeOptions& options,
                  OnProgress on_progress, UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), resize(client, spec, options, std::move(on_progress)),
              std::move(done));
}

}  // namespace lunar::gateway
