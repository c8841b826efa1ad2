# SPDX-License-Identifier: LGPL-2.1-or-later
"""An iSCSI session that stays logged in while the test does other things (libiscsi by ctypes)."""

import ctypes
import ctypes.util

from .env import HarnessError

_INITIATOR = b"iqn.2024-05.io.lunar.test:held"


class _Sense(ctypes.Structure):  # struct scsi_sense; the rest is not looked at
    _fields_ = [("error_type", ctypes.c_ubyte), ("key", ctypes.c_int), ("ascq", ctypes.c_int)]


class _Task(ctypes.Structure):  # struct scsi_task; the rest is not looked at
    _fields_ = [("status", ctypes.c_int), ("cdb_size", ctypes.c_int), ("xfer_dir", ctypes.c_int),
                ("expxferlen", ctypes.c_int), ("cdb", ctypes.c_ubyte * 16),
                ("residual_status", ctypes.c_int), ("residual", ctypes.c_size_t),
                ("sense", _Sense)]


def _library():
    name = ctypes.util.find_library("iscsi")
    if name is None:
        raise HarnessError("libiscsi is not installed: run tools/dev/setup.sh")
    library = ctypes.CDLL(name)
    library.iscsi_create_context.restype = ctypes.c_void_p
    library.iscsi_testunitready_sync.restype = ctypes.POINTER(_Task)
    library.iscsi_get_error.restype = ctypes.c_char_p
    return library


class HeldSession:
    """Logged in between entering and leaving. What the target has to say at login is passed over."""

    def __init__(self, lun):
        self._lun = lun
        self._library = _library()
        self._context = None

    def __enter__(self):
        library = self._library
        self._context = ctypes.c_void_p(library.iscsi_create_context(_INITIATOR))
        library.iscsi_set_targetname(self._context, self._lun.target.iqn.encode())
        library.iscsi_set_session_type(self._context, 2)  # ISCSI_SESSION_NORMAL
        portal = f"127.0.0.1:{self._lun.target.tgtd.port}".encode()
        if library.iscsi_full_connect_sync(self._context, portal, self._lun.number) != 0:
            raise HarnessError(f"login: {library.iscsi_get_error(self._context).decode()}")
        return self

    def __exit__(self, *_):
        self._library.iscsi_logout_sync(self._context)
        self._library.iscsi_destroy_context(self._context)

    def test_unit_ready(self):
        """(status, sense key, ASC * 256 + ASCQ)."""
        task = self._library.iscsi_testunitready_sync(self._context, self._lun.number)
        if not task:
            raise HarnessError(self._library.iscsi_get_error(self._context).decode())
        sense = task.contents.sense
        answer = (task.contents.status, sense.key, sense.ascq)
        self._library.scsi_free_scsi_task(task)
        return answer
