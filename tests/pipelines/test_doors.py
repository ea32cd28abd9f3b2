"""The doors: their signatures are the params models', and they run as kfp runs them."""

import inspect
import typing

import pytest

from levelseq_pipelines.docs import DOORS, params_of

# What a door needs beside its step's params.
PLUMBING = {
    "workspace",
    "name",
    "run",
    "fingerprint",
    "champion",
    "deposits",
    "pipeline",
    "choices",
    "verdict",
    "job",
    "part",
    "parts",
    "most_parts",
}
PARAMS_DOORS = {step: doors[0] for step, doors in DOORS.items()}


def door_params(door):
    artifacts = {
        name for name, item in door.component_spec.inputs.items() if item.type.startswith("system.")
    }
    outputs = set(door.component_spec.outputs or {})
    return {
        name: parameter
        for name, parameter in inspect.signature(door.python_func).parameters.items()
        if name not in PLUMBING | artifacts | outputs - {"run"}
    }


@pytest.mark.parametrize("step", DOORS)
def test_a_door_takes_its_steps_params_with_their_types_and_defaults(step):
    fields = params_of(step).model_fields
    parameters = door_params(PARAMS_DOORS[step])
    assert parameters.keys() == fields.keys()
    for name, field in fields.items():
        kind = typing.get_origin(field.annotation) or field.annotation
        expected = str if kind is typing.Literal else kind
        assert parameters[name].annotation is expected, name
        assert parameters[name].default == field.default, name


@pytest.mark.parametrize("step", DOORS)
def test_every_input_of_a_door_is_described(step):
    from levelseq_pipelines.docs import render

    rows = [line for line in render(step).splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_distributed_door_takes_what_train_and_its_launch_take():
    from levelseq.train.component import train_distributed
    from levelseq.train.params import TrainParams
    from levelseq.train.trainjob import Launch

    parameters = door_params(train_distributed)
    fields = TrainParams.model_fields | Launch.model_fields
    assert parameters.keys() == fields.keys()
    for name, field in fields.items():
        if field.is_required():
            assert parameters[name].default is inspect.Parameter.empty
        else:
            assert parameters[name].default == field.default, name
