// SPDX-License-Identifier: LGPL-2.1-or-later
// Renaming: that an image has one name, whoever else renames, makes or removes it, stops half way
// or comes late. A header and its name objects are looked at in the stores, whenever the loop is
// idle.
#include "gateway/metadata/image_rename.h"

#include <algorithm>
#include <array>
#include <functional>
#include <list>
#include <random>
#include <set>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/pool_scrub.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;
using Duration = msgr::EventCenter::Clock::duration;

constexpr uint64_t kMiB = 1u << 20;

// Delays what a client sends and receives.
struct DelayedLinks final : msgr::LoopbackInjector {
  Verdict on_send(const msgr::Address&, std::size_t) override {
    Verdict verdict;
    if (delay_of_send) verdict.delay = delay_of_send();
    return verdict;
  }
  Verdict on_receive(const msgr::Address&, std::size_t) override {
    Verdict verdict;
    if (delay_of_receive) verdict.delay = delay_of_receive();
    return verdict;
  }
  std::function<Duration()> delay_of_send;
  std::function<Duration()> delay_of_receive;
};

// A client on a host of its own, whose links a test slows down.
struct FarClient {
  DelayedLinks links;
  std::unique_ptr<msgr::LoopbackStack> network;
  Client* client = nullptr;
  std::shared_ptr<std::optional<Outcome<void>>> result;  // of what it does now

  bool is_busy() const { return result && !result->has_value(); }
};

class ImageRenameTest : public MetadataFixture {
 protected:
  ~ImageRenameTest() override {
    image.reset();
    turn();
    while (!far_clients_.empty()) end_far_client(*far_clients_.front());
  }
  FarClient& make_far_client() {
    FarClient& far = *far_clients_.emplace_back(std::make_unique<FarClient>());
    msgr::LoopbackOptions network;
    network.injector = &far.links;
    far.network = std::make_unique<msgr::LoopbackStack>(network, stack);
    far.client = make_client("far" + std::to_string(++far_made_), *far.network);
    return far;
  }
  void end_far_client(FarClient& far) {
    end_client(far.client);
    std::erase_if(far_clients_, [&](const auto& each) { return each.get() == &far; });
  }

  void begin_rename(FarClient& far, const std::string& from, const std::string& to) {
    begin(far, [&](auto done) { rename_image(*far.client, {"lunar", from}, to, std::move(done)); });
  }
  template <typename Start>
  void begin(FarClient& far, Start start) {
    far.result = std::make_shared<std::optional<Outcome<void>>>();
    start([result = far.result](Outcome<void> outcome) { *result = std::move(outcome); });
  }
  Outcome<void> rename(const std::string& from, const std::string& to) {
    return wait<void>([&](auto done) {
      rename_image(*gateway, {"lunar", from}, to, std::move(done));
    });
  }
  Outcome<void> remove(const std::string& name) {
    return wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    });
  }
  Outcome<void> resize(const std::string& name, uint64_t size) {
    return wait<void>([&](auto done) {
      resize_image(*gateway, {"lunar", name}, {.size = size}, {}, std::move(done));
    });
  }
  ImageId make(const std::string& name) {
    const auto made = create(name, 8 * kMiB);
    EXPECT_TRUE(made) << made.error().message;
    return made ? made->id : 0;
  }
  void edit_header(ImageId id, UniqueFunction<void(ImageHeader&)> edit) {
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
      edit(header);
      return Outcome<void>();
    })));
  }

  // --- what the stores have now, between two turns of the loop ---

  std::string stored(const std::string& object) {
    const auto info = gateway->find_pool("lunar");
    const auto osd = objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
    std::string text(8192, '\0');
    osds[osd].store->inner().read({pool, object}, 0,
                                  {reinterpret_cast<std::byte*>(text.data()), text.size()},
                                  [](std::error_code) {});
    return text.substr(0, text.find('\0'));
  }
  // 0: nothing has this name.
  ImageId named(const std::string& name) {
    const std::string object = name_object_of(pool, name).name;
    return decode_name(stored(object), object).value_or(0);
  }
  std::optional<ImageHeader> header(ImageId id) {
    const std::string object = header_object_name(id);
    auto decoded = decode_image_header(stored(object), object);
    return decoded ? std::optional(std::move(*decoded)) : std::nullopt;
  }
  std::string name_in_header(ImageId id) {
    const auto found = header(id);
    return found && found->state == ImageState::kReady ? found->name : std::string();
  }
  std::vector<std::string> names_of(ImageId id, const std::vector<std::string>& names) {
    std::vector<std::string> found;
    for (const std::string& name : names)
      if (named(name) == id) found.push_back(name);
    return found;
  }
  // Notes the images that have been found, and that one of them has lost its name.
  void look_at_names(const std::vector<std::string>& names) {
    for (const std::string& name : names)
      if (const ImageId id = named(name); id != 0) seen_.insert(id);
    for (const ImageId id : seen_) {
      const auto found = header(id);
      if (!found || found->state == ImageState::kRemoving) continue;
      if (named(found->lasting_name()) != id) nameless_.insert(id);
    }
  }

  // --- interruptions ---

  using Links = UniqueFunction<Duration(int send)>;
  // Lets `far` rename; its sends are counted from 1.
  void rename_with(FarClient& far, const std::string& from, const std::string& to, Links delay) {
    auto count = std::make_shared<int>(0);
    auto shared = std::make_shared<Links>(std::move(delay));
    far.links.delay_of_send = [count, shared]() { return (*shared)(++*count); };
    begin_rename(far, from, to);
  }
  // True: it pauses for a second before the send of that number. False: it was done before.
  template <typename Start>
  bool pauses_at(int send, FarClient& far, Start start) {
    auto is_paused = std::make_shared<bool>(false);
    auto count = std::make_shared<int>(0);
    far.links.delay_of_send = [is_paused, count, send] {
      if (++*count != send) return Duration();
      *is_paused = true;
      return Duration(1s);
    };
    begin(far, std::move(start));
    EXPECT_TRUE(until([&] { return *is_paused || !far.is_busy(); }));
    return *is_paused && far.is_busy();
  }
  // True: it stopped with the send of that number, and nothing of it comes any more. False: it was
  // done before.
  bool stops_at(int send, const std::string& from, const std::string& to) {
    FarClient& far = make_far_client();
    bool is_stopped = false;
    rename_with(far, from, to, [&](int at) {
      is_stopped |= at >= send;
      return is_stopped ? Duration(24h) : Duration();
    });
    EXPECT_TRUE(until([&] { return is_stopped || !far.is_busy(); }));
    const bool was_done = !far.is_busy();
    far.network->kill();
    end_far_client(far);
    // Its replies wait for it until its session ends, in memory that its entity has.
    if (++stopped_ % 8 == 0) time.pass(*center, 2min);
    return !was_done;
  }

  std::set<ImageId> seen_;
  std::set<ImageId> nameless_;
  std::list<std::unique_ptr<FarClient>> far_clients_;

 private:
  int far_made_ = 0;
  int stopped_ = 0;
};

using Names = std::vector<std::string>;

TEST_F(ImageRenameTest, TheImageHasItsNewNameOnlyAndWhoeverHasItOpenGoesOn) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(kMiB, "data"));
  const ImageId id = image->id();
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(names_of(id, {"disk", "other"}), Names{"other"});
  EXPECT_EQ(name_in_header(id), "other");
  ASSERT_FALSE(write(2 * kMiB, "more"));
  ASSERT_TRUE(close(image));
  EXPECT_TRUE(open(*gateway, "other"));
  EXPECT_EQ(open(*gateway, "disk").error().code, OsdErrc::kNoSuchObject);
}

TEST_F(ImageRenameTest, WhatCannotBeIsRefusedAndChangesNothing) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  const std::string before = stored(header_object_name(disk));
  EXPECT_EQ(rename("disk", "disk").error().code, OsdErrc::kExists);
  EXPECT_EQ(rename("nothing", "new").error().code, OsdErrc::kNoSuchObject);
  EXPECT_EQ(rename("disk", ".hidden").error().code, std::errc::invalid_argument);
  EXPECT_EQ(stored(header_object_name(disk)), before);
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kExists);
  EXPECT_EQ(stored(header_object_name(disk)), before);
  EXPECT_EQ(named("disk"), disk);
  EXPECT_EQ(named("other"), other);
  EXPECT_EQ(named("new"), 0u);
}

TEST_F(ImageRenameTest, AnImageThatIsBeingRemovedOrResizedIsRefused) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kGrowing;
    header.resize_to = 16 * kMiB;
  });
  const auto resizing = rename("disk", "other");
  ASSERT_FALSE(resizing);
  EXPECT_EQ(resizing.error().code, OsdErrc::kBusy);
  EXPECT_NE(resizing.error().message.find("'lunar resize lunar/disk'"), std::string::npos)
      << resizing.error().message;
  edit_header(disk, [](ImageHeader& header) { header.state = ImageState::kRemoving; });
  const auto removing = rename("disk", "other");
  ASSERT_FALSE(removing);
  EXPECT_EQ(removing.error().code, OsdErrc::kBusy);
  EXPECT_EQ(named("other"), 0u);
}

TEST_F(ImageRenameTest, APoolWithADirectoryOfAnEarlierFormatIsToBeConvertedFirst) {
  const ImageId disk = make("disk");
  const std::string text = encode_old_directory({.is_closed = false, .images = {{"older", 7}}});
  ASSERT_TRUE(run(update_metadata(*gateway, old_directory_of(pool),
                                  [&](const MetadataContent&) -> Outcome<MetadataEdit> {
                                    return MetadataEdit{MetadataEdit::Action::kWrite, text};
                                  })));
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kIncompatible);
  EXPECT_EQ(name_in_header(disk), "disk");
}

TEST_F(ImageRenameTest, WhileItIsRenamedItIsOpenedByBothNamesAndNeitherRemovedNorResized) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "other";
  });
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  for (const char* name : {"disk", "other"}) {
    auto opened = open(*gateway, name);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_TRUE(close(std::move(*opened)));
    for (const auto& refused : {remove(name), resize(name, 16 * kMiB)}) {
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
      EXPECT_NE(refused.error().message.find("finish with 'lunar mv lunar/disk other'"),
                std::string::npos)
          << refused.error().message;
    }
  }
  EXPECT_EQ(header(disk)->state, ImageState::kRenaming);
}

// --- names that are left over ---

TEST_F(ImageRenameTest, ANameThatTheHeaderDoesNotHaveCountsAsAbsent) {
  const ImageId disk = make("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "left", disk)));
  for (const std::error_code code :
       {open(*gateway, "left").error().code, remove("left").error().code,
        resize("left", 16 * kMiB).error().code, rename("left", "new").error().code,
        wait<ImageStatus>([&](auto done) {
          image_status(*gateway, {"lunar", "left"}, std::move(done));
        })
            .error()
            .code}) {
    EXPECT_EQ(code, OsdErrc::kNoSuchObject);
  }
  EXPECT_EQ(named("disk"), disk);
  // It can be given to another image, made or renamed.
  const auto made = create("left", 8 * kMiB);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(named("left"), made->id);
  ASSERT_TRUE(run(take_name(*gateway, pool, "left2", disk)));
  ASSERT_TRUE(rename("left", "left2"));
  EXPECT_EQ(named("left2"), made->id);
  EXPECT_EQ(named("disk"), disk);
}

TEST_F(ImageRenameTest, ALeftOverNameOfTheImageItselfIsTakenAgain) {
  const ImageId disk = make("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(names_of(disk, {"disk", "other"}), Names{"other"});
}

// --- several at once ---

TEST_F(ImageRenameTest, ARenamingToAnotherNameIsFinishedFirst) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "second";
  });
  ASSERT_TRUE(rename("disk", "third"));
  EXPECT_EQ(names_of(disk, {"disk", "second", "third"}), Names{"third"});
  EXPECT_EQ(name_in_header(disk), "third");
}

TEST_F(ImageRenameTest, OneWhoseNameWasTakenIsUndoneByTheNext) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "other";
  });
  ASSERT_TRUE(rename("disk", "third"));
  EXPECT_EQ(named("third"), disk);
  EXPECT_EQ(named("other"), other);
  EXPECT_EQ(named("disk"), 0u);
}

TEST_F(ImageRenameTest, ANameWhoseImageIsOnItsWayToAnotherIsWaitedFor) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  edit_header(other, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "away";
  });
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(named("other"), disk);
  EXPECT_EQ(named("away"), other);
}

TEST_F(ImageRenameTest, OneThatHasLostItsOldNameToAnotherImageIsFinishedAllTheSame) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "other";
  });
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", disk)));
  const ImageId another = make("disk");
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kExists);
  EXPECT_EQ(name_in_header(disk), "other");
  EXPECT_EQ(named("disk"), another);
}

TEST_F(ImageRenameTest, OneThatStopsAtAnyPointIsFinishedByAnyOther) {
  const std::vector<std::pair<std::string, std::string>> others{{"a", "b"}, {"a", "c"}, {"b", "a"}};
  int stops = 0;
  int states = 0;
  for (std::size_t by = 0; by < others.size(); ++by) {
    for (int send = 1;; ++send) {
      const ImageId id = make("a");
      const bool has_stopped = stops_at(send, "a", "b");
      look_at_names({"a", "b", "c"});
      if (has_stopped && header(id)->is_renaming()) ++states;
      for (const std::string& name : names_of(id, {"a", "b"})) {
        auto opened = open(*gateway, name);
        ASSERT_TRUE(opened) << "send " << send << ": " << opened.error().message;
        ASSERT_TRUE(close(std::move(*opened)));
      }
      if (has_stopped) {
        ++stops;
        const auto finished = rename(others[by].first, others[by].second);
        // The name that was given may be dropped already, or not be made yet.
        if (!finished && header(id)->is_renaming()) {
          ASSERT_EQ(finished.error().code, OsdErrc::kNoSuchObject) << finished.error().message;
          ASSERT_TRUE(rename("a", "b"));
        }
      }
      look_at_names({"a", "b", "c"});
      ASSERT_TRUE(nameless_.empty()) << "stopped at send " << send << ", finished by " << by;
      const std::string name = name_in_header(id);
      EXPECT_EQ(names_of(id, {"a", "b", "c"}), Names{name}) << "send " << send << ", by " << by;
      ASSERT_TRUE(remove(name));
      if (!has_stopped) break;
    }
  }
  EXPECT_GT(stops, 10);
  EXPECT_GT(states, 5);
}

// A client that pauses before any of its sends, while others rename the image on, and then goes on
// with what it saw before: what it read of the old name is true again, and what it does is late.
TEST_F(ImageRenameTest, AHelperThatComesLateUndoesNothing) {
  const std::vector<std::function<void(ImageId)>> meanwhile{
      [this](ImageId) {
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "a"));
      },
      [this](ImageId) {
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "c"));
        ASSERT_TRUE(rename("c", "a"));
      },
      [this](ImageId) {
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "a"));
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "c"));
      },
      [this](ImageId) {  // the target is taken, which undoes it, and free again
        const auto made = create("b", 8 * kMiB);
        if (!made) return;
        ASSERT_FALSE(rename("a", "b"));
        ASSERT_TRUE(remove("b"));
        ASSERT_TRUE(rename("a", "c"));
        ASSERT_TRUE(rename("c", "a"));
      },
      [this](ImageId id) {  // the same renaming again, as far as its first step
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "a"));
        edit_header(id, [](ImageHeader& header) {
          header.state = ImageState::kRenaming;
          header.rename_to = "b";
        });
      },
      [this](ImageId id) {  // as far as its third
        ASSERT_TRUE(rename("a", "b"));
        ASSERT_TRUE(rename("b", "a"));
        ASSERT_TRUE(run(take_name(*gateway, pool, "b", id)));
        edit_header(id, [](ImageHeader& header) {
          header.state = ImageState::kRenamed;
          header.rename_to = "b";
        });
      }};
  int pauses = 0;
  for (std::size_t which = 0; which < meanwhile.size(); ++which) {
    for (int send = 1;; ++send) {
      const ImageId id = make("a");
      FarClient& late = make_far_client();
      bool is_paused = false;
      rename_with(late, "a", "b", [&](int at) {
        if (at != send) return Duration();
        is_paused = true;
        return Duration(1s);
      });
      ASSERT_TRUE(until([&] { return is_paused || !late.is_busy(); }));
      if (is_paused && name_in_header(id) != "b") meanwhile[which](id);
      if (HasFatalFailure()) return;
      ASSERT_TRUE(until([&] {
        look_at_names({"a", "b", "c"});
        return !late.is_busy();
      }));
      end_far_client(late);
      ASSERT_TRUE(nameless_.empty()) << "paused at send " << send << ", case " << which;
      ASSERT_TRUE(run(finish_renaming(*gateway, pool, id)));
      const std::string name = name_in_header(id);
      EXPECT_EQ(names_of(id, {"a", "b", "c"}), Names{name}) << "send " << send << ", " << which;
      ASSERT_TRUE(remove(name));
      if (!is_paused) break;
      ++pauses;
    }
  }
  EXPECT_GT(pauses, 20);
}

// A repair that found the name left over, before the image was renamed to it.
TEST_F(ImageRenameTest, ARepairThatComesLateDropsNoNameThatIsInUseAgain) {
  int pauses = 0;
  for (int send = 1;; ++send) {
    const ImageId id = make("a");
    ASSERT_TRUE(run(take_name(*gateway, pool, "b", id)));
    FarClient& late = make_far_client();
    bool is_paused = false;
    int count = 0;
    late.links.delay_of_send = [&] {
      if (++count != send) return Duration();
      is_paused = true;
      return Duration(1s);
    };
    begin(late, [&](auto done) {
      run_to_done<Outcome<void>>(*center, drop_stale_name(*late.client, pool, "b", id),
                                 std::move(done));
    });
    ASSERT_TRUE(until([&] { return is_paused || !late.is_busy(); }));
    ASSERT_TRUE(rename("a", "b"));
    ASSERT_TRUE(until([&] {
      look_at_names({"a", "b"});
      return !late.is_busy();
    }));
    end_far_client(late);
    ASSERT_TRUE(nameless_.empty()) << "paused at send " << send;
    EXPECT_EQ(names_of(id, {"a", "b"}), Names{"b"}) << "send " << send;
    ASSERT_TRUE(remove("b"));
    if (!is_paused) break;
    ++pauses;
  }
  EXPECT_GT(pauses, 2);
}

// --- which image it is ---

// One that pauses before any of its sends, while the name goes to another image, and then goes on.
TEST_F(ImageRenameTest, ARenamingStaysWithTheImageThatHadTheName) {
  int moves = 0;
  for (int send = 1;; ++send) {
    const ImageId id = make("a");
    edit_header(id, [](ImageHeader& header) {  // c comes after that
      header.state = ImageState::kRenaming;
      header.rename_to = "b";
    });
    FarClient& late = make_far_client();
    const bool is_paused = pauses_at(send, late, [&](auto done) {
      rename_image(*late.client, {"lunar", "a"}, "c", std::move(done));
    });
    ImageId fresh = 0;
    if (is_paused && run(finish_renaming(*gateway, pool, id)) && rename("b", "d")) {
      fresh = make("b");
      ++moves;
    }
    ASSERT_TRUE(until([&] { return !late.is_busy(); }));
    if (fresh != 0) {
      EXPECT_EQ(name_in_header(fresh), "b") << "paused at send " << send;
      EXPECT_EQ(named("b"), fresh);
    }
    end_far_client(late);
    for (const char* name : {"a", "b", "c", "d"}) static_cast<void>(remove(name));
    if (!is_paused) break;
  }
  EXPECT_GT(moves, 2);
}

TEST_F(ImageRenameTest, AResizeAndARemovalStayWithTheImageThatHadTheName) {
  int moves = 0;
  for (const bool resizes : {true, false}) {
    for (int send = 1;; ++send) {
      const ImageId id = make("a");
      const ImageId other = make("o");
      FarClient& late = make_far_client();
      const bool is_paused = pauses_at(send, late, [&](auto done) {
        const ImageSpec spec{"lunar", "a"};
        if (resizes) {
          resize_image(*late.client, spec, {.size = kMiB, .allows_shrink = true}, {},
                       std::move(done));
        } else {
          remove_image(*late.client, spec, {}, std::move(done));
        }
      });
      const bool has_begun =
          !header(id) || header(id)->size != 8 * kMiB || header(id)->state != ImageState::kReady;
      const bool moved = is_paused && !has_begun && rename("a", "keep") && rename("o", "a");
      moves += moved ? 1 : 0;
      ASSERT_TRUE(until([&] { return !late.is_busy(); }));
      if (moved) {
        ASSERT_TRUE(header(id)) << "paused at send " << send;
        EXPECT_EQ(header(id)->size, 8 * kMiB) << "paused at send " << send;
        EXPECT_EQ(named("keep"), id) << "paused at send " << send;
        const bool is_untouched = header(other) && header(other)->size == 8 * kMiB;
        EXPECT_TRUE(is_untouched || (*late.result)->has_value());  // looked up after that
      }
      end_far_client(late);
      for (const char* name : {"a", "o", "keep"}) static_cast<void>(remove(name));
      if (!is_paused) break;
    }
  }
  EXPECT_GT(moves, 6);
}

// Its first write of the name was done and not answered.
TEST_F(ImageRenameTest, ACreationDeletesNoHeaderOfAnImageThatWasRenamedSince) {
  make("first");
  const auto info = *gateway->find_pool("lunar");
  std::string name = "disk";
  for (int i = 0; objecter::osd_of_pg(info, objecter::pg_of_object(info, "lunar_id." + name)) != 2;
       ++i) {
    name = "disk" + std::to_string(i);
  }
  FarClient& far = make_far_client();
  begin(far, [&](auto done) {
    create_image(*far.client, {"lunar", name}, {8 * kMiB, {}},
                 [done = std::move(done)](Outcome<ImageHeader> made) mutable {
                   done(made ? Outcome<void>() : Outcome<void>(failure(made.error())));
                 });
  });
  const auto is_silent = std::make_shared<bool>(false);
  far.links.delay_of_receive = [is_silent] { return *is_silent ? Duration(24h) : Duration(); };
  far.links.delay_of_send = [] { return Duration(1ms); };
  ASSERT_TRUE(until([&] { return *is_silent = named(name) != 0; }));
  const ImageId id = named(name);
  bool is_stopped = false;
  osds[2].server->shutdown([&] { is_stopped = true; });
  ASSERT_TRUE(until([&] { return is_stopped; }));
  osds[2].server.reset();
  start(2);
  ASSERT_TRUE(rename(name, "precious"));
  ASSERT_TRUE(create(name, 8 * kMiB));
  ASSERT_TRUE(far.is_busy());
  *is_silent = false;
  ASSERT_TRUE(until([&] { return !far.is_busy(); }));
  EXPECT_TRUE(header(id));
  EXPECT_EQ(named("precious"), id);
}

TEST_F(ImageRenameTest, AHelperThatComesLateLeavesNoNameOfARemovedImage) {
  int removals = 0;
  for (int send = 1;; ++send) {
    const ImageId id = make("a");
    FarClient& late = make_far_client();
    const bool is_paused = pauses_at(send, late, [&](auto done) {
      rename_image(*late.client, {"lunar", "a"}, "b", std::move(done));
    });
    if (is_paused && header(id)->state == ImageState::kRenaming) {
      edit_header(id, [](ImageHeader& header) {  // as by a helper who saw b taken
        header.state = ImageState::kReady;
        header.rename_to.clear();
      });
      removals += remove("a") ? 1 : 0;
    }
    ASSERT_TRUE(until([&] { return !late.is_busy(); }));
    EXPECT_EQ(named("b") != 0, header(id).has_value()) << "paused at send " << send;
    end_far_client(late);
    for (const char* name : {"a", "b"}) static_cast<void>(remove(name));
    if (!is_paused) break;
  }
  EXPECT_GT(removals, 0);
}

// Whoever may write one header only, or a disk that damaged the object of the new name.
TEST_F(ImageRenameTest, AHeaderAloneTakesNoNameFromAnotherImageAndNotItsOwn) {
  const ImageId victim = make("victim");
  const ImageId mine = make("mine");
  edit_header(mine, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "victim";
  });
  ASSERT_TRUE(rename("mine", "new"));
  EXPECT_EQ(named("victim"), victim);
  EXPECT_EQ(name_in_header(victim), "victim");
  EXPECT_EQ(names_of(mine, {"mine", "new"}), Names{"new"});
  edit_header(mine, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "absent";
  });
  ASSERT_TRUE(run(finish_renaming(*gateway, pool, mine)));
  EXPECT_EQ(names_of(mine, {"new", "absent"}), Names{"absent"});
}

TEST_F(ImageRenameTest, AnIllegibleNewNameIsRefusedAndLeavesTheImageItsOwn) {
  const ImageId id = make("a");
  ASSERT_TRUE(run(update_metadata(
      *gateway, name_object_of(pool, "b"), [&](const MetadataContent&) -> Outcome<MetadataEdit> {
        return MetadataEdit{MetadataEdit::Action::kWrite, R"({"format": 2})"};
      })));
  const std::string before = stored(header_object_name(id));
  EXPECT_EQ(rename("a", "b").error().code, OsdErrc::kIncompatible);
  EXPECT_EQ(stored(header_object_name(id)), before);
  for (const ImageState state : {ImageState::kRenaming, ImageState::kRenamed}) {
    edit_header(id, [state](ImageHeader& header) {
      header.state = state;
      header.rename_to = "b";
    });
    EXPECT_EQ(run(finish_renaming(*gateway, pool, id)).error().code, OsdErrc::kIncompatible);
    EXPECT_EQ(name_in_header(id), "a");
    EXPECT_EQ(named("a"), id);
  }
  ASSERT_TRUE(rename("a", "c"));
  EXPECT_EQ(named("c"), id);
}

TEST_F(ImageRenameTest, AScrubFindsNothingWrongWithAnImageThatIsRenamedAllTheTime) {
  make("n0");
  FarClient& far = make_far_client();
  far.links.delay_of_send = [] { return Duration(2ms); };
  int at = 0;
  int renamings = 0;
  for (int i = 0; i < 30; ++i) {
    std::optional<Outcome<ScrubReport>> report;
    scrub_pool(*far.client, "lunar", {.image = "", .reads_data = false, .only_objects = {}}, {},
               [&](Outcome<ScrubReport> done) { report = std::move(done); });
    for (int each = 0; each < 2 && !report; ++each) {
      const int next = (at + 1) % 7;
      ASSERT_TRUE(rename("n" + std::to_string(at), "n" + std::to_string(next)));
      at = next;
      ++renamings;
      const auto then = center->now() + std::chrono::microseconds(500 + 313 * (i % 11));
      ASSERT_TRUE(until([&] { return report.has_value() || center->now() >= then; }));
    }
    ASSERT_TRUE(until([&] { return report.has_value(); }));
    ASSERT_TRUE(*report) << report->error().message;
    for (const ScrubFinding& finding : (*report)->findings)
      EXPECT_EQ(finding.kind, FindingKind::kHalfRenamed) << finding.name();
  }
  EXPECT_GT(renamings, 30);
}

// --- at random ---

class ImageRenameRaceTest : public ImageRenameTest {
 protected:
  static constexpr std::array<const char*, 3> kNames{"a", "b", "c"};

  void slow_down(FarClient& far) {
    const auto random_delay = [this] {
      return chance(3) ? Duration(std::chrono::microseconds(100 * (1 + random_() % 40)))
                       : Duration();
    };
    far.links.delay_of_send = random_delay;
    far.links.delay_of_receive = random_delay;
  }
  bool chance(unsigned of) { return random_() % of == 0; }
  std::string any_name() { return kNames[random_() % kNames.size()]; }

  void begin_anything(FarClient& far) {
    const ImageSpec spec{"lunar", any_name()};
    Client& client = *far.client;
    switch (random_() % 8) {
      case 0:
        return begin(far, [&](auto done) { remove_image(client, spec, {}, std::move(done)); });
      case 1:
        return begin(far, [&](auto done) {
          create_image(client, spec, {8 * kMiB, {}},
                       [done = std::move(done)](Outcome<ImageHeader> made) mutable {
                         done(made ? Outcome<void>() : Outcome<void>(failure(made.error())));
                       });
        });
      default:
        return begin_rename(far, spec.image, any_name());
    }
  }
  static bool is_allowed(const Outcome<void>& result) {
    if (result) return true;
    const std::error_code code = result.error().code;
    return code == OsdErrc::kNoSuchObject || code == OsdErrc::kExists || code == OsdErrc::kBusy;
  }
  void look() { look_at_names({kNames.begin(), kNames.end()}); }

  // Three clients do anything to the same names, and one is killed now and then. The seed is not
  // all: ids are random, and so is which server has what.
  void play(unsigned seed) {
    random_.seed(seed);
    seen_.clear();
    for (int i = 0; i < 3; ++i) slow_down(make_far_client());
    for (int step = 0; step < 24; ++step) {
      for (const auto& far : far_clients_) {
        if (far->is_busy()) continue;
        if (far->result && !is_allowed(**far->result)) {
          ADD_FAILURE() << "seed " << seed << ": " << (*far->result)->error().message;
        }
        begin_anything(*far);
      }
      const int idle_turns = chance(4) ? static_cast<int>(random_() % 30) : -1;
      int turns = 0;
      ASSERT_TRUE(until([&] {
        look();
        return turns++ == idle_turns ||
               std::any_of(far_clients_.begin(), far_clients_.end(),
                           [](const auto& far) { return !far->is_busy(); });
      })) << "seed "
          << seed;
      if (turns - 1 != idle_turns) continue;
      end_far_client(*far_clients_.front());
      slow_down(make_far_client());
    }
    ASSERT_TRUE(until([&] {
      look();
      return std::none_of(far_clients_.begin(), far_clients_.end(),
                          [](const auto& far) { return far->is_busy(); });
    }));
    while (!far_clients_.empty()) end_far_client(*far_clients_.front());
    look();
    ASSERT_TRUE(nameless_.empty()) << "seed " << seed << ": an image was without a name";
  }
  // What a kill has left is finished; then each image has one name, which its header says.
  void expect_one_name_each(unsigned seed) {
    for (const ImageId id : seen_) {
      const auto found = header(id);
      if (!found) continue;
      if (found->state == ImageState::kRemoving) {
        ASSERT_TRUE(remove(found->name)) << "seed " << seed;
        continue;
      }
      const auto finished = run(finish_renaming(*gateway, pool, id));
      ASSERT_TRUE(finished || finished.error().code == OsdErrc::kExists) << "seed " << seed;
      EXPECT_EQ(names_of(id, {kNames.begin(), kNames.end()}), Names{name_in_header(id)})
          << "seed " << seed;
    }
    for (const char* name : kNames) {
      if (named(name) == 0) continue;
      const auto removed = remove(name);
      ASSERT_TRUE(removed) << "seed " << seed << ": " << removed.error().message;
    }
  }

  std::mt19937 random_;
};

TEST_F(ImageRenameRaceTest, NoImageIsWithoutANameAtAnyTime) {
  const char* const seeds = std::getenv("LUNAR_RENAME_SEEDS");
  const unsigned count = seeds != nullptr ? static_cast<unsigned>(std::atoi(seeds)) : 40;
  for (unsigned seed = 1; seed <= count; ++seed) {
    play(seed);
    if (HasFatalFailure()) return;
    expect_one_name_each(seed);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace lunar::gateway
