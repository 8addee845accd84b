"""The runtime's frozen configuration and the GENIE_* environment variables that set it."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import msgspec

from djinn.errors import ConfigurationError

SchedulingMode = Literal["none", "reactive", "lru", "proactive", "proactive_plus"]

# Names that the study's specification fixes; every other setting is GENIE_<FIELD NAME>.
_ENVIRONMENT_NAMES = {"session_arena_mb": "GENIE_VMU_SESSION_ARENA_MB"}
# What a system starts, and what it waits for.
_LARGEST = {"num_threads": 1024, "idle_timeout_s": 1e9, "admission_timeout_s": 1e9, "plan_pace_s": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that a server and its client need to agree on.

    Sizes are in MiB. Capacities reserve address space only; memory is committed when it is first written.

    Attributes:
        device_type: where the server computes, `cpu` or `cuda`.
        num_threads: torch's intra-operator threads in the server; None keeps torch's default.
        text_mb: address space for weights.
        data_capacity_mb: address space for session arenas.
        data_budget_mb: arenas that may be resident at once; None allows the whole capacity.
        stack_mb: address space for the activations of one call.
        session_arena_mb: arena of a session that names no size.
        host_pool_mb: bytes that evicted sessions may hold outside the device.
        scheduling_mode: who is evicted and when, see `djinn.scheduling.policies`.
        idle_timeout_s: idleness after which the reactive mode evicts.
        admission_timeout_s: how long a request waits for memory before it is out of memory.
        swap_bandwidth_gb_per_s: throttle of the link to the host pool, 10^9 bytes a second; None is unthrottled.
        plan_pace_s: throttle of computation: a plan's session stays busy for at least so long, while others compute, as
            in a batch on an accelerator; None is unthrottled.
        plan_cache_enabled: whether module calls look plans up at all.
        plan_cache_entries: plans kept, least recently used out.
        plan_cache_mb: what the server may hold for the plans of one client: bound operations and their results.
    """

    device_type: str = "cpu"
    num_threads: int | None = None
    text_mb: int = 65_536
    data_capacity_mb: int = 1_048_576
    data_budget_mb: int | None = None
    stack_mb: int = 16_384
    session_arena_mb: int = 64
    host_pool_mb: int = 8_192
    scheduling_mode: SchedulingMode = "proactive"
    idle_timeout_s: float = 1.0
    admission_timeout_s: float = 30.0
    swap_bandwidth_gb_per_s: float | None = None
    plan_pace_s: float | None = None
    plan_cache_enabled: bool = True
    plan_cache_entries: int = 256
    plan_cache_mb: int = 1_024

    def __post_init__(self) -> None:
        """Check every type and range.

        Raises:
            ConfigurationError: a value of another type or out of range, named with its setting and remedy.
        """
        self._check_choice("device_type", ("cpu", "cuda"))
        self._check_choice("scheduling_mode", get_args(SchedulingMode))
        self._check_types()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not value > 0 or value == float("inf"):
                raise ConfigurationError(
                    f"Setting {field.name} is {value}, but must be a positive finite number; set {environment_name(field.name)}."
                )
            if value > _LARGEST.get(field.name, value):
                raise ConfigurationError(
                    f"Setting {field.name} is {value}, but must be at most {_LARGEST[field.name]}; set "
                    f"{environment_name(field.name)}."
                )

    def _check_types(self) -> None:
        kinds = get_type_hints(Config)
        for field in fields(self):
            value = getattr(self, field.name)
            try:
                msgspec.convert(value, kinds[field.name])
            except msgspec.ValidationError as error:
                raise ConfigurationError(
                    f"Setting {field.name} is {value!r}, but must be of type {field.type}; set {environment_name(field.name)}."
                ) from error

    def _check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ConfigurationError(
                f"Setting {name} is {value!r}, but must be one of {', '.join(choices)}; set {environment_name(name)}."
            )

    @classmethod
    def from_environment(cls, environment: dict[str, str] | None = None) -> Config:
        """Read the GENIE_* variables that are set; the rest keep their defaults.

        Raises:
            ConfigurationError: a variable that is not of its setting's type, or out of range.
        """
        variables = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = environment_name(field.name)
            if name in variables:
                values[field.name] = _parse(name, variables[name], str(field.type))
        return cls(**values)

    def to_json(self) -> str:
        """Encode for the command line of a server process."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Decode what `to_json` wrote.

        Raises:
            ConfigurationError: text that is not such an encoding, or holds unknown settings.
        """
        try:
            values = msgspec.json.decode(text, type=dict[str, Any])
            return cls(**values)
        except (msgspec.DecodeError, TypeError) as error:
            raise ConfigurationError(
                f"Configuration {text!r} cannot be read ({error}); pass a JSON object of known settings."
            ) from error


def environment_name(field_name: str) -> str:
    """Return the environment variable that sets a field."""
    return _ENVIRONMENT_NAMES.get(field_name, f"GENIE_{field_name.upper()}")


def _parse(variable: str, text: str, type_name: str) -> Any:
    try:
        if type_name.startswith("bool"):
            return {"0": False, "1": True, "false": False, "true": True}[text.lower()]
        if type_name.startswith("int"):
            return int(text)
        if type_name.startswith("float"):
            return float(text)
        return text
    except (KeyError, ValueError) as error:
        kind = type_name.split(" ", maxsplit=1)[0]
        raise ConfigurationError(
            f"Variable {variable} is {text!r}, which is not a value of type {kind}; correct or unset it."
        ) from error
