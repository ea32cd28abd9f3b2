"""The recurring run's command line is one that levelseq understands."""

from __future__ import annotations

import re

import pytest
from pod_policy import pods
from rendered import OVERLAYS, only

import levelseq
from levelseq_pipelines.cli import parser


def _words(objects):
    """The container's command with its settings in place, as the kubelet expands it."""
    (pod,) = pods(only(objects, "CronJob", "levelseq-watch"))
    (container,) = pod["containers"]
    values = only(objects, "ConfigMap", "levelseq-settings")["data"]
    words = [*container["command"], *container["args"]]
    return [re.sub(r"\$\((\w+)\)", lambda name: values[name[1]], word) for word in words], values


@pytest.mark.parametrize("folder", OVERLAYS)
def test_the_command_line_parses(render, folder):
    words, values = _words(render(folder))
    assert words[:3] == ["levelseq", "submit", "--pipeline=watch"]
    args = parser().parse_args(words[1:])
    assert args.deposits == [values["DEPOSITS"]]
    assert args.workspace == values["WORKSPACE"]
    assert args.batch == values["BATCH"]
    assert args.name == values["NAME"]
    columns = [values["LABEL"], values["CONDITION"], values["DONOR"]]
    assert [args.label, args.condition, args.donor] == columns
    assert args.host == values["KFP_HOST"]
    assert args.service_account == "levelseq"
    assert args.cloud == folder.rpartition("/")[2]
    assert args.queue == "levelseq"


def test_every_setting_reaches_the_command_line(render):
    objects = render("overlays/local")
    only(objects, "ConfigMap", "levelseq-settings")["data"].update(
        BATCH="site", LABEL="cell_type", CONDITION="status", DONOR="person"
    )
    words, _ = _words(objects)
    args = parser().parse_args(words[1:])
    asked = (args.batch, args.label, args.condition, args.donor)
    assert asked == ("site", "cell_type", "status", "person")


@pytest.mark.parametrize("folder", OVERLAYS)
def test_a_namespace_is_named_only_where_kubeflow_has_several_users(render, folder):
    words, _ = _words(render(folder))
    args = parser().parse_args(["submit", "--pipeline=map_new_data", *words[3:]])
    assert args.namespace == ("" if folder.startswith("standalone") else "levelseq")


@pytest.mark.parametrize("folder", OVERLAYS)
def test_images_are_the_released_ones_until_settings_say_otherwise(render, folder):
    objects = render(folder)
    images = {pod["containers"][0]["image"] for item in objects for pod in pods(item)}
    names = ("levelseq-cpu", "levelseq-cuda")
    assert images == {f"levelseq/{name}:{levelseq.__version__}" for name in names}


@pytest.mark.parametrize(
    ("cloud", "scheme"), [("local", "s3"), ("gke", "gs"), ("eks", "s3"), ("aks", "az")]
)
def test_addresses_are_of_the_clouds_own_store(render, cloud, scheme):
    values = only(render(f"overlays/{cloud}"), "ConfigMap", "levelseq-settings")["data"]
    assert values["WORKSPACE"].startswith(f"{scheme}://")
    assert values["DEPOSITS"].startswith(f"{scheme}://")
