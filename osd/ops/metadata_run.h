// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <vector>

#include "osd/ops/client_op.h"
#include "osd/ops/op_environment.h"

namespace lunar::osd {

// The changing steps of a vector on a metadata object: applied to a copy of it in memory, which
// then replaces the object durably and all at once.
// Loop-bound. Owned by its OpRun.
class MetadataRun {
 public:
  using Done = InlineFunction<void(OsdErrc)>;
  // `first_step` is the first that changes, `data_offset` where its data begins.
  MetadataRun(const OpEnvironment& environment, const ClientOp& op, std::size_t first_step,
              std::size_t data_offset, Done done);
  void start();

 private:
  bool needs_content() const noexcept;
  void load_size();
  void load(uint64_t size);
  OsdErrc apply();
  OsdErrc apply(const SubOp& step, ConstBytes data);
  void resize(uint64_t size) { content_.resize(size); }
  void change();
  void store_content();
  void finish(OsdErrc error);

  const OpEnvironment& env_;
  const ClientOp& op_;
  const std::size_t first_step_;
  const std::size_t data_offset_;
  Done done_;
  bool exists_ = false;
  std::vector<std::byte> content_;
  ConstBytes whole_;  // the last step's data, if that is a WRITEFULL: used as it is
  bool is_whole_ = false;
};

}  // namespace lunar::osd
