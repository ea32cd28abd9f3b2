"""The Kubeflow door of `train`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["train"]


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(
    cohort: dsl.Input[dsl.Dataset],
    normalized: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    workspace: str,
    run: str,
    fingerprint: str = "",
    model_class: str = "auto",
    n_latent: int = 0,
    n_hidden: int = 128,
    dropout: float = 0.1,
    likelihood: str = "nb",
    dispersion: str = "gene",
    ordered: str = "none",
    steps: int = 0,
    batch_size: int = 0,
    learning_rate: float = 0.003,
    patience: int = 30,
    checkpoint_seconds: float = 30.0,
    use_labels: bool = False,
    augment: str = "auto",
    seed: int = 0,
):
    """Fit a model of the cohort's counts on its batch tree, or go on from the last checkpoint.

    Args:
        cohort: address of the cohort, for its counts.
        normalized: address of classical values, for size factors and variable genes.
        model: address of the model: model.json, weights, genes, batch tree.
        workspace: the address below which everything is written.
        run: id of the run; an error is left at runs/<run>/error.json.
        fingerprint: the cohort's fingerprint; makes the cache follow the content.
    """
    given = locals()
    from levelseq import doors

    doors.train(**given)
