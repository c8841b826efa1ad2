// SPDX-License-Identifier: LGPL-2.1-or-later
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "common/json.h"
#include "common/visible_text.h"
#include "gateway/image_counts.h"
#include "gateway/image_directory.h"
#include "tools/lunar/command.h"
#include "tools/lunar/counts_poll.h"
#include "tools/lunar/image_rates.h"
#include "tools/lunar/stop_signals.h"
#include "tools/lunar/text_table.h"

// iostat and iotop: what is done with images, as `rbd perf image iostat` shows it. Whoever has an
// image open is asked, on whichever host, by a notify of its header.

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using gateway::HolderCounts;

constexpr std::chrono::seconds kListedEvery{60};  // names change seldom, and are on all servers

struct IostatArguments {
  std::string what;  // POOL, or POOL/IMAGE; empty: the pool of --pool
  uint32_t interval = 5;
  uint32_t iterations = 0;  // 0: until a signal
  std::string sort_by = "write-ops";
};

struct MeasuredImage {
  std::string name;
  RateMeter meter;
  std::vector<HolderCounts> holders;  // as they answered last; empty: nobody has it open
  ImageRates rates;                   // since the time before that
};

// The images of a pool, or one of them, and what is done with them. On the thread that drives the
// cluster's loop.
class ImageWatcher {
 public:
  ImageWatcher(ClusterHandle& cluster, gateway::ImageSpec spec)
      : cluster_(cluster), spec_(std::move(spec)), poll_(cluster) {}

  // Asks all who have an image open; the rates are those since the last call. Errors: the pool, or
  // the one image that was named, is not there, or may not be asked about.
  Outcome<void> measure();
  const std::map<gateway::ImageId, MeasuredImage>& images() const noexcept { return images_; }
  // Those of which the last call knows nothing, as their servers did not answer.
  const std::vector<std::string>& unanswered() const noexcept { return unanswered_; }
  const std::string& pool() const noexcept { return spec_.pool; }

 private:
  Outcome<void> find_images();
  Outcome<void> ask(const std::vector<gateway::ImageId>& ids, objecter::PoolId pool);
  void say_silent(const MeasuredImage& image);
  void say_unanswered();

  ClusterHandle& cluster_;
  const gateway::ImageSpec spec_;  // the image is empty: all of the pool
  std::map<gateway::ImageId, MeasuredImage> images_;
  CountsPoll poll_;
  std::vector<std::string> unanswered_;
  std::size_t num_said_ = 0;                         // of these
  Clock::time_point listed_at_;                      // if images_ is not empty
  std::set<objecter::ClientIdentity> said_clients_;  // who were said to be silent
};

Outcome<void> ImageWatcher::find_images() {
  std::vector<gateway::ImageSummary> found;
  bool is_partial = false;  // the names that are missing may be of images that we know
  if (spec_.image.empty()) {
    auto list = cluster_.wait<gateway::ImageList>([&](auto done) {
      gateway::list_images(cluster_.client(), spec_.pool, {.wants_ids = true}, std::move(done));
    });
    if (!list) return failure(list.error());
    is_partial = !list->missing.empty();
    if (is_partial)
      print_visible(stderr, "lunar: %s\n", gateway::missing_error(*list).message.c_str());
    found = std::move(list->images);
  } else {
    const auto header = cluster_.wait<gateway::VersionedHeader>(
        [&](auto done) { gateway::find_image(cluster_.client(), spec_, std::move(done)); });
    if (!header && !images_.empty() && header.error().code != objecter::OsdErrc::kNoSuchObject) {
      listed_at_ = Clock::now();  // its server is away: it is still the image that we know
      return {};
    }
    if (!header) return failure(header.error());
    found.push_back({header->header.name, header->header.id});
  }
  std::map<gateway::ImageId, MeasuredImage> images;
  if (is_partial) images = std::move(images_);
  for (gateway::ImageSummary& each : found) {
    if (each.id == 0) continue;  // its name is being made or taken out
    if (is_partial) {
      images[each.id].name = std::move(each.name);
      continue;
    }
    images[each.id] = std::move(images_[each.id]);
    images[each.id].name = std::move(each.name);
  }
  images_ = std::move(images);
  listed_at_ = Clock::now();
  return {};
}

Outcome<void> ImageWatcher::measure() {
  if (images_.empty() || Clock::now() - listed_at_ >= kListedEvery) {
    if (auto found = find_images(); !found) return found;
  }
  const auto pool = cluster_.client().find_pool(spec_.pool);
  if (!pool) return failure(pool.error());
  std::vector<gateway::ImageId> ids;
  for (const auto& [id, image] : images_) ids.push_back(id);
  return ask(ids, pool->id);
}

Outcome<void> ImageWatcher::ask(const std::vector<gateway::ImageId>& ids, objecter::PoolId pool) {
  auto answers = poll_.ask(pool, ids);
  if (!answers) {
    return failure(answers.error(),
                   cluster_.client().entity() + " may not ask who has images of pool '" +
                       spec_.pool +
                       "' open: that takes 'allow rw' or 'profile gateway' (lunar auth caps)");
  }
  unanswered_.clear();
  for (const gateway::ImageId id : ids) {
    MeasuredImage& image = images_[id];
    const auto answer = answers->find(id);
    if (answer == answers->end()) {
      image.holders.clear();
      unanswered_.push_back(image.name);
      continue;
    }
    image.holders = std::move(answer->second.holders);
    image.rates = image.meter.add(image.holders, answer->second.at);
    say_silent(image);
  }
  say_unanswered();
  return {};
}

void ImageWatcher::say_unanswered() {
  if (std::exchange(num_said_, unanswered_.size()) == unanswered_.size() || unanswered_.empty())
    return;
  print_visible(
      stderr,
      "lunar: %zu images of pool '%s' are not shown, '%s' among them: their servers do not "
      "answer (lunar status)\n",
      unanswered_.size(), spec_.pool.c_str(), unanswered_.front().c_str());
}

void ImageWatcher::say_silent(const MeasuredImage& image) {
  for (const HolderCounts& holder : image.holders) {
    if (holder.counts || !said_clients_.insert(holder.client).second) continue;
    print_visible(
        stderr,
        "lunar: %s at %s has image '%s/%s' open and does not say what it does: it is away, "
        "or of an earlier version\n",
        printable_text(holder.client.entity).c_str(),
        printable_text(holder.client.instance).c_str(), spec_.pool.c_str(), image.name.c_str());
  }
}

// What is shown: those that somebody has open, the busiest first.
std::vector<const MeasuredImage*> shown_images(const ImageWatcher& watcher,
                                               const std::string& sort_by) {
  std::vector<const MeasuredImage*> shown;
  for (const auto& [id, image] : watcher.images()) {
    if (!image.holders.empty()) shown.push_back(&image);
  }
  std::sort(shown.begin(), shown.end(), [&](const MeasuredImage* a, const MeasuredImage* b) {
    const double of_a = a->rates.value_of(sort_by);
    const double of_b = b->rates.value_of(sort_by);
    return of_a != of_b ? of_a > of_b : a->name < b->name;
  });
  return shown;
}

std::string table_of(const std::vector<const MeasuredImage*>& images, std::size_t limit) {
  TextTable table({"NAME", ">WR", ">RD", ">WR_BYTES", ">RD_BYTES", ">WR_LAT", ">RD_LAT"});
  for (const MeasuredImage* image : images) {
    if (limit-- == 0) break;
    const ImageRates& rates = image->rates;
    table.add({image->name, per_second(rates.write_ops), per_second(rates.read_ops),
               bytes_per_second(rates.write_bytes), bytes_per_second(rates.read_bytes),
               latency_text(rates.write_latency), latency_text(rates.read_latency)});
  }
  return table.text();
}

Json json_of(const ImageWatcher& watcher, const std::vector<const MeasuredImage*>& images) {
  Json list = Json::array();
  for (const MeasuredImage* image : images) {
    Json holders = Json::array();
    for (const HolderCounts& holder : image->holders) {
      holders.push_back({{"entity", holder.client.entity},
                         {"instance", holder.client.instance},
                         {"answered", holder.counts.has_value()}});
    }
    const ImageRates& rates = image->rates;
    list.push_back({{"pool", watcher.pool()},
                    {"image", image->name},
                    {"write_ops", rates.write_ops},
                    {"read_ops", rates.read_ops},
                    {"write_bytes", rates.write_bytes},
                    {"read_bytes", rates.read_bytes},
                    {"write_latency", rates.write_latency},
                    {"read_latency", rates.read_latency},
                    {"clients", std::move(holders)}});
  }
  return {{"images", std::move(list)}, {"unanswered", watcher.unanswered()}};
}

void print_rates(const CommandContext& context, const ImageWatcher& watcher,
                 const std::string& sort_by) {
  const auto images = shown_images(watcher, sort_by);
  if (context.wants_json()) {
    print_visible(stdout, "%s\n", json_text(json_of(watcher, images)).c_str());
  } else if (images.empty() && watcher.unanswered().empty()) {
    print_visible(stdout, "nobody has an image of pool '%s' open\n", watcher.pool().c_str());
  } else {
    print_visible(stdout, "%s\n", table_of(images, images.size()).c_str());
  }
  std::fflush(stdout);
}

constexpr std::string_view kClearTerminal = "\033[H\033[J";

// In place of what the terminal shows, as much as it has lines for.
void draw_rates(const ImageWatcher& watcher, const std::string& sort_by) {
  winsize size{};
  const bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 4;
  const std::size_t lines = is_known ? size.ws_row - 4u : 20;
  const auto images = shown_images(watcher, sort_by);
  std::fwrite(kClearTerminal.data(), 1, kClearTerminal.size(), stdout);
  print_visible(stdout, "%zu images of pool '%s' are open; by %s; Ctrl-C ends\n\n%s", images.size(),
                watcher.pool().c_str(), sort_by.c_str(), table_of(images, lines).c_str());
  std::fflush(stdout);
}

Outcome<gateway::ImageSpec> spec_of(const CommandContext& context, const std::string& what) {
  if (what.find('/') != std::string::npos) return gateway::ImageSpec::parse(what);
  if (!what.empty()) return gateway::ImageSpec{what, ""};
  return gateway::ImageSpec{context.pool.empty() ? CommandContext::kDefaultPool : context.pool, ""};
}

template <typename Show>
Outcome<void> watch_images(CommandContext& context, const IostatArguments& arguments, Show show) {
  auto spec = spec_of(context, arguments.what);
  if (!spec) return failure(spec.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const StopSignals stop_signals;
  ImageWatcher watcher(**cluster, std::move(*spec));
  if (auto measured = watcher.measure(); !measured) return measured;
  for (uint32_t shown = 0; arguments.iterations == 0 || shown < arguments.iterations; ++shown) {
    const auto due = Clock::now() + std::chrono::seconds(arguments.interval);
    (*cluster)->run_until([due] { return StopSignals::has_received() || Clock::now() >= due; });
    if (StopSignals::has_received()) return {};
    if (auto measured = watcher.measure(); !measured) return measured;
    show(watcher);
  }
  return {};
}

Outcome<void> iostat(CommandContext& context, const IostatArguments& arguments) {
  return watch_images(context, arguments, [&](const ImageWatcher& watcher) {
    print_rates(context, watcher, arguments.sort_by);
  });
}

Outcome<void> iotop(CommandContext& context, const IostatArguments& arguments) {
  if (isatty(STDOUT_FILENO) == 0 || context.wants_json()) {
    return failure(std::errc::invalid_argument,
                   "iotop draws on a terminal: 'lunar iostat' prints lines, or JSON");
  }
  return watch_images(context, arguments,
                      [&](const ImageWatcher& watcher) { draw_rates(watcher, arguments.sort_by); });
}

}  // namespace

void add_iostat_commands(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<IostatArguments>();
  auto* lines =
      context.add(app, "iostat", "print what is read and written per image, again and again",
                  [&context, arguments] { return iostat(context, *arguments); });
  auto* screen = context.add(app, "iotop", "show the busiest images on the terminal until Ctrl-C",
                             [&context, arguments] { return iotop(context, *arguments); });
  for (CLI::App* command : {lines, screen}) {
    command->add_option("pool", arguments->what,
                        "pool to look at, or one image of it as POOL/IMAGE; else that of --pool");
    command->add_option("--interval", arguments->interval, "seconds from one look to the next (5)")
        ->check(CLI::Range(1u, 3600u));
    command
        ->add_option("--sort-by", arguments->sort_by,
                     "what to sort by, the highest first: write-ops, read-ops, write-bytes, "
                     "read-bytes, write-latency or read-latency (write-ops)")
        ->check(
            CLI::IsMember(std::vector<std::string>(std::begin(kSortNames), std::end(kSortNames))));
  }
  lines->add_option("--iterations", arguments->iterations,
                    "how many times to print; without it until Ctrl-C");
}

}  // namespace lunar::tools
