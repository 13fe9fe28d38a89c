"""Whether LLVM knows the processor that a board names; what it does not know it ignores, aloud."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from tvm.target import Target, codegen

from ...targets import Board


def unknown_processor(board: Board) -> str | None:
    """Say which processor or feature of a board's target LLVM does not know, or None."""
    target: Mapping[str, Any] = board.target
    host = target if target["kind"] == "llvm" else target.get("host", {})
    if not isinstance(host, Mapping) or host.get("kind") != "llvm":
        return None
    triple, cpu = str(host.get("mtriple", "")), host.get("mcpu")
    if cpu is not None and not codegen.llvm_is_valid_cpu(cpu, triple):
        known = codegen.llvm_get_cpu_archlist(Target({"kind": "llvm", "mtriple": triple}))
        return f"LLVM knows no processor {cpu!r} for {triple}{_like(cpu, map(str, known))}"
    wanted = [text[1:] for text in host.get("mattr") or () if text.startswith("+")]
    if not wanted:
        return None
    plain = {key: value for key, value in host.items() if key != "mattr"}
    for name in wanted:
        # a feature that LLVM knows shows among those of a processor that is given it
        given = Target({**plain, "mattr": [f"+{name}"]})
        if name not in {str(feature) for feature in codegen.llvm_get_cpu_features(given)}:
            return f"LLVM knows no feature {name!r} of {cpu or triple}"
    return None


def _like(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
