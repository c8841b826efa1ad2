# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Ceph of one monitor and a few OSDs on loopback, all of it in one folder, from Debian's packages."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import uuid

from .case import LunarTestCase
from .env import HarnessError
from .process import Process, free_port, wait_until

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "rados")
NEARFULL_RATIO, BACKFILLFULL_RATIO, FULL_RATIO = .85, .9, .97
PACKAGES = "ceph-mon ceph-osd ceph-common"


def missing_programs():
    """Which of Ceph's programs this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Ceph:
    """`num_osds` OSDs with stores in memory; each pool has as many replicas. Nobody authenticates."""

    def __init__(self, folder, num_osds=1, device_bytes=4 << 30, pools=("lunar",)):
        self.folder = pathlib.Path(folder)
        self.num_osds = num_osds
        self.device_bytes = device_bytes
        self.pools = pools
        self.daemons = {}  # name -> Process

    @property
    def conf(self):
        return self.folder / "ceph.conf"

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    # -- life

    def start(self):
        missing = missing_programs()
        if missing:
            raise HarnessError(f"{', '.join(missing)} not found: install {PACKAGES}")
        self.folder.mkdir(parents=True)
        self._make_monitor()
        self._daemon("mon.a", "ceph-mon", "a")
        for osd in range(self.num_osds):
            self._make_osd(osd)
        for osd in range(self.num_osds):
            self.start_osd(osd)
        for pool in self.pools:
            self.create_pool(pool)
        return self

    def _make_monitor(self):
        fsid = uuid.uuid4()
        where = f"[v2:127.0.0.1:{free_port('127.0.0.1')}/0]"
        settings = {
            "fsid": fsid, "mon_host": where, "public_addr": "127.0.0.1", "cluster_addr": "127.0.0.1",
            "ms_bind_msgr1": "false", "ms_bind_ipv6": "false",
            "auth_cluster_required": "none", "auth_service_required": "none", "auth_client_required": "none",
            "keyring": "/dev/null", "osd_crush_chooseleaf_type": 0, "osd_crush_initial_weight": 1,
            "osd_pool_default_size": self.num_osds, "osd_pool_default_min_size": 1,
            "mon_allow_pool_size_one": "true", "osd_pool_default_pg_autoscale_mode": "off",
            "mon_data_avail_crit": 1, "mon_osd_full_ratio": FULL_RATIO, "osd_heartbeat_grace": 120,
            "osd_objectstore": "memstore", "memstore_device_bytes": self.device_bytes, "memstore_page_set": "true",
            "run_dir": self.folder, "pid_file": "", "admin_socket": f"{self.folder}/$name.$pid.asok",
            "log_file": f"{self.folder}/$name.log", "mon_data": f"{self.folder}/mon.$id",
            "osd_data": f"{self.folder}/osd.$id", "crash_dir": self.folder,
        }
        self.conf.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        monmap = self.folder / "monmap"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", where, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)

    def _make_osd(self, osd):
        store = uuid.uuid4()
        self.ceph("osd", "new", store, osd)
        (self.folder / f"osd.{osd}").mkdir()
        self._run("ceph-osd", "--mkfs", "-i", osd, "--osd-uuid", store)

    def _daemon(self, name, program, number):
        words = [program, "-c", self.conf, "-f", "-i", number]
        self.daemons[name] = Process(name, words, self.folder / f"{name}.out", {})
        return self.daemons[name]

    def start_osd(self, osd):
        """Starts one OSD and waits until the monitor has it as up."""
        daemon = self._daemon(f"osd.{osd}", "ceph-osd", osd)
        wait_until(lambda: self._is_up(osd, daemon), 120, f"Ceph's osd.{osd} to be up")

    def _is_up(self, osd, daemon):
        if not daemon.is_running():
            raise HarnessError(f"Ceph's osd.{osd} ended at once\n{daemon.log_tail()}")
        return any(each["osd"] == osd and each["up"] for each in self.ceph_json("osd", "dump")["osds"])

    def stop(self):
        """Nothing of it is kept, so nothing ends in an orderly way."""
        for daemon in self.daemons.values():
            if daemon.is_running():
                daemon.kill()
        self.daemons = {}

    # -- administration

    def create_pool(self, name):
        self.ceph("osd", "pool", "create", name, "8", "8", "replicated")
        self.ceph("osd", "pool", "application", "enable", name, "lunar")
        self.rados("-p", name, "put", "probe", "/dev/null")  # its PGs are active
        self.rados("-p", name, "rm", "probe")

    def set_full(self, is_full):
        """Has Ceph call its OSDs full, by what it takes for that; waits until all its pools are, or none is."""
        for name, usual in (("nearfull", NEARFULL_RATIO), ("backfillfull", BACKFILLFULL_RATIO), ("full", FULL_RATIO)):
            self.ceph("osd", f"set-{name}-ratio", "0.0000001" if is_full else usual)
        wait_until(lambda: all(("full" in pool["flags_names"].split(",")) == is_full
                               for pool in self.ceph_json("osd", "dump")["pools"]), 60, "Ceph's pools to hear of it")

    def ceph(self, *words):
        return self._run("ceph", "-c", self.conf, *words)

    def ceph_json(self, *words):
        return json.loads(self.ceph(*words, "--format", "json"))

    def rados(self, *words):
        return self._run("rados", "-c", self.conf, *words)

    def _run(self, program, *words):
        words = [program, *(str(word) for word in words)]
        if program != "ceph" and program != "rados":
            words += ["-c", str(self.conf)]
        result = subprocess.run(words, text=True, capture_output=True, timeout=120, check=False,
                                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        if result.returncode != 0:
            raise HarnessError(f"{' '.join(words)} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
        return result.stdout


class CephTestCase(LunarTestCase):
    """Each class has a Ceph of its own, and each test a pool of it."""
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="ceph-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.ceph = Ceph(folder / "c", pools=())
        cls.addClassCleanup(cls.ceph.stop)
        cls.ceph.start()

    def start_lunar(self, **options):
        self.rados_pool = "p-" + self.folder.name
        self.ceph.create_pool(self.rados_pool)
        super().start_lunar(store="rados", ceph=self.ceph, rados_pool=self.rados_pool, **options)
