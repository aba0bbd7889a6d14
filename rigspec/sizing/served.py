"""Requests that come and go: their prompts take the engine's time from the answers.

tokens per second = 1 / (1 / answers + prompt tokens per token of an answer / prompts)
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.frozen import dataclass
from rigspec.sizing.amount import Amount
from rigspec.sizing.throughput import Speed


@dataclass(frozen=True)
class Load:
    """Prompt tokens that are read for each token of an answer, usually and at most."""

    usual: float
    most: float


USUAL, MOST = 1.0, 3.0
"""Published loads of 2 to 128 streams come out so whose prompts are stated: the sum with one prompt
token per answer token is off by 15 % in the median, and three leave two in a hundred below."""
SHORT_ANSWER = 1024
"""Tokens of the shortest usual answer to a long prompt: agents that send 16,384 and get 256 make 54
tok/s of eight streams on two 3090s, and 211 of prompts of 512 (27B, vLLM 0.24)."""
BURST_STREAMS, BURST_MOST = 256, 8.0
"""More requests than that come all at once: every prompt is read before the answers, and the last
run alone (512 and 1,000 at once, ten models on A100, H100 and H200)."""
UNKNOWN_FALL = 2.0
"""Where nobody knows how fast prompts are read: an estimate, half of the time may go to them."""


def chats(depth: int) -> Load:
    """The load of streams whose prompts hold so many tokens, or some that nobody states."""
    return Load(USUAL, max(MOST, depth / SHORT_ANSWER))


def served(answers: Speed, prompts: Speed | None, load: Load, streams: int) -> Speed:
    """What so many `streams` make of `answers` while prompts are read at the speed of `prompts`,
    and which of the two holds them up."""
    read = prompts.tok_s if prompts else None
    found = summed(answers.tok_s, read, load, streams)
    if prompts is None or found.value > answers.tok_s.value / 2:
        return replace(answers, tok_s=found)
    return replace(answers, tok_s=found, bottleneck=prompts.bottleneck)


def summed(answers: Amount, prompts: Amount | None, load: Load, streams: int) -> Amount:
    """Tokens per second of all streams; one stream alone is quoted without its prompt."""
    if streams == 1:
        return answers
    if prompts is None:
        return Amount(answers.value, answers.low / UNKNOWN_FALL, answers.high)
    most = max(load.most, BURST_MOST) if streams > BURST_STREAMS else load.most
    value = 1 / (1 / answers.value + load.usual / prompts.value)
    return Amount(value, 1 / (1 / answers.low + most / prompts.value), answers.high)
