// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A client of a local link that hands over what it should not, or lies about what it has.

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>

#include "msgr/net/outgoing.h"
#include "tests/msgr/local/local_fixture.h"
#include "tests/msgr/local/raw_unix_peer.h"

namespace lunar::msgr::local {
namespace {

UniqueFd memfd_of(std::size_t bytes, int seals) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// Of Linux 6.16 and later.
bool has_pass_rights() {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int off = 0;
  constexpr int kOption = 83;  // SO_PASSRIGHTS
  return setsockopt(fd.get(), SOL_SOCKET, kOption, &off, sizeof off) == 0;
}

void set_linger(const UniqueFd& fd, int seconds) {
  const linger wait{1, seconds};
  EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &wait, sizeof wait), 0);
}

// With bytes that `peer` does not read.
UniqueFd socket_that_lingers(int seconds, UniqueFd& peer) {
  const UniqueFd listening(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage;
  socklen_t length = Address::loopback().to_sockaddr(storage);
  auto* const name = reinterpret_cast<sockaddr*>(&storage);
  EXPECT_EQ(bind(listening.get(), name, length), 0);
  EXPECT_EQ(listen(listening.get(), 1), 0);
  EXPECT_EQ(getsockname(listening.get(), name, &length), 0);
  EXPECT_EQ(::connect(fd.get(), name, length), 0);
  peer = UniqueFd(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const std::vector<char> bytes(1 << 20);
  while (send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) continue;
  set_linger(fd, seconds);
  return fd;
}

class HostilePeerTest : public LocalLinkTest {
 protected:
  // Our server, and a client that is made by hand.
  void accept_raw(bool is_in_session = true) {
    std::unique_ptr<Link> link;
    const auto listener = stack_.listen(
        *center_, Address::loopback(), [&](std::unique_ptr<Link> came) { link = std::move(came); });
    ASSERT_TRUE(listener) << listener.error().message;
    raw_.emplace(RawUnixPeer::connect_to(
        LocalStack::socket_path(stack_.run_dir(), (*listener)->local_address())));
    ASSERT_TRUE(until([&] { return link != nullptr; }));
    if (is_in_session) {
      server_.attach(std::move(link));
    } else {
      handshake_.link = std::move(link);
      handshake_.link->set_handler(&handshake_);
    }
  }
  void expect_refused(const std::vector<int>& fds) {
    raw_->send(fds);
    ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
    EXPECT_TRUE(raw_->is_closed());
    close_all(*center_, {&server_});
    server_.closed.reset();
  }
  // The table, and one region; both are written by hand.
  void hand_over(std::size_t region_bytes) {
    table_fd_ = memfd_of(kKeyTableBytes, kAllSeals);
    region_fd_ = memfd_of(region_bytes, kAllSeals);
    table_ = std::move(*SharedMapping::map(table_fd_, kKeyTableBytes));
    raw_->send({table_fd_.get(), region_fd_.get()}, frame_bytes());
    ASSERT_TRUE(until([&] { return server_.frames.size() == 1; }));
  }
  // A server has read the descriptors that come along when it has the frame.
  static std::string frame_bytes() {
    Frame frame = test_frame(1, "key");
    EXPECT_FALSE(seal_outgoing(frame, FrameLimits(), true));
    std::string bytes(reinterpret_cast<const char*>(&frame.header), sizeof frame.header);
    return bytes += as_text(frame.front);
  }
  RemoteKey publish(const KeyRange& range) {
    const KeyName name{3, 7};
    KeyTable(table_->bytes()).publish(name, range);
    return name.encode(range);
  }

  // What stands for a handshake: it bounds its fronts.
  struct Greeter final : LinkHandler {
    std::unique_ptr<Link> link;
    std::optional<std::error_code> closed;
    Bytes payload_for(const FrameHeader&, ConstBytes) override { return {}; }
    uint32_t max_front_bytes() const noexcept override { return 1024; }
    void on_frame(ReceivedFrame) override {}
    void on_closed(std::error_code why) override { closed = why; }
  };
  Greeter handshake_;
  std::optional<RawUnixPeer> raw_;
  UniqueFd table_fd_, region_fd_;
  std::unique_ptr<SharedMapping> table_;
};

TEST_F(HostilePeerTest, WhatIsNoSealedMemoryEndsTheLink) {
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd zero(open("/dev/zero", O_RDWR | O_CLOEXEC));
  const UniqueFd folder(open(stack_.run_dir().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd file(
      open((stack_.run_dir() + "/file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(ftruncate(file.get(), kKeyTableBytes), 0);
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const UniqueFd unsealed = memfd_of(kKeyTableBytes, 0);
  const UniqueFd shrinks = memfd_of(kKeyTableBytes, F_SEAL_GROW | F_SEAL_SEAL);
  const UniqueFd sealable = memfd_of(kKeyTableBytes, F_SEAL_GROW | F_SEAL_SHRINK);
  const UniqueFd unwritable = memfd_of(kKeyTableBytes, kAllSeals | F_SEAL_WRITE);
  const UniqueFd read_only(
      open(("/proc/self/fd/" + std::to_string(memfd_of(kKeyTableBytes, kAllSeals).get())).c_str(),
           O_RDONLY | O_CLOEXEC));
  const UniqueFd empty = memfd_of(0, kAllSeals);
  const UniqueFd small = memfd_of(4096, kAllSeals);
  const UniqueFd large = memfd_of(2 * kKeyTableBytes, kAllSeals);
  const UniqueFd odd = memfd_of(kKeyTableBytes - 1, kAllSeals);
  for (const UniqueFd* fd : {&null, &zero, &folder, &file, &socket, &unsealed, &shrinks, &sealable,
                             &unwritable, &read_only, &empty, &small, &large, &odd}) {
    if (!*fd) continue;
    SCOPED_TRACE(fd->get());
    accept_raw();
    expect_refused({fd->get()});
  }
  // As the first region, too.
  const UniqueFd table = memfd_of(kKeyTableBytes, kAllSeals);
  const UniqueFd huge = memfd_of(17 * kMiB, kAllSeals);
  for (const UniqueFd* fd : {&null, &unsealed, &empty, &odd, &huge}) {
    accept_raw();
    expect_refused({table.get(), fd->get()});
  }
  connect();  // others are served
}

TEST_F(HostilePeerTest, TooManyDescriptorsEndTheLinkAndNoneStaysOpen) {
  const UniqueFd table = memfd_of(kKeyTableBytes, kAllSeals);
  const UniqueFd region = memfd_of(4096, kAllSeals);
  const auto open_of_this_file = [&] {
    struct stat ours {};
    EXPECT_EQ(fstat(region.get(), &ours), 0);
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) {
      struct stat each {};
      if (fstat(fd, &each) == 0 && each.st_ino == ours.st_ino && each.st_dev == ours.st_dev)
        ++count;
    }
    return count;
  };
  accept_raw();
  expect_refused(std::vector<int>(kMaxPerMessage + 40, region.get()));  // at once
  EXPECT_EQ(open_of_this_file(), 1);

  accept_raw();
  raw_->send({table.get()}, frame_bytes());
  for (uint32_t i = 0; i < kMaxRegions; ++i) raw_->send({region.get()}, frame_bytes());
  ASSERT_TRUE(until([&] { return server_.frames.size() == kMaxRegions + 1; }));
  server_.frames.clear();
  EXPECT_EQ(open_of_this_file(), 1) << "what is mapped is closed";
  expect_refused({region.get()});
  EXPECT_EQ(open_of_this_file(), 1);
}

TEST_F(HostilePeerTest, BeforeASessionNoDescriptorIsTaken) {
  accept_raw(false);
  const UniqueFd table = memfd_of(kKeyTableBytes, kAllSeals);
  const int refused = raw_->try_send({table.get()});
  if (has_pass_rights()) {
    EXPECT_EQ(refused, EPERM);
    raw_->close();  // the link lives on until then
  }
  ASSERT_TRUE(until([&] { return handshake_.closed.has_value(); }));
  if (refused == 0) {
    EXPECT_EQ(*handshake_.closed, std::errc::too_many_files_open);
    EXPECT_TRUE(raw_->is_closed());
  }
  handshake_.link.reset();
}

// Whoever closes the last descriptor of a socket that lingers waits for it.
TEST_F(HostilePeerTest, BeforeASessionNobodyCanMakeTheLoopCloseASocketThatLingers) {
  if (!has_pass_rights()) GTEST_SKIP() << "this kernel is older than SO_PASSRIGHTS";
  UniqueFd nobody_reads;
  UniqueFd lingering = socket_that_lingers(3, nobody_reads);
  accept_raw(false);
  const int refused = raw_->try_send({lingering.get()});
  EXPECT_EQ(refused, EPERM);
  if (refused != 0) set_linger(lingering, 0);  // or we would wait
  lingering.reset();
  const auto begin = std::chrono::steady_clock::now();
  raw_->close();
  ASSERT_TRUE(until([&] { return handshake_.closed.has_value(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  handshake_.link.reset();
}

TEST_F(HostilePeerTest, OnceThereIsASessionDescriptorsPass) {
  accept_raw();
  hand_over(8192);
  EXPECT_FALSE(server_.closed);
}

TEST_F(HostilePeerTest, RangesOutsideOfARegionMoveNothing) {
  const RegisteredBuffer local = stack_.buffers().allocate(8192);
  for (const KeyRange& range :
       {KeyRange{1, 4096, 8192, RemoteAccess::kRead}, KeyRange{1, 8192, 8192, RemoteAccess::kRead},
        KeyRange{1, UINT32_MAX - 4095, 8192, RemoteAccess::kRead},
        KeyRange{1, 12'288, UINT32_MAX, RemoteAccess::kRead},
        KeyRange{0, 0, 8192, RemoteAccess::kRead}, KeyRange{2, 0, 8192, RemoteAccess::kRead},
        KeyRange{0xffff, 0, 8192, RemoteAccess::kRead}}) {
    SCOPED_TRACE(range.offset);
    accept_raw();
    hand_over(8192);
    EXPECT_EQ(read(server_, publish(range), local), std::errc::permission_denied);
    ASSERT_TRUE(until([&] { return server_.closed.has_value(); }));
    server_.frames.clear();
    close_all(*center_, {&server_});
    server_.closed.reset();
  }
  accept_raw();
  hand_over(8192);
  const RemoteKey good = publish({1, 0, 8192, RemoteAccess::kRead});
  EXPECT_FALSE(read(server_, good, local));
}

// Takes a key back by force when a move first writes to a page: in the middle of it, always.
class TakesBackAtPage {
 public:
  TakesBackAtPage(Bytes page, KeyTable table, const KeyName& name) {
    page_ = page;
    table_.emplace(table);
    name_ = name;
    struct sigaction action {};
    action.sa_handler = [](int) {
      EXPECT_EQ(mprotect(page_.data(), page_.size(), PROT_READ | PROT_WRITE), 0);
      table_->force(name_);
      has_struck_ = true;
    };
    EXPECT_EQ(sigaction(SIGSEGV, &action, &before_), 0);
    EXPECT_EQ(mprotect(page_.data(), page_.size(), PROT_READ), 0);
  }
  ~TakesBackAtPage() {
    EXPECT_TRUE(has_struck_);
    EXPECT_EQ(sigaction(SIGSEGV, &before_, nullptr), 0);
  }

 private:
  static inline Bytes page_;
  static inline std::optional<KeyTable> table_;
  static inline KeyName name_;
  static inline bool has_struck_ = false;
  struct sigaction before_ {};
};

TEST_F(HostilePeerTest, AMoveWhoseKeyIsTakenBackMeanwhileFails) {
  accept_raw();
  hand_over(16'384);
  const RegisteredBuffer local = stack_.buffers().allocate(16'384);
  const RemoteKey key = publish({1, 0, 16'384, RemoteAccess::kRead});
  const TakesBackAtPage trap(local.bytes().subspan(8192, 4096), KeyTable(table_->bytes()), {3, 7});
  EXPECT_EQ(read(server_, key, local), std::errc::permission_denied);
}

TEST_F(HostilePeerTest, AKeyWithoutATableMovesNothing) {
  accept_raw();
  const RegisteredBuffer local = stack_.buffers().allocate(4096);
  const RemoteKey key = KeyName{0, 1}.encode({1, 0, 4096, RemoteAccess::kRead});
  EXPECT_EQ(read(server_, key, local), std::errc::permission_denied);
}

TEST_F(HostilePeerTest, MemoryThatIsEmptiedOrCutUnderAMoveIsZeroes) {
  accept_raw();
  hand_over(8192);
  EXPECT_NE(ftruncate(region_fd_.get(), 0), 0) << "the seals forbid it";
  ASSERT_EQ(fallocate(region_fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
  const RegisteredBuffer local = stack_.buffers().allocate(8192);
  std::memset(local.bytes().data(), 1, 8192);
  EXPECT_FALSE(read(server_, publish({1, 0, 8192, RemoteAccess::kRead}), local));
  EXPECT_TRUE(has_only(local, 0));
}

}  // namespace
}  // namespace lunar::msgr::local
