"""Sound files of every kind that people have, whole, lying, cut and joined, made in memory without FFmpeg's program."""

import io
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

RATE = 44_100
DEMO = Path(__file__).parents[2] / "realtime" / "demo" / "demo.ogg"
SECONDS = 6.0


@cache
def music() -> np.ndarray:
    """Six seconds of the demo, float32 [n, 2]."""
    samples, rate = soundfile.read(DEMO, dtype="float32", frames=round(SECONDS * RATE))
    assert rate == RATE
    return samples


@cache
def at(rate: int) -> np.ndarray:
    """The music at another rate."""
    return soxr.resample(music(), RATE, rate).astype(np.float32)


@cache
def encoded(container: str, subtype: str | None = None, rate: int = RATE, endian: str | None = None) -> bytes:
    """The music as libsndfile writes it."""
    out = io.BytesIO()
    soundfile.write(out, music() if rate == RATE else at(rate), rate, subtype, endian, container)
    return out.getvalue()


@cache
def muxed(
    av_format: str,
    codec: str,
    rate: int = RATE,
    video: bool = False,
    tracks: int = 1,
    options: str = "",
    late: float = 0.0,
) -> bytes:
    """The music as FFmpeg's libraries write it, from `late` seconds on; `options` are "name=value,…" of the container,
    or its "title". Of two tracks the second is silent."""
    with tempfile.TemporaryDirectory() as folder:  # FFmpeg opens an MP4 once more to bring its index to the front
        path = Path(folder, "a")
        _mux(path, av_format, codec, rate, video, tracks, options, late)
        return path.read_bytes()


def _mux(
    path: Path, av_format: str, codec: str, rate: int, video: bool, tracks: int, options: str, late: float
) -> None:
    container_options = dict(pair.split("=") for pair in options.split(",") if pair)
    title = container_options.pop("title", None)
    with av.open(str(path), "w", format=av_format, container_options=container_options) as container:
        if title is not None:
            container.metadata["title"] = title
        streams = []
        picture = None
        if video:
            picture = container.add_stream("mpeg4", rate=5)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        for _ in range(tracks):
            stream = container.add_stream(codec, rate=rate, layout="stereo")
            stream.bit_rate = 128_000
            stream.codec_context.open()
            streams.append(stream)
        if picture is not None:
            for number in range(round(SECONDS * 5)):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 255, np.uint8), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 5)
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        for number, stream in enumerate(streams):
            samples = at(rate) if rate != RATE else music()
            planes = np.ascontiguousarray((samples * (number == 0)).T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
            frame.rate, frame.pts, frame.time_base = rate, round(late * rate), Fraction(1, rate)
            context = stream.codec_context
            resampler = av.AudioResampler(context.format, "stereo", rate, context.frame_size or 1024)
            for piece in resampler.resample(frame) + resampler.resample(None):
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))


# -- WAV by hand --------------------------------------------------------------------------------------------------


def chunk(name: bytes, body: bytes, size: int | None = None, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body + bytes(len(body) % 2)


def fmt(channels: int, rate: int, bits: int, align: int | None = None, tag: int = 1, order: str = "<") -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(b"fmt ", struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * align, align, bits), order=order)


def wav(data: bytes, form: bytes, size: int | None = None, before: bytes = b"", after: bytes = b"") -> bytes:
    """A WAV with any claim of its data's size."""
    body = b"WAVE" + form + before + chunk(b"data", data, size) + after
    return b"RIFF" + struct.pack("<I", len(body) & 0xFFFFFFFF) + body


def pcm16(samples: np.ndarray, order: str = "<") -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype(f"{order}i2").tobytes()


def plain(size: int | None = None, **more: bytes) -> bytes:
    return wav(pcm16(music()), fmt(2, RATE, 16), size, **more)


def rf64(size: int, name: bytes = b"RF64", claimed: int | None = None) -> bytes:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, size, 0, 0))
    data = pcm16(music())
    return name + b"\xff\xff\xff\xffWAVE" + ds64 + fmt(2, RATE, 16) + b"data\xff\xff\xff\xff" + data[:claimed]


def rifx() -> bytes:
    body = b"WAVE" + fmt(2, RATE, 16, order=">") + chunk(b"data", pcm16(music(), ">"), order=">")
    return b"RIFX" + struct.pack(">I", len(body)) + body


def twenty_four_in_four(low: bool) -> bytes:
    integers = (music().astype(np.float64) * (2**23 - 1)).astype(np.int32)
    data = (integers if low else integers << 8).astype("<i4").tobytes()
    return wav(data, fmt(2, RATE, 24, align=8))


def floats(samples: np.ndarray) -> bytes:
    data = np.asarray(samples, "<f4").tobytes()
    return wav(data, fmt(samples.shape[1], RATE, 32, tag=3))


# -- others by hand ----------------------------------------------------------------------------------------------


def without_xing(data: bytes) -> bytes:
    return data[data.index(b"\xff\xfb", data.index(b"LAME")) :]


def xing_claims(frames: int) -> bytes:
    data = bytearray(encoded("MP3"))
    place = data.index(b"Xing") if b"Xing" in data else data.index(b"Info")
    data[place + 8 : place + 12] = frames.to_bytes(4, "big")
    return bytes(data)


def id3v22(data: bytes) -> bytes:
    frame = b"TT2" + (6).to_bytes(3, "big") + b"\0title"
    return b"ID3\x02\0\0" + bytes([0, 0, 0, len(frame)]) + frame + data


def flac_of_unknown_length() -> bytes:
    data = bytearray(encoded("FLAC", "PCM_16"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    data[26:42] = bytes(16)
    return bytes(data)


def pages(data: bytes) -> Iterator[bytes]:
    """An Ogg's pages."""
    place = 0
    while place < len(data):
        lacing = data[place + 27 : place + 27 + data[place + 26]]
        size = 27 + len(lacing) + sum(lacing)
        yield data[place : place + size]
        place += size


def joined_midstream(subtype: str, rate: int = RATE) -> bytes:
    """A radio's dump: the head of an Ogg, then what comes from its middle on."""
    all_pages = list(pages(encoded("OGG", subtype, rate)))
    return b"".join(all_pages[:2] + all_pages[len(all_pages) // 2 :])


def junk_inside(data: bytes) -> bytes:
    """An MP3 with some foreign bytes between two of its frames, in the middle."""
    from instrec_live.realtime.audio.framing import first_mpeg_frame

    place = first_mpeg_frame(data, len(data) // 2)
    assert place is not None
    return data[:place] + b"<html>" + bytes(range(1, 200)) * 5 + data[place:]


def endless(name: str, samples: np.ndarray, rate: int) -> bytes:
    """Sound whose header does not know how long it is."""
    out = io.BytesIO()
    soundfile.write(out, samples, rate, "PCM_16", format=name)
    data = out.getvalue()
    if name == "WAV":
        place = data.index(b"data") + 4
        return data[:place] + b"\xff" * 4 + data[place + 4 :]
    return data[:8] + b"\xff" * 4 + data[12:]  # AU


def sound_chunk_twice(container: str, name: bytes) -> bytes:
    """A file whose last chunk is its sound, and that chunk again."""
    data = encoded(container, "PCM_16")
    return data + data[data.index(name) :]


def two_formats() -> bytes:
    """One RIFF with two sounds, of two formats."""
    mono = np.ascontiguousarray(at(48_000)[:, :1])
    return plain(after=fmt(1, 48_000, 16) + chunk(b"data", pcm16(mono)))


def odd_without_padding() -> bytes:
    """Two chunks of an odd number of bytes, without the byte that should follow them."""
    data = (np.clip(music()[:-1, :1], -1, 1) * 127 + 128).astype(np.uint8).tobytes()
    part = b"data" + struct.pack("<I", len(data)) + data
    assert len(data) % 2
    return b"RIFF\0\0\0\0WAVE" + fmt(1, RATE, 8) + part + part


def ogg_pages(subtype: str, rate: int, *order: int) -> bytes:
    """The pages with these numbers of an Ogg."""
    all_pages = list(pages(encoded("OGG", subtype, rate)))
    return b"".join(all_pages[number] for number in order)


def damaged_page(subtype: str, rate: int, number: int) -> bytes:
    """An Ogg with one wrong bit in one page."""
    all_pages = list(pages(encoded("OGG", subtype, rate)))
    page = bytearray(all_pages[number])
    page[-1] ^= 1
    all_pages[number] = bytes(page)
    return b"".join(all_pages)


def stream_with_a_gap() -> bytes:
    """An MPEG transport stream of which a second was not received."""
    data = muxed("mpegts", "aac")
    packets = len(data) // 188
    return data[: packets // 2 * 188] + data[(packets // 2 + packets // 6) * 188 :]


def mp3_in_wav(bytes_a_second: int) -> bytes:
    """MP3 frames in a WAV without `fact`, whose header has a wrong mean rate."""
    form = struct.pack("<HHIIHH", 0x55, 2, RATE, bytes_a_second, 1, 0)
    return wav(encoded("MP3"), chunk(b"fmt ", form))


def five_one(av_format: str, codec: str) -> bytes:
    """The music on the first two of six channels, as FFmpeg's libraries write it."""
    out = io.BytesIO()
    with av.open(out, "w", format=av_format) as container:
        stream = container.add_stream(codec, rate=RATE, layout="5.1")
        stream.codec_context.open()
        planes = np.ascontiguousarray(np.pad(music(), ((0, 0), (0, 4))).T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="5.1")
        frame.rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "5.1", RATE, context.frame_size or 1024)
        for piece in resampler.resample(frame) + resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return out.getvalue()


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@dataclass(frozen=True)
class Input:
    """A sound, how long it is heard, and how it ends.

    Attributes:
        make: its bytes.
        seconds: heard of it.
        error: what its error says, None where it is well; the sound before is heard all the same.
        within: s by which the length may be off: encoders add some.
        suffix: of the file's name.
        said: what is logged of it, as a file and through a pipe.
    """

    make: Callable[[], bytes]
    seconds: float = SECONDS
    error: str | None = None
    within: float = 0.001
    suffix: str = ".wav"
    said: str | None = None


FAST = "movflags=+faststart"
LATE = r"its sound begins (4\.00|3\.98) s after the beginning"
LONG_LIST = chunk(b"LIST", bytes(3 << 20))
MONO = music().mean(axis=1, keepdims=True)
OPPOSED = np.hstack([MONO, -MONO])
ONE_OF_64 = np.hstack([np.zeros((len(MONO), 40)), MONO, np.zeros((len(MONO), 23))])


JUNK = np.random.default_rng(1).bytes(1_411)
VORBIS, OPUS = range(16), range(11)  # pages of the music


def with_nan() -> np.ndarray:
    samples = music().copy()
    samples[np.arange(len(samples)) % 50 < 29] = np.nan
    return samples


INPUTS = {
    "wav": Input(plain),
    "wav-24": Input(lambda: encoded("WAV", "PCM_24")),
    "wav-float": Input(lambda: encoded("WAV", "FLOAT")),
    "wav-double": Input(lambda: encoded("WAV", "DOUBLE")),
    "wav-u8": Input(lambda: encoded("WAV", "PCM_U8")),
    "wav-ulaw": Input(lambda: encoded("WAV", "ULAW")),
    "wav-alaw": Input(lambda: encoded("WAV", "ALAW")),
    "wav-adpcm": Input(lambda: encoded("WAV", "IMA_ADPCM"), within=0.1),
    "wav-adpcm-ms": Input(lambda: encoded("WAV", "MS_ADPCM"), within=0.1),
    "wav-adpcm-yamaha": Input(lambda: muxed("wav", "adpcm_yamaha"), within=0.1),
    "wav-adpcm-swf": Input(lambda: muxed("wav", "adpcm_swf"), within=0.1),
    "wav-extensible": Input(lambda: encoded("WAVEX", "PCM_24")),
    # A1: the header's length is a lie
    "claims-half": Input(lambda: plain(len(pcm16(music())) // 2)),
    "claims-one-byte": Input(lambda: plain(1)),
    "claims-odd": Input(lambda: plain(99_999)),
    "aiff-claims-half": Input(lambda: _replaced(encoded("AIFF", "PCM_16"), b"SSND", 0.5, ">"), suffix=".aiff"),
    "w64-claims-half": Input(lambda: _w64(0.5), suffix=".w64"),
    "au-claims-half": Input(lambda: _au_claims(0.5), suffix=".au"),
    "rf64-claims-half": Input(lambda: rf64(len(pcm16(music())) // 2)),
    "two-mp3": Input(lambda: encoded("MP3") * 2, 2 * SECONDS, suffix=".mp3"),
    "xing-20": Input(lambda: xing_claims(20), within=0.06, suffix=".mp3"),
    # A2: cut
    "cut-wav": Input(lambda: plain()[:100_000], 0.567, r"ends early, at 0\.57 of 6\.00 s"),
    "cut-rifx": Input(lambda: rifx()[:100_000], 0.567, r"ends early, at 0\.57 of 6\.00 s"),
    "cut-rf64": Input(lambda: rf64(len(pcm16(music())), claimed=99_920), 0.566, r"ends early, at 0\.57 of 6\.00 s"),
    "cut-aiff": Input(lambda: encoded("AIFF", "PCM_16")[:100_000], 0.567, "ends early, at 0.57 of 6", suffix=".aiff"),
    "cut-w64": Input(lambda: encoded("W64", "PCM_16")[:100_000], 0.566, "ends early, at 0.57 of 6.00", suffix=".w64"),
    "cut-au": Input(lambda: encoded("AU", "PCM_16")[:100_000], 0.567, "ends early, at 0.57 of 6.00", suffix=".au"),
    "cut-caf": Input(lambda: encoded("CAF", "PCM_16")[:100_000], 0.54, "ends early, at 0.54 of 6.00", 0.03, ".caf"),
    "cut-flac": Input(lambda: encoded("FLAC", "PCM_16")[:100_000], 1.4, "ends early, at .* of 6.00", 0.9, ".flac"),
    "cut-ogg": Input(lambda: encoded("OGG", "VORBIS")[:40_000], 3.4, "ends early, at", 1.5, ".ogg"),
    "cut-opus": Input(lambda: encoded("OGG", "OPUS", 48_000)[:40_000], 2.9, "ends early, at", 1.5, ".opus"),
    "cut-mp3": Input(lambda: encoded("MP3")[:50_000], 2.9, "ends early, at .* of 6.0", 0.6, ".mp3"),
    "cut-mkv": Input(lambda: muxed("matroska", "flac")[:100_000], 2, "ends early, at .* of 6.00", 1.5, ".mkv"),
    "cut-m4a": Input(
        lambda: muxed("mp4", "aac", options="movflags=+faststart")[:50_000], 3, "ends early, at", 1, ".m4a"
    ),
    "cut-wma": Input(lambda: _half(muxed("asf", "wmav2")), 3, r"ends early, at .* of 6\.0", 0.2, ".wma"),
    "cut-avi": Input(lambda: _half(muxed("avi", "mp3")), 3, r"ends early, at .* of 6\.0", 0.2, ".avi"),
    "cut-flv": Input(lambda: _half(muxed("flv", "mp3")), 3, r"ends early, at .* of 6\.0", 0.2, ".flv"),
    "cut-ts": Input(lambda: _half(muxed("mpegts", "aac"))[:-50], 3, "ends early, at 3", 0.2, ".ts"),
    "cut-adts": Input(lambda: _half(muxed("adts", "aac")), 3, "ends early, at 3", 0.2, ".aac"),
    # A3: containers
    "rf64": Input(lambda: rf64(len(pcm16(music())))),
    "bw64": Input(lambda: rf64(len(pcm16(music())), b"BW64")),
    "rifx": Input(rifx),
    "w64": Input(lambda: encoded("W64", "PCM_24"), suffix=".w64"),
    "aiff": Input(lambda: encoded("AIFF", "PCM_24"), suffix=".aiff"),
    "aifc-float": Input(lambda: encoded("AIFF", "FLOAT"), suffix=".aifc"),
    "aifc-little": Input(lambda: encoded("AIFF", "PCM_16", endian="LITTLE"), suffix=".aifc"),
    "au": Input(lambda: encoded("AU", "PCM_16"), suffix=".au"),
    "au-float": Input(lambda: encoded("AU", "FLOAT"), suffix=".au"),
    "caf": Input(lambda: encoded("CAF", "PCM_16"), suffix=".caf"),
    # Its packet table follows its sound; FFmpeg cuts what it wrote itself.
    "caf-alac": Input(lambda: muxed("caf", "alac"), within=0.04, suffix=".caf"),
    "wav-mp3-without-length": Input(lambda: mp3_in_wav(2_000), within=0.1),
    "wavpack-5.1": Input(lambda: five_one("wv", "wavpack"), suffix=".wv"),
    "nist": Input(lambda: encoded("NIST", "PCM_16"), suffix=".sph"),
    "caf-float": Input(lambda: encoded("CAF", "FLOAT"), suffix=".caf"),
    "voc": Input(lambda: encoded("VOC", "PCM_16"), suffix=".voc"),
    "flac": Input(lambda: encoded("FLAC", "PCM_16"), suffix=".flac"),
    "flac-24": Input(lambda: encoded("FLAC", "PCM_24"), suffix=".flac"),
    "ogg": Input(lambda: encoded("OGG", "VORBIS"), suffix=".ogg"),
    "opus": Input(lambda: encoded("OGG", "OPUS", 48_000), suffix=".opus"),
    "mp3": Input(lambda: encoded("MP3"), suffix=".mp3"),
    "mp3-bare": Input(lambda: without_xing(encoded("MP3")), within=0.06, suffix=".mp3"),
    "mp3-two-tags": Input(lambda: 2 * (b"ID3\x04\0\0\0\0\x08\0" + bytes(1024)) + encoded("MP3"), suffix=".mp3"),
    "mp3-id3v2.2": Input(lambda: id3v22(encoded("MP3")), suffix=".mp3"),
    "adts": Input(lambda: muxed("adts", "aac"), within=0.06, suffix=".aac"),
    "mpeg-ts": Input(lambda: muxed("mpegts", "aac"), within=0.06, suffix=".ts"),
    "ac3": Input(lambda: muxed("ac3", "ac3"), within=0.06, suffix=".ac3"),
    "mpeg-ps": Input(lambda: muxed("mpeg", "mp2"), within=0.06, suffix=".mpg"),
    "ogg-flac": Input(lambda: muxed("ogg", "flac"), within=0.001, suffix=".oga"),
    # A4: 24 bits in four bytes
    "s24-in-4-low": Input(lambda: twenty_four_in_four(True)),
    "s24-in-4-high": Input(lambda: twenty_four_in_four(False)),
    # A5: channels
    "opposed": Input(lambda: floats(OPPOSED)),
    "one-of-64": Input(lambda: floats(ONE_OF_64)),
    # A6: levels
    "floats-of-16-bits": Input(lambda: floats(np.rint(music() * 32768))),
    "floats-of-24-bits": Input(lambda: floats(music() * 2.0**23)),
    "floats-between-16-bits": Input(lambda: floats(music() * 32768 * np.float32(0.99))),
    "nan": Input(lambda: floats(with_nan())),
    "offset": Input(lambda: floats(music() + 0.5)),
    "opposed-with-an-offset": Input(lambda: floats(OPPOSED + 0.3)),
    # B2, B3, B4
    "flac-of-unknown-length": Input(flac_of_unknown_length, suffix=".flac"),
    "two-flac": Input(lambda: encoded("FLAC", "PCM_16") * 2, 2 * SECONDS, suffix=".flac"),
    "chained-ogg": Input(lambda: encoded("OGG", "VORBIS") * 2, 2 * SECONDS, suffix=".ogg"),
    "chained-opus": Input(lambda: encoded("OGG", "OPUS", 48_000) * 2, 2 * SECONDS, suffix=".opus"),
    "chained-rates": Input(
        lambda: encoded("OGG", "VORBIS") + encoded("OGG", "VORBIS", 22_050) + encoded("OGG", "OPUS", 48_000),
        3 * SECONDS,
        suffix=".ogg",
    ),
    "radio-dump": Input(
        lambda: joined_midstream("VORBIS") + encoded("OGG", "VORBIS", 22_050), 1.5 * SECONDS, None, 0.6, ".ogg"
    ),
    "radio-dump-opus": Input(
        lambda: joined_midstream("OPUS", 48_000) + encoded("OGG", "OPUS", 48_000), 1.5 * SECONDS, None, 0.9, ".opus"
    ),
    "claims-nothing": Input(lambda: plain(0)),
    "claims-endless": Input(lambda: plain(0xFFFFFFFF)),
    "rf64-claims-nothing": Input(lambda: rf64(0)),
    "rf64-claims-endless": Input(lambda: rf64((1 << 64) - 1)),
    # B7: films and the like
    "m4a": Input(lambda: muxed("ipod", "aac"), suffix=".m4a"),
    "m4a-fragmented": Input(lambda: muxed("mp4", "aac", options="movflags=+frag_keyframe+empty_moov"), within=0.06),
    "mp4-with-pictures": Input(lambda: muxed("mp4", "aac", video=True), within=0.06, suffix=".mp4"),
    "mkv-flac": Input(lambda: muxed("matroska", "flac"), suffix=".mkv"),
    "mkv-that-begins-late": Input(
        lambda: muxed("matroska", "flac", options="output_ts_offset=3"), within=0.01, suffix=".mkv"
    ),
    "mkv-late-sound": Input(
        lambda: muxed("matroska", "flac", video=True, late=4.0), SECONDS + 4, None, 0.01, ".mkv", LATE
    ),
    "mp4-late-sound": Input(lambda: muxed("mp4", "aac", video=True, late=4.0), SECONDS + 4, None, 0.06, ".mp4", LATE),
    "ts-late-sound": Input(lambda: muxed("mpegts", "aac", video=True, late=4.0), SECONDS + 4, None, 0.06, ".ts", LATE),
    "wmv-late-sound": Input(
        lambda: muxed("asf", "wmav2", video=True, late=4.0), SECONDS + 4, None, 0.15, ".wmv", r"begins 4\.\d\d s after"
    ),
    "m4a-late-sound": Input(lambda: muxed("ipod", "aac", late=4.0), SECONDS + 4, None, 0.06, ".m4a", LATE),
    "m4a-of-a-radio": Input(
        lambda: muxed("mp4", "aac", options="movflags=+frag_keyframe+empty_moov,output_ts_offset=1000"), within=0.06
    ),
    "webm": Input(lambda: muxed("webm", "libopus", 48_000), within=0.01, suffix=".webm"),
    "wma": Input(lambda: muxed("asf", "wmav2"), within=0.1, suffix=".wma"),
    "wavpack": Input(lambda: muxed("wv", "wavpack"), suffix=".wv"),
    # B11: names and junk
    "m4a-named-mp3": Input(lambda: muxed("ipod", "aac"), suffix=".mp3"),
    "mp3-behind-zeros": Input(lambda: bytes(5_000) + encoded("MP3"), suffix=".mp3"),
    "long-list": Input(lambda: plain(before=LONG_LIST)),
    "list-after": Input(lambda: plain(after=chunk(b"LIST", bytes(1_001)))),
    "junk-inside-mp3": Input(lambda: junk_inside(encoded("MP3")), within=0.06, suffix=".mp3"),
    # B12: joined
    "two-wav": Input(lambda: plain() * 2, 2 * SECONDS),
    "flac-then-wav": Input(lambda: encoded("FLAC", "PCM_16") + plain(), 2 * SECONDS, suffix=".flac"),
    "ogg-then-wav": Input(lambda: encoded("OGG", "VORBIS") + plain(), 2 * SECONDS, suffix=".ogg"),
    "mp3-then-flac": Input(lambda: encoded("MP3") + encoded("FLAC", "PCM_16"), 2 * SECONDS, within=0.06, suffix=".mp3"),
    "wav-then-flac": Input(lambda: plain() + encoded("FLAC", "PCM_16"), 2 * SECONDS),
    "two-adpcm": Input(lambda: encoded("WAV", "IMA_ADPCM") * 2, 2 * SECONDS, within=0.2),
    "two-aiff": Input(lambda: encoded("AIFF", "PCM_16") * 2, 2 * SECONDS, suffix=".aiff"),
    "two-caf": Input(lambda: encoded("CAF", "PCM_16") * 2, 2 * SECONDS, suffix=".caf"),
    "two-voc": Input(lambda: encoded("VOC", "PCM_16") * 2, 2 * SECONDS, within=0.01, suffix=".voc"),
    "two-m4a": Input(lambda: muxed("ipod", "aac") * 2, 2 * SECONDS, suffix=".m4a"),
    "two-m4a-to-stream-48k": Input(
        lambda: muxed("mp4", "aac", options=FAST) + muxed("mp4", "aac", 48_000, options=FAST),
        2 * SECONDS,
        within=0.01,
        suffix=".m4a",
    ),
    "two-wavpack": Input(lambda: muxed("wv", "wavpack") * 2, 2 * SECONDS, suffix=".wv"),
    "two-mkv-48k": Input(
        lambda: muxed("matroska", "flac") + muxed("matroska", "flac", 48_000), 2 * SECONDS, within=0.01, suffix=".mkv"
    ),
    "two-webm": Input(lambda: muxed("webm", "libopus", 48_000) * 2, 2 * SECONDS, within=0.02, suffix=".webm"),
    "two-wma": Input(lambda: muxed("asf", "wmav2") * 2, 2 * SECONDS, within=0.2, suffix=".wma"),
    "flv-then-wav": Input(lambda: muxed("flv", "mp3") + plain(), 2 * SECONDS, within=0.1, suffix=".flv"),
    "ts-then-wav": Input(lambda: muxed("mpegts", "aac") + plain(), 2 * SECONDS, within=0.1, suffix=".ts"),
    "flac-then-ogg": Input(lambda: encoded("FLAC", "PCM_16") + encoded("OGG", "VORBIS"), 2 * SECONDS, suffix=".flac"),
    "ogg-then-mp3": Input(lambda: encoded("OGG", "VORBIS") + encoded("MP3"), 2 * SECONDS, suffix=".ogg"),
    "mp3-then-m4a": Input(lambda: encoded("MP3") + muxed("ipod", "aac"), 2 * SECONDS, within=0.06, suffix=".mp3"),
    "endless-wav-then-mono-48k": Input(
        lambda: endless("WAV", music(), RATE) + endless("WAV", at(48_000)[:, :1], 48_000), 2 * SECONDS
    ),
    "endless-au-then-mono-48k": Input(
        lambda: endless("AU", music(), RATE) + endless("AU", at(48_000)[:, :1], 48_000), 2 * SECONDS, suffix=".au"
    ),
    "cut-wav-then-wav": Input(lambda: plain()[:100_000] + plain(), SECONDS + 0.567, said="0.00 s ends early, at 0.57"),
    "wav-then-endless-flac": Input(lambda: plain() + flac_of_unknown_length(), 2 * SECONDS),
    "float-wav-then-cut-flac": Input(
        lambda: encoded("WAV", "FLOAT") + encoded("FLAC", "PCM_16")[:100_000], SECONDS + 1.4, "ends early, at", 0.9
    ),
    "wav-then-100-hz": Input(
        lambda: plain() + wav(pcm16(music()[:, :1]), fmt(1, 100, 16)), said="skipped: it claims a sample rate of 100 Hz"
    ),
    "wav-then-200-channels": Input(
        lambda: plain() + wav(pcm16(music()), fmt(200, RATE, 16)), said="skipped: it claims 200 channels"
    ),
    "wav-then-damaged-wav": Input(
        lambda: plain() + wav(pcm16(music()), fmt(0, RATE, 16)), said="skipped: it is a damaged WAV file"
    ),
    "two-data": Input(lambda: plain(after=chunk(b"data", pcm16(music()))), 2 * SECONDS),
    "two-data-list-between": Input(
        lambda: plain(after=chunk(b"LIST", b"INFO") + chunk(b"data", pcm16(music()))), 2 * SECONDS
    ),
    "two-data-first-empty": Input(lambda: wav(b"", fmt(2, RATE, 16), after=chunk(b"data", pcm16(music()))), SECONDS),
    "two-data-formats-48k": Input(two_formats, 2 * SECONDS),
    "two-data-odd": Input(odd_without_padding, 2 * SECONDS),
    "two-data-rf64": Input(lambda: rf64(len(pcm16(music()))) + chunk(b"data", pcm16(music())), 2 * SECONDS),
    "two-data-w64": Input(lambda: sound_chunk_twice("W64", b"data\xf3\xac"), 2 * SECONDS, suffix=".w64"),
    "two-data-aiff": Input(lambda: sound_chunk_twice("AIFF", b"SSND"), 2 * SECONDS, suffix=".aiff"),
    "two-data-caf": Input(lambda: sound_chunk_twice("CAF", b"data"), 2 * SECONDS, suffix=".caf"),
    # what is lost, or is no sound
    "junk-after": Input(lambda: plain() + JUNK, said="not sound in a known format|not in a known format"),
    "junk-after-m4a": Input(
        lambda: muxed("ipod", "aac") + JUNK, suffix=".m4a", said="something follows it that is not sound"
    ),
    "ogg-page-missing": Input(
        lambda: ogg_pages("VORBIS", RATE, *VORBIS[:8], *VORBIS[9:]),
        5.56,
        None,
        0.02,
        ".ogg",
        r"not in order \(1 missing, the first at 2\.62 s\)",
    ),
    "ogg-page-twice": Input(
        lambda: ogg_pages("VORBIS", RATE, *VORBIS[:9], *VORBIS[8:]),
        6.44,
        None,
        0.02,
        ".ogg",
        r"not in order \(1 repeated, the first at 3\.06 s\)",
    ),
    "ogg-page-damaged": Input(
        lambda: damaged_page("VORBIS", RATE, 8), 5.56, None, 0.02, ".ogg", r"\(1 damaged, the first at 2\.62 s\)"
    ),
    "ogg-page-cut": Input(
        lambda: ogg_pages("VORBIS", RATE, *VORBIS[:8]),
        2.62,
        None,
        0.01,
        ".ogg",
        "no end mark, so its end may be missing",
    ),
    "opus-page-missing": Input(
        lambda: ogg_pages("OPUS", 48_000, *OPUS[:5], *OPUS[6:]),
        5.0,
        None,
        0.02,
        ".opus",
        r"not in order \(1 missing, the first at 2\.97 s\)",
    ),
    "opus-page-cut": Input(
        lambda: ogg_pages("OPUS", 48_000, *OPUS[:5]),
        2.97,
        None,
        0.01,
        ".opus",
        "no end mark, so its end may be missing",
    ),
    "ogg-page-cut-then-ogg": Input(
        lambda: ogg_pages("VORBIS", RATE, *VORBIS[:8]) + encoded("OGG", "VORBIS"),
        SECONDS + 2.62,
        None,
        0.01,
        ".ogg",
        "no end mark, so its end may be missing",
    ),
    "ts-gap": Input(stream_with_a_gap, 5.04, None, 0.02, ".ts", r"1\.00 s of sound are missing in it, from 3\.02 s on"),
    "id3-then-caf": Input(lambda: b"ID3\x04\0\0\0\0\x08\0" + bytes(1024) + encoded("CAF", "PCM_16"), suffix=".caf"),
    "wav-then-mono-48k": Input(lambda: plain() + wav(pcm16(at(48_000)[:, :1]), fmt(1, 48_000, 16)), 2 * SECONDS),
}


def _replaced(data: bytes, name: bytes, share: float, order: str) -> bytes:
    place = data.index(name) + 4
    (size,) = struct.unpack_from(f"{order}I", data, place)
    return data[:place] + struct.pack(f"{order}I", int(size * share) // 4 * 4) + data[place + 4 :]


def _w64(share: float) -> bytes:
    data = encoded("W64", "PCM_16")
    place = data.index(b"data\xf3\xac") + 16
    (size,) = struct.unpack_from("<Q", data, place)
    return data[:place] + struct.pack("<Q", int(size * share) // 8 * 8) + data[place + 8 :]


def _au_claims(share: float) -> bytes:
    data = encoded("AU", "PCM_16")
    (size,) = struct.unpack_from(">I", data, 8)
    return data[:8] + struct.pack(">I", int(size * share)) + data[12:]
