// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/findings.h"

#include <algorithm>
#include <map>
#include <utility>

#include "gateway/metadata/name_object.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

std::string count_of(std::size_t number, const std::string& thing) {
  return std::to_string(number) + " " + thing + (number == 1 ? "" : "s");
}

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "'" : ", '") + name + "'";
  return list;
}

// Draws the findings; one call of run().
class FindingSearch {
 public:
  explicit FindingSearch(const PoolSurvey& survey) : survey_(survey) {}

  ScrubReport run() {
    look_at_servers();
    look_at_old_directory();
    look_at_names();
    for (const auto& [id, facts] : survey_.images) look_at_image(id, facts);
    if (survey_.is_whole) look_at_foreign();
    look_at_damaged();
    std::sort(report_.findings.begin(), report_.findings.end(), [](const auto& a, const auto& b) {
      return std::pair(a.kind, a.subject) < std::pair(b.kind, b.subject);
    });
    return std::move(report_);
  }

 private:
  using ImageFacts = PoolSurvey::ImageFacts;

  ScrubFinding& add(FindingKind kind, std::string subject, std::string what, std::string repair,
                    bool must_be_named = false) {
    report_.findings.push_back(
        {kind, std::move(subject), std::move(what), std::move(repair), must_be_named});
    return report_.findings.back();
  }

  void look_at_servers() {
    std::map<objecter::OsdId, std::string> silent;
    for (const auto& each : survey_.unlisted) {
      silent.emplace(each.osd, "its objects are not listed: " + each.error.message());
    }
    for (const ServerFacts& server : survey_.servers) {
      if (!server.problem.empty()) {
        silent.emplace(server.osd, "it does not say what it knows of damage, losses and clients: " +
                                       server.problem);
      }
    }
    for (const auto& [osd, why] : silent) {
      report_.unchecked.push_back("osd." + std::to_string(osd) + ": " + why);
    }
    knows_clients_ = std::all_of(survey_.servers.begin(), survey_.servers.end(),
                                 [](const ServerFacts& server) { return server.problem.empty(); });
  }

  void look_at_old_directory() {
    const std::string object = old_directory_of(survey_.pool.id).name;
    if (!survey_.old_names && !survey_.old_directory.is_damaged()) {
      report_.unchecked.push_back("object " + object + ": " +
                                  survey_.old_directory.error.message());
    } else if (!survey_.old_names) {
      add(FindingKind::kDirectory, object,
          "object " + object + " cannot be read (" + survey_.old_directory.error.message() +
              "): no image can be made, and names are missing if it still had some",
          "take over the names that can be read of it, and put it in order");
    } else if (!survey_.old_names->images.empty()) {
      add(FindingKind::kDirectory, object,
          "the pool has a directory of an earlier format with " +
              count_of(survey_.old_names->images.size(), "image"),
          "convert it, as 'lunar pool convert' does");
    }
  }

  void look_at_names() {
    if (!survey_.is_whole) return;
    for (const auto& [name, facts] : survey_.names) {
      if (facts.id == 0) look_at_bad_name(name, facts);
    }
  }

  void look_at_bad_name(const std::string& name, const PoolSurvey::NameFacts& facts) {
    const std::string object = name_object_of(survey_.pool.id, name).name;
    if (facts.is_of_newer_build) {
      report_.unchecked.push_back("name '" + name + "' is of a newer build");
      return;
    }
    if (facts.object.error && !facts.object.is_damaged()) {
      report_.unchecked.push_back("name '" + name + "': " + facts.object.error.message());
      return;
    }
    const std::vector<ImageId> owners = nameless_images_of(survey_, name);
    const bool is_certain = owners.size() == 1 && survey_.is_listed();
    add(FindingKind::kDamagedName, name,
        "the object of image name '" + name + "' (" + object +
            ") cannot be read: the image cannot "
            "be opened",
        is_certain ? "make it anew: the header of image " + image_id_text(owners.front()) +
                         " has this name"
                   : "delete it, with what it leads to, which no header says",
        !is_certain);
  }

  // Of an image whose header cannot be read nobody knows which one it has.
  void look_at_two(ImageId id) {
    const std::vector<std::string> names = image_names_in(survey_, id);
    if (names.size() < 2) return;
    add(FindingKind::kTwoNames, image_id_text(id),
        "one image has the names " + list_of(names) + ", and its header does not say which", "");
  }

  void look_at_left_over_names(ImageId id, const std::string& name) {
    const std::vector<std::string> names = left_over_names_in(survey_, id);
    if (names.empty()) return;
    add(FindingKind::kTwoNames, image_id_text(id),
        "image '" + name + "' has left over " + list_of(names) +
            ", as of a renaming: nothing is found under a name that its header does not have",
        "delete " + list_of(names));
  }

  // The command is named only if it is about this image: a header may have another one's name.
  void look_at_renaming(ImageId id, const ImageHeader& header, bool is_found) {
    const auto named = survey_.names.find(header.name);
    const bool leads_here = named != survey_.names.end() && named->second.id == id;
    const std::string command =
        "lunar mv " + survey_.pool.name + "/" + header.name + " " + header.rename_to;
    add(FindingKind::kHalfRenamed, image_id_text(id),
        "the renaming of image " + image_id_text(id) + ", '" + header.name + "', to '" +
            header.rename_to + "' was begun and not finished" +
            (is_found ? "; it can be used meanwhile" : ""),
        leads_here ? "finish it, as '" + command + "' does" : "finish it, or undo it");
  }

  void look_at_image(ImageId id, const ImageFacts& facts) {
    ++report_.images;
    report_.objects += facts.data.size();
    const std::string name = image_name_in(survey_, id);
    const std::string text = image_id_text(id);
    if (facts.header.error) return look_at_bad_header(id, facts);
    if (!facts.header.is_there) return look_at_no_header(id, facts, name);
    const auto header = decode_image_header(facts.header.text, header_object_name(id));
    if (!header && header.error().code == OsdErrc::kIncompatible) {
      report_.unchecked.push_back(header.error().message);
      return;
    }
    if (!header) return look_at_bad_header(id, facts);
    if (!name.empty()) look_at_left_over_names(id, name);
    if (header->is_renaming()) look_at_renaming(id, *header, !name.empty());
    if (header->state == ImageState::kImporting) {
      add(FindingKind::kHalfImported, text,
          "the import of image '" + header->name +
              "' was begun and not finished: it cannot be opened, and its content is not whole",
          "remove it, unless it is being imported now", true);
    }
    if (header->state == ImageState::kRemoving) {
      add(FindingKind::kHalfRemoved, text,
          "the removal of image '" + header->name + "' was begun and not finished",
          "finish it: delete its " + count_of(facts.data.size(), "object") +
              ", its header and its name");
    } else if (name.empty() && !header->is_renaming() && survey_.is_listed() && survey_.old_names &&
               !is_unread(header->name)) {
      look_at_unnamed(id, facts, *header);
    }
    look_beyond_end(id, facts, *header);
    look_at_registrations(id, *header);
    look_at_losses(id);
  }

  void look_at_bad_header(ImageId id, const ImageFacts& facts) {
    const std::string object = header_object_name(id);
    const bool was_read = !facts.header.error;
    if (was_read || facts.header.is_damaged()) look_at_two(id);
    if (!was_read && !facts.header.is_damaged()) {
      if (!survey_.failure_of(survey_.osd_of(object))) {
        report_.unchecked.push_back("header " + object + ": " + facts.header.error.message());
      }
      return;
    }
    add(FindingKind::kDamagedHeader, image_id_text(id),
        "the header of image '" + image_label(survey_, id) + "' " +
            (was_read ? "is no image header"
                      : "cannot be read (" + facts.header.error.message() + ")") +
            ": the image cannot be opened; it has " + count_of(facts.data.size(), "data object"),
        "make it anew from what can be read of it, its name and its objects, with what is given by "
        "--size and --object-size",
        true);
  }

  void look_at_no_header(ImageId id, const ImageFacts& facts, const std::string& name) {
    if (!name.empty() && facts.data.empty() && survey_.is_listed()) {
      add(FindingKind::kHalfRemoved, image_id_text(id),
          "image '" + name + "' has neither header nor data: its removal was not finished",
          "delete its name");
    } else if (!name.empty() && !facts.data.empty()) {
      look_at_two(id);
      add(FindingKind::kLostHeader, image_id_text(id),
          "image '" + name + "' has " + count_of(facts.data.size(), "data object") +
              " and no header: it was lost, and the image cannot be opened",
          "make a header from its name and objects, with what is given by --size and --object-size",
          true);
    } else if (name.empty() && survey_.knows_all_names()) {
      add(FindingKind::kOrphan, image_id_text(id),
          count_of(facts.data.size(), "data object") +
              " of an image that has neither header nor name",
          "delete " + count_of(facts.data.size(), "object"), true);
    }
  }

  void look_at_unnamed(ImageId id, const ImageFacts& facts, const ImageHeader& header) {
    const bool is_taken = survey_.names.contains(header.name);
    const std::vector<std::string> left_over = left_over_names_in(survey_, id);
    if (facts.data.empty() && header.registrations.empty() && left_over.empty()) {
      add(FindingKind::kHalfMade, image_id_text(id),
          "a header of an image '" + header.name +
              "' that has neither data nor a name: its making "
              "was not finished",
          "delete the header");
      return;
    }
    add(FindingKind::kUnnamed, image_id_text(id),
        "image '" + header.name + "' has a header and " +
            count_of(facts.data.size(), "data object") + ", and no name",
        "enter it as '" + (is_taken ? spare_name(header.name, id) : header.name) + "'" +
            (left_over.empty() ? "" : ", and delete " + list_of(left_over)));
  }

  void look_beyond_end(ImageId id, const ImageFacts& facts, const ImageHeader& header) {
    if (header.state == ImageState::kRemoving) return;
    const uint64_t count = header.layout.object_count(header.size);
    const auto beyond =
        static_cast<std::size_t>(std::distance(facts.data.lower_bound(count), facts.data.end()));
    if (beyond == 0) return;
    add(FindingKind::kBeyondEnd, image_id_text(id),
        "image '" + header.name + "' has " + count_of(beyond, "data object") +
            " beyond its end, left over from a shrinking that was not finished",
        "delete " + count_of(beyond, "object"));
  }

  void look_at_registrations(ImageId id, const ImageHeader& header) {
    if (!knows_clients_) return;
    for (const Registration& each : header.registrations) {
      const bool is_known = std::any_of(
          survey_.servers.begin(), survey_.servers.end(), [&](const ServerFacts& server) {
            return server.clients.contains({each.entity, each.instance});
          });
      if (is_known) continue;
      add(FindingKind::kRegistration, image_id_text(id) + ":" + each.instance,
          "image '" + header.name + "' is registered by " + each.entity + " at " + each.instance +
              ", which is connected to no server of the pool",
          "fence that gateway at every server and strike the registration", true);
    }
  }

  void look_at_losses(ImageId id) {
    for (const ServerFacts& server : survey_.servers) {
      if (!server.lost_writes.contains(id)) continue;
      add(FindingKind::kLostWrites, image_id_text(id) + ":osd." + std::to_string(server.osd),
          "osd." + std::to_string(server.osd) + " has lost writes of image '" +
              image_label(survey_, id) +
              "' that were acknowledged and not flushed; gateways were told by their next flush, "
              "or will be. Check what is on it",
          "");
    }
  }

  void look_at_foreign() {
    for (const std::string& name : survey_.foreign) {
      add(FindingKind::kForeign, name, "object " + name + " is no part of any image",
          "delete the object", true);
    }
  }

  // There is an object of this name, and nobody knows of which image.
  bool is_unread(const std::string& name) const {
    const auto found = survey_.names.find(name);
    return found != survey_.names.end() && found->second.id == 0;
  }

  // What servers refuse to read; headers and names were looked at above.
  void look_at_damaged() {
    for (const ServerFacts& server : survey_.servers) {
      for (const std::string& name : server.damaged) {
        const auto data = objecter::parse_data_object(name);
        if (!data || !survey_.images.contains(data->image)) continue;
        add(FindingKind::kDamaged, name,
            "object " + std::to_string(data->number) + " of image '" +
                image_label(survey_, data->image) + "' (" + name +
                ") may have lost writes on osd." + std::to_string(server.osd) +
                ", and is refused until it is replaced",
            "delete it, so that it reads as zeroes", true);
      }
    }
  }

  const PoolSurvey& survey_;
  ScrubReport report_;
  bool knows_clients_ = false;
};

}  // namespace

const char* finding_kind_text(FindingKind kind) noexcept {
  switch (kind) {
    case FindingKind::kDirectory:
      return "directory";
    case FindingKind::kDamagedName:
      return "damaged-name";
    case FindingKind::kTwoNames:
      return "two-names";
    case FindingKind::kLostHeader:
      return "lost-header";
    case FindingKind::kDamagedHeader:
      return "damaged-header";
    case FindingKind::kHalfMade:
      return "half-made";
    case FindingKind::kUnnamed:
      return "unnamed";
    case FindingKind::kHalfRemoved:
      return "half-removed";
    case FindingKind::kHalfImported:
      return "half-imported";
    case FindingKind::kHalfRenamed:
      return "half-renamed";
    case FindingKind::kOrphan:
      return "orphan";
    case FindingKind::kBeyondEnd:
      return "beyond-end";
    case FindingKind::kDamaged:
      return "damaged";
    case FindingKind::kLostWrites:
      return "lost-writes";
    case FindingKind::kRegistration:
      return "registration";
    case FindingKind::kForeign:
      return "foreign";
  }
  return "?";
}

std::optional<ImageHeader> decoded_header(const PoolSurvey& survey, ImageId id) {
  const auto found = survey.images.find(id);
  if (found == survey.images.end() || !found->second.header.is_there) return std::nullopt;
  auto header = decode_image_header(found->second.header.text, header_object_name(id));
  return header ? std::optional(std::move(*header)) : std::nullopt;
}

std::string image_name_in(const PoolSurvey& survey, ImageId id) {
  const std::vector<std::string> names = image_names_in(survey, id);
  const auto header = decoded_header(survey, id);
  if (header && std::find(names.begin(), names.end(), header->lasting_name()) != names.end())
    return header->lasting_name();
  for (const std::string& name : names) {
    const bool is_left_over = header && survey.names.contains(name) && !header->has_name(name);
    if (!is_left_over) return name;
  }
  return {};
}

std::vector<std::string> left_over_names_in(const PoolSurvey& survey, ImageId id) {
  std::vector<std::string> names;
  const auto header = decoded_header(survey, id);
  if (!header) return names;
  for (const auto& [name, facts] : survey.names) {
    if (facts.id == id && !header->has_name(name)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> image_names_in(const PoolSurvey& survey, ImageId id) {
  std::vector<std::string> names;
  for (const auto& [name, facts] : survey.names) {
    if (facts.id == id) names.push_back(name);
  }
  if (!names.empty() || !survey.old_names) return names;
  for (const auto& [name, named] : survey.old_names->images) {
    if (named == id) names.push_back(name);
  }
  return names;
}

std::vector<ImageId> nameless_images_of(const PoolSurvey& survey, const std::string& name) {
  std::vector<ImageId> found;
  for (const auto& [id, facts] : survey.images) {
    const auto header = decoded_header(survey, id);
    if (header && header->lasting_name() == name && image_name_in(survey, id).empty()) {
      found.push_back(id);
    }
  }
  return found;
}

std::string image_label(const PoolSurvey& survey, ImageId id) {
  if (std::string name = image_name_in(survey, id); !name.empty()) return name;
  if (const auto header = decoded_header(survey, id)) return header->name;
  return image_id_text(id);
}

ScrubReport find_in(const PoolSurvey& survey) { return FindingSearch(survey).run(); }

}  // namespace lunar::gateway
