// SPDX-License-Identifier: LGPL-2.1-or-later
// Renamings beside others that rename, make, remove or resize the image, stop half way or come
// late: it has one name at any time. A header and its name objects are looked at in the stores,
// whenever the loop is idle.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

#include "gateway/metadata/image_rename.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/pool_scrub.h"
#include "tests/gateway/metadata/image_rename_fixture.h"

namespace lunar::gateway {
namespace {

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
      const bool is_paused = pauses_at(send, late, [&](auto done) {
        rename_image(*late.client, {"lunar", "a"}, "b", std::move(done));
      });
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
    const bool is_paused = pauses_at(send, late, [&](auto done) {
      run_to_done<Outcome<void>>(*center, drop_unneeded_name(*late.client, pool, "b", id),
                                 std::move(done));
    });
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

// Its first write of the name was done and not answered. So it finds the name another image's, and
// while it decides, the name becomes its own image's again.
TEST_F(ImageRenameTest, ACreationDeletesNoHeaderOfAnImageThatWasRenamedSince) {
  make("first");
  const auto info = *gateway->find_pool("lunar");
  std::string name = "disk";
  for (int i = 0; objecter::osd_of_pg(info, objecter::pg_of_object(info, "lunar_id." + name)) != 2;
       ++i) {
    name = "disk" + std::to_string(i);
  }
  int refusals = 0;
  for (int send = 1; send <= 16; ++send) {
    FarClient& far = make_far_client();
    bool is_silent = false;
    far.links.delay_of_receive = [&] {
      is_silent |= named(name) != 0;
      return is_silent ? Duration(24h) : Duration();
    };
    begin_create(far, name);
    ASSERT_TRUE(until([&] { return is_silent; }));
    const ImageId id = named(name);
    stop(2);  // which ends the link that is silent
    start(2);
    ASSERT_TRUE(rename(name, "precious"));
    ASSERT_TRUE(create(name, 8 * kMiB));
    ASSERT_TRUE(far.is_busy());
    const auto is_paused = std::make_shared<bool>(false);
    const auto count = std::make_shared<int>(0);
    far.links.delay_of_send = [is_paused, count, send] {
      if (++*count != send) return Duration();
      *is_paused = true;
      return Duration(1s);
    };
    far.links.delay_of_receive = {};
    ASSERT_TRUE(until([&] { return *is_paused || !far.is_busy(); }));
    const bool is_late = *is_paused && far.is_busy();
    if (is_late) {
      ASSERT_TRUE(remove(name));
      ASSERT_TRUE(rename("precious", name));
    }
    ASSERT_TRUE(until([&] { return !far.is_busy(); }));
    EXPECT_TRUE(header(id)) << "paused at send " << send;
    EXPECT_EQ(named(is_late ? name : "precious"), id) << "paused at send " << send;
    if (is_late && !far.result->value()) ++refusals;
    end_far_client(far);
    for (const std::string& each : {name, std::string("precious")}) static_cast<void>(remove(each));
  }
  EXPECT_GT(refusals, 0);
}

// A repair that takes out what a creation had left, while the creation goes on. With a restart of
// the header's server, the creation's last write of the header is lost.
class CreationBesideRepairTest : public ImageRenameTest,
                                 public ::testing::WithParamInterface<bool> {};

TEST_P(CreationBesideRepairTest, MakesNoImageThatIsLost) {
  const bool restarts = GetParam();
  int repairs = 0;
  for (int made_at = 1;; ++made_at) {
    bool is_made_late = false;
    for (int mended_at = 1;; ++mended_at) {
      FarClient& maker = make_far_client();
      is_made_late = pauses_at(made_at, maker, [&](auto done) {
        create_image(*maker.client, {"lunar", "n"}, {8 * kMiB, {}},
                     without_value<ImageHeader>(std::move(done)));
      });
      FarClient& mender = make_far_client();
      bool is_mended_late = false;
      for (const ScrubFinding& finding : scrub().findings) {
        if (finding.kind != FindingKind::kHalfMade) continue;
        ++repairs;
        const auto begin_repair = [&](auto done) {
          repair_finding(*mender.client, "lunar", finding, {},
                         without_value<std::string>(std::move(done)));
        };
        is_mended_late = pauses_at(mended_at, mender, begin_repair, 3s);
        if (!restarts || !is_mended_late) continue;
        const auto info = gateway->find_pool("lunar");
        const std::string object = finding.subject.substr(0, 16) + ".header";
        const auto osd = objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
        maker.links.delay_of_send = [] { return Duration(5ms); };
        ASSERT_TRUE(until([&] { return named("n") != 0 || !maker.is_busy(); }));
        stop(osd);
        start(osd);
      }
      ASSERT_TRUE(until([&] { return !maker.is_busy() && !mender.is_busy(); }));
      const auto found = run(find_header(*gateway, {"lunar", "n"}));
      const bool is_made = maker.result->value().has_value();
      EXPECT_TRUE(found || !is_made)
          << "creation paused at " << made_at << ", repair at " << mended_at;
      EXPECT_TRUE(is_made || !found || restarts) << made_at << ", " << mended_at;
      end_far_client(maker);
      end_far_client(mender);
      static_cast<void>(remove("n"));
      for (const ScrubFinding& finding : scrub().findings) static_cast<void>(repair(finding));
      if (!is_mended_late) break;
    }
    if (!is_made_late) break;
  }
  EXPECT_GT(repairs, 10);
}

INSTANTIATE_TEST_SUITE_P(Restarts, CreationBesideRepairTest, ::testing::Bool());

// What another does next to the image is no reason to undo it, or to report that it failed; that it
// was renamed on may be all that is to be seen.
TEST_F(ImageRenameTest, OneThatIsDoneIsNotTakenBackWhenAnotherRenamesTheImageOn) {
  int moves = 0;
  for (int send = 1;; ++send) {
    const ImageId id = make("a");
    FarClient& late = make_far_client();
    const bool is_paused = pauses_at(send, late, [&](auto done) {
      rename_image(*late.client, {"lunar", "a"}, "b", std::move(done));
    });
    if (is_paused && header(id)->is_renaming()) {
      ASSERT_TRUE(run(finish_renaming(*gateway, pool, id)));
    }
    const bool moved = is_paused && name_in_header(id) == "b";
    if (moved) {
      ++moves;
      edit_header(id, [](ImageHeader& header) {
        header.state = ImageState::kRenaming;
        header.rename_to = "c";
      });
    }
    ASSERT_TRUE(until([&] { return !late.is_busy(); }));
    if (moved) {
      const Outcome<void>& result = late.result->value();
      EXPECT_TRUE(result || result.error().message.find("renamed to 'c'") != std::string::npos)
          << "paused at send " << send << ": " << result.error().message;
      ASSERT_TRUE(run(finish_renaming(*gateway, pool, id)));
      EXPECT_EQ(name_in_header(id), "c") << "paused at send " << send;
    }
    end_far_client(late);
    for (const char* name : {"a", "b", "c"}) static_cast<void>(remove(name));
    if (!is_paused) break;
  }
  EXPECT_GT(moves, 5);
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
        return begin_create(far, spec.image);
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
      ASSERT_TRUE(run(finish_renaming(*gateway, pool, id))) << "seed " << seed;
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
