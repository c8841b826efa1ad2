#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The HTML report in a real browser: it loads nothing else, plots, filters, zooms, and explains what the mouse is on.

With LUNAR_UPDATE_DOCS=1 the screenshot goes to docs/trace-report.png, else to the build folder.
"""

import os
import pathlib
import unittest

import trace_recording
from browser import Browser
from lunar_e2e import Cluster, LunarTestCase, build_dir

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOW = 1
MOST_BYTES = 300 << 10
MIB = 1 << 20


class SlowCluster(Cluster):
    def write_conf(self):
        super().write_conf()
        with open(self.conf, "a", encoding="utf-8") as conf:
            conf.write(f"[osd.{SLOW}]\nms_inject_delay_probability = 1\nms_inject_delay_max = 250ms\n")


class TracePageTest(LunarTestCase):
    def start_cluster(self, name="cluster", **options):
        cluster = SlowCluster(self.folder / name, **options)
        self.addCleanup(cluster.stop)
        return cluster.start()

    def make_page(self):
        with trace_recording.Recording(self.folder) as recording:
            self.start_lunar(extra_environment=recording.environment())
            lun = self.new_lun(size="64M", object_size="1M")
            for size, depth, ops in (("8M", 2, 8), ("64K", 8, 40)):
                self.bench(lun.url, access="write", size=size, depth=depth, ops=ops, span="48M")
                self.bench(lun.url, access="read", size=size, depth=depth, ops=ops, span="48M")
            self.tgtd.stop()
            self.cluster.stop()
            recording.stop()
        page = self.folder / "report.html"
        self.assertEqual(trace_recording.report(recording.folder, "--html", page, "--slowest", "8"), "")
        return page

    def test_a_person_can_use_the_page(self):
        page = self.make_page()
        self.assertLess(page.stat().st_size, 8 * MIB)
        with Browser() as browser:
            browser.open(page)
            self.assertEqual(browser.faults(), [])
            self.assertEqual(browser.requested(), [page.resolve().as_uri()])
            self.assertIn("100 %", browser.evaluate("document.getElementById('cards').innerText"))
            self.assertIn(f"osd.{SLOW} is slow", browser.evaluate("document.body.innerText"))
            self.check_plots(browser)
            self.check_filters(browser)
            self.check_lanes(browser)
            self.check_hover(browser)
            self.check_zoom(browser)
            self.check_choice(browser)
            self.assertEqual(browser.faults(), [])
            self.save(browser.screenshot())
        self.check_widths(page)

    def place_of(self, browser, what):
        """Middle of the widest bar that fulfils `what`, of what is to be seen of it, in the window."""
        browser.evaluate("canvas.scrollIntoView()")
        return browser.evaluate(
            "(() => { const place = canvas.getBoundingClientRect();"
            " const left = b => Math.max(b.x0, 0), right = b => Math.min(b.x1, canvas.clientWidth);"
            f" const found = boxes.filter(b => {what} && b.y0 > axis && b.y1 < canvas.clientHeight)"
            "   .sort((a, b) => (right(b) - left(b)) - (right(a) - left(a)))[0];"
            " return found && { x: place.left + (left(found) + right(found)) / 2,"
            "                   y: place.top + (found.y0 + found.y1) / 2, stage: found.what.stage.stage }; })()")

    def check_plots(self, browser):
        """Above the timeline, with a line or bar of what was done, and with the time under the mouse."""
        titles = browser.evaluate("[...document.querySelectorAll('.plot b')].map(b => b.innerText).join()")
        for word in ("latency", "IOPS", "MB/s", "in flight", "faults"):
            self.assertIn(word, titles)
        self.assertTrue(browser.evaluate(
            "by('plots').getBoundingClientRect().bottom < canvas.getBoundingClientRect().top"))
        ios = sum(kind["ios"] for kind in browser.evaluate("Object.values(report.ios)"))
        self.assertEqual(browser.evaluate("sum(points, p => p.ios)"), ios)
        place = browser.evaluate("(() => { const p = plots[0].svg.getBoundingClientRect();"
                                 " return { x: p.left + p.width / 2, y: p.top + 40 }; })()")
        browser.mouse("mouseMoved", **place)
        self.assertIn("p99", browser.evaluate("plots[0].note.innerText"))
        self.assertRegex(browser.evaluate("plots[0].svg.querySelector('.cross').getAttribute('d')"), "^M")
        # A drag chooses a time.
        browser.mouse("mousePressed", place["x"] - 80, place["y"], button="left", clickCount=1)
        browser.mouse("mouseMoved", **place, button="left", buttons=1)
        browser.mouse("mouseReleased", **place, button="left", clickCount=1)
        self.assertLess(browser.evaluate("span.to - span.from"),
                        browser.evaluate("(wholeSpan().to - wholeSpan().from) / 2"))
        self.assertTrue(browser.evaluate("plots.every(p => p.svg.querySelector('.band'))"))
        browser.evaluate("by('all').click()")

    def check_filters(self, browser):
        whole = browser.evaluate("sum(points, p => p.ios)")
        browser.evaluate("by('kind').value = 'read'; by('kind').onchange()")
        self.assertEqual(browser.evaluate("sum(points, p => p.ios)"), browser.evaluate("report.ios.read.ios"))
        self.assertEqual(browser.evaluate("[...new Set(ios.map(io => io.kind))].join()"), "read")
        browser.evaluate("by('from').value = '0'; by('until').value = '0.000001'; by('until').onchange()")
        self.assertEqual(browser.evaluate("ios.length + by('slowest').children.length"), 0)
        browser.evaluate("by('all').click()")
        self.assertEqual(browser.evaluate("sum(points, p => p.ios)"), whole)

    def check_lanes(self, browser):
        titles = browser.evaluate("rows.map(row => row.title).join()")
        self.assertRegex(titles, r"^tgtd\[\d+\],osd\.0,osd\.1,osd\.2$")

    def check_widths(self, page):
        for width in (420, 1920):
            with self.subTest(width=width), Browser(width) as browser:
                browser.open(page)
                self.assertEqual(browser.evaluate("document.documentElement.scrollWidth"), width)
                self.assertGreater(browser.evaluate("plots[0].svg.clientWidth"), 350)
                self.assertEqual(browser.faults(), [])

    def check_hover(self, browser):
        browser.evaluate("by('order').value = 'time'; by('order').onchange()")
        browser.evaluate("by('slowest').querySelector('li').click()")
        place = self.place_of(browser, "b.what.op")
        self.assertIsNotNone(place, "no op is on the timeline")
        browser.mouse("mouseMoved", place["x"], place["y"])
        self.assertEqual(browser.evaluate("getComputedStyle(by('tip')).display"), "block")
        tip = browser.evaluate("by('tip').innerText")
        self.assertIn(place["stage"] + ":", tip)
        self.assertIn("tid ", tip)

    def check_zoom(self, browser):
        browser.evaluate("by('all').click()")
        before = browser.evaluate("span.to - span.from")
        middle = browser.evaluate("(() => { const p = canvas.getBoundingClientRect();"
                                  " return { x: p.left + p.width / 2, y: p.top + p.height / 2 }; })()")
        browser.mouse("mouseWheel", **middle, deltaX=0, deltaY=-400)
        self.assertLess(browser.evaluate("span.to - span.from"), before * 0.8)
        here = browser.evaluate("span.from")
        browser.mouse("mousePressed", **middle, button="left", clickCount=1)
        browser.mouse("mouseMoved", middle["x"] - 200, middle["y"], button="left", buttons=1)
        browser.mouse("mouseReleased", middle["x"] - 200, middle["y"], button="left", clickCount=1)
        self.assertGreater(browser.evaluate("span.from"), here)

    def check_choice(self, browser):
        """Leaves the slowest IO chosen and an explanation under the mouse, for the picture."""
        browser.evaluate("by('order').value = 'slow'; by('order').onchange()")
        self.assertTrue(browser.evaluate("rows.every((row, i) => i === 0 || rows[i - 1].io.ns >= row.io.ns)"))
        browser.evaluate("by('order').value = 'lanes'; by('order').onchange()")
        browser.evaluate("by('slowest').querySelector('li').click()")
        self.assertIn("took", browser.evaluate("by('detail').innerText"))
        browser.evaluate("window.scrollTo(0, 0)")
        place = self.place_of(browser, "b.what.io === chosen && !b.what.op")
        browser.mouse("mouseMoved", place["x"], place["y"])
        self.assertEqual(browser.evaluate("by('tip').innerText.split(',')[0]"), browser.evaluate("chosen.title"))

    def save(self, png):
        self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n")
        self.assertGreater(len(png), 20 << 10)  # not an empty page
        self.assertLessEqual(len(png), MOST_BYTES)
        folder = ROOT / "docs" if os.environ.get("LUNAR_UPDATE_DOCS") == "1" else build_dir()
        (folder / "trace-report.png").write_bytes(png)
        committed = ROOT / "docs" / "trace-report.png"
        self.assertTrue(committed.is_file())
        self.assertLessEqual(committed.stat().st_size, MOST_BYTES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
