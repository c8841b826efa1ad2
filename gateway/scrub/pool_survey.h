// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/pool_objects.h"

namespace lunar::gateway {

// What the servers of a pool say that is in it: the facts from which a scrub draws its findings.

// What one read of a data object asks for, at most.
inline constexpr uint64_t kScrubReadBytes = 4u << 20;

// A metadata object as it was found. At most one of `is_there` and `error`.
struct SurveyedObject {
  bool is_there = false;
  std::error_code error;  // why it could not be read
  std::string text;
  objecter::ObjectVersion version;  // also of one that is absent or damaged

  // Its server has answered that it cannot read it; otherwise nothing is known of it.
  bool is_damaged() const noexcept;
};

// A client of a server, as registrations name one.
struct KnownClient {
  std::string entity;
  std::string instance;
  friend auto operator<=>(const KnownClient&, const KnownClient&) = default;
};

// What one server says of itself.
struct ServerFacts {
  objecter::OsdId osd = -1;
  std::string problem;            // a sentence: why it says nothing; empty otherwise
  std::set<std::string> damaged;  // objects of the pool
  std::set<ImageId> lost_writes;
  std::set<KnownClient> clients;  // that are connected
};

struct PoolSurvey {
  struct ImageFacts {
    std::set<uint64_t> data;  // numbers of its data objects
    SurveyedObject header;
  };
  struct NameFacts {
    SurveyedObject object;
    ImageId id = 0;                  // 0: it cannot be read
    bool is_of_newer_build = false;  // then neither
  };

  objecter::PoolInfo pool;
  objecter::OsdMapRef map;                 // by which it was made; not null
  bool is_whole = true;                    // of the whole pool, and not of one image
  std::map<std::string, NameFacts> names;  // that have an object; also of other images
  SurveyedObject old_directory;            // of an earlier format, or closed
  std::optional<OldDirectory> old_names;   // nothing: it cannot be read
  std::map<ImageId, ImageFacts> images;    // every id that a name or an object has
  std::vector<std::string> foreign;        // objects that are none of an image
  std::vector<ServerFacts> servers;
  std::vector<PoolObjects::UnlistedServer> unlisted;

  bool is_listed() const noexcept { return unlisted.empty(); }
  // An image for which there is no name has none.
  bool knows_all_names() const noexcept;
  // The server that holds the object.
  objecter::OsdId osd_of(const std::string& object) const;
  // Why that server has not listed its objects; success: it has.
  std::error_code failure_of(objecter::OsdId osd) const;
};

// Reads the metadata object, whatever is in it.
Task<SurveyedObject> survey_object(Client& client, objecter::ObjectId object);

// What to look at: the image of a name, that of an id, or the whole pool. At most one is given.
struct SurveyScope {
  std::string image;
  ImageId id = 0;
};

// Asks every server of the pool. Errors: kNoSuchObject and kCorrupt as scrub_pool(), only if a name
// is given.
Task<Outcome<PoolSurvey>> survey_pool(Client& client, objecter::PoolInfo pool, SurveyScope scope);

}  // namespace lunar::gateway
