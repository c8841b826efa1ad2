// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What reaches the plugin from initiators and from tgtadm: CDBs, UNMAP parameter lists, bsopts. The
// first byte of an input chooses the parser.

#include <algorithm>
#include <string>

#include "bstore_plugin/lun/bs_options.h"
#include "bstore_plugin/scsi/cdb.h"
#include "common/check.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using Buffer = std::vector<std::byte>;

enum Kind : uint8_t { kCdb, kUnmapList, kBsOptions, kKinds };
constexpr std::size_t kLongestCdb = 16;
constexpr uint32_t kMaxDescriptors = 64;

void check_unmap_list(ConstBytes in) {
  if (in.size() < 4) return;
  const auto parameter_bytes = ByteReader(in).get<uint32_t>();
  const Buffer list(in.begin() + 4, in.end());
  const auto ranges = bstore_plugin::parse_unmap_list(list, parameter_bytes, kMaxDescriptors);
  if (!ranges) return;
  LUNAR_CHECK(ranges->size() <= kMaxDescriptors, "more descriptors than are allowed");
  for (const auto& range : *ranges) LUNAR_CHECK(range.num_blocks != 0, "an empty descriptor");
}

void check_bs_options(std::string_view text) {
  const auto options = bstore_plugin::BsOptions::parse(text);
  if (!options)
    LUNAR_CHECK(!options.error().message.empty(), "an error without a sentence");
  else
    LUNAR_CHECK(!options->id.empty() || text.find("id=") != std::string_view::npos,
                "an id that nobody gave");
}

}  // namespace

std::vector<Buffer> seeds() {
  std::vector<Buffer> out;
  constexpr uint8_t kOpCodes[] = {0x08, 0x0a, 0x28, 0x2a, 0x2e, 0x2f, 0x34, 0x35, 0x41, 0x42, 0x88,
                                  0x89, 0x8a, 0x8b, 0x8e, 0x8f, 0x90, 0x91, 0x93, 0x9e, 0xa8, 0xaa};
  for (const uint8_t code : kOpCodes) {
    Buffer cdb(1 + kLongestCdb, std::byte{0});
    cdb[0] = std::byte{kCdb};
    cdb[1] = std::byte{code};
    if (code == 0x9e) cdb[2] = std::byte{0x12};  // GET LBA STATUS
    out.push_back(cdb);
  }
  Buffer unmap;
  ByteWriter w(unmap);
  w.put(kUnmapList);
  w.put(uint32_t{8 + 32});
  for (const int byte : {0, 38, 0, 32, 0, 0, 0, 0}) w.put(static_cast<uint8_t>(byte));
  for (int i = 0; i < 32; ++i) w.put(static_cast<uint8_t>(i % 16 == 11 ? 8 : 0));
  out.push_back(unmap);
  Buffer options(1, std::byte{kBsOptions});
  const auto text =
      as_const_bytes(std::string_view("conf=/tmp/l.conf;id=gw;cluster=l;pool=rbd;lock=shared;a=b"));
  options.insert(options.end(), text.begin(), text.end());
  out.push_back(options);
  return out;
}

void run_one(ConstBytes input) {
  if (input.empty()) return;
  const Buffer rest(input.begin() + 1, input.end());  // a block of its own, for the sanitizer
  switch (static_cast<Kind>(static_cast<uint8_t>(input[0]) % kKinds)) {
    case kCdb:
      bstore_plugin::parse_cdb(rest);
      return;
    case kUnmapList:
      return check_unmap_list(rest);
    case kBsOptions:
      return check_bs_options(as_text(rest));
    case kKinds:
      return;
  }
}

}  // namespace lunar::fuzz
