"""Presses random keys on every screen: does the screen survive, and does the analysis continue?

    python benchmarks/fuzz_keys.py [--seeds 20] [--keys 400] [--processes 4]

On each of the screens (a microphone, a file, many sources), keys arrive one by one and in bursts, as a slow connection
delivers them: twice the same, Enter twice in every dialog. A defect is an exception, a screen that ends without being
asked to, or a stream that was closed; a screen that is not idle within Textual's 30 s is one if that happens
twice. Writes benchmarks/results/fuzz_keys.json.
"""

import argparse
import asyncio
import datetime
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events
from textual.keys import _character_to_key
from textual.pilot import WaitForScreenTimeout

from instrec_live.realtime.audio.devices import InputDevice
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.base_app import BaseApp
from instrec_live.realtime.tui.watch.app import WatchApp

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from fake_hub import FakeHub
from fake_stream import FakeStream, FakeTransport, info, update

RESULT = Path(__file__).resolve().parent / "results" / "fuzz_keys.json"
NAMED = [
    *("enter", "enter", "enter", "escape", "escape", "tab", "shift+tab", "space", "backspace", "delete", "home", "end"),
    *("up", "down", "left", "right", "shift+left", "shift+right", "pageup", "pagedown", "f1", "ctrl+p", "ctrl+p"),
    *("ctrl+a", "ctrl+e", "ctrl+k", "ctrl+u", "ctrl+w", "ctrl+v", "ctrl+l", "ctrl+z", "f2", "insert"),
]
PRINTED = "0123456789+-=<>,./?lrdmsvtpjk abcQ[]:'\"é日\\"  # without q, which quits
_LATE = "late"
SIZES = [(80, 24), (40, 10), (120, 40), (20, 5)]


def devices() -> list[InputDevice]:
    return [InputDevice(n, f"Mic {n}", 2, 48_000, n == 0, "ALSA") for n in range(3)]


def microphone() -> tuple[BaseApp, Any]:
    stream = FakeStream([update(n) for n in range(40)], info(live=True, source="[0] Mic 0"), hold=True, beat=0.05)
    return InstrecApp(stream, look=devices), stream


def file() -> tuple[BaseApp, Any]:
    stream = FakeStream([update(n) for n in range(40)], info(live=False), hold=True, beat=0.05)
    stream.transport = FakeTransport()
    return InstrecApp(stream, look=devices), stream


def many() -> tuple[BaseApp, Any]:
    names = [f"room {n}" for n in range(6)]
    hub = FakeHub(names, [(name, update(n)) for n in range(6) for name in names])
    return WatchApp(hub, look=devices), hub


SCREENS: dict[str, Callable[[], tuple[BaseApp, Any]]] = {"microphone": microphone, "file": file, "many": many}


def keys_of(rng: random.Random, count: int) -> list[list[events.Key]]:
    """So many keys, in the bursts that they come in."""
    bursts: list[list[events.Key]] = []
    while sum(map(len, bursts)) < count:
        if rng.random() < 0.4:
            key = events.Key(rng.choice(NAMED), None)
        else:
            character = rng.choice(PRINTED)
            key = events.Key(_character_to_key(character), character)
        if key.key == "enter":
            key = events.Key("enter", "\r")
        times = rng.choice([1, 1, 1, 2, 3])
        burst = [events.Key(key.key, key.character) for _ in range(times)]
        if bursts and rng.random() < 0.3:
            bursts[-1] += burst
        else:
            bursts.append(burst)
    return bursts


async def press(make: Callable[[], tuple[BaseApp, Any]], seed: int, count: int) -> str | None:
    """What went wrong with so many keys; None if nothing."""
    rng = random.Random(seed)
    app, heard = make()
    app.deliver_screenshot = lambda *args, **kwargs: None  # type: ignore[method-assign]
    app.action_suspend_process = lambda: None  # type: ignore[method-assign]
    app.action_quit = _nothing  # type: ignore[method-assign] - the palette has it too
    tried: list[str] = []
    try:
        async with app.run_test(size=SIZES[seed % len(SIZES)]) as pilot:
            await pilot.pause()
            for burst in keys_of(rng, count):
                tried += [key.key for key in burst]
                for key in burst:
                    app.post_message(key)
                await pilot.pause()
                if app._exception is not None or not app.is_running:
                    break
            if heard.closed.is_set():
                return f"the listening was ended after {' '.join(tried[-12:])}"
    except WaitForScreenTimeout as error:  # a busy machine, or a screen that hangs
        return f"{_LATE}: {error} after {' '.join(tried[-12:])}"
    except Exception as error:
        return f"{type(error).__name__}: {error} after {' '.join(tried[-12:])}"
    finally:
        heard.close()
    return None


async def _nothing() -> None:
    """Not to be ended by a key."""


def first_fault(task: tuple[str, int, int]) -> str | None:
    """What went wrong on a screen with a seed and so many keys; None if nothing."""
    name, seed, count = task
    for _ in range(2):
        fault = asyncio.run(press(SCREENS[name], seed, count))
        if fault is None or not fault.startswith(_LATE):
            break
    return fault


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="of each screen (20)")
    parser.add_argument("--keys", type=int, default=400, help="of each seed (400)")
    parser.add_argument("--processes", type=int, default=4, help="at a time (4)")
    args = parser.parse_args()
    content: dict[str, Any] = {
        "command": f"python benchmarks/fuzz_keys.py --seeds {args.seeds} --keys {args.keys}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "screens": {},
    }
    with multiprocessing.Pool(args.processes) as pool:
        for name in SCREENS:
            began, faults = time.monotonic(), list[str]()
            tasks = [(name, seed, args.keys) for seed in range(args.seeds)]
            for seed, fault in enumerate(pool.imap(first_fault, tasks)):
                faults += [f"seed {seed}: {fault}"] if fault else []
                content["screens"][name] = {"seeds": seed + 1, "keys": (seed + 1) * args.keys, "defects": faults}
                RESULT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{name}: {len(faults)} defects, {time.monotonic() - began:.0f} s", *faults, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()
