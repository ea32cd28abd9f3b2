"""Diversity: whom a cohort is of, with every group too small to hide a person left out.

A count below k could point at somebody: groups of fewer than k people are neither named nor
counted. The default of 5 is what statistics offices ask for at least (in Britain counts of 1 to 4
are withheld from health tables; the American Medicare rule, 11, is stricter and can be set).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["diversity"]

Json = dict[str, Any]


def diversity(columns: dict[str, Any], donor_C: Any | None, smallest: int) -> Json:
    """The groups of each column that are large enough.

    Args:
        columns: what it is (`site`, `tissue`, …) -> one text an observation, empty if unknown.
        donor_C: donor of each observation, empty if unknown; None where the study does not say,
            and then a group's observations count.
        smallest: fewest donors (or observations) of a group that is shown.

    Returns:
        `counted` (`donors` or `observations`), `smallest`, `of` (all of them, None if too few)
        and `columns`: name -> `groups` (`name`, `count`, `observations`), the largest first, and
        `suppressed`, the number of groups that are left out.
    """
    who = np.arange(len(next(iter(columns.values()), []))) if donor_C is None else donor_C
    known = np.ones(len(who), dtype=bool) if donor_C is None else who != ""
    total = len(np.unique(who[known]))
    return {
        "counted": "observations" if donor_C is None else "donors",
        "smallest": smallest,
        "of": total if total >= smallest else None,
        "columns": {
            name: _groups(pd.Series(value)[known], pd.Series(who)[known], smallest)
            for name, value in columns.items()
        },
    }


def _groups(value: Any, who: Any, smallest: int) -> Json:
    """A column's groups.

    Where what is withheld adds up to fewer than k, the smallest group shown goes with it: the
    total would give it away.
    """
    frame = pd.DataFrame({"name": value, "who": who})
    frame = frame[frame["name"] != ""]
    table = frame.groupby("name")["who"].agg(["nunique", "size"]).reset_index()
    table = table.sort_values(["nunique", "name"], ascending=[False, True])
    shown = table[table["nunique"] >= smallest]
    hidden = table[table["nunique"] < smallest]
    held = frame[frame["name"].isin(hidden["name"])]["who"].nunique()
    if len(hidden) and held < smallest and len(shown):
        shown, hidden = shown.iloc[:-1], pd.concat([shown.iloc[-1:], hidden])
    return {
        "groups": [
            {"name": str(row[0]), "count": int(row[1]), "observations": int(row[2])}
            for row in shown.itertuples(index=False)
        ],
        "suppressed": len(hidden),
    }
