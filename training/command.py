"""How the training commands end: a user's mistake is one line on stderr and an exit code."""

import sys
from collections.abc import Callable

from instrec_live.models.errors import InstrecError


def entry(main: Callable[[], None]) -> None:
    """Run a command. Exit codes: 0 done, 1 the machine refused (a full disk, no rights), 2 a wrong option, 4 bad data,
    5 a bad model, 130 Ctrl-C. Anything else is a defect and shows its traceback."""
    try:
        main()
    except InstrecError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
