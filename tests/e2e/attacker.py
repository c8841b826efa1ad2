#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One of the attacks of test_attacks.py, in a process of its own: attacker.py NAME PORT TARGET. Says "under way" when
it has done its worst, and goes on until it is ended."""

import json
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lunar_e2e import wire  # noqa: E402
from lunar_e2e.wire import KEEPALIVE, OSD_OP, Peer  # noqa: E402

EVIL = "client.evil"
MIB = 1 << 20
ZEROES = bytes(32 * MIB)


def say_under_way():
    print("under way", flush=True)


def for_ever(attack, *arguments):
    """Does it again and again, whatever the server does against it."""
    while True:
        try:
            attack(*arguments)
        except (OSError, wire.WireError):
            time.sleep(0.05)


def in_threads(count, attack, *arguments):
    for _ in range(count):
        threading.Thread(target=for_ever, args=(attack, *arguments), daemon=True).start()


def future_epoch(port, target):
    """Four writes of 32 MiB at a time that wait for a map which nobody has."""
    def one():
        with Peer(port, EVIL) as peer:
            peer.handshake()
            peer.wait_for(wire.SERVER_HELLO)
            while True:
                peer.write(target, ZEROES, epoch=target["epoch"] + 1000)
                peer.reply()
    in_threads(4, one)


def unread_replies(port, target):
    """READs of 4 MiB, forty per connection, whose replies are not read; the link shows signs of life."""
    def one():
        with Peer(port, EVIL, receive_buffer=4096) as peer:
            peer.handshake()
            for _ in range(40):
                peer.read(target, 4 * MIB)
            while True:
                peer.send(KEEPALIVE, struct.pack("<Q", time.time_ns()))
                time.sleep(1)
    with Peer(port, EVIL) as peer:
        peer.handshake()
        peer.write(target, ZEROES[:4 * MIB])
        peer.reply()
    in_threads(8, one)


def unfinished_frames(port, target):
    """Frames of 64 MiB of which the first bytes come, and never the rest."""
    def one():
        with Peer(port, EVIL) as peer:
            peer.handshake()
            peer.socket.sendall(peer.message(OSD_OP, b"x" * 64, data_length=64 * MIB, tid=1) + ZEROES[:65536])
            while peer.socket.recv(65536):
                pass
    in_threads(8, one)


def many_sessions(port, target):
    """More sessions of one key than the server remembers of all, each left behind."""
    for _ in range(2000):
        try:
            with Peer(port, EVIL) as peer:
                peer.handshake()
        except (OSError, wire.WireError):
            pass
    say_under_way()
    time.sleep(3600)


def waiting_ops(port, target):
    """Small reads, as many as fit into the link, from several connections."""
    def one():
        with Peer(port, EVIL) as peer:
            peer.handshake()
            threading.Thread(target=drain, args=(peer,), daemon=True).start()
            while True:
                peer.socket.sendall(b"".join(peer.op(target, wire.READ, 0, 512) for _ in range(500)))

    def drain(peer):
        try:
            while peer.socket.recv(MIB):
                pass
        except OSError:
            pass
    in_threads(3, one)


def endless_lists(port, target):
    """LISTs, each a walk through all folders of the pool, hundreds at a time from several connections."""
    def one():
        with Peer(port, EVIL) as peer:
            peer.handshake()
            for _ in range(300):
                peer.socket.sendall(peer.list(target, 10000))
            while True:
                peer.reply()
                peer.socket.sendall(peer.list(target, 10000))
    with Peer(port, EVIL) as peer:
        peer.handshake()
        peer.write(target, b"x")
        peer.reply()
    in_threads(4, one)


def half_open(port, target):
    """1500 connections a second from one address, which say nothing."""
    sockets = []
    begin = time.monotonic()
    made = 0
    while True:
        while made < (time.monotonic() - begin) * 1500:
            try:
                one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                one.setblocking(False)
                one.bind(("127.0.0.66", 0))
                one.connect_ex(("127.0.0.1", port))
                sockets.append(one)
            except OSError:
                pass
            made += 1
            if made == 1500:
                say_under_way()
            if len(sockets) > 600:
                sockets.pop(0).close()
        time.sleep(0.002)


def long_hellos(port, target):
    """300 connections, each with a header that announces a hello of 1 MiB, or as much as is allowed, and nothing
    more."""
    sockets = []
    while True:
        for number in range(300):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.bind((f"127.0.1.{1 + number % 100}", 0))
            one.connect(("127.0.0.1", port))
            one.sendall(wire.frame(wire.HELLO, front_length=MIB if number % 2 else 4096))
            sockets.append(one)
        say_under_way()
        time.sleep(3600)


ATTACKS = {attack.__name__: attack for attack in (
    future_epoch, unread_replies, unfinished_frames, many_sessions, waiting_ops, endless_lists, half_open,
    long_hellos)}

if __name__ == "__main__":
    ATTACKS[sys.argv[1]](int(sys.argv[2]), json.loads(sys.argv[3]))
    time.sleep(1)
    say_under_way()
    time.sleep(3600)
