"""Everything that every environment of the suite promises, as tests to inherit."""

from __future__ import annotations

from r3lbench.testing.episode_contract import EpisodeContract
from r3lbench.testing.gymnasium_contract import GymnasiumContract
from r3lbench.testing.panel_contract import PanelContract
from r3lbench.testing.snapshot_contract import SnapshotContract
from r3lbench.testing.teaching_contract import TeachingContract


class EnvContract(GymnasiumContract, PanelContract, EpisodeContract, SnapshotContract, TeachingContract):
    """The whole contract.

    Subclass it in a test module with a name that begins with ``Test``, set ``env`` (and, for speed, ``options`` that
    make the environment small), and run pytest. The attributes of ``EnvUnderTest`` say how hard to test. The class of
    the environment must be importable by name, because some tests make it in another process.
    """
