"""What the stream's controls say at one moment: how a file is played, and whether the sound is being recorded."""

from dataclasses import dataclass

from instrec_live.realtime.transport import Controls


@dataclass(frozen=True, slots=True)
class Deck:
    """A moment of the controls.

    Attributes:
        playable: it is a file that can be paused, sped up and sought in.
        paused: it stands still.
        speed: seconds of sound a second.
        position: of the sound heard now, s; None where only the updates tell.
        duration: where the file ends, s; None if unknown.
        audible: it is also played on the loudspeakers.
        recording: the sound is being recorded.
    """

    playable: bool = False
    paused: bool = False
    speed: float = 1.0
    position: float | None = None
    duration: float | None = None
    audible: bool = False
    recording: bool = False

    @classmethod
    def of(cls, stream: Controls) -> "Deck":
        """As it is now."""
        transport, recording = stream.transport, stream.recording is not None
        if transport is None:
            return cls(recording=recording)
        return cls(
            playable=True,
            paused=transport.paused,
            speed=transport.speed,
            position=transport.position,
            duration=transport.duration,
            audible=transport.audible,
            recording=recording,
        )
