// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "common/check.h"
#include "common/file.h"
#include "common/parse/ini.h"

namespace lunar {
namespace {

constexpr std::size_t kMaxFileBytes = 1024 * 1024;
constexpr int kMaxExpandDepth = 8;
constexpr int kOverrideRank = 4;

bool is_name_word(std::string_view word) {
  constexpr std::size_t kMaxWordBytes = 64;
  if (word.empty() || word.size() > kMaxWordBytes) return false;
  return std::ranges::all_of(
      word, [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != '[' && c != ']'; });
}

// How specific a section is to this entity: 1 to 3, or 0 if it is about another.
int section_rank(std::string_view section, const EntityName& name) {
  if (section == "global") return 1;
  if (section == name.type) return 2;
  return section == name.to_string() ? 3 : 0;
}

bool is_variable_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

std::string home_folder() {
  const char* home = ::secure_getenv("HOME");
  return home == nullptr ? "" : home;
}

std::string unknown_option(std::string_view name) {
  std::string text = "unknown option '" + std::string(name) + "'";
  if (const auto near = nearest_option(name); !near.empty()) {
    text += "; did you mean '" + std::string(near) + "'?";
  }
  return text;
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

}  // namespace

std::optional<EntityName> EntityName::parse(std::string_view text) {
  const auto dot = text.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view type = text.substr(0, dot);
  const std::string_view id = text.substr(dot + 1);
  if (!is_name_word(type) || !is_name_word(id)) return std::nullopt;
  return EntityName{std::string(type), std::string(id)};
}

Config::Config(EntityName name, std::string cluster)
    : name_(std::move(name)), cluster_(std::move(cluster)) {
  MutexLock lock(mutex_);
  for (const OptionSpec& option : all_options()) {
    auto value = parse_option(option, option.default_value);
    LUNAR_CHECK(value.has_value(), option.name.data());  // the table is wrong
    values_.push_back({*std::move(value), std::string(option.default_value), "default", 0});
  }
}

Config::~Config() {
  MutexLock lock(observers_mutex_);
  LUNAR_CHECK(observers_.empty(), "an observer outlives its Config");
}

Outcome<void> Config::load(const std::string& path) {
  if (!path.empty()) return load_file(path);
  if (const char* from_environment = ::secure_getenv("LUNAR_CONF");
      from_environment != nullptr && *from_environment != '\0') {
    return load_file(from_environment);
  }
  std::vector<std::string> candidates = {"/etc/lunar/" + cluster_ + ".conf"};
  if (const std::string home = home_folder(); !home.empty()) {
    candidates.push_back(home + "/.lunar/config");
  }
  candidates.push_back("./" + cluster_ + ".conf");
  for (const std::string& candidate : candidates) {
    if (exists(candidate)) return load_file(candidate);
  }
  return {};
}

Outcome<void> Config::load_file(const std::string& path) {
  const auto text = read_file(path, kMaxFileBytes);
  if (!text) {
    return failure(text.error().code, "configuration file " + text.error().message);
  }
  if (auto loaded = load_text(*text, path); !loaded) return loaded;
  MutexLock lock(mutex_);
  file_ = path;
  return {};
}

Outcome<void> Config::load_text(std::string_view text, const std::string& origin) {
  const auto entries = parse_ini(text, origin);
  if (!entries) return failure(entries.error());
  for (const IniEntry& entry : *entries) {
    const std::string where = origin + ":" + std::to_string(entry.line);
    const OptionSpec* option = find_option(canonical_option_name(entry.name));
    if (option == nullptr) {
      MutexLock lock(mutex_);
      warnings_.push_back(where + ": " + unknown_option(entry.name));
      continue;
    }
    const int rank = section_rank(entry.section, name_);
    if (rank == 0) continue;
    if (auto applied = apply(*option, entry.value, rank, where); !applied) {
      return failure(applied.error().code, where + ": " + applied.error().message);
    }
  }
  return {};
}

Outcome<void> Config::set(std::string_view name, std::string_view value) {
  const OptionSpec* option = find_option(canonical_option_name(name));
  if (option == nullptr) return failure(std::errc::invalid_argument, unknown_option(name));
  const bool is_runtime = (option->flags & kOptionRuntime) != 0;
  {
    MutexLock lock(mutex_);
    if (is_frozen_ && !is_runtime) {
      return failure(std::errc::operation_not_permitted,
                     "option '" + std::string(option->name) +
                         "' is read at start only; put it into the configuration file and restart");
    }
  }
  if (auto applied = apply(*option, value, kOverrideRank, "override"); !applied) return applied;
  if (!is_runtime) return {};
  MutexLock lock(observers_mutex_);
  const auto index = static_cast<std::size_t>(option - all_options().data());
  for (Watch& watch : observers_) {
    if (watch.index == index) watch.on_change(*this);
  }
  return {};
}

Outcome<void> Config::apply(const OptionSpec& option, std::string_view value, int rank,
                            std::string source) {
  auto parsed = parse_option(option, value);
  if (!parsed) return failure(parsed.error());
  MutexLock lock(mutex_);
  Setting& current = values_[static_cast<std::size_t>(&option - all_options().data())];
  if (rank < current.rank) return {};  // a more specific section spoke already
  current = {*std::move(parsed), std::string(value), std::move(source), rank};
  return {};
}

void Config::freeze() {
  MutexLock lock(mutex_);
  is_frozen_ = true;
}

std::size_t Config::index_of(std::string_view name) const {
  const OptionSpec* option = find_option(name);
  LUNAR_CHECK(option != nullptr, std::string(name).c_str());
  return static_cast<std::size_t>(option - all_options().data());
}

template <typename T>
T Config::get(std::string_view name, OptionType type) const {
  const std::size_t index = index_of(name);
  LUNAR_CHECK(all_options()[index].type == type, std::string(name).c_str());
  MutexLock lock(mutex_);
  return std::get<T>(values_[index].parsed);
}

std::string Config::get_string(std::string_view name) const {
  const std::size_t index = index_of(name);
  const OptionType type = all_options()[index].type;
  LUNAR_CHECK(type == OptionType::kString || type == OptionType::kChoice,
              std::string(name).c_str());
  MutexLock lock(mutex_);
  return expand_locked(std::get<std::string>(values_[index].parsed), 0);
}

bool Config::get_bool(std::string_view name) const { return get<bool>(name, OptionType::kBool); }
uint64_t Config::get_uint(std::string_view name) const {
  return get<uint64_t>(name, OptionType::kUint);
}
uint64_t Config::get_size(std::string_view name) const {
  return get<uint64_t>(name, OptionType::kSize);
}
std::chrono::nanoseconds Config::get_duration(std::string_view name) const {
  return get<std::chrono::nanoseconds>(name, OptionType::kDuration);
}
double Config::get_double(std::string_view name) const {
  return get<double>(name, OptionType::kDouble);
}
LogLevels Config::get_log_level(std::string_view name) const {
  return get<LogLevels>(name, OptionType::kLogLevel);
}

bool Config::is_set(std::string_view name) const {
  const std::size_t index = index_of(name);
  MutexLock lock(mutex_);
  return values_[index].rank > 0;
}

std::string Config::expand(std::string_view text) const {
  MutexLock lock(mutex_);
  return expand_locked(text, 0);
}

std::string Config::expand_locked(std::string_view text, int depth) const {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto dollar = text.find('$', at);
    out += text.substr(at, dollar - at);
    if (dollar == std::string_view::npos) break;
    std::size_t first = dollar + 1;
    const bool braced = first < text.size() && text[first] == '{';
    if (braced) ++first;
    std::size_t end = first;
    while (end < text.size() && is_variable_char(text[end])) ++end;
    const std::string_view variable = text.substr(first, end - first);
    const bool closed = !braced || (end < text.size() && text[end] == '}');
    at = braced && closed ? end + 1 : end;
    const auto value = closed ? variable_locked(variable, depth) : std::nullopt;
    out += value ? *value : std::string(text.substr(dollar, at - dollar));
  }
  return out;
}

std::optional<std::string> Config::variable_locked(std::string_view variable, int depth) const {
  if (variable == "name") return name_.to_string();
  if (variable == "type") return name_.type;
  if (variable == "id") return name_.id;
  if (variable == "cluster") return cluster_;
  if (variable == "pid") return std::to_string(::getpid());
  if (variable == "home") return home_folder();
  const OptionSpec* option = find_option(variable);
  if (option == nullptr || option->type != OptionType::kString || depth >= kMaxExpandDepth) {
    return std::nullopt;
  }
  const auto index = static_cast<std::size_t>(option - all_options().data());
  return expand_locked(std::get<std::string>(values_[index].parsed), depth + 1);
}

Config::Shown Config::shown_locked(std::size_t index) const {
  const OptionSpec& option = all_options()[index];
  const Setting& value = values_[index];
  return {std::string(option.name), displayed_value(option, value.text), value.source,
          displayed_value(option, option.default_value)};
}

std::vector<Config::Shown> Config::show() const {
  std::vector<Shown> shown;
  MutexLock lock(mutex_);
  for (std::size_t i = 0; i < values_.size(); ++i) shown.push_back(shown_locked(i));
  return shown;
}

Outcome<Config::Shown> Config::show(std::string_view name) const {
  const OptionSpec* option = find_option(canonical_option_name(name));
  if (option == nullptr) return failure(std::errc::invalid_argument, unknown_option(name));
  MutexLock lock(mutex_);
  return shown_locked(static_cast<std::size_t>(option - all_options().data()));
}

std::string Config::file() const {
  MutexLock lock(mutex_);
  return file_;
}

std::vector<std::string> Config::warnings() const {
  MutexLock lock(mutex_);
  return warnings_;
}

Config::Observer Config::observe(std::string_view name, OnChange on_change) {
  const std::size_t index = index_of(name);
  LUNAR_CHECK((all_options()[index].flags & kOptionRuntime) != 0,
              "an option that cannot change is observed");
  MutexLock lock(observers_mutex_);
  observers_.push_back({index, std::move(on_change)});
  return {this, std::prev(observers_.end())};
}

Config::Observer::Observer(Observer&& other) noexcept
    : config_(std::exchange(other.config_, nullptr)), watch_(other.watch_) {}

Config::Observer& Config::Observer::operator=(Observer&& other) noexcept {
  if (this != &other) {
    end();
    config_ = std::exchange(other.config_, nullptr);
    watch_ = other.watch_;
  }
  return *this;
}

Config::Observer::~Observer() { end(); }

void Config::Observer::end() {
  if (config_ == nullptr) return;
  MutexLock lock(config_->observers_mutex_);
  config_->observers_.erase(watch_);
  config_ = nullptr;
}

}  // namespace lunar
