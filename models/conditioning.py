"""From samples of any kind to one valid channel: bad samples zeroed, the scale corrected, the channels mixed down.

Live sound, files and `Tagger.tag` all go through here, block by block, so that they get the same samples.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np

from instrec_live.models.arrays import DoubleArray, FloatArray

LARGEST = 2.0**32  # 32-bit integers stored as floats end at 2**31; what is larger is no sound
FLOOR_DB = -120.0
FULL_SCALE = 0.9999  # of ±1; int16 ends at 0.99997
BLOCK_SECONDS = 0.1
PROBES = 20  # places of a sound that are looked at before it is read
_FAR_OVER = 8.0  # 18 dB over full scale: no float sound is mixed so hot
_ODD_SCALES = 256.0  # up to here samples are percent, millivolts or the like rather than soft integers
_MANY = 0.01  # share of a block's samples that must be far over: a click alone is no scale
_DEAD = 1e-4  # -40 dB below the loudest channel
_CANCELLED, _RESTORED = 0.1, 0.2  # power of the mix, as a share of what unrelated channels would give
_SILENT = 1e-9  # mean square, -90 dBFS: too soft to judge channels by
_MEMORY = 0.3  # s


def level_db(samples: FloatArray) -> float:
    """RMS of a block in dBFS, at least -120, without its constant offset, which many microphones have."""
    return decibel(float(np.std(samples, dtype=np.float64))) if len(samples) else FLOOR_DB


def decibel(amplitude: float) -> float:
    return max(FLOOR_DB, 20.0 * float(np.log10(max(amplitude, 1e-12))))


class Sanity:
    """Zeroes invalid samples, scales down sound that exceeds ±1, and counts both.

    Some programs write integers as floats (±32768.0). A block of which many samples lie far beyond full scale is
    divided by the scale of the integers that it may hold, and so is all sound after it; a louder block raises the
    divisor. The networks forgive a wrong level, but not a clipped one.

    Args:
        note: called with a sentence when the scale is found to be wrong, which it may be twice; None: not called.

    Attributes:
        samples: seen so far.
        bad: of them, those zeroed: NaN, infinite, or beyond ±2³².
        clipped: of them, those at full scale.
        divisor: 1.0 until samples beyond full scale were met.
    """

    def __init__(self, note: Callable[[str], None] | None = None) -> None:
        self._note = note
        self.samples = self.bad = self.clipped = 0
        self.divisor = 1.0
        self._begun = False  # sound that is not zero has come
        self._told = 0

    def __call__(self, block: FloatArray) -> FloatArray:
        """float32 [m] or [m, c] -> the same, sane; the block may be changed in place."""
        with np.errstate(invalid="ignore", over="ignore"):  # not every NaN is compared in silence
            return self._sane(block)

    def _sane(self, block: FloatArray) -> FloatArray:
        self.samples += block.size
        if not block.size:
            return block
        # A maximum of blocks with NaN is NaN, which is not less: the usual block is done after one pass.
        peak = float((size := np.abs(block)).max())
        if peak < FULL_SCALE and self.divisor == 1.0:
            self._begun = self._begun or peak > 0
            return block
        if not peak <= LARGEST:
            bad = ~(size <= LARGEST)  # so written, NaN is bad
            self.bad += int(np.count_nonzero(bad))
            block[bad] = 0.0
            size[bad] = 0.0
            peak = float(size.max())
        if (wanted := self._divisor_for(block, size, peak)) > self.divisor:
            self._tell(peak)
            self.divisor, self.clipped = wanted, 0
        self._begun = self._begun or peak > 0
        if self.divisor != 1.0:
            block /= np.float32(self.divisor)
            size /= np.float32(self.divisor)
        self.clipped += int(np.count_nonzero(size >= FULL_SCALE))
        return block

    def _divisor_for(self, block: FloatArray, size: FloatArray, peak: float) -> float:
        if self.divisor == 1.0 and peak >= 2.0 and block.size >= 64 and (block == np.rint(block)).all():
            return _scale(max(_ODD_SCALES + 1, peak))  # whole numbers only: integers that begin softly
        far = _FAR_OVER if self.divisor == 1.0 else self.divisor
        if peak > far and np.count_nonzero(size > far) > _MANY * size.size:
            return _scale(peak)
        return self.divisor

    def _tell(self, peak: float) -> None:
        """Say that the scale is wrong, and if that was not known from the beginning on."""
        if self._note is None or self._told == 2:
            return
        self._told += 1
        further = "" if self.divisor == 1.0 else " further"
        before = "; what came before was too loud" if self._begun else ""
        self._note(f"its samples reach ±{peak:g} instead of ±1: they are scaled down{further}{before}")

    def learn(self, blocks: Iterable[FloatArray]) -> None:
        """Look at places of a sound before it is read, so that one divisor serves from its beginning on."""
        note, self._note, peak = self._note, None, 0.0
        for block in blocks:
            sane = self(block)
            peak = max(peak, self.divisor * float(np.abs(sane).max(initial=0.0)))
        divisor, self.divisor = self.divisor, 1.0
        self._note, self._begun = note, False
        self.samples = self.bad = self.clipped = 0
        if divisor != 1.0:
            self._tell(peak)
            self.divisor = divisor

    @property
    def verdict(self) -> str | None:
        """A sentence on the whole sound, or None."""
        found = []
        if self.bad > 0.001 * self.samples:
            found.append(f"{_percent(self.bad / self.samples)} of its samples are not numbers: they count as silence")
        if self.clipped > 0.01 * self.samples:
            found.append(f"{_percent(self.clipped / self.samples)} of its samples are clipped")
        return "; ".join(found) or None


def _scale(peak: float) -> float:
    """What samples are divided by that reach `peak`: the scale of 16, 24 or 32 bits, of which a peak may be a little
    more; a power of two where they are none of these."""
    for scale in (2.0**15, 2.0**23, 2.0**31):
        if _ODD_SCALES < peak <= scale:
            return scale
        if scale < peak <= _FAR_OVER * scale:
            break
    return 2.0 ** math.ceil(math.log2(peak))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %"


class Downmix:
    """Mixes channels down to one, block by block: their mean, unless the mean loses the sound.

    It does where channels cancel each other out (one has the wrong polarity): then only the loudest channel is used.
    And where most of more than two channels are silent, those are left out of the mean. Changes are faded over a block.

    Args:
        channels: how many.
        rate: frames a second.
        channel: "left", "right", a number from 1, or "mix" for the mean in any case; None: as above.
        note: called with a sentence, once for each kind of repair.

    Raises:
        ValueError: there is no such channel.
    """

    def __init__(
        self,
        channels: int,
        rate: float,
        channel: str | int | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._channels, self._rate, self._note = channels, rate, note
        self._only = channel_index(channel, channels)
        self._mean = np.full(channels, 1 / np.float32(channels))
        self._plain = channel == "mix" or channels == 1
        self._noted: set[str] = set()
        self._live = np.zeros(channels, bool)  # channels that have carried sound
        self._power, self._mix_power = _Power(channels), _Power(1)
        self._cancelled = False
        self._weights: FloatArray | None = None

    def __call__(self, block: FloatArray) -> FloatArray:
        """float32 [m, channels] -> float32 [m]."""
        if self._only is not None:
            return np.ascontiguousarray(block[:, self._only])
        if self._channels == 1:
            return np.ascontiguousarray(block[:, 0])
        if self._plain or not len(block):
            return block @ self._mean
        weights, mix = self._weigh(block)
        before, self._weights = self._weights, weights
        if before is None or np.array_equal(before, weights):
            return mix
        fade = np.linspace(0.0, 1.0, len(block), dtype=np.float32)
        return (block @ before) * (1 - fade) + mix * fade

    def _weigh(self, block: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What each channel counts in this block, float32 [channels], and its channels so mixed, float32 [m]."""
        decay = math.exp(-len(block) / (self._rate * _MEMORY))
        power = self._power.after(block.T, decay)
        loudest = float(power.max())
        if loudest > _SILENT * self._rate * _MEMORY:
            self._live |= power > _DEAD * loudest
        live = self._live
        if self._channels <= 2 or not live.any() or 2 * np.count_nonzero(live) > self._channels:
            live = np.ones(self._channels, bool)
        elif self._channels > 2:
            self._note_once("most of its {} channels are silent and are left out of the mix")
        count = int(np.count_nonzero(live))
        weights = live.astype(np.float32) / np.float32(count)
        mix = block @ weights
        mix_power = float(self._mix_power.after(mix[None], decay)[0])
        expected = float(power[live].sum()) / count**2
        if count > 1 and expected > _SILENT * self._rate * _MEMORY / count:
            share = mix_power / expected
            if share < _CANCELLED and not self._cancelled:
                self._cancelled = True
                self._chosen = int(power.argmax())
                chosen = self._chosen + 1
                self._note_once(f"its channels cancel each other out: only channel {chosen} is used (--channel)")
            elif share > _RESTORED:
                self._cancelled = False
            elif self._cancelled and power[self._chosen] < 0.1 * loudest:
                self._chosen = int(power.argmax())
        if not self._cancelled:
            return weights, mix
        alone = np.zeros(self._channels, np.float32)
        alone[self._chosen] = 1.0
        return alone, block @ alone

    def _note_once(self, sentence: str) -> None:
        kind = sentence[:20]
        if self._note is not None and kind not in self._noted:
            self._noted.add(kind)
            self._note(sentence.format(self._channels))


class _Power:
    """Decaying sums of squares of channels, without their constant offset, which is no sound."""

    def __init__(self, channels: int) -> None:
        self._count, self._sums, self._squares = 0.0, np.zeros(channels), np.zeros(channels)

    def after(self, channels: FloatArray, decay: float) -> DoubleArray:
        """float32 [channels, m] -> [channels]."""
        exact = channels.astype(np.float64, order="C")
        self._count = decay * self._count + exact.shape[1]
        self._sums = decay * self._sums + exact.sum(axis=1)
        self._squares = decay * self._squares + np.einsum("ij,ij->i", exact, exact)
        return np.maximum(self._squares - self._sums**2 / self._count, 0.0)


def channel_index(channel: str | int | None, channels: int) -> int | None:
    """Which channel is meant, from 0; None for a mix of all.

    Raises:
        ValueError: there is no such channel.
    """
    if channel is None or channel == "mix":
        return None
    index = {"left": 0, "right": 1}.get(str(channel), int(channel) - 1 if str(channel).isdecimal() else -1)
    if not 0 <= index < channels:
        raise ValueError(f"there is no channel {channel} among {channels}")
    return index


def mono(samples: FloatArray, rate: float, note: Callable[[str], None] | None = None) -> FloatArray:
    """A whole sound, float32 [n] or [n, channels], as the same sane channel that a stream of its blocks gives."""
    sanity = Sanity(note)
    downmix = Downmix(samples.shape[1], rate, note=note) if samples.ndim == 2 else None
    step = max(1, round(rate * BLOCK_SECONDS))
    places = range(0, len(samples), max(step, len(samples) // PROBES))
    sanity.learn(samples[at : at + step].astype(np.float32) for at in places)
    out = np.empty(len(samples), np.float32)
    for at in range(0, len(samples), step):
        block = sanity(samples[at : at + step].astype(np.float32))
        out[at : at + step] = block if downmix is None else downmix(block)
    if note is not None and (verdict := sanity.verdict):
        note(verdict)
    return out
