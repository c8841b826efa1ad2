# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-iscsi-load as seen from a test."""

import json
import subprocess

from .env import built, child_environment
from .process import Process

# Its exit codes.
CLEAN, MISMATCH, UNUSABLE, COMMAND_FAILED, UNSUPPORTED = range(5)


class LoadError(AssertionError):
    """The run did not end as it had to. `code` is the exit code, `report` what it printed."""

    def __init__(self, message, code, report):
        super().__init__(message)
        self.code = code
        self.report = report


def _options(options):
    """retry_seconds=30 -> --retry-seconds 30; True is a flag; a list repeats the option."""
    words = []
    for key, value in options.items():
        name = "--" + key.replace("_", "-")
        for each in value if isinstance(value, (list, tuple)) else [value]:
            if each is True:
                words.append(name)
            elif each is not False and each is not None:
                words += [name, str(each)]
    return words


def _urls(urls):
    return [urls] if isinstance(urls, str) else list(urls)


class Load:
    """One finished or running lunar-iscsi-load."""

    def __init__(self, mode, urls, log_path, **options):
        self.mode = mode
        words = [built("lunar-iscsi-load"), mode, "--json", *_options({"url": _urls(urls)}),
                 *_options(options)]
        self._process = Process(f"lunar-iscsi-load {mode}", words, log_path)

    def is_running(self):
        return self._process.is_running()

    def log(self):
        return self._process.log()

    def finish(self, timeout=600, expect=CLEAN):
        """Waits for the end. The reports, one per LUN; LoadError if the exit code is another."""
        code = self._process.wait(timeout)
        output = self._process.log()
        reports = [json.loads(line) for line in output.splitlines() if line.startswith("[")]
        report = reports[-1] if reports else []
        if code != expect:
            raise LoadError(f"lunar-iscsi-load {self.mode} ended with {code}, not {expect}:\n{output}",
                            code, report)
        return report

    def kill(self):
        self._process.kill()


def command(url, *words, timeout=120, **options):
    """One SCSI command: the parsed answer, whatever its status. LoadError if there was none."""
    arguments = [built("lunar-iscsi-load"), "cmd", "--url", url,
                 *[str(word) for word in words], *_options(options)]
    result = subprocess.run([str(argument) for argument in arguments], env=child_environment(),
                            text=True, capture_output=True, timeout=timeout, check=False)
    if result.returncode not in (0, 1):
        raise LoadError(f"{' '.join(map(str, words))}: {result.stderr.strip()}", result.returncode,
                        result.stdout)
    return json.loads(result.stdout)
