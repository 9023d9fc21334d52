"""Dialogs are answered once, whatever keys are pressed; the analysis continues if the screen fails."""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
from fake_stream import FakeStream, info, update
from fuzz_keys import SCREENS, devices, press
from textual import events
from textual.command import CommandList
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from instrec_live.models.errors import InternalError
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.base_app import until_quit


def keys(app: InstrecApp, *names: str) -> None:
    """As they come in one write: all before the first has been dealt with."""
    for name in names:
        character = "\r" if name == "enter" else name if len(name) == 1 else None
        app.post_message(events.Key(name, character))


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def until(pilot: Pilot[Any], ready: Callable[[], bool]) -> None:
    """Wait until `ready()` holds; a test that hangs is ended by pytest's timeout."""
    while not ready():
        await pilot.pause(0.02)


def started(**facts: object) -> tuple[InstrecApp, FakeStream]:
    stream = FakeStream([update(1)], info(**facts), hold=True)
    return InstrecApp(stream, look=devices), stream


@in_loop
async def test_two_enters_on_the_commands_do_one_thing() -> None:
    app, stream = started()
    recorded: list[bool] = []
    app.action_record = lambda: recorded.append(True)  # type: ignore[method-assign]
    async with app.run_test() as pilot:
        await pilot.press("ctrl+p", *"record or")
        await until(pilot, lambda: app.screen.query_one(CommandList).option_count > 0)  # the search has ended
        keys(app, "enter", "enter", "enter", "enter")
        await until(pilot, lambda: len(app.screen_stack) == 1)
        await pilot.pause()
        assert (len(app.screen_stack), recorded) == (1, [True])
        assert not stream.closed.is_set()


@in_loop
async def test_two_enters_on_a_label_write_one() -> None:
    app, stream = started()
    async with app.run_test() as pilot:
        await pilot.press("l", "a")
        keys(app, "enter", "enter")
        await pilot.pause()
        assert [text for _, text in stream.labels] == ["a"]


@in_loop
async def test_two_enters_on_the_microphones_choose_one() -> None:
    app, _ = started()
    chosen: list[object] = []
    app.on_device = chosen.append  # type: ignore[method-assign, assignment]
    async with app.run_test() as pilot:
        await pilot.press("d")
        await pilot.pause(0.3)
        keys(app, "enter", "enter", "enter")
        await pilot.pause()
        assert [device.name for device in chosen] == ["Mic 0"]
        assert len(app.screen_stack) == 1


@in_loop
async def test_two_keys_close_the_help_and_nothing_else() -> None:
    app, _ = started()
    async with app.run_test() as pilot:
        await pilot.press("question_mark")
        keys(app, "enter", "enter", "escape")
        await pilot.pause()
        assert (len(app.screen_stack), app.is_running) == (1, True)


@in_loop
async def test_the_help_may_be_closed_while_it_scrolls() -> None:
    app, _ = started()
    async with app.run_test() as pilot:
        for _ in range(10):
            await pilot.press("question_mark")
            keys(app, "j", "q")
            await until(pilot, lambda: len(app.screen_stack) == 1)
        assert app.is_running


@in_loop
async def test_a_key_that_comes_with_the_help_turns_its_page_once() -> None:
    app, _ = started()
    async with app.run_test() as pilot:
        keys(app, "question_mark", "space")
        await until(pilot, lambda: len(app.screen_stack) == 2 and app.screen.query_one(VerticalScroll).scroll_y > 0)
        await pilot.pause()
        assert "page 2/" in str(app.screen.query_one("#where", Static).content)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (40, 5), (20, 3)])
def test_the_commands_take_keys_at_once_and_have_no_place_on_a_tiny_screen(size: tuple[int, int]) -> None:
    async def go() -> None:
        app, _ = started()
        async with app.run_test(size=size) as pilot:
            for key in ("pagedown", "pageup", "end", "down"):
                keys(app, "ctrl+p", key)
                await pilot.pause()
                assert (len(app.screen_stack) == 2) == (size >= (40, 10)), size
                keys(app, key)
                await pilot.pause()
                await pilot.resize_terminal(size[0], 3)
                keys(app, key)
                await pilot.pause()
                await pilot.resize_terminal(*size)
                await pilot.press("escape")
                await pilot.pause()
                assert len(app.screen_stack) == 1
            assert app.is_running

    asyncio.run(go())


@pytest.mark.parametrize("key", ["question_mark", "d", "ctrl+p"])
def test_the_commands_wait_for_an_open_dialog(key: str) -> None:
    async def go() -> None:
        app, _ = started(live=True)
        async with app.run_test() as pilot:
            await pilot.press(key)
            await pilot.pause()
            dialog = app.screen
            await pilot.press("ctrl+p")
            await pilot.pause()
            assert app.screen is dialog

    asyncio.run(go())


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("seed", [0, 1])
def test_random_keys(screen: str, seed: int) -> None:
    """`benchmarks/fuzz_keys.py` tries many more."""
    assert asyncio.run(press(SCREENS[screen], seed + random.Random(screen).randrange(1000), 40)) is None


def test_a_screen_that_fails_does_not_end_the_listening(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[float] = []

    class Counted(FakeStream):
        def __iter__(self):
            for each in super().__iter__():
                heard.append(each.time)
                yield each

    class Failing(InstrecApp):
        def run(self, *args: object, **kwargs: object) -> None:
            async def fail() -> None:
                async with self.run_test():
                    failed.wait(120)
                    raise RuntimeError("broken")

            with pytest.raises(RuntimeError):
                asyncio.run(fail())
            self._exception = RuntimeError("broken")

    failed = threading.Event()
    stream = Counted([update(number) for number in range(1, 6)], beat=0.05)
    app = Failing(stream)
    app.tell = lambda message: failed.set()  # type: ignore[method-assign]
    app.stop_listening = lambda: None  # type: ignore[method-assign] - it fails before it unmounts
    with pytest.raises(InternalError, match="the screen failed: RuntimeError: broken"):
        until_quit(app)
    assert len(heard) == 5
    assert "continuing without it" in capsys.readouterr().err
