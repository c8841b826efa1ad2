// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/rdma_options.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "common/config.h"
#include "common/memlock.h"
#include "msgr/rdma/memory/receive_queue.h"

namespace lunar::msgr::rdma {
namespace {

// The table of options bounds them; this only narrows the type.
template <typename T>
T narrow(uint64_t value) noexcept {
  return static_cast<T>(value);
}

tl::unexpected<Error> invalid(std::string sentence) {
  return failure(std::errc::invalid_argument, std::move(sentence));
}

Outcome<void> read_gid_choice(const Config& config, RdmaOptions& options) {
  const std::string index = config.get_string("ms_async_rdma_gid_idx");
  if (!index.empty()) {
    const auto [end, error] =
        std::from_chars(index.data(), index.data() + index.size(), options.gid_index);
    if (error != std::errc() || end != index.data() + index.size() || options.gid_index < 0) {
      return invalid(fmt::format(
          "ms_async_rdma_gid_idx = {}: not an index of a GID table; `lunar rdma info` lists them",
          index));
    }
  }
  const std::string gid = config.get_string("ms_async_rdma_local_gid");
  if (!gid.empty()) {
    Gid value{};
    if (inet_pton(AF_INET6, gid.c_str(), value.data()) != 1) {
      return invalid(
          fmt::format("ms_async_rdma_local_gid = {}: not a GID such as fe80::1 or "
                      "::ffff:10.0.0.1; `lunar rdma info` lists them",
                      gid));
    }
    options.local_gid = value;
  }
  const std::string version = config.get_string("ms_async_rdma_roce_ver");
  if (version == "0") options.gid_type = GidType::kRoceV1;
  if (version == "2") options.gid_type = GidType::kRoceV2;
  return {};
}

// IB 9.7.6.1.3: 4.096 µs × 2^n, n from 1 to 31.
uint8_t ack_timeout_exponent(std::chrono::nanoseconds wanted) noexcept {
  uint8_t exponent = 1;
  while (exponent < 31 && std::chrono::nanoseconds(4096LL << exponent) < wanted) ++exponent;
  return exponent;
}

}  // namespace

Outcome<RdmaOptions> RdmaOptions::from_config(const Config& config) {
  RdmaOptions options;
  options.limits.max_front_bytes = narrow<uint32_t>(config.get_size("ms_max_front_bytes"));
  options.limits.max_data_bytes = narrow<uint32_t>(config.get_size("ms_max_data_bytes"));
  options.crc_data = config.get_bool("ms_crc_data");

  options.device_name = config.get_string("ms_async_rdma_device_name");
  options.port_num = narrow<uint8_t>(config.get_uint("ms_async_rdma_port_num"));
  if (auto read = read_gid_choice(config, options); !read) {
    return failure(std::move(read.error()));
  }
  options.service_level = narrow<uint8_t>(config.get_uint("ms_async_rdma_sl"));
  options.traffic_class = narrow<uint8_t>(config.get_uint("ms_async_rdma_dscp") << 2);
  options.use_cm = config.get_bool("ms_async_rdma_cm");
  options.may_fall_back = config.get_bool("ms_async_rdma_fallback");
  options.fallback_timeout = config.get_duration("ms_async_rdma_fallback_timeout");

  options.use_srq = config.get_bool("ms_async_rdma_support_srq");
  options.segment_bytes = narrow<uint32_t>(config.get_size("ms_async_rdma_buffer_size"));
  options.receive_buffers = narrow<uint32_t>(config.get_uint("ms_async_rdma_receive_buffers"));
  options.receive_queue_len = narrow<uint32_t>(config.get_uint("ms_async_rdma_receive_queue_len"));
  options.send_buffers = narrow<uint32_t>(config.get_uint("ms_async_rdma_send_buffers"));
  options.send_queue_len = narrow<uint32_t>(config.get_uint("ms_async_rdma_send_queue_len"));
  options.max_read_depth = narrow<uint32_t>(config.get_uint("ms_async_rdma_read_depth"));
  options.fragment_bytes = narrow<uint32_t>(config.get_size("ms_async_rdma_fragment_size"));
  options.use_hugepages = config.get_bool("ms_async_rdma_enable_hugepage");
  options.staging_bytes = config.get_size("ms_async_rdma_staging_bytes");
  options.front_end_bytes = config.get_size("ms_async_rdma_front_end_bytes");
  options.rkey_scope = config.get_string("ms_async_rdma_rkey_scope") == "arena"
                           ? RkeyScope::kArena
                           : RkeyScope::kWindow;
  options.ack_timeout = ack_timeout_exponent(config.get_duration("ms_async_rdma_ack_timeout"));
  options.polling = std::chrono::microseconds(config.get_uint("ms_async_rdma_polling_us"));
  options.drain_timeout = config.get_duration("ms_async_rdma_drain_timeout");

  if (options.use_srq && options.receive_queue_len > options.receive_buffers) {
    return invalid(
        fmt::format("ms_async_rdma_receive_queue_len = {}: more than the {} buffers that "
                    "ms_async_rdma_receive_buffers has for all connections of a thread",
                    options.receive_queue_len, options.receive_buffers));
  }
  if (!BufferBlock::bytes_of(options.send_buffers, options.segment_bytes)) {
    return invalid(fmt::format(
        "ms_async_rdma_send_buffers = {}: of ms_async_rdma_buffer_size = {} they are "
        "more than the {} that a thread can have",
        options.send_buffers, options.segment_bytes, memlock_text(BufferBlock::kLargest)));
  }
  return options;
}

}  // namespace lunar::msgr::rdma
