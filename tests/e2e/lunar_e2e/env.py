# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the build and the system's programs are."""

import os
import pathlib
import shutil
import sys


class HarnessError(Exception):
    """Something the test needs is missing or did not work; never a verdict on the product."""


def build_dir():
    """The build folder that ctest passes in LUNAR_BUILD_DIR."""
    value = os.environ.get("LUNAR_BUILD_DIR")
    if not value:
        raise HarnessError("LUNAR_BUILD_DIR is not set: run this by ctest, or set it to the build folder")
    path = pathlib.Path(value)
    if not path.is_dir():
        raise HarnessError(f"LUNAR_BUILD_DIR is {value}, which is no folder")
    return path


# Where the build puts what the tests run.
_BUILT = {
    "bs_lunar.so": "bstore_plugin/bs_lunar.so",
    "history-check": "tests/history/history-check",
    "lunar": "tools/lunar",
    "lunar-iscsi-load": "tests/e2e/iscsi_load/lunar-iscsi-load",
    "lunar-osd": "osd/lunar-osd",
    "lunar-perf-msgr": "tools/lunar-perf-msgr",
    "lunar-trace": "tools/lunar-trace",
    "lunar-vstart": "tools/lunar-vstart",
    "lunar_rados.so": "osd/lunar_rados.so",
}


def find_built(name):
    """The path of something the build makes, or None if it has not been built."""
    root = build_dir()
    for candidate in (root / _BUILT.get(name, name), root / "bin" / name, root / "lib" / name):
        if candidate.is_file():
            return candidate
    found = [path for path in root.glob(f"*/**/{name}") if path.is_file()]
    return found[0] if found else None


def built(name):
    path = find_built(name)
    if path is None:
        raise HarnessError(f"{name} has not been built in {build_dir()}")
    return path


def program(name):
    """The path of a program of the system, sbin included."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    path = shutil.which(name, path=search)
    if path is None:
        raise HarnessError(f"{name} is not installed: run tools/dev/setup.sh")
    return path


def child_environment(extra=None):
    """Our environment for a child, without what would make it depend on this machine."""
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("LIBISCSI_", "LUNAR_CONF", "TGT_"))}
    environment["LTTNG_UST_REGISTER_TIMEOUT"] = "0"  # or a program with probes may wait 3 s to start
    environment.update(extra or {})
    return environment


def preloaded(library=None):
    """Environment of a program that is not ours and loads a library of ours, or has `library` preloaded:
    the runtime of a build with sanitizers has to come first."""
    runtime = os.environ.get("LUNAR_SANITIZER_RUNTIME")
    words = [str(word) for word in (runtime, library) if word]
    # What a foreign program leaks says nothing of ours.
    more = {"ASAN_OPTIONS": "detect_leaks=0"} if runtime else {}
    return {"LD_PRELOAD": " ".join(words), **more} if words else {}


def restart_preloaded():
    """For a test script that loads a library of ours into its own process: starts it over if need be."""
    environment = preloaded()
    if environment and os.environ.get("LD_PRELOAD") != environment["LD_PRELOAD"]:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **environment})
