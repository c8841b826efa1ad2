// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <fstream>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace lunar::test {
namespace {

constexpr const char* kHeader = "lunar-history 1";
constexpr std::array<std::string_view, 8> kCommands = {
    "read",   "write", "flush", "discard", "write_same", "write_zeroes", "compare_and_write",
    "orwrite"};
constexpr std::array<std::string_view, 5> kOutcomes = {"good", "failed", "unknown", "lost",
                                                       "miscompare"};

std::string to_text(const std::vector<ContentId>& ids) {
  std::string text;
  for (std::size_t i = 0; i < ids.size();) {
    std::size_t end = i + 1;
    while (end < ids.size() && ids[end] == ids[i]) ++end;
    if (!text.empty()) text += ',';
    text += std::to_string(ids[i]);
    if (end - i > 1) text += fmt::format("*{}", end - i);
    i = end;
  }
  return text;
}

// Words of a line, and then the rest. After the first thing that is wrong, ok() is false.
class Line {
 public:
  explicit Line(std::string_view text) : text_(text) {}

  std::string_view word() {
    const std::size_t end = std::min(text_.find(' '), text_.size());
    const std::string_view word = text_.substr(0, end);
    text_.remove_prefix(std::min(end + 1, text_.size()));
    return word;
  }
  template <typename T>
  T number() {
    return to_number<T>(word());
  }
  template <typename Names>
  std::size_t one_of(const Names& names) {
    const auto found = std::find(names.begin(), names.end(), word());
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
    is_ok_ = false;
    return 0;
  }
  // "KEY CONTENTS", if they come next. At most `limit` of them.
  std::vector<ContentId> contents(std::string_view key, std::size_t limit) {
    std::vector<ContentId> ids;
    if (text_.substr(0, key.size() + 1) != std::string(key) + ' ') return ids;
    word();
    std::string_view list = word();
    while (!list.empty() && is_ok_) {
      const std::size_t end = std::min(list.find(','), list.size());
      const std::string_view item = list.substr(0, end);
      const std::size_t star = std::min(item.find('*'), item.size());
      const auto id = to_number<ContentId>(item.substr(0, star));
      const auto count =
          star < item.size() ? to_number<std::size_t>(item.substr(star + 1)) : std::size_t{1};
      if (count > limit - std::min(limit, ids.size())) is_ok_ = false;
      if (is_ok_) ids.insert(ids.end(), count, id);
      list.remove_prefix(std::min(end + 1, list.size()));
    }
    // A read that found the same everywhere, as written by one content for all.
    if (ids.size() > 1 && std::equal(ids.begin() + 1, ids.end(), ids.begin())) ids.resize(1);
    return ids;
  }
  std::string_view rest() const { return text_; }
  bool ok() const { return is_ok_; }

 private:
  template <typename T>
  T to_number(std::string_view digits) {
    T value{};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) is_ok_ = false;
    return value;
  }
  std::string_view text_;
  bool is_ok_ = true;
};

struct LoggedEvent {
  int64_t time_ns = 0;
  char kind = 0;
  uint32_t section = 0;  // over all files
  uint64_t number = 0;   // op, client or server
  HistoryOp op = {};
  int client = 0;
  HistoryOutcome outcome = HistoryOutcome::kUnknown;
  bool loses = false;
  std::vector<ContentId> read = {};
  std::string text = {};
};

bool fits(const std::vector<ContentId>& ids, uint32_t num_blocks, bool is_needed) {
  return is_needed ? ids.size() == 1 || ids.size() == num_blocks : ids.empty();
}

std::optional<LoggedEvent> parse(const std::string& text, uint32_t section) {
  constexpr std::size_t kMaxBlocks = 1 << 20;
  Line line(text);
  LoggedEvent event;
  event.section = section;
  event.time_ns = line.number<int64_t>();
  const std::string_view kind = line.word();
  if (!line.ok() || kind.size() != 1) return std::nullopt;
  event.kind = kind[0];
  switch (event.kind) {
    case 'i': {
      event.number = line.number<uint64_t>();
      event.client = line.number<int>();
      event.op.command = static_cast<HistoryCommand>(line.one_of(kCommands));
      event.op.lba = line.number<uint64_t>();
      event.op.num_blocks = line.number<uint32_t>();
      event.op.fua = line.number<int>() != 0;
      event.op.ids = line.contents("w", kMaxBlocks);
      event.op.compared = line.contents("c", kMaxBlocks);
      const bool is_silent = event.op.command == HistoryCommand::kDiscard ||
                             event.op.command == HistoryCommand::kWriteZeroes;
      const bool writes = event.op.command != HistoryCommand::kRead &&
                          event.op.command != HistoryCommand::kFlush && !is_silent;
      const bool compares = event.op.command == HistoryCommand::kCompareAndWrite;
      if (is_silent) event.op.ids.clear();
      if (!fits(event.op.ids, event.op.num_blocks, writes)) return std::nullopt;
      if (!fits(event.op.compared, event.op.num_blocks, compares)) return std::nullopt;
      break;
    }
    case 'c':
      event.number = line.number<uint64_t>();
      event.outcome = static_cast<HistoryOutcome>(line.one_of(kOutcomes));
      event.read = line.contents("r", kMaxBlocks);
      break;
    case 'x':
    case 'd':
      event.number = line.number<uint64_t>();
      break;
    case 'X':
      event.number = line.number<uint64_t>();
      event.text = line.rest();
      break;
    case 's':
      event.number = line.number<uint64_t>();
      event.loses = line.number<int>() != 0;
      break;
    case 'p':
    case 'b':
    case 'n':
      event.text = line.rest();
      break;
    case 'e':
      break;
    default:
      return std::nullopt;
  }
  if (!line.ok()) return std::nullopt;
  return event;
}

// Puts events into a history; false for one that does not fit those before.
class Replay {
 public:
  bool put(LoggedEvent& event) {
    history_.set_time(event.time_ns);
    const auto number = static_cast<int>(event.number);
    switch (event.kind) {
      case 'i':
        return handles_[event.section]
            .emplace(event.number, history_.invoke(event.client, std::move(event.op)))
            .second;
      case 'c': {
        const History::Op* op = find(event);
        if (!op || op->ended != History::kNever) return false;
        const bool reads =
            op->command == HistoryCommand::kRead && event.outcome == HistoryOutcome::kGood;
        if (!fits(event.read, op->num_blocks, reads)) return false;
        history_.complete(handle(event), event.outcome, std::move(event.read));
        return true;
      }
      case 'x':
        if (!find(event)) return false;
        history_.close_window(handle(event));
        return true;
      case 'X':
        history_.close_windows(number, event.text);
        return true;
      case 'd':
        history_.client_died(number);
        return true;
      case 's':
        history_.server_crashed(number, event.loses);
        return true;
      case 'p':
        history_.power_cut(event.text);
        return true;
      case 'b':
        history_.begin_loss(event.text);
        return true;
      case 'e':
        history_.end_loss();
        return true;
      default:
        history_.note(event.text);
        return true;
    }
  }
  History take() { return std::move(history_); }

 private:
  History::Handle handle(const LoggedEvent& event) {
    return handles_[event.section].at(event.number);
  }
  const History::Op* find(const LoggedEvent& event) {
    const auto& handles = handles_[event.section];
    const auto found = handles.find(event.number);
    return found == handles.end() ? nullptr : &history_.ops()[found->second];
  }
  History history_;
  std::unordered_map<uint32_t, std::unordered_map<uint64_t, History::Handle>> handles_;
};

}  // namespace

Outcome<std::unique_ptr<HistoryLog>> HistoryLog::create(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (!file) return failure(last_system_error(), path + ": cannot be opened for writing");
  std::setvbuf(file, nullptr, _IOLBF, 1 << 16);
  std::fprintf(file, "%s\n", kHeader);
  return std::unique_ptr<HistoryLog>(new HistoryLog(file));
}

HistoryLog::~HistoryLog() { std::fclose(file_); }

void HistoryLog::put(const std::string& text) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  last_ns_ = std::max(last_ns_ + 1, now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec);
  fmt::print(file_, "{} {}\n", last_ns_, text);
}

HistoryLog::Handle HistoryLog::invoke(int client, const HistoryOp& op) {
  std::string text = fmt::format("i {} {} {} {} {} {}", next_, client,
                                 kCommands[static_cast<std::size_t>(op.command)], op.lba,
                                 op.num_blocks, op.fua ? 1 : 0);
  if (!op.ids.empty()) text += " w " + to_text(op.ids);
  if (!op.compared.empty()) text += " c " + to_text(op.compared);
  put(text);
  return next_++;
}

void HistoryLog::complete(Handle handle, HistoryOutcome outcome,
                          const std::vector<ContentId>& read) {
  std::string text = fmt::format("c {} {}", handle, kOutcomes[static_cast<std::size_t>(outcome)]);
  if (!read.empty()) text += " r " + to_text(read);
  put(text);
}

void HistoryLog::close_window(Handle handle) { put(fmt::format("x {}", handle)); }
void HistoryLog::close_windows(int client, const std::string& why) {
  put(fmt::format("X {}{}{}", client, why.empty() ? "" : " ", why));
}
void HistoryLog::note(const std::string& text) { put("n " + text); }

Outcome<History> read_histories(const std::vector<std::string>& paths) {
  std::vector<LoggedEvent> events;
  uint32_t section = 0;
  for (const std::string& path : paths) {
    std::ifstream file(path);
    std::string line;
    std::size_t number = 0;
    while (std::getline(file, line)) {
      ++number;
      if (line == kHeader) {
        ++section;
        continue;
      }
      std::optional<LoggedEvent> event = parse(line, section);
      if (!event || section == 0) {
        // A process that was killed may leave half a line at the end.
        if (file.eof() && section != 0) break;
        return failure(std::errc::invalid_argument,
                       fmt::format("{}:{}: is no event of a history: '{}'", path, number, line));
      }
      events.push_back(std::move(*event));
    }
    if (number == 0) return failure(std::errc::no_such_file_or_directory, path + ": no history");
  }
  std::stable_sort(events.begin(), events.end(), [](const LoggedEvent& a, const LoggedEvent& b) {
    return a.time_ns != b.time_ns ? a.time_ns < b.time_ns : a.kind == 'i' && b.kind != 'i';
  });
  Replay replay;
  for (LoggedEvent& event : events) {
    const uint64_t number = event.number;
    if (!replay.put(event)) {
      return failure(std::errc::invalid_argument,
                     fmt::format("at {} ns: event '{}' does not fit command {}", event.time_ns,
                                 event.kind, number));
    }
  }
  return replay.take();
}

}  // namespace lunar::test
