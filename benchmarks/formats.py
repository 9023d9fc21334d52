"""The same minute of music through every kind of file that archives have, and as HLS from a server on loopback.

    python benchmarks/formats.py        # writes benchmarks/results/formats.json; a minute

The demo clip and its first 12 s once more are encoded by PyAV, read as `instrec-live --file … --pace max` reads them,
and what is found is compared with what is found in the WAV: the probabilities of every update, and the segments.
"""

import argparse
import datetime
import functools
import http.server
import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from demo_timeline import CHECKOUT

from instrec_live.models import Tagger
from instrec_live.realtime.outputs import header
from instrec_live.realtime.outputs.sink import SegmentTracker
from instrec_live.realtime.stream.stream import Stream

RESULT = CHECKOUT / "benchmarks" / "results" / "formats.json"
RATE = 48_000  # which all of these codecs take
WAYS: dict[str, tuple[str, str, str | None, bool]] = {  # name: suffix, codec of the sound, container, with a picture
    "wav": (".wav", "pcm_s16le", None, False),
    "flac": (".flac", "flac", None, False),
    "mp3, 192 kbit/s": (".mp3", "libmp3lame", None, False),
    "m4a, AAC": (".m4a", "aac", "ipod", False),
    "opus": (".opus", "libopus", "ogg", False),
    "webm, Opus": (".webm", "libopus", None, False),
    "mp4 with video, AAC": (".mp4", "aac", None, True),
    "wma": (".wma", "wmav2", "asf", False),
    "mkv, AC-3": (".mkv", "ac3", None, False),
    "HLS, AAC, from a server": (".m3u8", "aac", "hls", False),
}


def minute() -> np.ndarray:
    """60 s, int16 [n, 2] at 48 kHz."""
    import soxr

    clip, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="float32", always_2d=True)
    sound = soxr.resample(np.concatenate([clip, clip[: 12 * rate]]), rate, RATE)
    return np.asarray(np.clip(sound, -1, 1) * 32_767, np.int16)


def encode(path: Path, sound: np.ndarray, codec: str, container: str | None, picture: bool) -> None:
    """Write int16 [n, 2] at 48 kHz as that kind of file."""
    options = {"hls_time": "4", "hls_list_size": "0"} if container == "hls" else {}
    with av.open(str(path), "w", format=container, options=options) as target:
        audio = target.add_stream(codec, rate=RATE, layout="stereo")
        if not codec.startswith(("pcm", "flac")):
            audio.bit_rate = 192_000
        if picture:
            video = target.add_stream("mpeg4", rate=5)
            video.width, video.height, video.pix_fmt = 160, 96, "yuv420p"
            for number in range(5 * len(sound) // RATE):
                image = np.full((96, 160, 3), number % 256, np.uint8)
                target.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            target.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate = RATE
        fifo = av.AudioFifo()
        fifo.write(frame)
        resampler = av.AudioResampler(audio.format, "stereo", RATE, frame_size=audio.frame_size or 1024)
        while (piece := fifo.read(1024, partial=True)) is not None:
            for each in resampler.resample(piece):
                target.mux(audio.encode(each))
        for each in resampler.resample(None):
            target.mux(audio.encode(each))
        target.mux(audio.encode(None))


def heard(tagger: Tagger, place: Path | str) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """The probabilities of every update, float32 [n, 20], and the segments."""
    with Stream(file=place, pace="max", tagger=tagger, duration=60.0) as stream:
        updates = list(stream)
        tracker = SegmentTracker(header(stream.info, stream.smoothing, -60.0))
    segments = [each for update in updates for each in tracker.after(update)] + tracker.rest()
    return np.stack([u.probabilities for u in updates]), [(s.name, s.onset, s.offset) for s in segments]


def compared(name: str, ours: Any, wanted: Any) -> dict[str, Any]:
    """What differs from the WAV."""
    count = min(len(ours[0]), len(wanted[0]))
    difference = np.abs(ours[0][:count] - wanted[0][:count])
    names = {each[0] for each in wanted[1]}
    pairs = []
    for one in wanted[1]:
        same = [each for each in ours[1] if each[0] == one[0] and each[1] < one[2] and one[1] < each[2]]
        if same:
            best = min(same, key=lambda each: abs(each[1] - one[1]) + abs(each[2] - one[2]))
            pairs.append((abs(best[1] - one[1]), abs(best[2] - one[2])))
    return {
        "way": name,
        "updates": len(ours[0]),
        "mean_difference": round(float(difference.mean()), 4),
        "largest_difference": round(float(difference.max()), 3),
        "same_instruments": {each[0] for each in ours[1]} == names,
        "segments": len(ours[1]),
        "segments_found": len(pairs),
        "segments_wanted": len(wanted[1]),
        "boundaries_moved": int(np.count_nonzero(pairs)),
        "largest_shift_s": round(float(np.max(pairs)), 2) if pairs else None,
    }


def serve(folder: Path) -> tuple[http.server.ThreadingHTTPServer, Callable[[], None]]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.shutdown


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sound, tagger, rows, wanted = minute(), Tagger.load(engine="onnx"), [], None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        server, stop = serve(folder)
        try:
            for name, (suffix, codec, container, picture) in WAYS.items():
                path = folder / f"minute{suffix}"
                encode(path, sound, codec, container, picture)
                place = f"http://127.0.0.1:{server.server_port}/{path.name}" if suffix == ".m3u8" else path
                ours = heard(tagger, place)
                wanted = wanted or ours
                rows.append(compared(name, ours, wanted))
                print(rows[-1], flush=True)
        finally:
            stop()
            server.server_close()
    record = {
        "command": "python benchmarks/formats.py",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "models": tagger.sha256s,
        "ways": rows,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
