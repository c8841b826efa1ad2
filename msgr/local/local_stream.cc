// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/local_stream.h"

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "msgr/posix/socket.h"

namespace lunar::msgr::local {
namespace {

using Descriptors = std::array<int, kMaxPerMessage>;
// Room for the most that one recvmsg() of ours takes: the kernel drops more, and says so.
struct alignas(cmsghdr) ControlBytes {
  std::array<char, CMSG_SPACE(sizeof(Descriptors))> bytes;
};

class LocalStream final : public SocketStream {
 public:
  LocalStream(EventCenter& center, UniqueFd fd, const EndAddresses& addresses,
              std::shared_ptr<DescriptorMail> mail)
      : SocketStream(center, std::move(fd)), addresses_(addresses), mail_(std::move(mail)) {
    mail_->set_socket(this->fd());
  }
  ~LocalStream() override { mail_->set_socket(-1); }

  StreamResult send(std::span<const iovec> iovecs) override {
    if (!mail_->has_outgoing()) return SocketStream::send(iovecs);
    Descriptors fds;
    const std::size_t count = mail_->next(fds);
    msghdr message = to_message(iovecs);
    ControlBytes control{};
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), count * sizeof(int));
    const StreamResult result = send_message(fd(), message);
    if (result.bytes > 0) mail_->sent(count);  // they left with the first byte
    return result;
  }

  StreamResult receive(std::span<const iovec> iovecs) override {
    msghdr message = to_message(iovecs);
    ControlBytes control{};
    if (mail_->is_open()) {
      message.msg_control = control.bytes.data();
      message.msg_controllen = control.bytes.size();
    }
    const StreamResult result = receive_message(fd(), message);
    std::vector<UniqueFd> received;
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        take_descriptors(*header, received);
      }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) {
      return StreamResult::failed(std::make_error_code(std::errc::too_many_files_open));
    }
    if (const auto refused = mail_->take(received)) return StreamResult::failed(refused);
    return result;
  }

  Address local_address() const override { return addresses_.local; }
  Address peer_address() const override { return addresses_.peer; }

 private:
  static void take_descriptors(const cmsghdr& header, std::vector<UniqueFd>& out) {
    const std::size_t count = (header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(&header) + i * sizeof(int), sizeof fd);
      out.emplace_back(fd);
    }
  }

  const EndAddresses addresses_;
  const std::shared_ptr<DescriptorMail> mail_;
};

}  // namespace

std::unique_ptr<ByteStream> make_local_stream(EventCenter& center, UniqueFd fd,
                                              const EndAddresses& addresses,
                                              std::shared_ptr<DescriptorMail> mail) {
  return std::make_unique<LocalStream>(center, std::move(fd), addresses, std::move(mail));
}

}  // namespace lunar::msgr::local
