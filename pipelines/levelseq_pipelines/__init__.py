"""levelseq on Kubeflow Pipelines and on a laptop."""
