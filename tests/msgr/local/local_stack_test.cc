// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which way a connect goes, and the sockets in run_dir.

#include "msgr/local/local_stack.h"

#include <sched.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/msgr/local/local_fixture.h"
#include "tests/msgr/local/raw_unix_peer.h"

namespace lunar::msgr::local {
namespace {

class LocalStackTest : public LocalLinkTest {
 protected:
  std::string path_of(const Address& listening) const {
    return LocalStack::socket_path(stack_.run_dir(), listening);
  }
  // Connects and says whether the two share memory.
  bool is_local(NetworkStack& client, NetworkStack& server, const Address& any, Address to = {}) {
    auto listener = server.listen(
        *center_, any, [&](std::unique_ptr<Link> link) { server_.attach(std::move(link)); });
    EXPECT_TRUE(listener) << listener.error().message;
    if (to.is_unset()) to = any;
    to.set_port((*listener)->local_address().port());
    const auto pending = client.connect(*center_, to, [&](Result<std::unique_ptr<Link>> link) {
      ASSERT_TRUE(link) << link.error().message();
      client_.attach(std::move(*link));
    });
    EXPECT_TRUE(until([&] { return client_.link && server_.link; }));
    EXPECT_EQ(client_.link->peer_address(), to);
    const bool is_one_sided = client_.link->capabilities().one_sided;
    EXPECT_EQ(server_.link->capabilities().one_sided, is_one_sided);
    close_all(*center_, {&client_, &server_});
    client_.closed.reset();
    server_.closed.reset();
    return is_one_sided;
  }
  // How many links a server of all addresses gets when a client of its host wants another one:
  // 192.0.2.0/24 is of no host (RFC 5737).
  int accepted_for_another_host() {
    const auto center = std::move(*EventCenter::create({}));
    int accepted = 0;
    const auto listener =
        stack_.listen(*center, *Address::parse("0.0.0.0:0"), [&](auto) { ++accepted; });
    EXPECT_TRUE(listener);
    Address other = *Address::parse("192.0.2.1:0");
    other.set_port((*listener)->local_address().port());
    const auto pending = stack_.connect(*center, other, [](auto) {});
    center->run_until_idle();
    EXPECT_EQ(counted("links_local"), 0u);
    return accepted;
  }
};

TEST_F(LocalStackTest, WithoutASocketItIsTcp) {
  const auto posix = std::move(*PosixStack::create({}));
  const FolderStack elsewhere;
  EXPECT_TRUE(is_local(stack_, stack_, Address::loopback()));
  EXPECT_FALSE(is_local(stack_, *posix, Address::loopback())) << "a server that only has TCP";
  EXPECT_FALSE(is_local(*posix, stack_, Address::loopback())) << "a client that only has TCP";
  EXPECT_EQ(counted("links_local"), 2u);
  EXPECT_EQ(counted("links_tcp"), 2u);
}

TEST_F(LocalStackTest, AServerOfAllAddressesIsFoundByThoseOfTheHost) {
  EXPECT_TRUE(is_local(stack_, stack_, *Address::parse("0.0.0.0:0"), Address::loopback()));
  EXPECT_TRUE(is_local(stack_, stack_, *Address::parse("[::]:0"), *Address::parse("::1")));
}

TEST_F(LocalStackTest, AServerOfAllAddressesIsNotTakenForOneOfAnotherHost) {
  EXPECT_EQ(accepted_for_another_host(), 0);
}

// With net.ipv4.ip_nonlocal_bind one can bind to any address.
TEST_F(LocalStackTest, ThatOneCanBindToAnAddressDoesNotMakeItThisHosts) {
  bool has_tried = false;
  std::thread([&] {  // in a network of its own
    if (unshare(CLONE_NEWNET) < 0) return;
    if (!(std::ofstream("/proc/sys/net/ipv4/ip_nonlocal_bind") << "1").flush()) return;
    has_tried = true;
    EXPECT_EQ(accepted_for_another_host(), 0);
  })
      .join();
  if (!has_tried) GTEST_SKIP() << "needs root, and a network namespace";
}

TEST_F(LocalStackTest, TheSocketIsThereForItsGroupWhileItsListenerIs) {
  auto listener = stack_.listen(*center_, Address::loopback(), [](auto) {});
  ASSERT_TRUE(listener);
  const std::string path = path_of((*listener)->local_address());
  struct stat found {};
  ASSERT_EQ(stat(path.c_str(), &found), 0) << path;
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777, 0660u);
  listener->reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(LocalStackTest, TheSocketOfAKilledServerIsReplacedAndMeanwhileItIsTcp) {
  auto listener = stack_.listen(*center_, Address::loopback(), [](auto) {});
  ASSERT_TRUE(listener);
  const Address address = (*listener)->local_address();
  const std::string path = path_of(address);
  std::filesystem::rename(path, stack_.run_dir() + "/old");
  listener->reset();
  std::filesystem::rename(stack_.run_dir() + "/old", path);  // nobody listens there any more
  const auto posix = std::move(*PosixStack::create({}));
  EXPECT_FALSE(is_local(stack_, *posix, address));
  EXPECT_TRUE(is_local(stack_, stack_, address));
}

TEST_F(LocalStackTest, ASocketThatADeadServerLeftHidesNoServerOfAllAddresses) {
  const auto listener = stack_.listen(*center_, *Address::parse("0.0.0.0:0"), [](auto) {});
  ASSERT_TRUE(listener);
  const Address to = Address::loopback((*listener)->local_address().port());
  { const UniqueFd dead = RawUnixPeer::listen_at(path_of(to)); }
  std::unique_ptr<Link> link;
  const auto pending = stack_.connect(
      *center_, to, [&](Result<std::unique_ptr<Link>> made) { link = std::move(*made); });
  ASSERT_TRUE(until([&] { return link != nullptr; }));
  EXPECT_GE(counted("links_local"), 1u);
}

TEST_F(LocalStackTest, AFolderThatCannotBeUsedIsASentence) {
  for (const std::string& folder : {stack_.run_dir() + "/none", std::string(100, 'x')}) {
    const auto stack = std::move(*LocalStack::create({folder, kMiB}, {}, nullptr));
    const auto listener = stack->listen(*center_, Address::loopback(), [](auto) {});
    ASSERT_FALSE(listener);
    EXPECT_NE(listener.error().message.find(folder), std::string::npos);
    EXPECT_NE(listener.error().message.find("run_dir"), std::string::npos);
  }
}

TEST_F(LocalStackTest, EndsAgreeOnTheirAddresses) {
  connect();
  EXPECT_EQ(client_.link->local_address(), server_.link->peer_address());
  EXPECT_TRUE(server_.link->peer_address().is_loopback());
}

}  // namespace
}  // namespace lunar::msgr::local
