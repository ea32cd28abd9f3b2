"""Withdraw donors: rebuild the cohorts, list what was made from them, end their champions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from levelseq.cohort import UNKNOWN, manifest_json
from levelseq.errors import BadInput, BadOption
from levelseq.ingest import step as ingest
from levelseq.ingest.left_out import LeftOut, packed, unpacked
from levelseq.ingest.plan import without, write_plan
from levelseq.progress import notice, stage
from levelseq.registry import Registry, run_folder, run_id
from levelseq.registry.log import registry_store
from levelseq.registry.sinks import tell_champion
from levelseq.store import join, open_store
from levelseq.withdraw.held import Held, held_by, unfinished
from levelseq.withdraw.lineage import Derived, derived_from

__all__ = ["SCHEMA", "withdraw"]

SCHEMA = "levelseq.withdrawal/1"

Json = dict[str, Any]


def withdraw(donors: Iterable[str], workspace: str, name: str) -> str:
    """Rebuild every cohort that holds observations of some donors, without them.

    Nothing is written before all deposits concerned have been read. The old folders stay, and are
    listed: they are immutable, and whoever runs the store deletes them. Later plans of the same
    deposits leave the donors out. A second call, or one after an interruption, ends the same.

    Args:
        donors: ids as the donor column has them. They are written nowhere.
        workspace: where cohorts, models and registry are.
        name: the registry whose champion is looked after.

    Returns:
        The address of `runs/<id>/withdrawal.json`.

    Raises:
        BadOption: no donor, one that stands for an unknown one, or a name without a registry.
        BadInput: no cohort holds any of them, or a deposit is gone or was changed.
    """
    asked = _checked(donors)
    _check_name(workspace, name)
    held = held_by(workspace, asked)
    if not held.plans:
        raise BadInput(
            f"no cohort names any of the {len(asked)} donors",
            where=join(workspace, "cohorts"),
            do="give ids as the donor column has them",
        )
    cohorts = _rebuilt(held, workspace)
    derived = derived_from(workspace, set(cohorts), asked | held.addresses())
    run = run_id({"withdrawn": cohorts, "name": name})
    settled = _settled(run, cohorts, derived, workspace, name)
    content = {
        "schema": SCHEMA,
        "run": run,
        "name": name,
        "donors": {"asked": len(asked), "found": held.donors},
        "cohorts": cohorts,
        "untold": held.untold,
        "unfinished": unfinished(workspace, held),
        "derived": derived.as_json(),
        **settled,
    }
    store = open_store(run_folder(workspace, run))
    store.put("withdrawal.json", manifest_json(content))
    _tell(content)
    tell_champion(workspace, name)
    return join(store.address, "withdrawal.json")


def _checked(donors: Iterable[str]) -> frozenset[str]:
    asked = frozenset(donor.strip() for donor in donors) - {""}
    if not asked:
        raise BadOption("names no donor", where="--donor", do="give --donor or --donor-file")
    if asked & set(UNKNOWN):
        raise BadOption(
            "one of the ids is how tables write that a donor is not known",
            where="--donor",
            do="leave it out",
        )
    return asked


def _check_name(workspace: str, name: str) -> None:
    """Refuse a name without decisions where others have some: its champion would stay."""
    registry_store(workspace, "registry", name)
    known = sorted(_names(workspace))
    if known and name not in known:
        raise BadOption(
            f"there is no registry named {name!r}", where="--name", do=f"one of {', '.join(known)}"
        )


def _names(workspace: str) -> set[str]:
    return {path.split("/")[0] for path in open_store(join(workspace, "registry")).list()}


def _rebuilt(held: Held, workspace: str) -> dict[str, str | None]:
    """Fingerprint -> that of the cohort in its place; None where nobody is left.

    The donors' places in the deposits are kept when the cohorts stand, for later plans.
    """
    register = LeftOut(workspace)
    masks = register.of([d["sha256"] for plan in held.plans.values() for d in plan["deposits"]])
    for sha256, mask in held.masks.items():
        before = masks.get(sha256)
        masks[sha256] = packed(mask | unpacked(before) if before else mask)
    plans = {old: without(plan, masks) for old, plan in held.plans.items()}
    cohorts = {old: _cohort_of(plan, workspace) for old, plan in sorted(plans.items())}
    for sha256, mask in sorted(held.masks.items()):
        register.add(sha256, mask)
    return cohorts


def _cohort_of(plan: Json | None, workspace: str) -> str | None:
    if plan is None:
        return None
    ingest.run(write_plan(plan, workspace), workspace)
    return str(plan["fingerprint"])


def _settled(
    run: str, cohorts: dict[str, str | None], derived: Derived, workspace: str, name: str
) -> Json:
    """Enter the withdrawal in the log; who reigned and who reigns, here and in other registries."""
    registry = Registry(workspace, name)
    reasons = [
        f"A donor has withdrawn: cohort {new} stands in the place of {old}."
        if new
        else f"A donor has withdrawn, and nothing is left of cohort {old}."
        for old, new in cohorts.items()
    ]
    number = registry.withdraw(run, cohorts, derived.models, reasons)
    entry = registry.log()[number - 1]
    return {
        "log": number,
        "champion": {
            "before": entry["parent"],
            "after": entry["model"],
            "replace": entry["parent"] in derived.models,
        },
        "other_names": sorted(
            other
            for other in _names(workspace) - {name}
            if (Registry(workspace, other).champion() or {}).get("model") in derived.models
        ),
    }


def _tell(content: Json) -> None:
    counts = {kind: len(names) for kind, names in content["derived"].items()}
    stage("withdraw", "cohorts rebuilt", cohorts=len(content["cohorts"]), **counts)
    donors, champion = content["donors"], content["champion"]
    if donors["found"] < donors["asked"]:
        missing = donors["asked"] - donors["found"]
        notice("withdraw", "no cohort names some of the donors", donors=missing)
    if content["untold"]:
        cohorts = len(content["untold"])
        notice(
            "withdraw", "cohorts without a donor column cannot be looked through", cohorts=cohorts
        )
    if content["unfinished"]:
        cohorts = len(content["unfinished"])
        notice(
            "withdraw", "cohorts that are being made take the donors: plan again", cohorts=cohorts
        )
    if champion["replace"]:
        after = champion["after"]
        now = f"{after} is champion again" if after else "there is no champion now"
        notice(
            "withdraw",
            f"champion {champion['before']} must be replaced, and {now}: run normalize_cohort anew",
        )
    for other in content["other_names"]:
        notice("withdraw", f"the champion of {other} must be replaced too: --name {other}")
