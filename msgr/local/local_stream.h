// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/file.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/local/descriptor_mail.h"
#include "msgr/net/byte_stream.h"

namespace lunar::msgr::local {

// The addresses of the two ends of a link, as sessions want them. A value.
struct EndAddresses {
  Address local;
  Address peer;
};

// A Unix socket as a stream that brings descriptors along. Loop-bound. Owns the socket, shares the
// mail.
std::unique_ptr<ByteStream> make_local_stream(EventCenter& center, UniqueFd fd,
                                              const EndAddresses& addresses,
                                              std::shared_ptr<DescriptorMail> mail);

}  // namespace lunar::msgr::local
