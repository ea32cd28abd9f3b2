"""What the train step may be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from levelseq.cohort.ordered_levels import NONE
from levelseq.errors import BadOption
from levelseq.models.augmentation import parse_terms
from levelseq.parameters import StepParams

__all__ = ["TrainParams"]

_BATCHWISE = ("dispersion", "dispersions of batches have")
_WITHOUT_EFFECT = {
    "classical": (
        ("use_labels", "labels have"),
        ("likelihood", "a likelihood has"),
        ("ordered", "an order of batches has"),
        ("augment", "augmentation has"),
        _BATCHWISE,
    ),
    "gan": (("likelihood", "a likelihood has"), _BATCHWISE),
    "scgen": (_BATCHWISE,),
}


class TrainParams(StepParams):
    """How a model is fitted to a cohort."""

    model_class: Literal["auto", "vae", "gan", "scgen", "classical"] = Field(
        "auto",
        description="'vae', 'gan' (style transfer), 'scgen' (latent arithmetic), 'classical', or"
        " 'auto': 'vae' or 'classical' by the number and kind of observations",
    )
    n_latent: int = Field(
        0, ge=0, le=512, description="dimensions of the latent space; 0: from the number of cells"
    )
    n_hidden: int = Field(128, ge=8, le=4096, description="units of each hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of hidden units dropped in training")
    likelihood: Literal["nb", "zinb"] = Field(
        "nb", description="of counts: negative binomial, or zero-inflated, which is slower"
    )
    dispersion: Literal["gene", "gene-batch"] = Field(
        "gene", description="one of each gene, or changed by every node of the batch tree, slower"
    )
    ordered: str = Field(
        "none",
        description="batch levels, 'date' or 'site>date', along whose dates or numbers effects are "
        "a random walk; auto: the level that is the cohort's date; none",
    )
    steps: int = Field(0, ge=0, description="most minibatches; 0: from the number of cells")
    batch_size: int = Field(
        0, ge=0, description="cells in a minibatch; 0: from the number of cells"
    )
    learning_rate: float = Field(3e-3, gt=0, description="of Adam, at its highest")
    patience: int = Field(30, ge=1, description="epochs without a better held-out loss that end it")
    checkpoint_seconds: float = Field(30.0, ge=0, description="time between checkpoints")
    use_labels: bool = Field(
        False,
        description="whether labels shape the embedding; some may be unknown, some wrong",
    )
    augment: str = Field(
        "auto",
        description="random changes in training: thinning, gene_drop, mixing, style_swap, with "
        "commas; 'none'; 'auto': what helped in the ablation",
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="of all randomness")

    @field_validator("augment")
    @classmethod
    def _normal_augment(cls, text: str) -> str:
        return text if text == "auto" else ",".join(parse_terms(text)) or "none"

    def refuse_without_effect(self, model_class: str) -> None:
        """Raise BadOption where a choice would change nothing in a model of a class."""
        if model_class in ("gan", "scgen") and "style_swap" in self.augment:
            raise BadOption(
                f"the encoder of class {model_class} is told no batch that could be swapped",
                where="--augment",
                do="leave style_swap out",
            )
        defaults = TrainParams()
        for option, what in _WITHOUT_EFFECT.get(model_class, ()):
            if getattr(self, option) not in (getattr(defaults, option), NONE):
                raise BadOption(
                    f"{what} no part in a model of class {model_class}",
                    where=f"--{option.replace('_', '-')}",
                    do="leave it out",
                )
