"""Looks at pages in a real browser: `browser.py CHROMEDRIVER BROWSER PAGE...` prints what it saw.

Speaks WebDriver to chromedriver, with the standard library alone. One document on stdout:
for each page its console, what it fetched, how wide it is, how its tables filter and sort, how many
pages it has on paper.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

DRIVER, BROWSER, PAGES = sys.argv[1], sys.argv[2], sys.argv[3:]
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]
# Nobody's colours, dates or letters are asked for.
WIDTHS = [390, 1280]

SORT = """
const table = [...document.querySelectorAll("table.rows")].find((t) => t.tBodies[0].rows.length > 20);
if (!table) return null;
const cells = (column) => [...table.tBodies[0].rows].map((row) => row.cells[column].textContent);
const heads = [...table.tHead.rows[0].cells];
const size = heads.findIndex((head) => head.textContent === "size");
if (size < 0) return null;
const all = table.tBodies[0].rows.length;
const filter = table.closest("section").querySelector("input[type=search]");
const more = table.closest("section").querySelector("button.more");
const out = { all, hidden: more.hidden };
heads[size].querySelector("button").click();
out.up = cells(size);
out.aria = heads[size].getAttribute("aria-sort");
heads[size].querySelector("button").click();
out.down = cells(size);
filter.value = arguments[0];
filter.dispatchEvent(new Event("input"));
out.filtered = table.tBodies[0].rows.length;
filter.value = "";
filter.dispatchEvent(new Event("input"));
more.click();
out.after_more = table.tBodies[0].rows.length;
return out;
"""

LOOK = """
const style = getComputedStyle(document.body);
return {
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  fetched: performance.getEntriesByType("resource").map((entry) => entry.name),
  ground: style.backgroundColor,
  scripts: document.scripts.length,
  planted: window.planted === undefined ? null : String(window.planted),
  images: document.images.length,
  figures: document.querySelectorAll("figure svg").length,
  headings: [...document.querySelectorAll("h1,h2")].map((h) => h.textContent),
  text: document.body.innerText,
};
"""


class Browser:
    session = None

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory()
        # Nobody waits for what it has to say after this process.
        self.driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.driver.stdout:
            found = re.search(r"on port (\d+)\.", line)
            if found:
                self.base = f"http://127.0.0.1:{found.group(1)}"
                break

    def begin(self):
        flags = FLAGS + [f"--user-data-dir={self.profile.name}"]
        options = {"args": flags, "binary": BROWSER}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = "/session/" + answer["sessionId"]

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.read().decode()}") from error

    def do(self, path, **body):
        return self.ask("POST", self.session + path, body)

    def script(self, text, *arguments):
        return self.do("/execute/sync", script=text, args=list(arguments))

    def colours(self, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.do("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features})

    def width(self, width):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.do("/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=metrics)

    def look(self, page):
        seen = {}
        for width in WIDTHS:
            for scheme in ["light", "dark"]:
                self.width(width)
                self.colours(scheme)
                self.do("/url", url="file://" + page)
                seen[f"{width} {scheme}"] = self.script(LOOK)
        sorting = self.script(SORT, "needle")
        self.colours("light")
        printed = self.do("/goog/cdp/execute", cmd="Page.printToPDF", params={})
        console = self.do("/se/log", type="browser")
        return {
            "looks": seen,
            "sorting": sorting,
            "printed": len(printed["data"]),
            "console": [line["message"] for line in console],
        }

    def close(self):
        try:
            if self.session:
                self.ask("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()


LIVE = """
const text = (id) => document.getElementById(id).textContent;
return {
  state: text("state"), left: text("left"), link: text("link"),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  steps: document.getElementById("steps").rows.length,
  gates: [...document.getElementById("gates").rows].map((row) => row.cells[0].textContent),
};
"""


def watch(browser, url, go, until):
    """Looks at a live page while what it shows waits, and once it has come to its end."""

    def state(wanted):
        for _ in range(600):
            seen = browser.script(LIVE)
            if seen["state"] == wanted and (wanted == until or seen["left"] != "no timer is armed"):
                return seen
            time.sleep(0.1)
        raise SystemExit(f"it never came to {wanted}: {seen}")

    browser.width(390)
    browser.do("/url", url=url)
    before = state("freezing")
    open(go, "w").close()
    after = state(until)
    console = [line["message"] for line in browser.do("/se/log", type="browser")]
    # The process ends with what it shows: that the connection is lost is no error of the page.
    console = [line for line in console if "ERR_CONNECTION" not in line and "ERR_INCOMPLETE" not in line]
    return {"before": before, "after": after, "console": console}


browser = Browser()
try:
    browser.begin()
    if PAGES[0] == "--watch":
        print(json.dumps(watch(browser, *PAGES[1:])))
    else:
        print(json.dumps({page: browser.look(page) for page in PAGES}))
finally:
    browser.close()
