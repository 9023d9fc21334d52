"""When an update is missed."""

from instrec_live.realtime.update import State, Update

PATIENCE = 2.0  # s beyond the hop after which a missing update is reported


def overdue(update: Update | None, waited: float, hop: float) -> float:
    """For how many seconds an update has been overdue, `waited` s after the newest came; 0 for not."""
    stands = update is not None and update.state is State.ENDED
    return waited - hop if waited - hop > PATIENCE and not stands else 0.0
