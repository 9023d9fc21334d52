"""One microphone for another, while somebody listens."""

from instrec_live.models.errors import AudioDeviceError, InstrecError
from instrec_live.realtime.devices import choose, list_input_devices_fresh, rescan, resolve
from instrec_live.realtime.live import LiveSound
from instrec_live.realtime.sources import MicrophoneSource, MonitorSource, Source
from instrec_live.realtime.system_audio import monitor_meant


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
        if isinstance(old, MonitorSource) and old.label == monitor.label:
            return old
        return _changed(live, MonitorSource(monitor, channels))
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


def _changed(live: LiveSound, source: Source) -> Source:
    live.change_to(source)
    return source


def _after_rescan(live: LiveSound, old: MicrophoneSource, device: int | str | None, channels: int | None) -> Source:
    with live.away():
        rescan()
        try:
            return _changed(live, MicrophoneSource(device, channels))
        except InstrecError:
            live.change_to(MicrophoneSource(f"{old.device.name}, {old.device.host_api}", old.channels))
            raise
