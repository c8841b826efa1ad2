// SPDX-License-Identifier: LGPL-2.1-or-later
// One repair for each kind of finding. All but the first look at the image again, and act only on
// the finding if it is still there; what they delete, they delete at the version that they saw.
#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/metadata/fence.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "gateway/metadata/image_rename.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/own_flush.h"
#include "gateway/metadata/run_to_done.h"
#include "gateway/pool_scrub.h"
#include "gateway/scrub/findings.h"
#include "gateway/scrub/header_salvage.h"
#include "gateway/scrub/object_repair.h"
#include "gateway/scrub/pool_survey.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolInfo;

constexpr std::size_t kObjectsLookedAt = 256;  // of a lost header, for their size

Error changed_meanwhile(const std::string& what) {
  return {make_error_code(OsdErrc::kBusy), what + " has changed since it was found: scrub again"};
}

Error failed_at(const std::string& what, std::error_code error) {
  if (error == OsdErrc::kVersionMismatch) return changed_meanwhile(what);
  return {error, what + ": " + error.message()};
}

// What every repair has at hand. Lives in the frame of mend().
struct RepairWork {
  Client& client;
  const PoolInfo pool;
  const ScrubFinding finding;
  const HeaderGuess guess;
  PoolSurvey survey;  // of the image, as it is now
  ImageId id = 0;

  const PoolSurvey::ImageFacts& facts() const { return survey.images.at(id); }
  std::string label() const { return image_label(survey, id); }
  ObjectId data_object(uint64_t number) const { return {pool.id, data_object_name(id, number)}; }
  ObjectId header_object() const { return {pool.id, header_object_name(id)}; }
};

// A survey of the image again, if it has the same finding.
Task<Outcome<void>> look_again(RepairWork& work) {
  const SurveyScope scope{"", work.id};
  Client& client = work.client;
  const PoolInfo pool = work.pool;
  Outcome<PoolSurvey> survey = co_await survey_pool(client, pool, scope);
  if (!survey) co_return failure(survey.error());
  work.survey = std::move(*survey);
  const ScrubReport report = find_in(work.survey);
  const bool is_there =
      std::any_of(report.findings.begin(), report.findings.end(),
                  [&](const auto& each) { return each.name() == work.finding.name(); });
  if (!is_there) co_return failure(changed_meanwhile(work.finding.name()));
  co_return Outcome<void>();
}

// Deletes data objects of an image, each unless it has changed since `still_holds` held, which is
// asked when all of them have been looked at. Adds those that were there to `deleted`; the error is
// of the flush at the end.
using StillHolds = UniqueFunction<bool(const PoolSurvey& now, uint64_t number)>;
Task<Outcome<std::error_code>> delete_data_once(RepairWork& work, std::vector<uint64_t> numbers,
                                                StillHolds& still_holds,
                                                std::set<uint64_t>& deleted) {
  Client& client = work.client;
  OwnFlush flush(client, work.pool.id, work.id);
  std::vector<LookedAt> looked;
  for (const uint64_t number : numbers) {
    const ObjectId object = work.data_object(number);
    LookedAt found = co_await look_at(client, object);
    looked.push_back(found);
  }
  const SurveyScope scope{"", work.id};
  const PoolInfo pool = work.pool;
  const Outcome<PoolSurvey> now = co_await survey_pool(client, pool, scope);
  if (!now) co_return failure(now.error());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const ObjectId object = work.data_object(numbers[i]);
    const LookedAt& found = looked[i];
    if (found.error == OsdErrc::kNoSuchObject) continue;
    if (found.error && found.error != OsdErrc::kIoError) {
      co_return failure(failed_at("object " + object.name, found.error));
    }
    if (!still_holds(*now, numbers[i])) co_return failure(changed_meanwhile(work.finding.name()));
    const objecter::ObjectVersion version = found.version;
    const ImageId id = work.id;
    const std::error_code error = co_await delete_unchanged(client, id, object, version);
    if (error) co_return failure(failed_at("object " + object.name, error));
    deleted.insert(numbers[i]);
  }
  const uint64_t io_id = client.next_io_id();
  const std::error_code flushed = co_await flush.run(io_id);
  co_return Outcome<std::error_code>(flushed);
}

// The same until they are gone for good. How many there were.
Task<Outcome<uint64_t>> delete_data(RepairWork& work, std::vector<uint64_t> numbers,
                                    StillHolds still_holds) {
  std::set<uint64_t> deleted;
  std::error_code error = OsdErrc::kLostWrites;
  for (int round = 0; round < kLostWritesRounds && error == OsdErrc::kLostWrites; ++round) {
    const Outcome<std::error_code> flushed =
        co_await delete_data_once(work, numbers, still_holds, deleted);
    if (!flushed) co_return failure(flushed.error());
    error = *flushed;
  }
  if (error) co_return failure(failed_at("making the deletions durable", error));
  co_return uint64_t{deleted.size()};
}

// --- one function for each kind ---

Task<Outcome<std::string>> mend_directory(RepairWork& work) {
  Client& client = work.client;
  const ObjectId object = old_directory_of(work.pool.id);
  const SurveyedObject found = co_await survey_object(client, object);
  if (found.error && !found.is_damaged())
    co_return failure(failed_at("the directory", found.error));
  std::string said;
  if (found.error || (found.is_there && !decode_old_directory(found.text))) {
    OldDirectory salvaged;
    salvaged.is_closed = true;
    salvaged.images = salvage_directory(found.text);
    const objecter::ObjectVersion version = found.version;
    std::optional<std::string> text = encode_old_directory(salvaged);
    const uint64_t io_id = client.next_io_id();
    const std::error_code error =
        co_await swap_metadata(client, object, version, std::move(text), io_id);
    if (error) co_return failure(failed_at("the directory", error));
    said = "put the directory in order; ";
  }
  msgr::Completion<Outcome<PoolConversion>> converted;
  convert_pool(client, work.pool.name, {}, converted.callback());
  const Outcome<PoolConversion> conversion = co_await converted;
  if (!conversion) co_return failure(conversion.error());
  co_return said + "converted " + std::to_string(conversion->converted) + " names";
}

Task<Outcome<std::string>> mend_name(RepairWork& work) {
  Client& client = work.client;
  const PoolInfo pool = work.pool;
  const std::string name = work.finding.subject;
  const SurveyScope scope;
  const Outcome<PoolSurvey> survey = co_await survey_pool(client, pool, scope);
  if (!survey) co_return failure(survey.error());
  const ObjectId object = name_object_of(pool.id, name);
  const SurveyedObject found = co_await survey_object(client, object);
  const bool is_damaged =
      found.is_damaged() || (found.is_there && !decode_name(found.text, object.name));
  if (!is_damaged) co_return failure(changed_meanwhile("name '" + name + "'"));
  const std::vector<ImageId> owners = nameless_images_of(*survey, name);
  const bool is_certain = owners.size() == 1 && survey->is_listed();
  if (!is_certain && !work.finding.must_be_named) {
    co_return failure(changed_meanwhile("name '" + name + "'"));
  }
  std::optional<std::string> text;
  if (is_certain) text = encode_name(owners.front());
  const objecter::ObjectVersion version = found.version;
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(text), io_id);
  if (error) co_return failure(failed_at("name '" + name + "'", error));
  co_return is_certain ? "made name '" + name + "' anew, of image " + image_id_text(owners.front())
                       : "deleted name '" + name + "'";
}

Task<Outcome<std::string>> mend_two_names(RepairWork& work) {
  Client& client = work.client;
  const objecter::PoolId pool = work.pool.id;
  const ImageId id = work.id;
  const std::vector<std::string> names = left_over_names_in(work.survey, id);
  if (names.empty()) {
    co_return failure(OsdErrc::kInvalid, work.finding.name() +
                                             ": which name to keep is not known before the header "
                                             "is repaired");
  }
  std::string names_text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string name = names[i];
    const Outcome<void> dropped = co_await drop_unneeded_name(client, pool, name, id);
    if (!dropped) co_return failure(dropped.error());
    names_text += (names_text.empty() ? "'" : ", '") + name + "'";
  }
  co_return "deleted what image '" + work.label() + "' does not need of the names " + names_text;
}

Task<Outcome<std::string>> mend_half_renamed(RepairWork& work) {
  Client& client = work.client;
  const auto begun = decoded_header(work.survey, work.id);
  const Outcome<EndedRenaming> ended = co_await finish_renaming(client, work.pool.id, work.id);
  if (!ended) co_return failure(ended.error());
  const std::string name = ended->header.lasting_name();
  const Outcome<NameContent> content = co_await read_name(client, work.pool.id, name);
  if (!content && !is_illegible(content.error().code)) co_return failure(content.error());
  if (!content || content->id != work.id) {
    co_return "neither '" + begun->name + "' nor '" + begun->rename_to +
        "' is to be had for image " + image_id_text(work.id) + ": scrub again";
  }
  if (ended->why_undone) {
    co_return "the name of image '" + name + "' stays: " + ended->why_undone->message;
  }
  co_return "the name of image '" + begun->name + "' is '" + name + "' now";
}

// Whoever may have the image open would not hear of the header that is made anew, nor stand in the
// way of one who opens it: those that watch the old one, and those that are legible in it.
Task<Outcome<void>> fence_openers(RepairWork& work) {
  Client& client = work.client;
  ImageHeader old;
  old.id = work.id;
  old.registrations = salvage_registrations(work.facts().header.text);
  std::vector<Registration> openers = old.registrations;
  const objecter::PoolId pool_id = work.pool.id;
  const Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool_id, old);
  if (holders) {
    for (const Holder& each : *holders) openers.push_back(each.registration);
  } else if (holders.error().code != OsdErrc::kNoSuchObject) {
    co_return failure(holders.error());
  }
  std::vector<Registration> fenced;
  for (std::size_t i = 0; i < openers.size(); ++i) {
    const Registration who = openers[i];
    const bool is_done = std::any_of(fenced.begin(), fenced.end(), [&](const Registration& each) {
      return each.is_of_start(who);
    });
    if (is_done) continue;
    if (who.entity == client.entity() && who.instance == client.instance()) {
      co_return failure(OsdErrc::kBusy, "this process has the image open: close it first");
    }
    const PoolInfo pool = work.pool;
    const Outcome<void> done = co_await fence_start(client, pool, who);
    if (!done) co_return failure(done.error());
    fenced.push_back(who);
  }
  co_return Outcome<void>();
}

Task<Outcome<std::string>> mend_header(RepairWork& work) {
  Client& client = work.client;
  const std::set<uint64_t>& data = work.facts().data;
  HeaderRemains remains;
  remains.id = work.id;
  remains.name = image_name_in(work.survey, work.id);
  remains.text = work.facts().header.text;
  remains.default_layout = layout_with_defaults(client, work.pool.name, 0, 0, 0);
  remains.end_object = data.empty() ? 0 : *data.rbegin() + 1;
  std::size_t looked_at = 0;
  for (const uint64_t number : data) {
    if (++looked_at > kObjectsLookedAt) break;
    const ObjectId object = work.data_object(number);
    const LookedAt found = co_await look_at(client, object);
    remains.largest_object = std::max(remains.largest_object, found.size);
  }
  const auto header = salvage_header(remains, work.guess);
  if (!header) co_return failure(header.error());
  const Outcome<void> fenced = co_await fence_openers(work);
  if (!fenced) co_return failure(fenced.error());
  const ObjectId object = work.header_object();
  const objecter::ObjectVersion version = work.facts().header.version;
  std::optional<std::string> text = encode(*header);
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(text), io_id);
  if (error) co_return failure(failed_at("header " + object.name, error));
  tell_of_change_later(client, work.pool.id, work.id);
  const Outcome<void> named = co_await take_name(client, work.pool.id, header->name, work.id);
  const bool is_same_lun = remains.text.find(header->uuid.to_string()) != std::string_view::npos;
  co_return "made the header of image '" + header->name +
      "' anew: " + std::to_string(header->size) + " bytes, in objects of " +
      std::to_string(header->layout.object_size) + " and " +
      std::to_string(header->layout.stripe_count) + " side by side; its identity as a LUN is " +
      (is_same_lun ? "the same" : "new") +
      (named ? std::string() : "; its name is not entered: " + named.error().message);
}

Task<Outcome<std::string>> mend_half_made(RepairWork& work) {
  Client& client = work.client;
  const ObjectId object = work.header_object();
  const objecter::ObjectVersion version = work.facts().header.version;
  std::optional<std::string> none;
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(none), io_id);
  if (error) co_return failure(failed_at("header " + object.name, error));
  co_return "deleted header " + object.name;
}

Task<Outcome<std::string>> mend_unnamed(RepairWork& work) {
  Client& client = work.client;
  const objecter::PoolId pool = work.pool.id;
  const ImageId id = work.id;
  VersionedHeader found;
  found.header = *decoded_header(work.survey, id);
  found.version = work.facts().header.version;
  const std::string wanted = found.header.name;
  const Outcome<std::string> name = co_await give_name(client, pool, found, wanted);
  if (!name) co_return failure(name.error());
  const std::vector<std::string> left_over = left_over_names_in(work.survey, id);
  for (std::size_t i = 0; i < left_over.size(); ++i) {
    const std::string other = left_over[i];
    const Outcome<void> dropped = co_await drop_unneeded_name(client, pool, other, id);
    if (!dropped) co_return failure(dropped.error());
  }
  co_return "entered image '" + *name + "'";
}

Task<Outcome<std::string>> mend_half_removed(RepairWork& work) {
  Client& client = work.client;
  const objecter::PoolId pool = work.pool.id;
  const ImageId id = work.id;
  const std::vector<std::string> names = image_names_in(work.survey, id);
  const std::string label = work.label();
  if (work.facts().header.is_there) {
    StillHolds still_holds = [id](const PoolSurvey& now, uint64_t) {
      const auto header = decoded_header(now, id);
      return header && header->state == ImageState::kRemoving;
    };
    std::vector<uint64_t> numbers(work.facts().data.begin(), work.facts().data.end());
    const Outcome<uint64_t> deleted =
        co_await delete_data(work, std::move(numbers), std::move(still_holds));
    if (!deleted) co_return failure(deleted.error());
    const Outcome<void> headless = co_await delete_header(client, pool, id);
    if (!headless) co_return failure(headless.error());
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string name = names[i];
    const Outcome<void> dropped = co_await drop_name(client, pool, name, id);
    if (!dropped) co_return failure(dropped.error());
  }
  co_return "removed what was left of image '" + label + "'";
}

Task<Outcome<std::string>> mend_half_imported(RepairWork& work) {
  const Outcome<std::vector<Holder>> living = co_await find_living(work.client, work.pool, work.id);
  if (!living) co_return failure(living.error());
  if (!living->empty()) {
    co_return failure(OsdErrc::kBusy, "image '" + work.label() + "' is being imported by " +
                                          text_of_holders(*living));
  }
  HeaderEditor give_up = [](ImageHeader& current) -> Outcome<void> {
    if (current.state != ImageState::kImporting || !current.registrations.empty()) {
      return failure(changed_meanwhile("image '" + current.name + "'"));
    }
    current.state = ImageState::kRemoving;
    return {};
  };
  const Outcome<void> given_up =
      co_await update_header(work.client, work.pool.id, work.id, std::move(give_up));
  if (!given_up) co_return failure(given_up.error());
  const SurveyScope scope{"", work.id};  // it was written to until now
  Outcome<PoolSurvey> survey = co_await survey_pool(work.client, work.pool, scope);
  if (!survey) co_return failure(survey.error());
  work.survey = std::move(*survey);
  Outcome<std::string> removed = co_await mend_half_removed(work);
  co_return removed;
}

Task<Outcome<std::string>> mend_orphan(RepairWork& work) {
  const ImageId id = work.id;
  StillHolds still_holds = [id](const PoolSurvey& now, uint64_t) {
    const SurveyedObject& header = now.images.at(id).header;
    return now.knows_all_names() && image_name_in(now, id).empty() && !header.is_there &&
           !header.error;
  };
  std::vector<uint64_t> numbers(work.facts().data.begin(), work.facts().data.end());
  const Outcome<uint64_t> deleted =
      co_await delete_data(work, std::move(numbers), std::move(still_holds));
  if (!deleted) co_return failure(deleted.error());
  co_return "deleted " + std::to_string(*deleted) + " objects";
}

Task<Outcome<std::string>> mend_beyond_end(RepairWork& work) {
  const ImageId id = work.id;
  StillHolds still_holds = [id](const PoolSurvey& now, uint64_t number) {
    const auto header = decoded_header(now, id);
    return header && number >= header->layout.object_count(header->size);
  };
  const auto header = decoded_header(work.survey, id);
  const std::set<uint64_t>& data = work.facts().data;
  std::vector<uint64_t> numbers(data.lower_bound(header->layout.object_count(header->size)),
                                data.end());
  const Outcome<uint64_t> deleted =
      co_await delete_data(work, std::move(numbers), std::move(still_holds));
  if (!deleted) co_return failure(deleted.error());
  co_return "deleted " + std::to_string(*deleted) + " objects";
}

// What was done is kept in `done`; the error is of the flush at the end.
Task<Outcome<std::error_code>> mend_damaged_once(RepairWork& work, std::string& done) {
  Client& client = work.client;
  const ImageId id = work.id;
  OwnFlush flush(client, work.pool.id, id);
  const ObjectId object{work.pool.id, work.finding.subject};
  const LookedAt found = co_await look_at(client, object);
  if (found.error == OsdErrc::kNoSuchObject && !done.empty()) {
    // It was deleted in an earlier round.
  } else if (found.error == OsdErrc::kNoSuchObject) {
    co_return failure(changed_meanwhile("object " + object.name));
  } else if (found.error == OsdErrc::kIoError) {
    const objecter::ObjectVersion version = found.version;
    const std::error_code error = co_await delete_unchanged(client, id, object, version);
    if (error) co_return failure(failed_at("object " + object.name, error));
    done = "deleted object " + object.name + ": it reads as zeroes";
  } else if (found.error) {
    co_return failure(failed_at("object " + object.name, found.error));
  } else {
    const Outcome<uint64_t> zeroed = co_await zero_unreadable(client, id, object, found);
    if (!zeroed) co_return failure(zeroed.error());
    if (done.empty() || *zeroed != 0) {
      done = "zeroed " + std::to_string(*zeroed) + " of " + std::to_string(found.size) +
             " bytes of object " + object.name;
    }
  }
  const uint64_t io_id = client.next_io_id();
  const std::error_code flushed = co_await flush.run(io_id);
  co_return Outcome<std::error_code>(flushed);
}

Task<Outcome<std::string>> mend_damaged(RepairWork& work) {
  std::string done;
  std::error_code error = OsdErrc::kLostWrites;
  for (int round = 0; round < kLostWritesRounds && error == OsdErrc::kLostWrites; ++round) {
    const Outcome<std::error_code> flushed = co_await mend_damaged_once(work, done);
    if (!flushed) co_return failure(flushed.error());
    error = *flushed;
  }
  if (error) co_return failure(failed_at("making the repair durable", error));
  co_return done;
}

Task<Outcome<std::string>> mend_registration(RepairWork& work) {
  const std::string instance = work.finding.subject.substr(image_id_text(work.id).size() + 1);
  const auto header = decoded_header(work.survey, work.id);
  std::vector<Registration> theirs;
  for (const Registration& each : header->registrations)
    if (each.instance == instance) theirs.push_back(each);
  const PoolInfo pool = work.pool;
  const Outcome<void> struck = co_await fence_and_strike(work.client, pool, work.id, theirs);
  if (!struck) co_return failure(struck.error());
  co_return "fenced " + instance + " and struck it from image '" + header->name + "'";
}

Task<Outcome<std::string>> mend_foreign(RepairWork& work) {
  Client& client = work.client;
  const ObjectId object{work.pool.id, work.finding.subject};
  const ImageId none = 0;
  std::error_code error = OsdErrc::kInvalid;
  // It may be a metadata object of somebody's: its server says so, by kInvalid.
  for (int i = 0; i < 2 && error == OsdErrc::kInvalid; ++i) {
    const uint16_t flags = i == 0 ? 0 : objecter::kOpMetadata;
    const LookedAt found = co_await look_at(client, object, flags);
    if (found.error) co_return failure(failed_at("object " + object.name, found.error));
    const objecter::ObjectVersion version = found.version;
    const std::error_code deleted = co_await delete_unchanged(client, none, object, version, flags);
    error = deleted;
  }
  if (error) co_return failure(failed_at("object " + object.name, error));
  co_return "deleted object " + object.name;
}

Task<Outcome<std::string>> refuse_repair(RepairWork& work) {
  co_return failure(OsdErrc::kInvalid, work.finding.name() + ": nothing can be repaired");
}

Task<Outcome<std::string>> repair_of(RepairWork& work) {
  switch (work.finding.kind) {
    case FindingKind::kDirectory:
      return mend_directory(work);
    case FindingKind::kDamagedName:
      return mend_name(work);
    case FindingKind::kTwoNames:
      return mend_two_names(work);
    case FindingKind::kLostHeader:
    case FindingKind::kDamagedHeader:
      return mend_header(work);
    case FindingKind::kHalfMade:
      return mend_half_made(work);
    case FindingKind::kUnnamed:
      return mend_unnamed(work);
    case FindingKind::kHalfRemoved:
      return mend_half_removed(work);
    case FindingKind::kHalfImported:
      return mend_half_imported(work);
    case FindingKind::kHalfRenamed:
      return mend_half_renamed(work);
    case FindingKind::kOrphan:
      return mend_orphan(work);
    case FindingKind::kBeyondEnd:
      return mend_beyond_end(work);
    case FindingKind::kDamaged:
      return mend_damaged(work);
    case FindingKind::kRegistration:
      return mend_registration(work);
    case FindingKind::kForeign:
      return mend_foreign(work);
    case FindingKind::kLostWrites:
      break;
  }
  return refuse_repair(work);
}

// The id that the subject begins with; 0: it begins with none.
ImageId image_of(const std::string& subject) {
  ImageId id = 0;
  if (subject.size() < 16) return 0;
  const auto [end, error] = std::from_chars(subject.data(), subject.data() + 16, id, 16);
  return error == std::errc() && end == subject.data() + 16 ? id : 0;
}

Task<Outcome<std::string>> mend(Client& client, std::string pool_name, ScrubFinding finding,
                                HeaderGuess guess) {
  const auto pool = client.find_pool(pool_name);
  if (!pool) co_return failure(pool.error());
  RepairWork work{client, *pool, finding, guess, {}, image_of(finding.subject)};
  const FindingKind kind = finding.kind;
  const bool is_of_image = kind != FindingKind::kDirectory && kind != FindingKind::kDamagedName &&
                           kind != FindingKind::kForeign && kind != FindingKind::kDamaged &&
                           kind != FindingKind::kLostWrites;
  if (is_of_image) {
    const Outcome<void> same = co_await look_again(work);
    if (!same) co_return failure(same.error());
  }
  Outcome<std::string> done = co_await repair_of(work);
  co_return done;
}

}  // namespace

void repair_finding(Client& client, const std::string& pool, const ScrubFinding& finding,
                    const HeaderGuess& guess, UniqueFunction<void(Outcome<std::string>)> done) {
  run_to_done(client.center(), mend(client, pool, finding, guess), std::move(done));
}

}  // namespace lunar::gateway
