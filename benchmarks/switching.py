"""What changing the network inside an app costs. `python benchmarks/switching.py`.

The search for the best combination of cells: how long it takes, how near to the true optimum it
comes, and whether a limit is ever broken; AdaSpring's own search beside it. What policies decide in
large spaces. And a net in pieces that four threads call while another adapts it: is every answer
right, and what do switches take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import report
import switching_calls
import switching_policies
import switching_search

Row = Mapping[str, object]
PARTS: Mapping[str, Callable[[bool], Iterator[Row]]] = {
    "search": switching_search.rows,
    "policies": switching_policies.rows,
    "calls": switching_calls.rows,
}
"""Each part yields its rows as they are measured; its argument is whether to be quick."""


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = report.arguments(
        __doc__, "a tenth of the contexts, a twentieth of the calls: three minutes"
    )
    parser.add_argument("--part", choices=PARTS, help="this part alone")
    arguments = parser.parse_args()
    parts = [arguments.part] if arguments.part else list(PARTS)
    rows: list[Row] = []
    for part in parts:
        for row in PARTS[part](arguments.quick):
            rows.append({"part": part, **row})
            print(f"{part}: " + ", ".join(f"{name} {shown(row[name])}" for name in row), flush=True)
    settings = {"quick": arguments.quick, "parts": parts}
    report.write(arguments.json, "switching", ("adaspring", "numpy", "scipy"), settings, rows, {})


def shown(value: object) -> str:
    """A figure in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
