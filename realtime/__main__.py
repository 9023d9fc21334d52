"""`python -m instrec_live.realtime` is `instrec-live`."""

import sys

from instrec_live.realtime.cli import main

sys.exit(main())
