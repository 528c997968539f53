"""The demo's console in headless Chromium: sliders turned by keyboard reach the members, healthy
members go on, and all end with the demo.

Argument: the program.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

MEMBERS = 6
DEMO = [sys.argv[1], "demo", "--console", "--http", "127.0.0.1:0", "--members", str(MEMBERS),
        "--json"]


def told(at):
    with urllib.request.urlopen(f"{at}/v1/experiment") as answer:
        return json.load(answer)


def refused(at, knobs):
    headers = {"Content-Type": "application/json"}
    body = json.dumps(knobs).encode()
    request = urllib.request.Request(f"{at}/v1/experiment", body, headers, method="PATCH")
    try:
        urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        return json.load(error)["detail"]
    sys.exit(f"{knobs} are taken")


def children(process):
    with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def wait_until(holds):
    for _ in range(120):
        if holds():
            return
        time.sleep(0.25)
    sys.exit("it never comes so")


def look(browser, console):
    at = console.split("/#")[0]
    page = browser.new_page(viewport={"width": 375, "height": 700})
    page.on("pageerror", lambda error: sys.exit(f"the page's script failed: {error}"))
    page.goto(console)
    expect(page.get_by_role("img")).to_be_visible()
    expect(page.get_by_role("link", name="Experiment")).to_have_attribute("aria-current", "page")
    assert told(at)["sleepers"] == 2, "a quarter of them"
    # To the end of the sliders.
    for slider in ("Members that sleep", "Of the time, they sleep", "Packets lost"):
        page.get_by_label(slider).focus()
        page.keyboard.press("Home")
    wait_until(lambda: told(at)["knobs"] == {"sleepers": 0, "asleep": 0, "loss": 0})
    for _ in range(10):
        page.get_by_label("Members that sleep").press("ArrowRight")
        page.get_by_label("Of the time, they sleep").press("ArrowRight")
    page.get_by_label("Packets lost").press("ArrowRight")
    wait_until(lambda: told(at)["knobs"] == {"sleepers": 0.5, "asleep": 0.5, "loss": 0.05})

    def goes_on():
        now = told(at)["moments"][-1]
        assert told(at)["knobs"]["loss"] == 0.05, "nobody has turned it since"
        is_steady = now["healthy"] > 0.9 * now["offered"] and (now["sleeping"] or 0) > 0
        return is_steady and now["repairs"] > 0 and told(at)["sleepers"] == MEMBERS / 2

    wait_until(goes_on)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for dark in (False, True):
        page.emulate_media(color_scheme="dark" if dark else "light")
        found = Axe().run(page).response["violations"]
        grave = [each for each in found if each["impact"] in ("serious", "critical")]
        assert not grave, json.dumps(grave, indent=1)[:3000]
    assert "loss lies between" in refused(at, {"sleepers": 0, "asleep": 0, "loss": 0.9})
    assert "thunder" in refused(at, {"sleepers": 0, "asleep": 0, "loss": 0, "thunder": 1})
    # The other pages show the demo's members, and whoever looks on.
    page.goto(f"{at}/#/zones")
    expect(page.get_by_role("link", name="tokyo")).to_be_visible()
    expect(page.get_by_text(f"{MEMBERS + 1} agents in all")).to_be_visible()


with subprocess.Popen(DEMO, stdout=subprocess.PIPE, text=True) as demo:
    try:
        begun = json.loads(demo.stdout.readline())
        members = children(demo.pid)
        assert len(members) == begun["members"] == MEMBERS, members
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=os.environ["CHROMIUM"],
                                                 args=["--no-sandbox"])
            look(browser, begun["console"])
            browser.close()
    finally:
        demo.send_signal(signal.SIGINT)
    assert demo.wait(20) == 130
# The kernel takes its time over those that were stopped.
wait_until(lambda: not any(os.path.exists(f"/proc/{member}") for member in members))
