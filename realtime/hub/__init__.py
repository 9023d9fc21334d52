"""Many sources at a time through one set of networks: `instrec-live watch`."""

from instrec_live.realtime.hub.batcher import Batcher
from instrec_live.realtime.hub.hub import Hub

__all__ = ["Batcher", "Hub"]
