// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/keyring.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

const EntityName kAdmin{"client", "admin"};

// "0123456789abcdef" twice.
constexpr const char* kKeyText = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
constexpr const char* kKeyBytes = "0123456789abcdef0123456789abcdef";

std::string entry(const std::string& key) { return "[client.admin]\n\tkey = " + key + "\n"; }

TEST(KeyringTest, FindsAKeyByEntity) {
  const auto keyring =
      Keyring::parse(entry(kKeyText) + "\tcaps osd = \"allow *\"\n[osd.0]\nkey=" + kKeyText, "k");
  ASSERT_TRUE(keyring) << keyring.error().message;
  EXPECT_EQ(keyring->size(), 2u);
  ASSERT_NE(keyring->find(kAdmin), nullptr);
  EXPECT_TRUE(keyring->find(kAdmin)->equals(as_const_bytes(kKeyBytes)));
  EXPECT_EQ(keyring->find({"osd", "1"}), nullptr);
}

TEST(KeyringTest, ErrorsNameTheLineAndNeverTheKey) {
  const std::string long_key(1000, 'A');
  for (const std::string& key : {std::string("c2hvcnQ="), std::string("!!notbase64!!"),
                                 std::string("MDEyMzQ1Njc4OWFiY2RlZjAxMj"), long_key}) {
    const auto keyring = Keyring::parse(entry(key), "k");
    ASSERT_FALSE(keyring) << key;
    EXPECT_EQ(keyring.error().message, "k:2: the key is not base64 of 16 to 256 bytes");
  }
  const auto nobody = Keyring::parse("[admin]\nkey = " + std::string(kKeyText), "k");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().message, "k:2: section [admin] is not TYPE.ID, such as client.admin");
}

class KeyringFileTest : public testing::Test {
 protected:
  std::string write(mode_t mode) {
    const auto path = folder_.write("keyring", entry(kKeyText));
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  test::TempFolder folder_;
};

TEST_F(KeyringFileTest, SavedKeysLoadAgain) {
  Keyring keyring;
  keyring.generate(kAdmin);
  keyring.generate({"osd", "0"});
  ASSERT_TRUE(keyring.save(folder_ / "keyring"));
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "keyring").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);

  const auto loaded = Keyring::load(folder_ / "keyring");
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->size(), 2u);
  EXPECT_EQ(loaded->find(kAdmin)->size(), Keyring::kKeyBytes);
  EXPECT_TRUE(loaded->find(kAdmin)->equals(keyring.find(kAdmin)->bytes()));
  EXPECT_FALSE(loaded->find(kAdmin)->equals(keyring.find({"osd", "0"})->bytes()));
}

TEST_F(KeyringFileTest, AFileThatOthersMayReadIsRefusedWithTheCure) {
  for (const mode_t mode : {0640, 0604, 0660, 0644}) {
    const auto loaded = Keyring::load(write(mode));
    ASSERT_FALSE(loaded);
    EXPECT_TRUE(loaded.error().code == std::errc::permission_denied);
    EXPECT_NE(loaded.error().message.find("chmod 600 " + (folder_ / "keyring")), std::string::npos);
  }
  EXPECT_TRUE(Keyring::load(write(0600)));
}

TEST_F(KeyringFileTest, AMissingFileAndAFolderAreNamed) {
  const auto missing = Keyring::load(folder_ / "none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message.rfind("keyring " + (folder_ / "none"), 0), 0u);
  EXPECT_FALSE(Keyring::load(folder_.path()));
}

TEST(SecretTest, MovesAndClones) {
  Secret a = Secret::copy_of(as_const_bytes("0123456789abcdef"));
  const Secret copy = a.clone();
  const Secret b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is the test
  EXPECT_TRUE(b.equals(copy.bytes()));
  EXPECT_FALSE(b.equals(as_const_bytes("0123456789abcdeX")));
  EXPECT_FALSE(b.equals(as_const_bytes("0123")));
}

// The kernel marks a mapping that core dumps leave out with "dd" in smaps.
TEST(SecretTest, LivesInPagesThatCoreDumpsLeaveOut) {
  const Secret secret(32);
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  bool left_out = false;
  const auto address = reinterpret_cast<uintptr_t>(secret.bytes().data());
  while (std::getline(maps, line)) {
    uintptr_t from = 0;
    uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2) {
      inside = from <= address && address < to;
    } else if (inside && line.rfind("VmFlags:", 0) == 0) {
      left_out = line.find(" dd") != std::string::npos;
    }
  }
  EXPECT_TRUE(left_out);
}

TEST(KeyringTest, NoErrorQuotesWhatMayBeAKey) {
  const std::string key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
  for (const std::string& line : {"derived_for = " + key, "key = " + key + "!"}) {
    const auto parsed = Keyring::parse("[client.a]\n" + line + "\n", "file");
    ASSERT_FALSE(parsed) << line;
    EXPECT_EQ(parsed.error().message.find(key.substr(0, 8)), std::string::npos)
        << parsed.error().message;
  }
}

TEST(KeyringTest, WhatAServerHoldsIsOfUseToItAlone) {
  const EntityName client{"client", "a"};
  const EntityName here{"osd", "0"};
  const EntityName there{"osd", "1"};
  Keyring master;
  for (const EntityName& name : {client, here, there}) master.generate(name);
  const Keyring derived = master.derived_for(here);
  ASSERT_EQ(derived.size(), 3u);
  EXPECT_EQ(derived.find(client), nullptr) << "it is not the client's own";
  EXPECT_NE(derived.find(here), nullptr);
  const auto ours = master.pair_keys(client, here);
  const auto kept = derived.pair_keys(client, here);
  ASSERT_EQ(ours.size(), 1u);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_TRUE(kept[0].equals(ours[0].bytes()));
  EXPECT_TRUE(derived.pair_keys(client, there).empty());
  EXPECT_TRUE(derived.own_keys(client).empty());
  EXPECT_TRUE(derived.has_derived());
  EXPECT_FALSE(master.has_derived());
  EXPECT_FALSE(kept[0].equals(master.pair_keys(client, there)[0].bytes()));
  EXPECT_FALSE(kept[0].equals(master.find(client)->bytes()));
}

TEST(KeyringTest, AClientHoldsItsOwnNewestKeyAndNoOther) {
  const EntityName client{"client", "a"};
  Keyring master;
  master.generate(client);
  master.generate({"osd", "0"});
  master.begin_rotation(client);
  const Keyring held = master.derived_for(client);
  EXPECT_EQ(held.size(), 1u);
  const auto keys = held.own_keys(client);
  ASSERT_EQ(keys.size(), 1u);
  EXPECT_TRUE(keys[0].equals(master.find(client)->bytes()));
}

TEST(KeyringTest, AKeyIsChangedWhileTheOneBeforeStillCounts) {
  const EntityName client{"client", "a"};
  const EntityName server{"osd", "0"};
  Keyring master;
  master.generate(client);
  master.generate(server);
  const auto before = master.pair_keys(client, server);
  master.begin_rotation(client);
  EXPECT_TRUE(master.is_rotating(client));
  const Keyring derived = master.derived_for(server);
  const auto both = derived.pair_keys(client, server);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_FALSE(both[0].equals(before[0].bytes()));
  EXPECT_TRUE(both[1].equals(before[0].bytes()));
  master.finish_rotation(client);
  const auto after = master.pair_keys(client, server);
  ASSERT_EQ(after.size(), 1u);
  EXPECT_TRUE(after[0].equals(both[0].bytes()));
}

TEST(KeyringTest, AFileSaysWhatIsDerivedAndWhatWasBefore) {
  const auto parsed = Keyring::parse(
      "[client.a]\n\tderived_for = osd.0\n"
      "\tkey = AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
      "\tkey_previous = AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
      "text");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->pair_keys({"client", "a"}, {"osd", "0"}).size(), 2u);
  EXPECT_TRUE(parsed->pair_keys({"client", "a"}, {"osd", "1"}).empty());
  EXPECT_FALSE(Keyring::parse("[client.a]\n\tderived_for = osd.0\n", "text"));
  EXPECT_FALSE(Keyring::parse("[client.a]\n\tderived_for = nobody\n", "text"));
}

}  // namespace
}  // namespace lunar
