#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys of their own for each server: rolled out, changed and taken back while LUNs are in use."""

import os
import signal
import threading
import unittest

from lunar_e2e import HarnessError, LunarTestCase, wait_until
from lunar_e2e.cluster import Cluster

SECURE = {f"ms_{who}_mode": "secure" for who in ("cluster", "service", "client")}
READ_ANEW = "was read anew"
TAKEN_OUT = "the key of client.gw was taken out of the keyring"
IS_OVER = "nothing of what client.gw has sent is carried out any more"


class KeyedCluster(Cluster):
    """Each server and client.gw has a keyring derived for it; that of all is the administrator's."""

    def write_conf(self):
        super().write_conf()
        text = self.conf.read_text()
        for osd in range(self.num_osds):
            text = text.replace(f"[osd.{osd}]\n", f"[osd.{osd}]\nkeyring = {self.keyring_of(f'osd.{osd}')}\n")
        text += f"[client.gw]\nkeyring = {self.keyring_of('client.gw')}\n"
        self.conf.write_text(text)

    def gateway_sockets(self):  # that of client.admin, which tgtd makes when it starts, is no gateway's
        return sorted(self.folder.glob("lunar-client.gw.*.asok"))

    def keyring_of(self, entity):
        return self.folder / f"{entity}.keyring"

    def make_store(self, osd):
        if osd == 0:
            self.lunar("keyring", "add", self.keyring, "client.gw")
            for entity in (*self.servers(), "client.gw"):
                self.derive(entity)
        super().make_store(osd)

    def servers(self):
        return [f"osd.{osd}" for osd in range(self.num_osds)]

    def derive(self, entity):
        self.lunar("keyring", "derive", self.keyring, "--for", entity, "-o", self.keyring_of(entity))

    def hand_out(self, entities):
        """Derives for servers, and has them read it."""
        for entity in entities:
            self.derive(entity)
            self.reload(int(entity.split(".")[1]))

    def reload(self, osd):
        self.lunar("daemon", f"osd.{osd}", "keyring", "reload")


class KeysTest(LunarTestCase):
    def start(self, options=None):
        self.cluster = KeyedCluster(self.folder / "cluster", num_osds=2, authenticate=True,
                                    options={"keyring_check_interval": "500ms", **(options or {})})
        self.addCleanup(self.cluster.stop)
        self.cluster.start()
        self.cluster.lunar("auth", "caps", "client.gw", "profile gateway pool=rbd")
        self.tgtd = self.start_tgtd(with_lunar=True, environment=self.cluster.environment())
        self.target = self.tgtd.add_target()
        self.bsopts = "id=gw"
        self.lun = self.new_lun(size="64M")

    def messenger(self):
        return self.cluster.gateway_command("perf", "dump")["msgr"]

    def gateway_reads(self):
        line = f"{self.cluster.keyring_of('client.gw')} {READ_ANEW}"
        before = self.tgtd.process.log().count(line)
        self.cluster.derive("client.gw")
        wait_until(lambda: self.tgtd.process.log().count(line) > before, 30, "the gateway to read its keyring")

    def run_as_gateway(self, *words, keyring=None):
        options = ["--id", "gw", "--lunar-open-timeout", "2s"]
        if keyring is not None:
            options += ["--keyring", keyring]
        return [*options, *words]

    # -- what is derived

    def test_servers_with_derived_keys_serve(self):
        self.start()
        self.verify(self.lun.url, bytes="8M", mix="full", seed=1)
        for entity in (*self.cluster.servers(), "client.gw"):
            path = self.cluster.keyring_of(entity)
            self.assertEqual(path.stat().st_mode & 0o7777, 0o600)
            own = path.read_text().count("[") - path.read_text().count("derived_for")
            self.assertEqual(own, 1, "its own key alone is not derived")
        self.assertEqual(self.cluster.keyring_of("client.gw").read_text().count("["), 1)

    def test_who_steals_a_servers_keyring_is_nobody_else(self):
        self.start()
        stolen = self.cluster.keyring_of("osd.1").read_text()
        attempts = {
            "stolen": stolen,
            "own": stolen.replace("\tderived_for = osd.1\n", ""),
            "other": stolen.replace("derived_for = osd.1", "derived_for = osd.0"),
        }
        for name, text in attempts.items():
            keyring = self.folder / name
            keyring.touch(mode=0o600)
            keyring.write_text(text)
            for entity in ("admin", "gw"):
                with self.subTest(attempt=name, entity=entity):
                    code, sentence = self.cluster.lunar_fails(
                        "--id", entity, "--keyring", keyring, "--lunar-open-timeout", "1s", "ls", "rbd")
                    self.assertGreater(code, 0)
                    self.assertRegex(sentence, "key")
        self.cluster.lunar("ls", "rbd")

    def test_no_other_keys_are_lost_by_deriving(self):
        self.start()
        keys = self.cluster.keyring.read_bytes()
        only_copy = self.folder / "all.keyring"
        for mode, content, expected in ((0o600, keys, "itself"), (0o644, keys, "chmod 600"),
                                        (0o600, b"[client.a]\nkey = ?\n", "base64")):
            only_copy.write_bytes(content)
            only_copy.chmod(mode)
            with self.subTest(expected=expected):
                code, sentence = self.cluster.lunar_fails("keyring", "derive", self.cluster.keyring, "--for", "osd.0",
                                                          "-o", only_copy)
                self.assertGreater(code, 0)
                self.assertIn(expected, sentence)
                self.assertEqual(only_copy.read_bytes(), content)

    # -- what changes

    def test_a_reload_says_why_a_keyring_cannot_be_used(self):
        self.start()
        keyring = self.cluster.keyring_of("osd.0")
        good = keyring.read_text()
        for text, reason in ((good.replace("[osd.0]", "[osd.7]"), "no key of osd.0 itself"),
                             (good + "[client.x]\n\tkey = ?\n", "base64")):
            with self.subTest(reason=reason):
                keyring.write_text(text)
                code, sentence = self.cluster.lunar_fails("daemon", "osd.0", "keyring", "reload")
                self.assertGreater(code, 0)
                self.assertIn(reason, sentence)
        keyring.write_text(good)
        self.cluster.reload(0)
        self.cluster.lunar("ls", "rbd")

    def rotate(self, entity, servers):
        """As docs/operations.md says. `servers` are those that know it."""
        self.cluster.lunar("keyring", "rotate", self.cluster.keyring, entity)
        self.cluster.hand_out(servers)
        if entity.startswith("osd."):
            self.cluster.hand_out([entity])
        else:
            self.gateway_reads()
        self.cluster.lunar("keyring", "rotate", "--finish", self.cluster.keyring, entity)
        self.cluster.hand_out(servers)

    def check_rotation(self):
        """Under load that stands no error."""
        errors = []
        is_over = threading.Event()
        runs = []

        def load():
            while not is_over.is_set():
                try:
                    self.verify(self.lun.url, bytes="8M", mix="full", seed=len(runs), initially_anything=True)
                    runs.append(1)
                except (AssertionError, HarnessError) as error:
                    errors.append(error)
                    return
        thread = threading.Thread(target=load)
        thread.start()
        try:
            wait_until(lambda: runs or errors, 120, "the load to run")
            old = self.folder / "old.keyring"
            old.touch(mode=0o600)
            old.write_bytes(self.cluster.keyring_of("client.gw").read_bytes())
            before = self.messenger()
            self.cluster.lunar(*self.run_as_gateway("info", "rbd/image", keyring=old))
            self.rotate("client.gw", self.cluster.servers())
            self.rotate("osd.1", ["osd.0"])
            self.rotate("osd.0", ["osd.1"])
            so_far = len(runs)
            wait_until(lambda: len(runs) > so_far + 1 or errors, 120, "the load to go on")
        finally:
            is_over.set()
            thread.join()
        self.assertEqual(errors, [])
        after = self.messenger()
        self.assertEqual(after["resets"], before["resets"])
        self.assertGreaterEqual(after["reconnects"], before["reconnects"] + 2, "both servers ask for the new key")
        _, sentence = self.cluster.lunar_fails(*self.run_as_gateway("info", "rbd/image", keyring=old))
        self.assertRegex(sentence, "key")
        self.cluster.lunar(*self.run_as_gateway("info", "rbd/image"))
        self.assertNotIn("down", self.cluster.lunar("osd", "tree"))

    def test_keys_are_changed_under_load(self):
        self.start()
        self.check_rotation()

    def test_keys_are_changed_under_load_on_secure_links(self):
        self.start(SECURE)
        self.check_rotation()

    def test_a_keyring_that_cannot_be_used_changes_nothing_and_is_told_once(self):
        self.start()
        path = self.cluster.keyring_of("osd.1")
        good = path.read_text()
        log = self.cluster.osds[1].log
        bad = {"the key is not base64": good.replace("key = ", "key = !"),
               "has no key of osd.1 itself": self.cluster.keyring_of("osd.0").read_text()}
        for what, text in bad.items():
            with self.subTest(what=what):
                path.write_text(text)
                wait_until(lambda what=what: what in log(), 30, "a line in the log")
                for _ in range(3):
                    os.kill(self.cluster.osds[1].pid, signal.SIGHUP)
                self.verify(self.lun.url, bytes="4M", seed=2, initially_anything=True)
                self.cluster.lunar("export", "rbd/image", self.folder / what.replace(" ", "-"))
                self.assertEqual(log().count(what), 1)
        path.write_text(good)
        wait_until(lambda: READ_ANEW in log(), 30, "the good one to be read")
        self.assertNotIn("taken out", log())

    # -- what is taken back

    def test_a_key_that_is_taken_back_ends_what_goes_on(self):
        self.start(SECURE)
        load = self.start_load("verify", self.lun.url, bytes="1G", depth=16, seed=4, timeout=5)
        self.wait_for_writes(load)
        self.cluster.lunar("keyring", "rm", self.cluster.keyring, "client.gw")
        self.cluster.hand_out(self.cluster.servers())
        for osd in range(2):
            log = self.cluster.osds[osd].log
            wait_until(lambda log=log: IS_OVER in log(), 30, f"osd.{osd} to be done with it")
            self.assertIn(TAKEN_OUT, log())
        copies = [self.folder / name for name in ("one", "two")]
        for copy in copies:
            self.cluster.lunar("export", "rbd/image", copy)
        self.assertEqual(copies[0].read_bytes(), copies[1].read_bytes(), "somebody writes still")
        load.kill()
        _, sentence = self.cluster.lunar_fails(*self.run_as_gateway("info", "rbd/image"))
        self.assertRegex(sentence, "key")
        for osd in range(2):
            self.assertNotIn("client.gw", self.cluster.lunar("daemon", self.cluster.admin_socket(osd), "sessions"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
