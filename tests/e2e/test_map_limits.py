#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A cluster map at its limit of 1 MiB works with everything that carries it; one byte more is refused."""

import json
import unittest

from lunar_e2e import TestCase

LIMIT = 1 << 20
NIL = "00000000-0000-0000-0000-000000000000"


def encoded_bytes(saved):
    """Of docs/protocol-osd.md §6."""
    size = 54 + 20  # with the unknown pools of a map that was restored
    if "entities" in saved:
        size += 5 + sum(8 + len(each["entity"]) + len(each["caps"]) for each in saved["entities"])
    for osd in saved["osds"]:
        size += 38 + 19 * len(osd["addresses"])
        if "kind" in osd:
            size += 5 + len(osd["rados_client"])
    for pool in saved["pools"]:
        size += 29 + len(pool["name"]) + 8 * len(pool["members"])
    return size


class MapLimitTest(TestCase):
    def fill(self, saved):
        """Adds servers that have never been there, and pools over 64 of them, up to the byte."""
        for osd in range(1, 64):
            saved["osds"].append({"id": osd, "store": NIL, "up": False, "incarnation": 0, "lost_below": 0,
                                  "addresses": [], "kind": "", "rados_client": ""})

        def add(name, members):
            saved["pools"].append({
                "id": saved["next_pool_id"], "name": name, "pg_num": 64, "object_size": 4 << 20, "store": "file",
                "members": [{"osd": osd, "weight": 65536} for osd in range(members)]})
            saved["next_pool_id"] += 1
        while LIMIT - encoded_bytes(saved) > 2 * (29 + 8 * 64 + 64):
            add(f"pool-{saved['next_pool_id']}", 64)
        while True:
            left = LIMIT - encoded_bytes(saved) - 29
            if left <= 64 + 8 * 64:
                members = max(1, (left - 20) // 8 - 1)
                add(f"p{saved['next_pool_id']}".ljust(left - 8 * members, "x"), members)
                return
            add(f"pool-{saved['next_pool_id']}", 30)

    def test_a_map_of_one_mebibyte(self):
        cluster = self.start_cluster(num_osds=1, options={"debug_map": "1/5"})
        saved = self.folder / "map.json"
        cluster.lunar("map", "backup", saved)
        full = json.loads(saved.read_text())
        self.fill(full)
        self.assertEqual(encoded_bytes(full), LIMIT)

        above = json.loads(json.dumps(full))
        above["pools"][1]["name"] += "x"
        saved.write_text(json.dumps(above))
        _, sentence = cluster.lunar_fails("map", "restore", saved, "--yes-i-really-mean-it")
        self.assertIn("1048577 bytes", sentence)
        self.assertIn("remove a pool", sentence)

        saved.write_text(json.dumps(full, indent=2))
        cluster.lunar("map", "restore", saved, "--yes-i-really-mean-it")
        _, sentence = cluster.lunar_fails("pool", "create", "more")
        self.assertIn("has not been up", sentence)  # which pools it knows is not known
        _, sentence = cluster.lunar_fails("pool", "create", "more", "--osds", "0")
        self.assertIn("remove a pool", sentence)
        for words in (("status",), ("pool", "ls"), ("osd", "ls"), ("map", "dump")):
            cluster.lunar(*words)
        self.assertEqual(len(cluster.lunar_json("osd", "tree")["nodes"]), 64)
        cluster.create_image("rbd/image", "64M")

        cluster.restart_osd(0)
        again = self.folder / "again.json"
        cluster.lunar("map", "backup", again)
        kept = json.loads(again.read_text())
        self.assertEqual(kept["pools"], full["pools"])
        self.assertEqual(encoded_bytes(kept), LIMIT)
        cluster.lunar("info", "rbd/image")
        del kept["pools"][1]
        again.write_text(json.dumps(kept))
        cluster.lunar("map", "restore", again, "--yes-i-really-mean-it")
        cluster.lunar("pool", "create", "more", "--osds", "0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
