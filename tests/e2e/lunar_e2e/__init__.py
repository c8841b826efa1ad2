# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the end-to-end tests: a private tgtd, a virtual cluster, the iSCSI load generator.

Standard library only. Everything a test starts listens on loopback or on unix sockets in the
test's own folder, is ended by its process id, and dies with the test process in any case.
"""

from .admin import AdminSocketError, admin_command
from .case import LunarTestCase, TestCase
from .cluster import Cluster
from .env import HarnessError, build_dir, program
from .load import Load, LoadError
from .process import Process, free_port, own_descriptors, wait_until
from .tgt import PrivateTgtd, TgtadmError

__all__ = [
    "AdminSocketError", "Cluster", "HarnessError", "Load", "LoadError", "LunarTestCase",
    "PrivateTgtd", "Process", "TestCase", "TgtadmError", "admin_command", "build_dir", "free_port",
    "own_descriptors", "program", "wait_until",
]
