"""One microphone for another, while somebody listens; and one that was lost, once it is back."""

import time

from instrec_live.models.errors import AudioDeviceError, InstrecError
from instrec_live.realtime.devices import (
    choose,
    found_again,
    list_input_devices,
    list_input_devices_fresh,
    rescan,
    resolve,
)
from instrec_live.realtime.live import LiveSound
from instrec_live.realtime.native_noise import hushed
from instrec_live.realtime.sources import MicrophoneSource, MonitorSource, Source
from instrec_live.realtime.sources.microphone import START_WITHIN
from instrec_live.realtime.system_audio import monitor_meant

_GLANCE = 0.1  # s between looks at whether it is still wanted


def change_microphone(live: LiveSound, device: int | str | None, channels: int | None) -> Source:
    """Let `live` go on with another microphone; returns that.

    One that PortAudio does not know yet, because it was connected since, costs a moment of the old one's sound: the
    old one is closed, for PortAudio to look again, and opened again if the new one fails.

    Raises:
        AudioDeviceError: it cannot be opened.
        UsageError: it has not that many channels.
    """
    old = live.source
    if monitor := monitor_meant(device):
        if isinstance(old, MonitorSource) and old.label == monitor.label and not live.lost:
            return old
        return _changed(live, MonitorSource(monitor, channels))
    if live.lost:  # nothing is open, and PortAudio may look again
        old.close()
        rescan()
        return _changed(live, MicrophoneSource(device, channels))
    try:
        found = resolve(device)
    except AudioDeviceError:
        choose(device, list_input_devices_fresh())  # raises, before anything is disturbed
        if isinstance(old, MicrophoneSource):
            return _after_rescan(live, old, device, channels)
        rescan()
    else:
        if isinstance(old, MicrophoneSource) and found == old.device:
            return old
    return _changed(live, MicrophoneSource(device, channels))


def bring_back(live: LiveSound, channels: int | None) -> Source | None:
    """One attempt to let `live` go on with the device it has lost; returns that, or None if nobody wants it any more.

    It is known by its name and host API, whatever its number is now; no other one is taken. Only once it gives sound
    it counts as found.

    Raises:
        AudioDeviceError: it is not there, cannot be opened or gives no sound.
        UsageError: it has not that many channels any more.
    """
    if not live.lost:
        return None
    old = live.source
    old.close()
    with hushed():
        source = _once_more(old, channels)
    opened, begun = time.monotonic(), None
    try:
        while live.lost and (begun := source.begins(_GLANCE)) is None:
            if time.monotonic() - opened > START_WITHIN:
                raise AudioDeviceError(f"{source.label} gives no sound")
    except BaseException:
        source.close()
        raise
    if not live.lost:
        source.close()
        return None
    live.change_to(source, begun)
    return source


def _once_more(old: Source, channels: int | None) -> MicrophoneSource | MonitorSource:
    """The device of a source that is closed, opened again."""
    if isinstance(old, MonitorSource):
        return MonitorSource(old.monitor, channels)
    assert isinstance(old, MicrophoneSource)
    rescan()
    return _again(old, channels)


def _again(old: MicrophoneSource, channels: int | None) -> MicrophoneSource:
    """The same microphone, whose number may be another since PortAudio has looked again."""
    return MicrophoneSource(found_again(old.device, old.namesakes, list_input_devices()).index, channels)


def _changed(live: LiveSound, source: Source) -> Source:
    live.change_to(source)
    return source


def _after_rescan(live: LiveSound, old: MicrophoneSource, device: int | str | None, channels: int | None) -> Source:
    with live.away():
        rescan()
        try:
            return _changed(live, MicrophoneSource(device, channels))
        except InstrecError:
            live.change_to(_again(old, old.channels))
            raise
