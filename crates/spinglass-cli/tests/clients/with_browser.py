"""The console in headless Chromium: every page, live updates, many rows, a token that no longer
holds, an agent that dies; and what axe says of its accessibility.

Arguments: the HTTP ports of two agents of one region, the second with a token and the number of its
process. Prints what it measured, a line each.
"""

import json
import os
import signal
import sys
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

OPEN, GUARDED = (f"http://127.0.0.1:{port}" for port in sys.argv[1:3])
TOKEN_FILE, PROCESS = sys.argv[3], int(sys.argv[4])
PAGES = ("zones", "zones/usa/ithaca", "hosts", "summaries", "summaries/usa", "topics", "members",
         "health")


def send(method, path, body):
    body = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(OPEN + path, body, headers, method=method)
    urllib.request.urlopen(request).close()


# Notes when the first row of a table is there: the page is of use from then on.
FIRST_ROW = """new MutationObserver((_, observer) => {
    if (document.querySelector("tbody td")) {
        window.firstRow = performance.now();
        observer.disconnect();
    }
}).observe(document, { childList: true, subtree: true });"""


def measured(name, value):
    print(f"MEASURED {name} {value:.1f}")


def new_page(browser, **options):
    page = browser.new_page(**options)
    page.on("pageerror", lambda error: sys.exit(f"the page's script failed: {error}"))
    return page


def every_page(browser):
    page = new_page(browser)
    sent = []
    page.on("response", lambda answer: sent.append(len(answer.body() if answer.ok and
            "events" not in answer.url and "topics" not in answer.url else b"")))
    page.add_init_script(FIRST_ROW)
    page.goto(OPEN)
    expect(page.get_by_role("link", name="usa", exact=True)).to_be_visible()
    assert sum(sent) < 300_000, sent
    measured("page_bytes", sum(sent))
    measured("first_row_ms", page.evaluate("window.firstRow"))
    for name in PAGES:
        page.goto(f"{OPEN}/#/{name}")
        expect(page.locator("main h2, main .path").first).to_be_visible()
        page.wait_for_timeout(700)
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            found = Axe().run(page).response["violations"]
            grave = [each for each in found if each["impact"] in ("serious", "critical")]
            assert not grave, (name, dark, json.dumps(grave, indent=1)[:3000])
    assert page.locator("#alarm").is_hidden()


def on_a_phone(browser):
    page = new_page(browser, viewport={"width": 375, "height": 700})
    for name in PAGES:
        page.goto(f"{OPEN}/#/{name}")
        page.wait_for_timeout(400)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, f"{name} is {wide} pixels wide"


def by_keyboard(browser):
    page = new_page(browser)
    page.goto(OPEN)
    expect(page.get_by_role("link", name="usa", exact=True)).to_be_visible()
    for path in ("/usa", "/usa/ithaca"):
        link = page.locator("td a").filter(has_text=path.rsplit("/", 1)[1])
        link.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".path strong")).to_have_text(path.rsplit("/", 1)[1])
    page.get_by_role("button", name="name", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("name")


def live(browser):
    page = new_page(browser)
    page.goto(f"{OPEN}/#/zones/usa/ithaca")
    expect(page.get_by_role("cell", name="web1").first).to_be_visible()
    send("PATCH", "/v1/self", {"mood": "splendid"})
    expect(page.get_by_role("cell", name="splendid")).to_be_visible(timeout=15_000)
    # A summary, checked as it is typed.
    page.goto(f"{OPEN}/#/summaries/usa")
    page.get_by_label("SQL over a zone's rows").fill("SELECT MAXX(cpus) AS most FROM zone")
    expect(page.get_by_text("MAXX")).to_be_visible()
    page.get_by_label("SQL over a zone's rows").fill("SELECT SUM(nmembers) AS many FROM zone")
    expect(page.get_by_text("many = ")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("many")
    page.get_by_role("button", name="Install").click()
    expect(page.get_by_text("many is installed")).to_be_visible()
    page.goto(f"{OPEN}/#/zones")
    expect(page.get_by_role("columnheader", name="many")).to_be_visible(timeout=15_000)
    # A topic, from another agent.
    page.goto(f"{OPEN}/#/topics")
    page.get_by_role("button", name="Listen").click()
    expect(page.get_by_text("listening to news")).to_be_visible()
    token = open(TOKEN_FILE).read().strip()
    for _ in range(50):
        headers = {"Authorization": f"Bearer {token}"}
        urllib.request.urlopen(urllib.request.Request(
            f"{GUARDED}/v1/topics/news", b"<b>hello</b>", headers, method="POST")).close()
        page.wait_for_timeout(200)
        if page.get_by_text("<b>hello</b>").count():
            break
    expect(page.get_by_text("<b>hello</b>").first).to_be_visible()
    # The topic is in the list now, and its name leads to it.
    page.goto(f"{OPEN}/#/members")
    page.goto(f"{OPEN}/#/topics")
    page.get_by_role("link", name="news").click()
    expect(page.get_by_text("listening to news")).to_be_visible()
    expect(page.get_by_role("row", name="news yes")).to_be_visible()


def web_socket(browser):
    page = new_page(browser)
    page.goto(OPEN)
    page.evaluate("""() => new Promise((resolve, reject) => {
        const socket = new WebSocket(`ws://${location.host}/v1/topics/sockets/ws`);
        window.next = new Promise((heard) => { socket.onmessage = (event) => heard(event.data); });
        socket.onopen = resolve;
        socket.onerror = reject;
    })""")
    token = open(TOKEN_FILE).read().strip()
    for _ in range(50):
        headers = {"Authorization": f"Bearer {token}"}
        urllib.request.urlopen(urllib.request.Request(
            f"{GUARDED}/v1/topics/sockets", b"from there", headers, method="POST")).close()
        soon = "new Promise((done) => setTimeout(done, 200))"
        got = page.evaluate(f"Promise.race([window.next, {soon}])")
        if got:
            break
    assert got == "from there", got


def many_rows(browser):
    page = new_page(browser)
    page.goto(f"{OPEN}/#/hosts")
    rows = [{"zone": f"/z{at % 40}", "id": f"host{at}", "load": at / 7} for at in range(2000)]
    answer = {"columns": ["zone", "id", "load"], "rows": rows, "whole": True, "age": 1, "asked": 0,
              "answered": 0, "silent": 0, "ruled_out": 0, "cut": False}
    page.route("**/v1/query*", lambda route: route.fulfill(json=answer))
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_text("2000 hosts")).to_be_visible()
    assert page.locator("tbody tr").count() < 100, "only rows in sight are there"
    frames = page.evaluate("""() => new Promise((resolve) => {
        const grid = document.querySelector(".grid");
        const times = [];
        const step = (now) => {
            times.push(now);
            grid.scrollTop += 300;
            if (times.length < 120) requestAnimationFrame(step);
            else resolve({ ms: (times.at(-1) - times[0]) / (times.length - 1), end: grid.scrollTop });
        };
        requestAnimationFrame(step);
    })""")
    measured("frame_ms", frames["ms"])
    assert frames["end"] > 30_000, frames
    page.get_by_role("button", name="load", exact=True).click()
    page.get_by_role("button", name="load", exact=True).click()
    page.locator(".grid").evaluate("grid => { grid.scrollTop = 0; }")
    expect(page.locator("tbody tr td").nth(1)).to_have_text("host1999")


def a_token(browser):
    page = new_page(browser)
    page.goto(f"{GUARDED}/#/zones/usa/ithaca")
    page.evaluate("sessionStorage.setItem('token', 'one that no longer holds')")
    page.get_by_label("Attribute").fill("mood")
    page.get_by_label("Value").fill("sober")
    page.get_by_role("button", name="Set at this agent").click()
    expect(page.get_by_text("does not hold any more")).to_be_visible()
    page.locator("#token").fill(open(TOKEN_FILE).read().strip())
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_text("mood is set")).to_be_visible()
    expect(page.get_by_role("cell", name="sober")).to_be_visible(timeout=15_000)
    # And one that dies.
    os.kill(PROCESS, signal.SIGKILL)
    expect(page.locator("#alarm")).to_contain_text("does not answer", timeout=15_000)
    assert page.get_by_role("cell", name="sober").is_visible(), "what is known stays"


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"],
                                          args=["--no-sandbox"])
    for check in (every_page, on_a_phone, by_keyboard, live, web_socket, many_rows, a_token):
        check(chromium)
    chromium.close()
