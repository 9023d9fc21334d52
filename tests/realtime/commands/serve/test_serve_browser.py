"""The page and the overlay of --serve in a real browser (Chromium, headless)."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from fake_stream import update

pytest.importorskip("starlette", reason="starlette is not installed: pip install '.[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install '.[serve]'")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from serving import Running, head, serving
from waiting import wait_for

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.commands.serve.broadcast import Broadcast, Source
from instrec_live.realtime.commands.serve.guard import Guard
from instrec_live.realtime.commands.serve.server import WebServer, open_port
from instrec_live.realtime.outputs import Summary

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
Page = Any

PATIENCE = 120_000  # ms
CONTRAST = """() => {
  const light = (c) => { const v = c / 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [numbers(getComputedStyle(element).color), ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName} ${element.className} ${element.textContent} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Any, server: Running, path: str = "/", **options: Any) -> Iterator[Page]:
    """A tab that complains of nothing and asks nobody else."""
    options = {"viewport": {"width": 1280, "height": 800}, **options}
    context = browser.new_context(bypass_csp=True, **options)  # playwright waits by evaluating strings
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{server.port}{path}")
    try:
        yield page
    finally:
        context.close()
    assert [each for each in complaints if "ERR_" not in each] == []  # a connection that ends is meant
    assert all(url.startswith((f"http://127.0.0.1:{server.port}/", "data:")) for url in asked), asked


@pytest.fixture
def run() -> Iterator[tuple[Running, Source]]:
    """A server of one source that has heard thirty seconds. Its hop is long: on a busy machine no update is missed."""
    broadcast = Broadcast()
    source = broadcast.add(None, head(hop=3600.0))
    for number in range(60):
        source.write(update(number))
    with serving(broadcast) as server:
        yield server, source


def now(page: Page, words: str) -> None:
    """Wait until the first line of the page says something."""
    page.wait_for_function("words => document.querySelector('#now').innerText.includes(words)", arg=words)


def test_it_moves(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    with opened(browser, server) as page:
        now(page, "drums")
        bars = "() => [...document.querySelectorAll('.row .fill')].map((bar) => bar.style.transform).join()"
        before = page.evaluate(bars)
        source.write(update(60))
        page.wait_for_function(f"before => ({bars})() !== before", arg=before)
        names, _, program = page.title().partition(" – ")
        assert (set(names.split(", ")), program) == (set(update(60).active), "instrec-live")
        opaque = """() => [...document.querySelectorAll('.row canvas')].map((canvas) => Math.max(
            ...canvas.getContext('2d').getImageData(0, 2, canvas.width, 1).data.filter((_, n) => n % 4 === 3)))"""
        painted = dict(zip(INSTRUMENTS, page.evaluate(opaque), strict=True))
        assert painted["piano"] > 200 > 120 > painted["banjo"] > 0
        assert page.locator("#events li.entry").count() == len(update(60).active)
        source.write(replace(update(90), time=31.0, active=("piano",)))
        page.wait_for_selector("#events li.exit")
        assert page.locator("#state b").inner_text() == "OK"
        now(page, "piano")


def test_what_a_row_shows_is_of_one_quantity(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    p = update(60).probabilities.copy()
    p[INSTRUMENTS.index("violin")] = 0.30  # below its threshold of .46, above that to go
    p[INSTRUMENTS.index("voice")] = 0.9
    p[INSTRUMENTS.index("accordion")] = 0.6  # above, but not yet active
    p[INSTRUMENTS.index("cello")] = 0.03  # still active, below that to go
    source.write(replace(update(60), probabilities=p, active=("cello", "violin", "voice")))
    shown = """() => Object.fromEntries([...document.querySelectorAll('.row')].map((row) => [
        row.querySelector('.name').textContent, {
            look: row.className, sign: row.querySelector('.sign').textContent,
            percent: row.querySelector('.percent').textContent,
            bar: Number(row.querySelector('.fill').style.transform.match(/[\\d.]+/)[0]),
            mark: parseFloat(row.querySelector('.mark').style.left) / 100,
        }]))"""
    with opened(browser, server) as page:
        page.wait_for_selector(".row.held")
        rows = page.evaluate(shown)
    assert rows["violin"]["look"] == "row held"
    assert (rows["violin"]["sign"], rows["violin"]["percent"]) == ("○", "30%")
    assert (rows["cello"]["look"], rows["cello"]["sign"]) == ("row leaving", "↓")
    assert (rows["voice"]["look"], rows["voice"]["sign"]) == ("row on", "●")
    assert rows["accordion"]["look"] == "row off"
    for row in rows.values():
        sounding = row["look"] in ("row on", "row held")
        assert sounding == (row["sign"] in ("●", "○"))
        assert not sounding or row["bar"] >= row["mark"]  # never lit with its bar below the mark that counts
        assert abs(row["bar"] - int(row["percent"][:-1]) / 100) < 0.011


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 2560])
def test_it_fits(browser: Any, run: tuple[Running, Source], width: int) -> None:
    server, _ = run
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    with opened(browser, server, viewport={"width": width, "height": 800}) as page:
        now(page, "drums")
        assert page.evaluate(overflow) <= 0
        assert page.locator(".row").count() == 20
        assert page.locator(".row canvas").first.bounding_box()["width"] > 100
        page.set_viewport_size({"width": 400 if width != 390 else 1280, "height": 700})
        page.wait_for_function("document.querySelector('.row canvas').width === Math.round("
                               "document.querySelector('.row canvas').clientWidth * devicePixelRatio)")  # fmt: skip
        assert page.evaluate(overflow) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_stand_out(browser: Any, run: tuple[Running, Source], scheme: str) -> None:
    server, source = run
    p = update(60).probabilities.copy()
    p[INSTRUMENTS.index("violin")] = 0.30
    source.write(replace(update(60), probabilities=p, active=("violin", "voice"), peak_db=0.0))
    source.label(30.5, "verse")
    with opened(browser, server, color_scheme=scheme) as page:
        page.wait_for_selector(".row.held")
        page.wait_for_selector("#events li.label")
        assert page.evaluate(CONTRAST) == []
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        assert page.evaluate(CONTRAST) == []


def test_light_and_dark_by_system_key_and_address(browser: Any, run: tuple[Running, Source]) -> None:
    server, _ = run
    theme = "document.documentElement.dataset.theme"
    with opened(browser, server, color_scheme="light") as page:
        now(page, "drums")
        assert page.evaluate(theme) == "light"
        page.keyboard.press("t")
        assert page.evaluate(theme) == "dark"
        page.reload()
        now(page, "drums")
        assert page.evaluate(theme) == "dark"
        page.goto(f"http://127.0.0.1:{server.port}/?theme=light")
        now(page, "drums")
        assert page.evaluate(theme) == "light"


def test_nothing_glides_where_motion_is_not_wanted(browser: Any, run: tuple[Running, Source]) -> None:
    server, _ = run
    glide = "selector => getComputedStyle(document.querySelector(selector)).transitionDuration"
    with opened(browser, server, reduced_motion="reduce") as page:
        now(page, "drums")
        assert page.evaluate(glide, ".row .fill") == "0s"
        page.goto(f"http://127.0.0.1:{server.port}/overlay")
        page.wait_for_selector(".row")
        assert page.evaluate(glide, ".row .fill") == "0s"
        assert page.evaluate("getComputedStyle(document.querySelector('.row')).animationName") == "none"


def test_the_keyboard_is_enough(browser: Any, run: tuple[Running, Source]) -> None:
    server, _ = run
    with opened(browser, server) as page:
        now(page, "drums")
        reached = []
        for _ in range(6):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert reached == ["order", "theme", "help", "OL", "overlay", "lines"]
        page.keyboard.press("s")
        page.wait_for_selector(".row:first-child.on")
        assert page.locator(".row .name").first.inner_text() == "piano"  # the first to come in
        page.keyboard.press("?")
        page.wait_for_selector("dialog[open]")
        page.keyboard.press("Escape")
        page.wait_for_function("!document.querySelector('dialog').open")


def test_what_others_write_is_text(browser: Any) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    broadcast = Broadcast()
    source = broadcast.add(None, head(source=evil, hop=3600.0))
    source.write(update(59))
    source.label(30.0, evil)
    with serving(broadcast) as server, opened(browser, server) as page:
        page.wait_for_selector("#events li.label")
        assert page.locator("#events li.label").inner_text().endswith(evil)
        assert page.locator("#source").inner_text() == evil
        assert page.locator("img").count() == 0
        assert page.title() != "owned"


def test_the_end_and_a_way_back_stay_visible(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    state = "word => document.querySelector('#state b').textContent === word"
    with opened(browser, server) as page:
        now(page, "drums")
        source.at_end(update(59))
        page.wait_for_function(state, arg="ENDED")
        now(page, "the sound is over")
        assert "drums" not in page.locator("#now").inner_text()
        source.write(replace(update(10), jumped=True))  # sent back
        page.wait_for_function(state, arg="WARMING")
        source.close(Summary(60, 30.0, "end", {}, 0, 0, 0))
        page.wait_for_function(state, arg="ENDED")
        page.reload()
        page.wait_for_function(state, arg="ENDED")


def test_the_page_reconnects_when_the_program_returns(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    with opened(browser, server) as page, opened(browser, server, "/overlay") as overlay:
        now(page, "drums")
        overlay.wait_for_selector(".row")
        source.pause(True, 30.0)
        page.wait_for_function("document.querySelector('#state b').textContent === 'PAUSED'")
        server.web.stop()
        page.wait_for_function("document.querySelector('#state b').textContent === 'NO CONNECTION'")
        again = Broadcast()
        again.add(None, head(source="another run", hop=3600.0)).write(replace(update(5), active=("banjo",)))
        port = None
        while port is None:
            with contextlib.suppress(Exception):  # the system may keep it for a moment
                port = open_port("127.0.0.1", server.port)
        web = WebServer(again, port, Guard(), 10)
        web.start()
        try:
            now(page, "banjo")
            assert page.locator("#source").inner_text() == "another run"
            assert page.locator("#state b").inner_text() == update(5).state.value  # nothing of the run before
            overlay.wait_for_function("document.querySelector('#sounding').innerText.startsWith('banjo')")
        finally:
            web.stop()


def test_a_hundred_viewers_get_every_update_of_one_run(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    with contextlib.ExitStack() as stack:
        paths = ["/events", "/events.jsonl"] * 50
        others = [stack.enter_context(server.watch(path)) for path in paths[:99]]
        page = stack.enter_context(opened(browser, server))  # the hundredth
        now(page, "drums")
        assert server.get("/events.jsonl")[0] == 503
        written = [replace(update(number), active=("banjo",)) for number in range(60, 70)]
        for each in written:
            source.write(each)
        for viewer in others:
            assert viewer.until("update")["time"] == update(59).time  # the newest when they came
            assert [viewer.until("update")["time"] for _ in written] == [each.time for each in written]
        now(page, "banjo")


def test_every_link_has_the_token(browser: Any) -> None:
    broadcast = Broadcast()
    broadcast.add(None, head(hop=3600.0)).write(update(59))
    with serving(broadcast, Guard(token="s" * 32)) as server, opened(browser, server, f"/?token={'s' * 32}") as page:
        now(page, "drums")
        for name in ("overlay", "lines"):
            assert page.locator(f"#{name}").get_attribute("href").endswith(f"?token={'s' * 32}")
        page.locator("#overlay").click()
        page.wait_for_selector(".row")


def alpha(page: Page) -> Any:
    """How opaque each pixel is, float [height, width]."""
    from matplotlib.image import imread

    return imread(BytesIO(page.screenshot(omit_background=True)))[..., 3]


def test_the_overlay_is_transparent_but_for_what_sounds(browser: Any, run: tuple[Running, Source]) -> None:
    server, source = run
    with opened(browser, server, "/overlay", reduced_motion="reduce") as page:
        page.wait_for_selector(".row")
        opaque = alpha(page)
        assert opaque[:300].max() == opaque[:, 700:].max() == 0.0  # nothing but the rows at the lower left
        assert opaque.max() > 0.7
        assert page.locator(".row").count() == len(update(59).active)
        source.close(Summary(60, 30.0, "end", {}, 0, 0, 0))
        wait_for(lambda: page.locator(".row").count() == 0)
        assert alpha(page).max() == 0.0


def test_the_overlay_obeys_its_address(browser: Any, run: tuple[Running, Source]) -> None:
    server, _ = run
    query = "/overlay?names&size=60&rows=2&align=right&at=top&light"
    with opened(browser, server, query, reduced_motion="reduce") as page:
        page.wait_for_selector(".row")
        shown = re.split(r"\s*\n\s*", page.locator("#sounding").inner_text().strip())
        assert shown == ["piano", "voice", f"and {len(update(59).active) - 2} more"]
        assert page.evaluate("getComputedStyle(document.querySelector('.row')).fontSize") == "60px"
        assert page.evaluate("getComputedStyle(document.querySelector('.row')).color") == "rgb(23, 25, 29)"
        opaque = alpha(page)
        assert opaque[400:].max() == opaque[:, :640].max() == 0.0
    with opened(browser, server, "/overlay?size=x&rows=1e99&align=%3Cb%3E") as page:  # nonsense is left aside
        page.wait_for_selector(".row")
        assert page.evaluate("getComputedStyle(document.querySelector('.row')).fontSize") == "32px"


@pytest.mark.parametrize("query", ["", "?align=right", "?align=center&size=60"])
def test_the_overlay_shows_whole_names(browser: Any, run: tuple[Running, Source], query: str) -> None:
    server, source = run
    source.write(replace(update(60), active=("mallet_percussion", "drums")))
    with opened(browser, server, f"/overlay{query}", reduced_motion="reduce") as page:
        page.wait_for_function("document.querySelectorAll('.row').length === 2")
        rows = page.locator(".row").all()
        assert {row.locator("b").inner_text() for row in rows} == {"mallet percussion", "drums"}
        assert all(row.locator("b").evaluate("name => name.scrollWidth <= name.clientWidth") for row in rows)
        assert len({row.bounding_box()["width"] for row in rows}) == 1  # bars of one length can be compared
        page.set_viewport_size({"width": 320, "height": 400})
        assert page.evaluate("Math.max(...[...document.querySelectorAll('.row')].map("
                             "(row) => row.getBoundingClientRect().right))") <= 320  # fmt: skip


def test_many_sources_have_a_card_each(browser: Any) -> None:
    broadcast = Broadcast(["hall", "studio"])
    broadcast.add("hall", head(hop=3600.0)).write(update(59))
    broadcast.fail("studio", "there is no such device")
    with serving(broadcast) as server, opened(browser, server) as page:
        page.wait_for_function("document.querySelector('#cards').innerText.includes('drums')")
        assert "there is no such device" in page.locator("#cards").inner_text()
        assert page.evaluate(CONTRAST) == []
        page.get_by_text("hall").click()
        now(page, "drums")
        page.locator("#all").click()
        page.wait_for_selector(".card")
