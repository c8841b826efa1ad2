// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/pool_scrub.h"

#include <algorithm>
#include <utility>

#include "gateway/metadata/run_to_done.h"
#include "gateway/scrub/data_check.h"
#include "gateway/scrub/findings.h"
#include "gateway/scrub/pool_survey.h"

namespace lunar::gateway {
namespace {

Task<Outcome<ScrubReport>> scrub(Client& client, std::string pool_name, ScrubOptions options,
                                 OnProgress on_progress) {
  const auto pool = client.find_pool(pool_name);
  if (!pool) co_return failure(pool.error());
  const SurveyScope scope{options.image, 0};
  Outcome<PoolSurvey> survey = co_await survey_pool(client, *pool, scope);
  if (!survey) co_return failure(survey.error());
  ScrubReport report = find_in(*survey);
  if (options.reads_data) {
    co_await check_data(client, *survey, options, std::move(on_progress), report);
    std::stable_sort(report.findings.begin(), report.findings.end(),
                     [](const auto& a, const auto& b) {
                       return std::pair(a.kind, a.subject) < std::pair(b.kind, b.subject);
                     });
  }
  co_return report;
}

}  // namespace

void scrub_pool(Client& client, const std::string& pool, const ScrubOptions& options,
                OnProgress on_progress, UniqueFunction<void(Outcome<ScrubReport>)> done) {
  run_to_done(client.center(), scrub(client, pool, options, std::move(on_progress)),
              std::move(done));
}

}  // namespace lunar::gateway
