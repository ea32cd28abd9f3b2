"""Every decision, and the table that it follows.

What one run's gates decide, of a model that maps the cohort:

    champion    the model is    data      drift    its total            the model is
    none        new             release                                 promoted
    none        new             refuse                                  not taken (keep)
    some        the champion              fails                         recalibrated
    some        the champion              passes                        kept
    some        another one     release            >= the champion's    promoted
    some        another one     otherwise                               not taken (keep)

The data are refused when a gate of the families `REFUSING` fails (`levelseq.validate.gates`). A
total is compared with the champion's on the same observations.

A champion is recalibrated by challengers, the cheapest first; the first that holds is promoted:

    rung          what is fitted                              suits
    re-fit        shifts and scales of a classical model;     classical; networks of which no gate
                  of a network offsets in latent space        of the genes failed
    adapters      effects of the genes for the new leaves     networks
    fine-tuning   all weights, on new cells and a replay      a VAE whose one cohort is there
    training      everything, on the old cohorts and the      up to --retrain-cells observations;
                  new one, or the new one alone               more than one batch

    a challenger holds when                                                   or is dropped for
    its data are released, and no gate of it fails                            the gates, by name
    each gate that failed for the champion was evaluated                      the gates, by name
    its total is at most --score-slack below the champion's on this cohort    both totals
    it foretells a held-out part of the new batches better than the champion  both costs

The last is asked where a batch can be parted (`held_out`); `not_compared` says why it could not
be asked of these data. All challengers, their gates and why they fell short stand in the verdict
and in the log, as `tried`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from levelseq.validate.gates import REFUSING, Gate
from levelseq.verdict import kinds_of_total

if TYPE_CHECKING:
    from levelseq.recalibrate.held_out import HeldOut

__all__ = ["Decision", "data_decision", "model_decision", "shortcomings", "surpassed"]

Json = dict[str, Any]


class Decision(NamedTuple):
    """What becomes of the model, and why in one sentence."""

    model: Literal["promote", "keep", "recalibrate"]
    reason: str


def data_decision(gates: list[Gate]) -> Literal["release", "refuse"]:
    """Whether the data may be released."""
    failed = any(gate.outcome == "fail" and gate.family in REFUSING for gate in gates)
    return "refuse" if failed else "release"


def model_decision(
    gates: list[Gate],
    *,
    model: str,
    champion: str | None,
    total: float | None,
    champion_total: float | None,
) -> Decision:
    """What becomes of the model; the first table at the top of this file.

    Args:
        gates: of this run.
        model: key of the model that was judged.
        champion: key of the champion, if there is one.
        total: the model's total score.
        champion_total: the champion's on the same observations; None if it cannot place them.
    """
    released = data_decision(gates) == "release"
    if champion is None:
        if released:
            return Decision("promote", "There is no champion yet, and this model is fit to be one.")
        return Decision("keep", "The model is not promoted, since its data are refused.")
    if champion == model:
        drift = {gate.outcome for gate in gates if gate.family == "drift"}
        if "fail" in drift:
            return Decision("recalibrate", "The data have drifted away from the champion's.")
        if drift <= {"not_evaluated"}:
            return Decision("keep", "The champion stays: whether the data drift could not be told.")
        return Decision("keep", "The champion stays: the data look like those it was fitted to.")
    if not released:
        return Decision("keep", "The champion stays, since this model's data are refused.")
    if total is None or champion_total is None:
        reason = "The model passes; the champion cannot be scored on these observations."
        return Decision("promote", reason)
    if total >= champion_total:
        reason = f"Its total score, {total:.3f}, is not below the champion's {champion_total:.3f}."
        return Decision("promote", reason)
    reason = (
        f"The champion stays: its total score is {champion_total:.3f}, this model's {total:.3f}."
    )
    return Decision("keep", reason)


def shortcomings(first: Json, challenger: Json, slack: float) -> list[str]:
    """Why a challenger is not better than the champion on this cohort; nothing when it is.

    Its data are released, none of its gates fails, every gate that failed for the champion was
    evaluated, and its total score is not more than `slack` below the champion's. Where no gate
    failed, its total must be higher.
    """
    gates = {gate["name"]: gate for gate in challenger["gates"]}
    failed = [gate["name"] for gate in first["gates"] if gate["outcome"] == "fail"]
    found = [f"its {name} fails" for name, gate in gates.items() if gate["outcome"] == "fail"]
    found += [
        f"its {name} was not evaluated"
        for name in failed
        if gates.get(name, {}).get("outcome") in (None, "not_evaluated")
    ]
    if challenger["data"] != "release" and not found:
        found.append("its values are refused")
    own, other = _totals(challenger["scores"], first["scores"])
    if own is not None and other is not None:
        least = other - slack if failed else other
        if own < least or (own == least and not failed):
            found.append(f"its total score is {own:.3f}, the champion's {other:.3f}")
    elif not failed:
        found.append("there is no failed gate and no total score to be better in")
    return found


def surpassed(found: HeldOut | str | None) -> list[str]:
    """Why a challenger is not better on what was held out; nothing when it is, or if nothing was.

    The mean over the batches is compared, whatever their size.
    """
    if found is None or isinstance(found, str) or found.challenger < found.champion:
        return []
    return [
        f"on {found.observations} held-out observations of {found.batches} batches its counts cost"
        f" {found.challenger:.4g} {found.unit}, the champion's {found.champion:.4g}"
    ]


def _totals(own: Json, other: Json) -> tuple[float | None, float | None]:
    """Two totals of one kind: with labels where both have that, else without."""
    for kind in kinds_of_total(own, other):
        if own.get(kind) is not None and other.get(kind) is not None:
            return own[kind], other[kind]
    return None, None
