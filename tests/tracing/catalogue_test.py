# SPDX-License-Identifier: LGPL-2.1-or-later
"""tracing/README.md, the providers and trace_enums.h say the same about events, fields and values."""

import pathlib
import re
import unittest

TRACING = pathlib.Path(__file__).resolve().parents[2] / "tracing"
PROVIDERS = sorted(path.stem.removesuffix("_tp") for path in TRACING.glob("lunar_*_tp.h"))


def balanced(text, start):
    """The inside of the parentheses that open at `start`."""
    depth = 0
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 1:end]
    raise ValueError("unbalanced parentheses")


def macros(text, name):
    """The arguments of each use of a macro, as text."""
    return [balanced(text, match.end() - 1) for match in re.finditer(rf"\b{name}\(", text)]


def header(provider):
    return (TRACING / f"{provider}_tp.h").read_text()


def events_of_header(provider):
    """event -> names of its recorded fields, in order."""
    events = {}
    for event in macros(header(provider), "LTTNG_UST_TRACEPOINT_EVENT"):
        owner, name = (word.strip() for word in event.split(",")[:2])
        assert owner == provider, f"{owner} in the header of {provider}"
        fields = []
        for kind, arguments in re.findall(r"lttng_ust_field_(\w+)\(([^)]*)\)", event):
            words = [word.strip() for word in arguments.split(",")]
            fields.append({"string": words[0], "enum": words[-2]}.get(kind, words[1]))
        events[name] = fields
    return events


def arguments_of_header(provider):
    """event -> names of the arguments of LUNAR_TRACE, in order."""
    arguments = {}
    for event in macros(header(provider), "LTTNG_UST_TRACEPOINT_EVENT"):
        words = [word.strip() for word in macros(event, "LTTNG_UST_TP_ARGS")[0].split(",")]
        arguments[event.split(",")[1].strip()] = words[1::2]
    return arguments


def events_of_readme(provider):
    readme = (TRACING / "README.md").read_text()
    section = readme.split(f"### {provider}\n", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
    events = {}
    for name, fields in re.findall(r"^\| (?:`(\w+)` )?\| (`.*?) \|", section, re.MULTILINE):
        event = name or event  # without a name a row continues the one above it
        events.setdefault(event, []).extend(re.findall(r"`(\w+)`", fields))
    return events


def enums_of_headers():
    """name of the enum -> {value's name: enumerator}, from all providers."""
    enums = {}
    for provider in PROVIDERS:
        for enum in macros(header(provider), "LTTNG_UST_TRACEPOINT_ENUM"):
            name = enum.split(",")[1].strip().removeprefix("lunar_")
            enums[name] = dict(re.findall(r'lttng_ust_field_enum_value\("(\w+)", (\w+)\)', enum))
    return enums


class CatalogueTest(unittest.TestCase):
    maxDiff = None

    def test_there_are_the_five_providers(self):
        self.assertEqual(PROVIDERS, ["lunar_gateway", "lunar_msgr", "lunar_objecter", "lunar_osd",
                                     "lunar_scsi"])

    def test_the_catalogue_lists_every_event_with_its_fields_in_order(self):
        for provider in PROVIDERS:
            with self.subTest(provider=provider):
                self.assertEqual(events_of_readme(provider), events_of_header(provider))

    def test_what_is_passed_is_what_is_recorded(self):
        for provider in PROVIDERS:
            with self.subTest(provider=provider):
                self.assertEqual(arguments_of_header(provider), events_of_header(provider))

    def test_every_enumerator_is_recorded_by_its_name(self):
        declared = re.findall(r"^\s*(kTrace\w+) = \d+,", (TRACING / "trace_enums.h").read_text(),
                              re.MULTILINE)
        recorded = [enumerator for values in enums_of_headers().values()
                    for enumerator in values.values()]
        self.assertEqual(sorted(set(recorded)), sorted(declared))

    def test_the_catalogue_explains_every_value(self):
        readme = (TRACING / "README.md").read_text()
        for name, values in enums_of_headers().items():
            with self.subTest(enum=name):
                rows = re.search(rf"^\| `{name}` (\|.*\|(?:\n\| \|.*\|)*)$", readme, re.MULTILINE)
                self.assertIsNotNone(rows, f"no row for {name}")
                self.assertEqual(re.findall(r"`(\w+)`", rows.group(1)), list(values))


class AnalyserTest(unittest.TestCase):
    """tracing/analysis knows what the catalogue lists."""

    maxDiff = None

    def test_it_knows_every_event(self):
        source = (TRACING / "analysis" / "event.cc").read_text()
        known = re.findall(r'"(lunar_\w+:\w+)"', source)
        listed = [f"{provider}:{event}" for provider in PROVIDERS for event in events_of_header(provider)]
        self.assertEqual(sorted(known), sorted(listed))

    def test_it_keeps_every_field(self):
        header_text = (TRACING / "analysis" / "event.cc").read_text()
        known = set(re.findall(r'\{"(\w+)", &TraceEvent::', header_text)) | {"io_id", "tid", "conn"}
        texts = {"lun", "peer", "client"}
        listed = {field for provider in PROVIDERS for fields in events_of_header(provider).values()
                  for field in fields}
        self.assertEqual(listed - known - texts, set())

    def test_it_names_every_value(self):
        source = (TRACING / "analysis" / "io_record.cc").read_text()
        names = {"io_type": "io_type", "split_reason": "split_reason", "path_reason": "path_reason",
                 "wait_reason": "wait_reason", "resend_reason": "resend_reason",
                 "cancel_reason": "cancel_reason", "store_kind": "store_kind"}
        enums = enums_of_headers()
        for function, enum in names.items():
            with self.subTest(enum=enum):
                body = source.split(f"std::string {function}_name(", 1)[1].split("\n}", 1)[0]
                self.assertEqual(re.findall(r'"(\w+)"', body), list(enums[enum]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
