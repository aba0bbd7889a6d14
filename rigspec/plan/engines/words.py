"""A spec field as words of an engine's command line: one table of names, one way to say a value."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rigspec.catalog.engines import flag_for
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.spec.services import AUTO, Service


@dataclass(frozen=True)
class Words:
    """Says the fields of one service in the words of its engine."""

    engine: str
    service: Service

    def flag(self, key: str, *values: object) -> tuple[str, ...]:
        """`--flag value`; nothing for None, an error where the engine has no such flag."""
        given = [str(value) for value in values if value is not None]
        if not given:
            return ()
        return (self._required(key), *given)

    def switch(self, key: str, wanted: bool = True) -> tuple[str, ...]:
        """A flag without value."""
        return (self._required(key),) if wanted else ()

    def _required(self, key: str) -> str:
        name = flag_for(self.engine, key)
        if name is None:
            raise RigspecError(
                f"{self.engine} has no flag for `{key}`", hint="run `rigspec check` first"
            )
        return name

    def parallel(self) -> tuple[str, ...]:
        """How the ranks share the model; sizes of 1 are every engine's default."""
        service = self.service
        sizes = {
            "tensor_parallel_size": service.tensor_parallel_size,
            "pipeline_parallel_size": service.pipeline_parallel_size,
            "data_parallel_size": service.data_parallel_size,
            "decode_context_parallel_size": service.decode_context_parallel_size,
        }
        words = [w for key, n in sizes.items() if n > 1 for w in self.flag(key, n)]
        return (*words, *self._experts())

    def _experts(self) -> tuple[str, ...]:
        if not self.service.expert_parallel:
            return ()
        if self.engine == "sglang":  # takes a size, the others spread over all ranks
            return self.flag("expert_parallel", self.service.tensor_parallel_size)
        return self.switch("expert_parallel")

    def limits(self) -> tuple[str, ...]:
        """Context, memory, concurrency and number formats."""
        service = self.service
        own = service.context_length == AUTO
        return (
            *self.flag("context_length", "auto" if own else service.context_length),
            *self.flag("gpu_memory_fraction", service.gpu_memory_fraction),
            *self.flag("max_sequences", service.max_sequences),
            *self.flag("max_batched_tokens", service.max_batched_tokens),
            *self.flag("kv_cache_dtype", service.kv_cache_dtype),
            *self.flag("quantization", service.quantization),
        )

    def switches(self) -> tuple[str, ...]:
        """The spec's yes-or-no fields that are yes."""
        service = self.service
        return (
            *self.switch("trust_remote_code", service.trust_remote_code),
            *self.switch("disable_custom_all_reduce", service.disable_custom_all_reduce),
            *self.switch("enforce_eager", service.enforce_eager),
        )

    def options(self, prefix: str, values: Mapping[str, object]) -> tuple[str, ...]:
        """Further options as flags: `num_steps: 3` is `--speculative-num-steps 3`."""
        words: list[str] = []
        for key, value in values.items():
            if value is False:
                continue
            words.append(prefix + key.replace("_", "-"))
            if value is not True:
                words.append(value if isinstance(value, str) else json.dumps(value))
        return tuple(words)


def served_names(name: str, service: Service) -> tuple[str, ...]:
    """The names the API answers to: the spec's, else the service's own."""
    return service.served_names or (name,)
