#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/errors.md says of every error what errno_of.cc and sense.cc make of it."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def cases(text):
    """[(labels, statement)] of a switch: the labels that stand together, and what follows them."""
    text = re.sub(r"//[^\n]*", "", text)
    found = re.findall(r"((?:\s*case (?:Osd|Msgr)Errc::\w+:)+)\s*(return.*?;)", text, re.DOTALL)
    return [(re.findall(r"(?:Osd|Msgr)Errc::(\w+)", labels), " ".join(statement.split()))
            for labels, statement in found]


def declared_errors():
    text = (ROOT / "objecter/protocol/types.h").read_text()
    enum = re.search(r"enum class OsdErrc : int32_t \{(.*?)\};", text, re.DOTALL).group(1)
    return re.findall(r"^\s*(k\w+) = \d+,", enum, re.MULTILINE)


def errnos_of_code():
    text = (ROOT / "gateway/errno_of.cc").read_text()
    body = text[text.index("int errno_of_osd"):text.index("int errno_of(")]
    return {label: re.fullmatch(r"return (E\w+);", statement).group(1)
            for labels, statement in cases(body) for label in labels}


def enum_values(text, name):
    enum = re.search(rf"enum class {name} : \w+ \{{(.*?)\}};", text, re.DOTALL).group(1)
    return {key: int(value, 16) for key, value in re.findall(r"(k\w+) = (0x[0-9a-f]+)", enum)}


KEYS = {"kNotReady": "NOT READY", "kMediumError": "MEDIUM ERROR", "kHardwareError": "HARDWARE ERROR",
        "kIllegalRequest": "ILLEGAL REQUEST", "kDataProtect": "DATA PROTECT",
        "kAbortedCommand": "ABORTED COMMAND", "kMiscompare": "MISCOMPARE"}


def asc_text(value):
    return f"{value >> 8:02x}/{value & 0xff:02x}"


def sense_of_statement(statement, ascs):
    """A statement of sense_of() in the words of the document."""
    if statement == "return {};":
        return "GOOD"
    if statement == "return try_again;":
        return "try again"
    if statement == "return medium_error;":
        return (f"MEDIUM ERROR {asc_text(ascs['kUnrecoveredReadError'])} or "
                f"{asc_text(ascs['kWriteError'])}")
    status = re.fullmatch(r"return \{ScsiStatus::(\w+), SenseKey::kNoSense, Asc::kNone\};", statement)
    if status:
        return {"kBusy": "BUSY", "kTaskAborted": "TASK ABORTED"}[status.group(1)]
    key, asc = re.fullmatch(r"return check_condition\(SenseKey::(\w+), Asc::(\w+)\);",
                            statement).groups()
    return f"{KEYS[key]} {asc_text(ascs[asc])}"


def senses_of_code():
    ascs = enum_values((ROOT / "bstore_plugin/scsi/sense.h").read_text(), "Asc")
    return {label: sense_of_statement(statement, ascs)
            for labels, statement in cases((ROOT / "bstore_plugin/scsi/sense.cc").read_text())
            for label in labels}


def table_of_document():
    """error -> (errno, sense)"""
    text = (ROOT / "docs/errors.md").read_text()
    rows = re.findall(r"^\| `(k\w+)` \| [^|]+ \| `(E\w+)` \| ([^|]+) \|$", text, re.MULTILINE)
    return {error: (errno, sense.strip()) for error, errno, sense in rows}


class ErrorsDocumentTest(unittest.TestCase):
    maxDiff = None

    def test_it_lists_every_error_in_order(self):
        self.assertEqual(list(table_of_document()), declared_errors())

    def test_its_errnos_are_those_of_errno_of(self):
        self.assertEqual({error: row[0] for error, row in table_of_document().items()},
                         errnos_of_code())

    def test_its_senses_are_those_of_sense_of(self):
        self.assertEqual({error: row[1] for error, row in table_of_document().items()},
                         senses_of_code())


if __name__ == "__main__":
    unittest.main(verbosity=2)
