# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands to a running program over its admin socket."""

import json
import socket
import struct


class AdminSocketError(Exception):
    pass


def _receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise AdminSocketError("the connection closed before the answer was whole")
        data += more
    return data


def admin_command(path, prefix, timeout=10, **arguments):
    """The answer: parsed if it is JSON, else text."""
    request = json.dumps({"prefix": prefix, **arguments}).encode() + b"\0"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(request)
            (size,) = struct.unpack(">I", _receive(connection, 4))
            text = _receive(connection, size).decode()
    except OSError as error:
        raise AdminSocketError(f"{path}: {error}") from None
    try:
        return json.loads(text)
    except ValueError:
        return text
