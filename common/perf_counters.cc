// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/perf_counters.h"

#include <nlohmann/json.hpp>

#include "common/check.h"
#include "common/json.h"

namespace lunar {
namespace {

using Json = nlohmann::ordered_json;

// Ceph's bits of "type" in perf schema.
constexpr int kTypeTime = 1;
constexpr int kTypeU64 = 2;
constexpr int kTypeLongRunAverage = 4;
constexpr int kTypeCounter = 8;
constexpr int kTypeHistogram = 16;

double in_seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

struct Shape {
  int type;
  const char* metric_type;
  const char* value_type;
};

Shape shape_of(const PerfCounter&) { return {kTypeU64 | kTypeCounter, "counter", "integer"}; }
Shape shape_of(const PerfGauge&) { return {kTypeU64, "gauge", "integer"}; }
Shape shape_of(const PerfReading&) { return {kTypeU64, "gauge", "integer"}; }
Shape shape_of(const PerfTimeAverage&) {
  return {kTypeTime | kTypeLongRunAverage, "gauge", "real-integer-pair"};
}
Shape shape_of(const PerfHistogram&) {
  return {kTypeHistogram | kTypeCounter | kTypeU64, "histogram", "integer-1d"};
}

Json value_of(const PerfCounter& counter) { return counter.value(); }
Json value_of(const PerfGauge& gauge) { return gauge.value(); }
Json value_of(const PerfReading& reading) { return reading.value(); }
Json value_of(const PerfTimeAverage& average) {
  const uint64_t count = average.count();
  const double sum = in_seconds(average.sum());
  return {{"avgcount", count},
          {"sum", sum},
          {"avgtime", count == 0 ? 0.0 : sum / static_cast<double>(count)}};
}
Json value_of(const PerfHistogram& histogram) {
  Json ranges = Json::array();
  Json values = Json::array();
  for (std::size_t i = 0; i < PerfHistogram::kBuckets; ++i) {
    Json range = Json::object();
    if (i > 0) range["min"] = PerfHistogram::upper_end(i - 1).count();
    if (i + 1 < PerfHistogram::kBuckets) range["max"] = PerfHistogram::upper_end(i).count() - 1;
    ranges.push_back(std::move(range));
    values.push_back(histogram.bucket(i));
  }
  const Json axis = {{"name", "Latency (nsec)"},
                     {"min", 0},
                     {"quant_size", PerfHistogram::upper_end(0).count()},
                     {"buckets", PerfHistogram::kBuckets},
                     {"scale_type", "log2"},
                     {"ranges", std::move(ranges)}};
  return {{"axes", Json::array({axis})}, {"values", std::move(values)}};
}

// Prometheus takes letters, digits and underscores in names, and wants \ " and newlines escaped in
// labels.
std::string metric_word(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    out += plain ? c : '_';
  }
  return out;
}

// "image" of "image.rbd/disk", "msgr" of "msgr#2", "worker" of "worker-1".
std::string_view kind_of(std::string_view group) {
  std::string_view kind = group.substr(0, group.find_first_of(".#"));
  const auto number = kind.find_last_not_of("0123456789");
  const bool ends_in_number = number != std::string_view::npos && number + 1 < kind.size();
  if (ends_in_number && kind[number] == '-') kind = kind.substr(0, number);
  return kind;
}

std::string label_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string bare(double value) { return Json(value).dump(); }

const char* prometheus_type(const PerfCounter&) { return "counter"; }
const char* prometheus_type(const PerfGauge&) { return "gauge"; }
const char* prometheus_type(const PerfReading&) { return "gauge"; }
const char* prometheus_type(const PerfTimeAverage&) { return "summary"; }
const char* prometheus_type(const PerfHistogram&) { return "histogram"; }

// What Prometheus wants at the end of the name of a metric.
const char* metric_end(const PerfCounter&) { return "_total"; }
const char* metric_end(const PerfGauge&) { return ""; }
const char* metric_end(const PerfReading&) { return ""; }
const char* metric_end(const PerfTimeAverage&) { return "_seconds"; }
const char* metric_end(const PerfHistogram&) { return "_seconds"; }

template <typename Value>
std::string metric_name(std::string_view group, std::string_view counter, const Value& value) {
  std::string name = "lunar_" + metric_word(kind_of(group)) + "_" + metric_word(counter);
  // Prometheus wants no type in a name, and there is an average of the name without it.
  constexpr std::string_view kType = "_histogram";
  if (name.ends_with(kType))
    name.replace(name.size() - kType.size(), kType.size(), "_distribution");
  return name + metric_end(value);
}

template <typename Number>  // a counter, a gauge, a reading
void print_metric(std::string& out, const std::string& name, const std::string& labels,
                  const Number& number) {
  out += name + "{" + labels + "} " + std::to_string(number.value()) + "\n";
}
void print_metric(std::string& out, const std::string& name, const std::string& labels,
                  const PerfTimeAverage& average) {
  out += name + "_count{" + labels + "} " + std::to_string(average.count()) + "\n";
  out += name + "_sum{" + labels + "} " + bare(in_seconds(average.sum())) + "\n";
}
void print_metric(std::string& out, const std::string& name, const std::string& labels,
                  const PerfHistogram& histogram) {
  uint64_t total = 0;
  for (std::size_t i = 0; i < PerfHistogram::kBuckets; ++i) {
    total += histogram.bucket(i);
    const bool last = i + 1 == PerfHistogram::kBuckets;
    const std::string end = last ? "+Inf" : bare(in_seconds(PerfHistogram::upper_end(i)));
    out += name + "_bucket{" + labels + ",le=\"" + end + "\"} " + std::to_string(total) + "\n";
  }
  out += name + "_sum{" + labels + "} " + bare(in_seconds(histogram.sum())) + "\n";
  out += name + "_count{" + labels + "} " + std::to_string(total) + "\n";
}

}  // namespace

PerfRegistry::~PerfRegistry() {
  MutexLock lock(mutex_);
  LUNAR_CHECK(groups_.empty(), "a group of counters outlives its registry");
}

std::string PerfRegistry::add(std::string name, const PerfGroup* group) {
  MutexLock lock(mutex_);
  std::string used = name;
  for (int number = 2; groups_.contains(used); ++number) {
    used = name + "#" + std::to_string(number);
  }
  groups_.emplace(used, group);
  return used;
}

void PerfRegistry::remove(const std::string& name) {
  MutexLock lock(mutex_);
  groups_.erase(name);
}

// Builds {"group": {"counter": make(entry)}}; entries for which make gives null are left out.
template <typename Make>
std::string PerfRegistry::collect(std::string_view wanted, Make make) const {
  Json all = Json::object();
  MutexLock lock(mutex_);
  for (const auto& [name, group] : groups_) {
    if (!wanted.empty() && wanted != name) continue;
    Json counters = Json::object();
    MutexLock group_lock(group->mutex_);
    for (const PerfGroup::Entry& entry : group->entries_) {
      if (Json value = make(entry); !value.is_null()) counters[entry.name] = std::move(value);
    }
    if (!counters.empty()) all[name] = std::move(counters);
  }
  return json_text(all);
}

std::string PerfRegistry::dump(std::string_view group) const {
  return collect(group, [](const PerfGroup::Entry& entry) {
    if (std::holds_alternative<PerfHistogram>(entry.value)) return Json();
    return std::visit([](const auto& value) { return value_of(value); }, entry.value);
  });
}

std::string PerfRegistry::histogram_dump(std::string_view group) const {
  return collect(group, [](const PerfGroup::Entry& entry) {
    const auto* histogram = std::get_if<PerfHistogram>(&entry.value);
    return histogram == nullptr ? Json() : value_of(*histogram);
  });
}

std::string PerfRegistry::schema(std::string_view group) const {
  return collect(group, [](const PerfGroup::Entry& entry) {
    const Shape shape = std::visit([](const auto& value) { return shape_of(value); }, entry.value);
    return Json{{"type", shape.type},
                {"metric_type", shape.metric_type},
                {"value_type", shape.value_type},
                {"description", entry.help},
                {"nick", ""},
                {"priority", 0},
                {"units", entry.unit.empty() ? "none" : entry.unit}};
  });
}

std::string PerfRegistry::prometheus() const {
  // HELP and TYPE once per metric, then its value in every group that has it.
  std::map<std::string, std::string> metrics;
  MutexLock lock(mutex_);
  for (const auto& [name, group] : groups_) {
    const std::string labels = "group=\"" + label_value(name) + "\"";
    MutexLock group_lock(group->mutex_);
    for (const PerfGroup::Entry& entry : group->entries_) {
      std::visit(
          [&](const auto& value) {
            const std::string metric = metric_name(name, entry.name, value);
            std::string& text = metrics[metric];
            if (text.empty()) {
              text = "# HELP " + metric + " " + entry.help + "\n# TYPE " + metric + " " +
                     prometheus_type(value) + "\n";
            }
            print_metric(text, metric, labels, value);
          },
          entry.value);
    }
  }
  std::string out;
  for (const auto& [metric, text] : metrics) out += text;
  return out;
}

PerfGroup::PerfGroup(PerfRegistry& registry, std::string name)
    : registry_(registry), name_(registry.add(std::move(name), this)) {}

PerfGroup::~PerfGroup() { registry_.remove(name_); }

template <typename T, typename... Args>
T& PerfGroup::add(std::string name, std::string help, std::string_view unit, Args... args) {
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    LUNAR_CHECK(entry.name != name, "two counters of one name in a group");
  }
  entries_.emplace_back(std::in_place_type<T>, std::move(name), std::move(help), unit, args...);
  return std::get<T>(entries_.back().value);
}

PerfCounter& PerfGroup::counter(std::string name, std::string help, std::string_view unit) {
  return add<PerfCounter>(std::move(name), std::move(help), unit);
}
PerfGauge& PerfGroup::gauge(std::string name, std::string help, std::string_view unit) {
  return add<PerfGauge>(std::move(name), std::move(help), unit);
}
void PerfGroup::reading(std::string name, std::string help, PerfReading::Getter read,
                        std::string_view unit) {
  add<PerfReading>(std::move(name), std::move(help), unit, read);
}
PerfTimeAverage& PerfGroup::time_average(std::string name, std::string help) {
  return add<PerfTimeAverage>(std::move(name), std::move(help), {});
}
PerfHistogram& PerfGroup::histogram(std::string name, std::string help) {
  return add<PerfHistogram>(std::move(name), std::move(help), {});
}

}  // namespace lunar
