// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/commands.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/e2e/iscsi_load/pattern.h"

namespace lunar::iscsi_load {
namespace {

using Json = nlohmann::ordered_json;

struct Prepared {
  Command command;
  std::string problem;
  // Adds the decoded reply; can be empty.
  std::function<void(Json&, std::span<const std::byte>)> explain = nullptr;
};

Prepared problem(std::string text) { return {{}, std::move(text)}; }

std::string to_hex(std::span<const std::byte> bytes, size_t limit) {
  std::string text;
  char digits[3];
  for (std::byte byte : bytes.first(std::min(bytes.size(), limit))) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(byte));
    text += digits;
  }
  return text;
}

std::string to_text(std::span<const std::byte> bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) text.pop_back();
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

// A number in decimal or with 0x; nothing if the text is not a number.
std::optional<uint64_t> to_number(const std::string& text) {
  char* end = nullptr;
  uint64_t value = std::strtoull(text.c_str(), &end, 0);
  if (text.empty() || *end != '\0') return std::nullopt;
  return value;
}

// Fills with a repeated byte, or with what the verify mode writes for a seed and a generation.
bool fill(const std::string& pattern, const CommandOptions& options, std::span<std::byte> into) {
  if (pattern == "zero") return std::memset(into.data(), 0, into.size()), true;
  if (pattern.compare(0, 4, "gen:") == 0) {
    size_t colon = pattern.find(':', 4);
    if (colon == std::string::npos) return false;
    auto seed = to_number(pattern.substr(4, colon - 4));
    auto generation = to_number(pattern.substr(colon + 1));
    if (!seed || !generation || *generation > kMaxGeneration) return false;
    Pattern(*seed, options.block_bytes).fill(options.lba, static_cast<Content>(*generation), into);
    return true;
  }
  auto byte = to_number(pattern);
  if (!byte || *byte > 0xff) return false;
  std::memset(into.data(), static_cast<int>(*byte), into.size());
  return true;
}

// The payload of a writing command, `num_bytes` long, from --in or --pattern. Null if impossible.
std::shared_ptr<Buffer> payload(const CommandOptions& options, size_t num_bytes) {
  auto buffer = std::make_shared<Buffer>(num_bytes);
  if (options.in_file.empty()) {
    bool is_filled = fill(options.pattern, options, buffer->span());
    return is_filled ? buffer : nullptr;
  }
  std::ifstream file(options.in_file, std::ios::binary);
  file.read(reinterpret_cast<char*>(buffer->data()), static_cast<std::streamsize>(num_bytes));
  return static_cast<size_t>(file.gcount()) == num_bytes ? buffer : nullptr;
}

constexpr char kNoPayload[] = "--pattern BYTE|zero|gen:SEED:GENERATION or a long enough --in FILE";

void explain_inquiry(Json& json, std::span<const std::byte> reply) {
  if (reply.size() < 36) return;
  json["device_type"] = static_cast<unsigned>(reply[0]) & 0x1f;
  json["vendor"] = to_text(reply.subspan(8, 8));
  json["product"] = to_text(reply.subspan(16, 16));
  json["revision"] = to_text(reply.subspan(32, 4));
}

void explain_block_limits(Json& json, std::span<const std::byte> page) {
  json["max_compare_and_write"] = get_be(&page[5], 1);
  json["optimal_granularity"] = get_be(&page[6], 2);
  json["max_transfer"] = get_be(&page[8], 4);
  json["optimal_transfer"] = get_be(&page[12], 4);
  if (page.size() < 44) return;
  json["max_unmap_lba_count"] = get_be(&page[20], 4);
  json["max_unmap_descriptors"] = get_be(&page[24], 4);
  json["optimal_unmap_granularity"] = get_be(&page[28], 4);
  json["unmap_granularity_alignment"] = get_be(&page[32], 4);
  json["max_write_same"] = get_be(&page[36], 8);
}

void explain_device_ids(Json& json, std::span<const std::byte> page) {
  Json ids = Json::array();
  auto rest = page.subspan(4);
  while (rest.size() >= 4 && rest.size() >= 4 + static_cast<size_t>(rest[3])) {
    auto id = rest.subspan(4, static_cast<size_t>(rest[3]));
    bool is_binary = (static_cast<unsigned>(rest[0]) & 0x0f) == 1;
    ids.push_back({{"type", static_cast<unsigned>(rest[1]) & 0x0f},
                   {"association", static_cast<unsigned>(rest[1]) >> 4 & 3},
                   {"id", is_binary ? to_hex(id, id.size()) : to_text(id)}});
    rest = rest.subspan(4 + id.size());
  }
  json["designators"] = ids;
}

void explain_vpd(Json& json, std::span<const std::byte> page) {
  if (page.size() < 4) return;
  switch (static_cast<unsigned>(page[1])) {
    case 0x80:
      json["serial"] = to_text(page.subspan(4));
      break;
    case 0x83:
      explain_device_ids(json, page);
      break;
    case 0xb0:
      if (page.size() >= 16) explain_block_limits(json, page);
      break;
    case 0xb2:
      if (page.size() < 8) break;
      json["unmap"] = (static_cast<unsigned>(page[5]) & 0x80) != 0;
      json["write_same_unmap"] = (static_cast<unsigned>(page[5]) & 0x40) != 0;
      json["provisioning_type"] = static_cast<unsigned>(page[6]) & 7;
      break;
    default:
      break;
  }
}

void explain_capacity(Json& json, std::span<const std::byte> reply) {
  if (reply.size() < 32) return;
  uint64_t num_blocks = get_be(&reply[0], 8) + 1;
  json["num_blocks"] = num_blocks;
  json["block_bytes"] = get_be(&reply[8], 4);
  json["bytes"] = num_blocks * get_be(&reply[8], 4);
  json["thin"] = (static_cast<unsigned>(reply[14]) & 0x80) != 0;
  json["unmapped_reads_zero"] = (static_cast<unsigned>(reply[14]) & 0x40) != 0;
}

void explain_lba_status(Json& json, std::span<const std::byte> reply) {
  static constexpr const char* kStates[] = {"mapped", "deallocated", "anchored"};
  Json extents = Json::array();
  for (size_t at = 8; at + 16 <= reply.size() && at + 16 <= get_be(&reply[0], 4) + 4; at += 16) {
    unsigned state = static_cast<unsigned>(reply[at + 12]) & 0x0f;
    extents.push_back({{"lba", get_be(&reply[at], 8)},
                       {"blocks", get_be(&reply[at + 8], 4)},
                       {"state", state < 3 ? kStates[state] : "unknown"}});
  }
  json["extents"] = extents;
}

Prepared prepare_inquiry(const CommandOptions&) {
  return {inquiry(std::nullopt, 96), "", explain_inquiry};
}
Prepared prepare_vpd(const CommandOptions& options) {
  auto page = options.arguments.empty() ? std::nullopt : to_number(options.arguments[0]);
  if (!page || *page > 0xff) return problem("vpd needs a page, such as 0xb0");
  return {inquiry(static_cast<uint8_t>(*page), 255), "", explain_vpd};
}
Prepared prepare_read(const CommandOptions& options) {
  auto buffer = std::make_shared<Buffer>(options.num_blocks * options.block_bytes);
  RwFlags flags{.fua = options.fua};
  return {read16(options.lba, static_cast<uint32_t>(options.num_blocks), buffer, flags), ""};
}
Prepared prepare_write(const CommandOptions& options) {
  auto data = payload(options, options.num_blocks * options.block_bytes);
  if (!data) return problem(kNoPayload);
  RwFlags flags{.fua = options.fua};
  return {write16(options.lba, static_cast<uint32_t>(options.num_blocks), data, flags), ""};
}
Prepared prepare_verify(const CommandOptions& options) {
  std::shared_ptr<Buffer> data;
  if (!options.in_file.empty() || !options.pattern.empty()) {
    data = payload(options, options.num_blocks * options.block_bytes);
    if (!data) return problem(kNoPayload);
  }
  return {verify16(options.lba, static_cast<uint32_t>(options.num_blocks), data), ""};
}
Prepared prepare_or_write(const CommandOptions& options) {
  auto data = payload(options, options.num_blocks * options.block_bytes);
  if (!data) return problem(kNoPayload);
  return {or_write16(options.lba, static_cast<uint32_t>(options.num_blocks), data), ""};
}
Prepared prepare_write_same(const CommandOptions& options) {
  auto block = payload(options, options.block_bytes);
  if (!block) return problem(kNoPayload);
  auto num_blocks = static_cast<uint32_t>(options.num_blocks);
  return {write_same16(options.lba, num_blocks, block, options.unmap_bit), ""};
}
Prepared prepare_unmap(const CommandOptions& options) {
  UnmapRange range{options.lba, static_cast<uint32_t>(options.num_blocks)};
  return {unmap({&range, 1}), ""};
}
Prepared prepare_sync(const CommandOptions& options) {
  bool is_whole = options.num_blocks == 1 && options.lba == 0;
  auto num_blocks = static_cast<uint32_t>(is_whole ? 0 : options.num_blocks);
  return {synchronize_cache16(options.lba, num_blocks), ""};
}
Prepared prepare_compare_and_write(const CommandOptions& options) {
  if (options.num_blocks > 255) return problem("caw takes at most 255 blocks");
  size_t half = options.num_blocks * options.block_bytes;
  auto data = payload(options, half);
  auto both = std::make_shared<Buffer>(2 * half);
  if (!data) return problem(kNoPayload);
  if (!fill(options.expect, options, both->span().first(half))) {
    return problem("caw needs --expect, as --pattern");
  }
  std::memcpy(both->data() + half, data->data(), half);
  auto num_blocks = static_cast<uint8_t>(options.num_blocks);
  return {compare_and_write(options.lba, num_blocks, both, {.fua = options.fua}), ""};
}
Prepared prepare_raw(const CommandOptions& options) {
  if (options.arguments.empty()) return problem("raw needs the CDB in hex");
  const std::string& hex = options.arguments[0];
  Command command;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    auto byte = to_number("0x" + hex.substr(i, 2));
    if (!byte) return problem("'" + hex + "' is not hex");
    command.cdb.push_back(static_cast<uint8_t>(*byte));
  }
  if (hex.size() % 2 != 0 || command.cdb.size() < 6 || command.cdb.size() > 16) {
    return problem("a CDB has 6 to 16 bytes");
  }
  if (options.in_bytes) {
    command.direction = Direction::kRead;
    command.data = std::make_shared<Buffer>(*options.in_bytes);
  } else if (!options.in_file.empty()) {
    std::ifstream file(options.in_file, std::ios::binary | std::ios::ate);
    if (!file) return problem("cannot read " + options.in_file);
    command.direction = Direction::kWrite;
    command.data = payload(options, static_cast<size_t>(file.tellg()));
    if (!command.data) return problem("cannot read " + options.in_file);
  }
  return {command, ""};
}

using Prepare = Prepared (*)(const CommandOptions&);

const std::map<std::string, Prepare>& table() {
  static const std::map<std::string, Prepare> kTable = {
      {"tur",
       [](const CommandOptions&) {
         return Prepared{test_unit_ready(), ""};
       }},
      {"inquiry", prepare_inquiry},
      {"vpd", prepare_vpd},
      {"readcap",
       [](const CommandOptions&) {
         return Prepared{read_capacity16(), "", explain_capacity};
       }},
      {"read", prepare_read},
      {"write", prepare_write},
      {"verify", prepare_verify},
      {"orwrite", prepare_or_write},
      {"writesame", prepare_write_same},
      {"unmap", prepare_unmap},
      {"sync", prepare_sync},
      {"caw", prepare_compare_and_write},
      {"prefetch",
       [](const CommandOptions& options) {
         return Prepared{prefetch16(options.lba, static_cast<uint32_t>(options.num_blocks)), ""};
       }},
      {"get-lba-status",
       [](const CommandOptions& options) {
         return Prepared{get_lba_status(options.lba, 24 + 64 * 16), "", explain_lba_status};
       }},
      {"raw", prepare_raw},
  };
  return kTable;
}

Json to_json(const Completion& completion) {
  Json json;
  json["status"] =
      completion.end == End::kAnswered ? status_name(completion.status) : completion.to_string();
  json["status_code"] = completion.end == End::kAnswered ? completion.status : -1;
  json["transferred"] = completion.transferred;
  if (completion.status == kCheckCondition) {
    const Sense& sense = completion.sense;
    json["sense"] = {{"key", sense.key},
                     {"key_name", sense_key_name(sense.key)},
                     {"asc", sense.asc},
                     {"ascq", sense.ascq},
                     {"information", sense.information ? Json(*sense.information) : Json()},
                     {"raw", to_hex(std::as_bytes(std::span(sense.raw)), 252)}};
  }
  return json;
}

Json failure(const Prepared& prepared, const CommandOptions& options, const Completion& completion,
             std::string& problem) {
  Json json = {{"command", options.name}};
  json.update(to_json(completion));
  if (!completion.is_good() || prepared.command.direction != Direction::kRead) return json;
  auto reply = prepared.command.data->span().first(completion.transferred);
  constexpr size_t kMaxHexBytes = 1100;
  json["data"] = to_hex(reply, kMaxHexBytes);
  if (prepared.explain) prepared.explain(json, reply);
  if (!options.out_file.empty()) {
    std::ofstream file(options.out_file, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(reply.data()),
               static_cast<std::streamsize>(reply.size()));
    file.close();
    if (!file) problem = "cannot write " + options.out_file;
  }
  return json;
}

}  // namespace

std::string command_names() {
  std::string names;
  for (const auto& [name, prepare] : table()) names += name + ", ";
  return names + "reset lun";
}

int run_command(const Endpoint& endpoint, const SessionOptions& session_options,
                const CommandOptions& options) {
  bool is_reset = options.name == "reset";
  Prepared prepared;
  if (is_reset) {
    if (options.arguments != std::vector<std::string>{"lun"}) prepared = problem("reset lun");
  } else if (auto found = table().find(options.name); found != table().end()) {
    prepared = found->second(options);
  } else {
    prepared = problem("no command '" + options.name + "'; there are " + command_names());
  }
  if (!prepared.problem.empty()) {
    std::fprintf(stderr, "%s\n", prepared.problem.c_str());
    return 2;
  }

  PollLoop loop;
  Session session(loop, endpoint, std::random_device{}(), session_options);
  bool is_done = false;
  int code = 2;
  std::string trouble;
  auto finish = [&] { session.logout([&] { is_done = true; }); };
  session.connect([&](const std::string& why) {
    if (!why.empty()) {
      trouble = why;
      is_done = true;
    } else if (is_reset) {
      session.reset_lun([&](int response) {
        std::printf("%s\n",
                    Json({{"command", "reset lun"}, {"response", response}}).dump().c_str());
        code = response == 0 ? 0 : response > 0 ? 1 : 2;
        finish();
      });
    } else {
      session.submit(prepared.command, [&](const Completion& completion) {
        std::printf("%s\n", failure(prepared, options, completion, trouble).dump().c_str());
        code = completion.is_good() ? 0 : completion.end == End::kAnswered ? 1 : 2;
        finish();
      });
    }
  });
  loop.run_until([&] { return is_done; });
  if (!trouble.empty()) {
    std::fprintf(stderr, "%s\n", trouble.c_str());
    return 2;
  }
  return code;
}

}  // namespace lunar::iscsi_load
