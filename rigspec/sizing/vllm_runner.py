"""Which of vLLM's model runners a model gets: they count the widest step and CUDA graphs apart."""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings

DENSE_SINCE, ALL_SINCE = (0, 25), (0, 29)
"""The second runner is the default of dense models from the first on (vllm-project/vllm pull
44443), of all from the other (pull 53183)."""

GRAPHS_SINCE = (0, 29)
"""Until here its profile of CUDA graphs answered 0, so that nothing was set aside for them and
large models ran out of memory as they were captured (vllm-project/vllm issue 49224)."""


def has_second_runner(facts: ModelFacts, settings: EngineSettings) -> bool:
    """Whether the second runner serves it; of an unknown version, the newest's answer."""
    version = settings.version
    if version is None or version >= ALL_SINCE:
        return True
    # a 27B with recurrent states still printed the first one's profile of graphs in 0.26
    return version >= DENSE_SINCE and not facts.has_experts and not facts.has_states


def sets_graphs_aside(facts: ModelFacts, settings: EngineSettings) -> bool:
    """Whether the runner's profile of CUDA graphs is more than a stub."""
    version = settings.version
    newer = version is None or version >= GRAPHS_SINCE
    return newer or not has_second_runner(facts, settings)


WHOLE_ON_BLACKWELL = (0, 26)
"""From here on steps with drafts run from whole graphs on GeForce and PRO Blackwell (40 ms for 64
layers on a 5070 Ti with 0.20, 16 on a 5090 with 0.26; a boot of 0.24 says that it falls back)."""


def in_pieces(settings: EngineSettings, card: Card) -> bool:
    """Whether FlashInfer, which an 8-bit float cache brings, has graphs for single tokens only."""
    if card.compute is None or card.compute[0] in (9, 10, 11):
        return False
    return card.compute[0] < 9 or (settings.version or WHOLE_ON_BLACKWELL) < WHOLE_ON_BLACKWELL
