"""Tallies: what parts of a pipeline count in each partition, put together over a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .links import Link
from .stage import Configured
from .store import receipt

Tally = dict[str, float]


def merged(tallies: Iterable[Mapping[str, float]]) -> Tally:
    """Sums of counts; the least of those named ``min_...``, the greatest of ``max_...``."""
    out: Tally = {}
    for tally in tallies:
        for name, value in tally.items():
            join = {"min_": min, "max_": max}.get(name[:4], lambda a, b: a + b)
            out[name] = join(out[name], value) if name in out else value
    return out


def gathered(
    links: Sequence[Link], chains: Sequence[Sequence[Configured]]
) -> list[tuple[int, Configured, Tally, list[Link]]]:
    """Total of each part of a pipeline that counted something.

    Parameters
    ----------
    links : sequence of Link
        Partitions, with a part at least.
    chains : sequence of sequence of Configured
        For each of them its source and stages, in order. Fields that share a stage are put together.

    Returns
    -------
    list of (int, Configured, dict, list of Link)
        Place in the chain (0: the source), the source or stage, its total, and the partitions that it is of.
    """
    found: dict[tuple[int, int], tuple[Configured, list[Tally], list[Link]]] = {}
    for link, chain in zip(links, chains, strict=True):
        for place, (part, tally) in enumerate(zip(chain, receipt(link.parts[-1]).get("tallies", ()), strict=False)):
            if tally:
                _, tallies, members = found.setdefault((place, id(part)), (part, [], []))
                tallies.append(tally)
                members.append(link)
    return [(place, part, merged(all_), members) for (place, _), (part, all_, members) in _in_order(found)]


def _in_order(found: Mapping[tuple[int, int], Any]) -> list[tuple[tuple[int, int], Any]]:
    """Items in the order of the chain, and of the partitions within a place."""
    return sorted(found.items(), key=lambda item: (item[0][0], item[1][2][0].number))


def findings(links: Sequence[Link], chains: Sequence[Sequence[Configured]]) -> list[dict[str, Any]]:
    """What the parts of a pipeline found in partitions, for provenance."""
    return [
        {"stage": getattr(part, "id", None) or part.name, **facts}
        for _, part, total, _ in gathered(links, chains)
        if (facts := part.findings(total))
    ]
