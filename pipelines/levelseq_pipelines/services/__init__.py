"""Where a pipeline can be sent: Kubeflow, and batch services that know nothing of it.

Each module has a `Place` (what the service must be told, each field an option), `calls` (a job
description in, whole requests out, nothing sent) and `start` (send them).
"""

from types import ModuleType

from levelseq_pipelines.services import (
    aws_batch,
    azure_batch,
    google_batch,
    healthomics,
    kubeflow,
)

__all__ = ["KUBEFLOW", "SERVICES"]

KUBEFLOW = "kubeflow"
SERVICES: dict[str, ModuleType] = {
    KUBEFLOW: kubeflow,
    "google-batch": google_batch,
    "aws-batch": aws_batch,
    "healthomics": healthomics,
    "azure-batch": azure_batch,
}
