# SPDX-License-Identifier: Apache-2.0
"""Nothing of a configuration is lost or made up on the way through JSON."""

import dataclasses
import json

import pytest

from ntl_jax.config import AlgorithmSection, DataSection, ModelSection, OptimizerSection, RunConfig, flatten, from_dict


def test_a_configuration_survives_the_trip_through_json():
    config = RunConfig(
        name="é",
        use_ntl_trainer=True,
        model=ModelSection(mesh=(2, 2, 2)),
        data=DataSection(tiers=(1, 2, 3)),
        algorithm=AlgorithmSection(optimizer=OptimizerSection(learning_rate=0.1 + 0.2)),
    )
    assert from_dict(RunConfig, json.loads(json.dumps(dataclasses.asdict(config)))) == config


def test_flat_settings_tell_any_two_configurations_apart():
    plain, other = RunConfig(), RunConfig(algorithm=AlgorithmSection(optimizer=OptimizerSection(b1=0.8)))
    differing = {path: value for path, value in flatten(other).items() if value != flatten(plain)[path]}
    assert differing["algorithm.optimizer.b1"] == 0.8
    assert flatten(plain).keys() == flatten(other).keys()
    assert not any(dataclasses.is_dataclass(value) for value in flatten(plain).values())


def test_missing_and_unknown_fields_are_named():
    values = dataclasses.asdict(RunConfig())
    values["ntl"]["wait"] = values["ntl"].pop("weight")
    with pytest.raises(ValueError, match=r"NTLSection .*weight is missing, wait is unknown"):
        from_dict(RunConfig, values)


@pytest.mark.parametrize("value", [None, 3, [], "x"])
def test_a_section_that_is_no_dictionary_is_refused(value):
    with pytest.raises(ValueError, match="ModelSection must be an object"):
        from_dict(RunConfig, dataclasses.asdict(RunConfig()) | {"model": value})
