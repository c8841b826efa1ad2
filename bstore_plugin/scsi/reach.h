// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "gateway/image.h"

namespace lunar::bstore_plugin {

// Whether the servers of an image answer, as far as is known without asking: TEST UNIT READY must
// not wait for the network. An IO that nobody answered makes it false. From then on the range of
// that IO is asked for in the background, and when all of it has answered, or an IO within has
// succeeded, it is true again. Asking begins anew when somebody wants to know, so nothing is asked
// of an idle LUN for ever.
//
// On tgtd's thread. Shared with what it asks; holds the image while it does.
class Reach : public std::enable_shared_from_this<Reach> {
 public:
  explicit Reach(std::shared_ptr<gateway::Image> image);

  // The LUN is closed: asks no more, and lets the image go.
  void end();
  // An IO of bytes offset … offset + length has ended; 0 … size for one that concerns the whole
  // image. A success is one for which a server was asked.
  void on_io(const std::error_code& error, uint64_t offset, uint64_t length);
  // As above.
  bool is_reached();

 private:
  // Enough for any transfer, and, of the whole image, for a sample.
  static constexpr int kMaxAsked = 64;  // objects

  void regain();
  void ask();

  std::shared_ptr<gateway::Image> image_;  // null after end()
  bool is_reached_ = true;
  bool is_asking_ = false;
  uint64_t begin_ = 0;  // the range of the IO that was not answered
  uint64_t end_ = 0;
  uint64_t next_ = 0;  // the end of what has answered since
  int asked_ = 0;
  uint64_t io_id_ = 0;  // of what is asked now
};

}  // namespace lunar::bstore_plugin
