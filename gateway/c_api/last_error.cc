// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/c_api/last_error.h"

#include "common/visible_text.h"
#include "gateway/errno_of.h"
#include "gateway/lunar.h"

namespace lunar::c_api {
namespace {

thread_local std::string sentence_of_thread;

}  // namespace

const std::string& last_error() noexcept { return sentence_of_thread; }

int report(const Error& error) {
  sentence_of_thread = visible_text(error.message);  // which the caller is going to print
  return -gateway::errno_of(error.code);
}

int report(std::errc code, const char* sentence) {
  return report(Error{std::make_error_code(code), sentence});
}

int result_of(const Outcome<void>& outcome) { return outcome ? 0 : report(outcome.error()); }

}  // namespace lunar::c_api

const char* lunar_last_error(void) { return lunar::c_api::last_error().c_str(); }
