"""The Kubeflow doors of the folder `train`: `train` and `train_distributed`."""
# kfp reads the annotations themselves: no `from __future__ import annotations` in a door.

from kfp import dsl

from levelseq.doors import IMAGE

__all__ = ["train", "train_distributed"]


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


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_distributed(
    cohort: dsl.Input[dsl.Dataset],
    normalized: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    workspace: str,
    run: str,
    image: str,
    fingerprint: str = "",
    nodes: int = 2,
    gpus: str = "1",
    cpu: str = "",
    memory: str = "",
    runtime: str = "levelseq-torch",
    queue: str = "",
    hours: int = 72,
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
    """Fit a model as train does, in several pods that a TrainJob of Kubeflow Trainer starts.

    The task starts the job, or finds it at work, and waits for its end.

    Args:
        cohort: address of the cohort, for its counts.
        normalized: address of classical values, for size factors and variable genes.
        model: address of the model: model.json, weights, genes, batch tree.
        workspace: the address below which everything is written.
        run: id of the run; an error is left at runs/<run>/error.json.
        image: the image that the pods run from.
        fingerprint: the cohort's fingerprint; makes the cache follow the content.
        nodes: pods that train together.
        gpus: GPUs of each, as text; 0 for none.
        cpu: processors that each asks for; as the runtime has it when empty.
        memory: memory of each; as the runtime has it when empty.
        runtime: the TrainingRuntime of the namespace.
        queue: Kueue's LocalQueue, if there is one.
        hours: after which the job is taken to hang.
    """
    given = locals()
    from levelseq import doors

    doors.train_distributed(**given)
