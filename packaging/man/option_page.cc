// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-option-page VERSION: prints lunar.conf(5), from the table of options. Run by the build
// only.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "common/options.h"

namespace {

constexpr char kHead[] = R"(.SH NAME
lunar.conf \- configuration of Lunar's programs
.SH SYNOPSIS
.I /etc/lunar/lunar.conf
.SH DESCRIPTION
The grammar is that of ceph.conf: sections in brackets, lines of
.IR "name = value" ,
and comments behind
.BR # .
Spaces, dashes and underscores in names are the same.
The sections are
.BR [global] ,
.B [osd]
and
.B [client]
for all programs of a kind, and those of one entity, such as
.B [osd.3]
or
.BR [client.admin] .
The most specific one wins, wherever it stands in the file.
.PP
The first of these files that exists is read: that of
.BR \-c ,
.BR $LUNAR_CONF ,
.IR /etc/lunar/lunar.conf ,
.IR ~/.lunar/config ,
.IR ./lunar.conf .
Each option can also be given to a program as
.B \-\-NAME VALUE
and, for a LUN, in bsopts as
.BR NAME=VALUE .
.PP
In text these variables are replaced:
.BR $cluster ,
.B $type
and
.B $id
of the entity,
.B $name
(TYPE.ID),
.BR $host ,
.BR $pid ,
and other options.
.SH OPTIONS
)";

// Text that troff takes as it is.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  if (!out.empty() && (out[0] == '.' || out[0] == '\'')) out.insert(0, "\\&");
  return out;
}

void print_option(const lunar::OptionSpec& option) {
  fmt::print(".TP\n\\fB{}\\fR\n{}\n", plain(option.name), plain(option.help));
  const std::string accepted = lunar::describe_accepted(option);
  fmt::print("It takes {}; by default ", plain(accepted));
  if (option.default_value.empty())
    fmt::print("it is empty.\n");
  else
    fmt::print("it is\n.BR \"{}\" .\n", plain(option.default_value));
  if ((option.flags & lunar::kOptionRuntime) != 0) {
    fmt::print("It can change while a program runs.\n");
  }
}

}  // namespace

int main(int argc, char** argv) {
  fmt::print(".TH LUNAR.CONF 5 \"\" \"Lunar {}\" \"Lunar\"\n{}", argc > 1 ? argv[1] : "", kHead);
  for (const lunar::OptionSpec& option : lunar::all_options()) print_option(option);
  fmt::print(".SH SEE ALSO\nlunar\\-cli(1), lunar\\-osd(8)\n");
  return 0;
}
