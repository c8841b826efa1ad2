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
  std::string type = "client";  // client, osd
  std::string id = "admin";     // which of them; of an OSD its number

  // "TYPE.ID"; neither word is empty, no spaces, slashes or brackets, 64 bytes each at most.
  static std::optional<EntityName> parse(std::string_view text);
  // "client.admin": the section of the file, the name in the keyring and on the wire.
  std::string to_string() const { return type + "." + id; }
  auto operator<=>(const EntityName&) const = default;
};

// The values of all options (options.h), in layers: default, file, override; a later one wins.
// Thread-safe; getters take a lock, so code on the path of an IO copies what it needs when it
// starts. Owns its values; after freeze() only options marked runtime can change. Made once per
// program; tests make one per case. A default-constructed one has the table's defaults.
class Config {
 public:
  // `name` chooses the sections that apply, `cluster` the file, and both stand in $variables.
  explicit Config(EntityName name = {}, std::string cluster = "lunar");
  ~Config();  // REQUIRES: no Observer is left
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
  // The same from memory; `origin` stands in errors and in Shown::source for the path.
  Outcome<void> load_text(std::string_view text, const std::string& origin);

  // The top layer: command line, bsopts, admin socket. An unknown name is an error that offers the
  // nearest one. After freeze() an option that is not runtime-settable is refused.
  Outcome<void> set(std::string_view name, std::string_view value);
  // Ends the start: from here on set() takes runtime options alone, and tells observers.
  void freeze();

  // The typed value, within the range that the table gives. REQUIRES: `name` is in the table, with
  // that type: another one is a broken invariant of ours, and ends the program.
  std::string get_string(std::string_view name) const;  // strings and choices, $variables expanded
  bool get_bool(std::string_view name) const;
  uint64_t get_uint(std::string_view name) const;
  uint64_t get_size(std::string_view name) const;  // bytes
  std::chrono::nanoseconds get_duration(std::string_view name) const;
  double get_double(std::string_view name) const;
  LogLevels get_log_level(std::string_view name) const;
  // The file or an override gave it, even with the default's value.
  bool is_set(std::string_view name) const;

  // $name $type $id $cluster $pid $home, and $any_string_option; ${…} too. Unknown ones stay as
  // they are.
  std::string expand(std::string_view text) const;

  // One option as `config show` prints it.
  struct Shown {
    std::string name;
    std::string value;          // "(hidden)" for secrets
    std::string source;         // "default", "/etc/lunar/lunar.conf:12", "override"
    std::string default_value;  // as in the table
  };
  std::vector<Shown> show() const;                   // every option, in the table's order
  Outcome<Shown> show(std::string_view name) const;  // an unknown name is an error
  // The file that was read; empty if none.
  std::string file() const;
  // Sentences about what was read, such as unknown options, each worth a line in the log.
  std::vector<std::string> warnings() const;

  // Calls on_change after each set() of a runtime option, on the thread that called set(), until
  // the handle is destroyed (which waits for a call in progress). on_change may get values and
  // post; it must not call set() or observe(). The Config outlives the handle.
  class Observer;
  using OnChange = InlineFunction<void(const Config&)>;
  [[nodiscard]] Observer observe(std::string_view name, OnChange on_change);

 private:
  // The value in force of one option.
  struct Setting {
    OptionValue parsed;
    std::string text;    // as somebody wrote it
    std::string source;  // as in Shown
    int rank = 0;        // default 0, [global] 1, [TYPE] 2, [TYPE.ID] 3, override 4
  };
  struct Watch {
    std::size_t index;  // row of the table
    OnChange on_change;
  };

  std::size_t index_of(std::string_view name) const;  // REQUIRES: in the table
  template <typename T>
  T get(std::string_view name, OptionType type) const;
  // Parses the value and makes it the one in force, unless one of a higher rank is.
  Outcome<void> apply(const OptionSpec& option, std::string_view value, int rank,
                      std::string source) EXCLUDES(mutex_);
  // `depth` ends variables that name each other in a circle.
  std::string expand_locked(std::string_view text, int depth) const REQUIRES(mutex_);
  std::optional<std::string> variable_locked(std::string_view variable, int depth) const
      REQUIRES(mutex_);
  Shown shown_locked(std::size_t index) const REQUIRES(mutex_);

  const EntityName name_;      // who the program is
  const std::string cluster_;  // "lunar"
  mutable Mutex mutex_;
  std::vector<Setting> values_ GUARDED_BY(mutex_);  // one per row of the table
  std::vector<std::string> warnings_ GUARDED_BY(mutex_);
  std::string file_ GUARDED_BY(mutex_);  // empty: none was read
  bool is_frozen_ GUARDED_BY(mutex_) = false;
  Mutex observers_mutex_;  // held while observers run; taken before mutex_
  // A list: an Observer keeps its iterator.
  std::list<Watch> observers_ GUARDED_BY(observers_mutex_);
};

// Ends an observation when it is destroyed, which waits for a call of its on_change in progress: it
// must not be destroyed in there. Move-only; empty when default-constructed or moved from.
class Config::Observer {
 public:
  Observer() noexcept = default;
  Observer(Observer&& other) noexcept;
  Observer& operator=(Observer&& other) noexcept;
  ~Observer();

 private:
  friend class Config;
  Observer(Config* config, std::list<Watch>::iterator watch) : config_(config), watch_(watch) {}
  void end();  // empty afterwards

  Config* config_ = nullptr;  // null: empty
  std::list<Watch>::iterator watch_{};
};

}  // namespace lunar
