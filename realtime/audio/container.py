"""What a file or pipe is, by its content, never by its name; and in one line what it is not."""

import re
from dataclasses import dataclass

from instrec_live.realtime.audio.byte_input import ByteInput
from instrec_live.realtime.audio.framing import (
    SEARCHED,
    first_adts_frame,
    first_mpeg_frame,
    id3_size,
    is_transport_stream,
)

PCM_KINDS = frozenset(("WAV", "RIFX", "RF64", "BW64", "W64", "AIFF", "AU", "CAF"))
READ = "WAV, AIFF, FLAC, Ogg, Opus, MP3, M4A, MP4, MKV, WebM, WMA and many others are read"
_HEAD = 64  # bytes that identify all kinds except bare frames
_LARGEST_TAG = 1 << 26

#: FFmpeg's name for each kind that it reads; a name given keeps it from guessing, and from opening playlists.
AV_FORMATS = {
    "WAV": "wav", "RIFX": "wav", "RF64": "wav", "BW64": "wav", "W64": "w64", "AIFF": "aiff", "AU": "au", "CAF": "caf",
    "FLAC": "flac", "Ogg": "ogg", "MP3": "mp3", "MP4": "mov", "Matroska": "matroska", "ASF": "asf", "AAC": "aac",
    "MPEG-TS": "mpegts", "MPEG-PS": "mpeg", "VOC": "voc", "AVI": "avi", "FLV": "flv", "AMR": "amr", "WavPack": "wv",
    "Monkey's Audio": "ape", "TTA": "tta", "Musepack": "mpc8", "Musepack 7": "mpc", "DSF": "dsf", "DSDIFF": "iff",
    "8SVX": "iff", "RealMedia": "rm", "AC-3": "ac3", "DTS": "dts", "OptimFROG": "ofr",
    "NIST SPHERE": "nistsphere",
}  # fmt: skip

# (offset, bytes, kind)
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b".snd", "AU"),
    (0, b"dns.", "AU"),
    (0, b"caff", "CAF"),
    (0, b"riff\x2e\x91\xcf\x11", "W64"),
    (0, b"Creative Voice File\x1a", "VOC"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
    (0, bytes.fromhex("3026b2758e66cf11"), "ASF"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "TTA"),
    (0, b"TTA2", "TTA"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack 7"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b".RMF", "RealMedia"),
    (0, b"FLV\x01", "FLV"),
    (0, b"NIST_1A\n", "NIST SPHERE"),
    (0, b"\0\0\x01\xba", "MPEG-PS"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    *((4, name, "MP4") for name in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"pnot")),
)
_RIFF = {b"WAVE": "", b"AVI ": "AVI"}
_FORM = {b"AIFF": "AIFF", b"AIFC": "AIFF", b"8SVX": "8SVX", b"16SV": "8SVX"}

# What is no sound, or sound that is not read, by how it begins.
_FOREIGN: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), what)
    for pattern, what in (
        (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body|script|meta)", "a web page (HTML)"),
        (rb"(\xef\xbb\xbf)?\s*<\?xml|\s*<svg|\s*<rss", "an XML document"),
        (rb"(\xef\xbb\xbf)?#EXTM3U|\[playlist\]", "a playlist: give the addresses in it"),
        (rb"%PDF", "a PDF document"),
        (rb"PK\x03\x04", "a ZIP archive (or an office document): unpack it first"),
        (rb"\x1f\x8b", "compressed with gzip: unpack it first"),
        (rb"BZh[1-9]", "compressed with bzip2: unpack it first"),
        (rb"\xfd7zXZ", "compressed with xz: unpack it first"),
        (rb"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
        (rb"Rar!\x1a", "a RAR archive: unpack it first"),
        (rb"\x89PNG", "a PNG picture"),
        (rb"\xff\xd8\xff", "a JPEG picture"),
        (rb"GIF8", "a GIF picture"),
        (rb"RIFF....WEBP", "a WebP picture"),
        (rb"RIFF....sfbk", "a SoundFont"),
        (rb"RIFF....(RMID|rmid)", "a MIDI file: notes, not sound"),
        (rb"RIF[FX]", "a RIFF file that is not WAVE"),
        (rb"FORM....", "an IFF file that is not AIFF"),
        (rb"MThd", "a MIDI file: notes, not sound"),
        (rb"\xf0\x7e.\x01", "a MIDI sample dump (SDS), which is not read"),
        (rb"IMPM|Extended Module:", "a tracker module, which is not read"),
        (rb"\x7fELF|MZ", "a program"),
        (rb"SQLite format 3", "a database"),
        (rb"\x93NUMPY", "a NumPy array"),
    )
)


def strong_kind(head: bytes) -> str | None:
    """The kind of container that bytes begin, by a signature that does not occur by chance; None if there is none.

    Twelve bytes are enough for most; `head` may be shorter, at the end of an input.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] in _RIFF:
        return _RIFF[head[8:12]] or {b"RIFF": "WAV"}.get(head[:4], head[:4].decode())
    if head[:4] == b"FORM" and head[8:12] in _FORM:
        return _FORM[head[8:12]]
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return None


def may_be_strong(start: bytes) -> bool:
    """Whether four bytes may begin a container with a signature."""
    if start in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff", b"Crea") or start[:3] == b"ID3":
        return True
    return any(offset == 0 and magic[:4] == start[: len(magic[:4])] for offset, magic, _ in _MAGIC)


def foreign(head: bytes) -> str | None:
    """What bytes begin that is no sound, in words; None if that is not known."""
    for pattern, what in _FOREIGN:
        if pattern.match(head):
            return what
    text = head.removeprefix(b"\xef\xbb\xbf")
    if len(text) >= 8 and all(byte >= 32 or byte in b"\t\r\n\f" for byte in text):
        return "text"
    return None


@dataclass(frozen=True, slots=True)
class Found:
    """A container, and the number of bytes before it (tags, zeros, junk)."""

    kind: str
    before: int


def identify(source: ByteInput) -> Found | None:
    """What begins at the source's position; nothing of it is read. None: nothing that is known.

    A signature is looked for at once, behind an ID3 tag and behind zeros; frames without one (MP3, AAC, MPEG-TS, AC-3)
    within the first 64 KiB.
    """
    before = 0
    while True:
        head = source.peek(before + _HEAD)[before:]
        if tag := id3_size(head):
            if before + tag > _LARGEST_TAG:
                return None
            tail = source.peek(before + tag + _HEAD)[before + tag :]
            kind = strong_kind(tail)
            if kind is not None:
                return Found(kind, before + tag)
            if tail[:3] == b"ID3" and id3_size(tail):
                before += tag
                continue
            if not tail:
                return None
            rest = source.peek(before + tag + SEARCHED)[before + tag :]
            if rest[:1] == b"\xff" and first_adts_frame(rest) == 0:
                return Found("AAC", before + tag)
            return Found("MP3", before) if first_mpeg_frame(rest) is not None else None
        if (kind := strong_kind(head)) is not None:
            return Found(kind, before)
        if before == 0 and head and not any(head):
            data = source.peek(SEARCHED)
            zeros = len(data) - len(data.lstrip(b"\0"))
            if zeros < len(data):
                before = zeros
                continue
        break
    if foreign(source.peek(_HEAD)) is not None:
        return None
    for count in (SEARCHED // 16, SEARCHED // 4, SEARCHED):  # a live pipe is not waited for longer than needed
        data = source.peek(count)
        if (found := _framed(data)) is not None or len(data) < count:
            return found
    return None


def _framed(data: bytes) -> Found | None:
    """Frames without a signature; where several kinds are possible, the one that begins first."""
    if is_transport_stream(data):
        return Found("MPEG-TS", 0)
    if data[:2] == b"\x0b\x77":
        return Found("AC-3", 0)
    places = {"MP3": first_mpeg_frame(data), "AAC": first_adts_frame(data)}
    found = [(at, kind) for kind, at in places.items() if at is not None]
    return Found(min(found)[1], min(found)[0]) if found else None
