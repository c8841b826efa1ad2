// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/inline_function.h"
#include "common/mutex.h"
#include "common/options.h"
#include "common/result.h"

namespace lunar {

// Who a program is: "client.admin", "osd.0". Chooses the sections of the file that apply, and the
// key.
struct EntityName {
  std::string type = "client";
  std::string id = "admin";

  // "TYPE.ID"; neither part empty, no spaces, slashes or brackets, 64 bytes each at most.
  static std::optional<EntityName> parse(std::string_view text);
  std::string to_string() const { return type + "." + id; }
  bool operator==(const EntityName&) const = default;
};

// The values of all options (options.h), in layers: default, file, override; a later one wins.
// Thread-safe; getters take a lock, so code on the path of an IO copies what it needs when it
// starts. Owns its values; after freeze() only options marked runtime can change.
class Config {
 public:
  explicit Config(EntityName name = {}, std::string cluster = "lunar");
  ~Config();
  Config(const Config&) = delete;
  Config& operator=(const Config&) = delete;

  const EntityName& name() const noexcept { return name_; }
  const std::string& cluster() const noexcept { return cluster_; }

  // Reads the first that there is of: `path` if not empty (then it must exist), $LUNAR_CONF,
  // /etc/lunar/$cluster.conf, ~/.lunar/config, ./$cluster.conf. Finding none is success. In a
  // set-uid or capability-raised program the environment is not looked at.
  Outcome<void> load(const std::string& path = {});
  // ceph.conf grammar. Sections [global], [TYPE] and [TYPE.ID] apply, the most specific wins
  // whatever its place. Unknown options become warnings(); a bad value is an error with file and
  // line.
  Outcome<void> load_file(const std::string& path);
  Outcome<void> load_text(std::string_view text, const std::string& origin);

  // The top layer: command line, bsopts, admin socket. An unknown name is an error that offers the
  // nearest one. After freeze() an option that is not runtime-settable is refused.
  Outcome<void> set(std::string_view name, std::string_view value);
  // Ends the start-up phase.
  void freeze();

  // The typed value. REQUIRES: `name` is in the table, with that type.
  std::string get_string(std::string_view name) const;  // strings and choices, $variables expanded
  bool get_bool(std::string_view name) const;
  uint64_t get_uint(std::string_view name) const;
  uint64_t get_size(std::string_view name) const;  // bytes
  std::chrono::nanoseconds get_duration(std::string_view name) const;
  double get_double(std::string_view name) const;
  LogLevels get_log_level(std::string_view name) const;
  // True if the file or an override gave it, even with the default's value.
  bool is_set(std::string_view name) const;

  // $name $type $id $cluster $pid $home, and $any_string_option; ${…} too. Unknown ones stay as
  // they are.
  std::string expand(std::string_view text) const;

  struct Shown {
    std::string name;
    std::string value;   // "(hidden)" for secrets
    std::string source;  // "default", "/etc/lunar/lunar.conf:12", "override"
    std::string default_value;
  };
  std::vector<Shown> show() const;                   // every option, in the table's order
  Outcome<Shown> show(std::string_view name) const;  // an unknown name is an error
  // The file that was read; empty if none. Sentences about it that are worth a log line.
  std::string file() const;
  std::vector<std::string> warnings() const;

  // Calls on_change after each set() of a runtime option, on the thread that called set(), until
  // the handle is destroyed (which waits for a call in progress). on_change may get values and
  // post; it must not call set() or observe(). The Config outlives the handle.
  class Observer;
  using OnChange = InlineFunction<void(const Config&)>;
  [[nodiscard]] Observer observe(std::string_view name, OnChange on_change);

 private:
  struct Value {
    OptionValue parsed;
    std::string text;
    std::string source;
    int rank = 0;  // default 0, [global] 1, [TYPE] 2, [TYPE.ID] 3, override 4
  };
  struct Watch {
    std::size_t index;
    OnChange on_change;
  };

  std::size_t index_of(std::string_view name) const;  // REQUIRES: in the table
  template <typename T>
  T get(std::string_view name, OptionType type) const;
  Outcome<void> apply(const OptionSpec& option, std::string_view value, int rank,
                      std::string source) EXCLUDES(mutex_);
  std::string expand_locked(std::string_view text, int depth) const REQUIRES(mutex_);
  std::optional<std::string> variable_locked(std::string_view variable, int depth) const
      REQUIRES(mutex_);
  Shown shown_locked(std::size_t index) const REQUIRES(mutex_);

  const EntityName name_;
  const std::string cluster_;
  mutable Mutex mutex_;
  std::vector<Value> values_ GUARDED_BY(mutex_);  // one per row of the table
  std::vector<std::string> warnings_ GUARDED_BY(mutex_);
  std::string file_ GUARDED_BY(mutex_);
  bool frozen_ GUARDED_BY(mutex_) = false;
  Mutex observers_mutex_;  // held while observers run; taken before mutex_
  std::list<Watch> observers_ GUARDED_BY(observers_mutex_);
};

// Ends an observation when destroyed. Move-only.
class Config::Observer {
 public:
  Observer() noexcept = default;
  Observer(Observer&& other) noexcept;
  Observer& operator=(Observer&& other) noexcept;
  ~Observer();

 private:
  friend class Config;
  Observer(Config* config, std::list<Watch>::iterator watch) : config_(config), watch_(watch) {}
  void end();

  Config* config_ = nullptr;
  std::list<Watch>::iterator watch_{};
};

}  // namespace lunar
