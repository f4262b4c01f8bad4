"""Whether the hub can be reached, and which models of a configuration need it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread

from astarpo.config.paths import model_path
from astarpo.config.runs import Config
from astarpo.stage_one.settings import HubModel

PATIENCE_S = 5.0  # for the hub to answer
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
Asks = Callable[[], str | None]


def endpoint() -> str:
    """The hub's address."""
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def hub_problems(config: Config, asks: Asks | None = None) -> list[str]:
    """Find models that must be downloaded while the hub cannot be reached.

    Args:
        config: checked.
        asks: as for `unreachable`.

    Returns:
        One line for each; the hub is only asked if a model is neither prepared nor in its cache.
    """
    wanted = {
        name: entry.source
        for name, entry in config.references.items()
        if isinstance(entry.source, HubModel) and not (Path(model_path(name)) / "config.json").is_file()
    }
    wanted = {name: source for name, source in wanted.items() if not _is_cached(source)}
    reason = unreachable(asks) if wanted else None
    if reason is None:
        return []
    return [
        f"references.{name}.source.id = '{source.id}': is not in the hub's cache, and {endpoint()} cannot be reached "
        f"({reason}): download it where there is a network, or give a folder: source: {{kind: local, path: ...}}"
        for name, source in wanted.items()
    ]


def _is_cached(source: HubModel) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(source.id, name, revision=source.revision), str) for name in WEIGHTS)


def unreachable(asks: Asks | None = None) -> str | None:
    """Say why the hub cannot be reached; None if it can.

    Args:
        asks: asks the hub and returns why it cannot be reached, None if it can; None: over the network.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return _in_time(asks or _ask)


def _in_time(asks: Asks) -> str | None:
    """Wait for an answer, also where looking up the name hangs, which no timeout of the request covers."""
    answers: list[str | None] = []
    thread = Thread(target=lambda: answers.append(asks()), daemon=True)
    thread.start()
    thread.join(PATIENCE_S + 1)
    return answers[0] if answers else f"no answer in {PATIENCE_S:.0f} s"


def _ask() -> str | None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    from huggingface_hub import constants

    try:
        with urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE_S):
            return None
    except HTTPError as error:  # it answers
        return None if error.code < 500 else f"it answers {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
