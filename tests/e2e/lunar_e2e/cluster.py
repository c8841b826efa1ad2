# SPDX-License-Identifier: LGPL-2.1-or-later
"""A virtual cluster: lunar-osd processes on loopback, stores in the test's folder."""

import json
import pathlib
import subprocess
import uuid

from .admin import admin_command
from .env import HarnessError, built, child_environment
from .process import Process, free_port, wait_until

_ADDRESS_TAKEN = "in use"


class Cluster:
    """`num_osds` servers, and `pools` over all of them. `store` is file, mem or rados; for rados `ceph` is a
    Ceph that runs, and the pools are namespaces of its pool `rados_pool`. `options` go into [global] of the
    configuration, over what tests need anyway. osd.0 is the map authority. Servers are at `host` ("[::1]" for
    IPv6), keep their ports when they are restarted, and run under `wrapper`."""

    def __init__(self, folder, num_osds=3, store="file", options=None, pools=("rbd",),
                 authenticate=False, extra_environment=None, host="127.0.0.1", wrapper=(),
                 ceph=None, rados_pool="lunar"):
        self.folder = pathlib.Path(folder)
        self.num_osds = num_osds
        self.store = store
        self.options = dict(options or {})
        self.pools = pools
        self.fsid = str(uuid.uuid4())
        self.authenticate = authenticate
        self.host = host
        self.wrapper = list(wrapper)
        self.ceph = ceph
        self.rados_pool = rados_pool
        self.extra_environment = dict(extra_environment or {})
        self.ports = {}
        self.osds = {}  # id -> Process

    @property
    def conf(self):
        return self.folder / "lunar.conf"

    @property
    def keyring(self):
        """Where all keys are, with authenticate=True."""
        return self.folder / "keyring"

    def store_folder(self, osd):
        return self.folder / f"osd.{osd}"

    def environment(self):
        """What a gateway or a tool needs to find this cluster and no other."""
        return {**self.extra_environment, "LUNAR_CONF": str(self.conf)}

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- life

    def start(self):
        """Makes the stores and starts every server."""
        self._prepare()
        if self.authenticate:
            for entity in ["client.admin", *(f"osd.{osd}" for osd in range(self.num_osds))]:
                self.lunar("keyring", "add", self.keyring, entity)
        for osd in range(self.num_osds):
            self.make_store(osd)
        for osd in range(self.num_osds):
            self.start_osd(osd)
        for pool in self.pools:
            self.create_pool(pool)
        return self

    def start_again(self):
        """Starts every server, at new ports, on stores that another one with this fsid has left in osd_data."""
        self._prepare()
        for osd in range(self.num_osds):
            self.start_osd(osd)
        return self

    def _prepare(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = set()  # each is free until its server binds it, so one may be drawn twice
        while len(ports) < self.num_osds:
            ports.add(free_port(self.host))
        self.ports = dict(enumerate(sorted(ports)))
        self.write_conf()

    def create_pool(self, pool):
        words = ["--rados-pool", self.rados_pool] if self.store == "rados" else []
        self.lunar("pool", "create", pool, "--store", self.store, *words)

    def write_conf(self):
        hosts = ",".join(f"{self.host}:{port}" for port in self.ports.values())
        lines = {
            "mon_host": hosts,
            "run_dir": self.folder,
            "osd_data": f"{self.folder}/osd.$id",
            "osd_objectstore": self.store,
            "osd_reserve_bytes": "0",
            "objecter_op_timeout": "20s",
            "lunar_open_timeout": "20s",
            "lunar_lun_open_wait": "20s",
            "log_to_stderr": "true",
        }
        if self.store == "rados":
            lines["rados_conf"] = self.ceph.conf
        if self.authenticate:
            lines["keyring"] = self.keyring
        else:
            for who in ("client", "cluster", "service"):
                lines[f"auth_{who}_required"] = "none"
        lines.update(self.options)
        text = "[global]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
        text += f"[osd]\nadmin_socket = {self.folder}/$name.asok\n"
        for osd, port in self.ports.items():
            text += f"[osd.{osd}]\npublic_addr = {self.host}:{port}\n"
        self.conf.write_text(text)

    def make_store(self, osd):
        if self.store == "mem":
            return  # nothing to make
        words = ["--mkfs", "--fsid", self.fsid, *(["--mkmap"] if osd == 0 else [])]
        self._run([built("lunar-osd"), *words, "-i", osd, "-c", self.conf])

    def start_osd(self, osd):
        """Starts one server and waits until the cluster has it as up."""
        words = [*self.wrapper, built("lunar-osd"), "-i", osd, "-c", self.conf, "-f"]
        if self.store == "mem":  # a restarted osd.0 of it is a new cluster
            words += ["--fsid", self.fsid, *(["--mkmap"] if osd == 0 else [])]
        process = Process(f"osd.{osd}", words, self.folder / f"osd.{osd}.log", self.environment())
        self.osds[osd] = process
        wait_until(lambda: self._is_ready(osd), 60, f"osd.{osd} to be ready")
        return process

    def _is_ready(self, osd):
        process = self.osds[osd]
        if not process.is_running():
            hint = " (its port was taken)" if _ADDRESS_TAKEN in process.log() else ""
            raise HarnessError(f"osd.{osd} ended at once{hint}\n{process.log_tail()}")
        return f"lunar-osd.{osd} ready " in process.log()

    def stop(self):
        """Ends all servers; fails if one of them has crashed."""
        reports = []
        for osd, process in self.osds.items():
            if process.is_running():
                code = process.stop()
                if code != 0:
                    reports.append(f"osd.{osd} ended with {code}\n{process.log_tail(60)}")
            crash = process.crash_report()
            if crash:
                reports.append(f"{crash}\n{process.log_tail(60)}")
        self.osds = {}
        if reports:
            raise AssertionError("\n".join(reports))

    def kill_osd(self, osd):
        """kill -9."""
        self.osds[osd].kill()

    def restart_osd(self, osd):
        """kill -9 if it still runs, and a new one on the same store and port."""
        if self.osds[osd].is_running():
            self.kill_osd(osd)
        return self.start_osd(osd)

    # -- administration

    def gateway_sockets(self):
        """Admin sockets of the tgtds that use this cluster."""
        return sorted(self.folder.glob("lunar-client.*.asok"))

    def gateway_command(self, *words):
        """The answer of the one tgtd that uses this cluster."""
        (socket,) = self.gateway_sockets()
        return admin_command(socket, " ".join(words))

    def admin_socket(self, osd):
        return self.folder / f"osd.{osd}.asok"

    def _run(self, words, timeout=120):
        result = subprocess.run([str(word) for word in words], text=True, capture_output=True,
                                env=child_environment(self.environment()), timeout=timeout,
                                check=False)
        if result.returncode != 0:
            raise HarnessError(f"{' '.join(map(str, words))} ended with {result.returncode}:\n"
                               f"{result.stdout}{result.stderr}")
        return result.stdout

    def try_lunar(self, *words, environment=None, timeout=120, **options):
        """Runs the command-line tool, whatever comes of it: (exit code, output, errors)."""
        result = subprocess.run([str(word) for word in (built("lunar"), "-c", self.conf, *words)],
                                capture_output=True, check=False, timeout=timeout,
                                env=child_environment({**self.environment(), **(environment or {})}),
                                **{"text": True, **options})
        return result.returncode, result.stdout, result.stderr

    def lunar_fails(self, *words, **options):
        """Runs the command-line tool, which must fail: (exit code, what it wrote to stderr)."""
        code, said, errors = self.try_lunar(*words, **options)
        if code <= 0:
            raise AssertionError(f"lunar {' '.join(map(str, words))} ended with {code}:\n{said}{errors}")
        return code, errors

    def lunar(self, *words, timeout=120):
        """Runs the command-line tool; its output as text."""
        patience = ["--objecter-op-timeout", "60s"]  # of a person, whatever the gateway's is
        return self._run([built("lunar"), "-c", self.conf, *patience, *words], timeout)

    def lunar_json(self, *words, timeout=120):
        return json.loads(self.lunar("--format", "json", *words, timeout=timeout))

    def create_image(self, name, size, **options):
        """`name` is POOL/IMAGE, `size` such as "1G"; options such as object_size="1M"."""
        words = ["create", name, "--size", size]
        for key, value in options.items():
            words += ["--" + key.replace("_", "-"), value]
        self.lunar(*words)

    def osds_of(self, image, object_nos):
        """The servers that hold those objects of POOL/IMAGE, by name alone: an image's id is random."""
        pool = image.split("/")[0]
        image_id = self.lunar_json("info", image)["id"]
        return {self.lunar_json("osd", "map", pool, f"{image_id}.{number:016x}")["osd"]
                for number in object_nos}
