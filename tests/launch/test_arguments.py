# SPDX-License-Identifier: Apache-2.0
"""The arguments of the training command: what it understands, and how it answers what it does not."""

import dataclasses
import json
import pathlib
import shlex

import pytest

from launch import train
from ntl_jax.config import RunConfig, config_to_json, flatten
from ntl_jax.config_files import load_config

ROOT = pathlib.Path(__file__).parents[2]
NAME = "--config=gsm8k_ntl"


@pytest.fixture
def started_run(tmp_path):
    """A run folder as far as the command line reads it."""
    config = train.parse_args([NAME, "--config.data.tiers", "1", "2", "3", "--config.trainer.steps=10"]).config
    (tmp_path / "config.json").write_text(config_to_json(config))
    return tmp_path, config


def test_a_named_configuration_is_loaded_and_gets_a_run_folder_of_its_own():
    args = train.parse_args([NAME])
    assert args.config == load_config("gsm8k_ntl")
    assert args.workdir is not None and args.workdir.parent == pathlib.Path("runs")
    assert args.workdir.name.startswith("gsm8k_ntl-") and not args.resume


@pytest.mark.parametrize("config_option", [["--config=gsm8k_ntl"], ["--config", "gsm8k_ntl"]])
def test_overrides_change_their_fields_and_no_others(config_option):
    args = train.parse_args([*config_option, "--config.algorithm.optimizer.learning_rate=1e-5", "--config.seed", "3"])
    plain = load_config("gsm8k_ntl")
    optimizer = dataclasses.replace(plain.algorithm.optimizer, learning_rate=1e-5)
    algorithm = dataclasses.replace(plain.algorithm, optimizer=optimizer)
    assert args.config == dataclasses.replace(plain, seed=3, algorithm=algorithm)


@pytest.mark.parametrize("word", ["false", "False", "FALSE"])
def test_truth_values_are_read_in_any_case(word):
    config = train.parse_args([NAME, f"--config.ntl.enabled={word}", f"--config.use_ntl_trainer={word}"]).config
    assert config.ntl.enabled is False and config.use_ntl_trainer is False


def test_tuples_paths_and_none_are_read():
    options = ["--config.model.mesh", "-1", "2", "1", "--config.data.train=a b.jsonl", "--config.data.eval"]
    with pytest.raises(ValueError, match=r"data\.eval=\(\): data\.train names a source"):
        train.parse_args([NAME, *options])
    config = train.parse_args([NAME, *options[:-1], "--config.data.eval=c.jsonl"]).config
    assert config.model.mesh == (-1, 2, 1)
    assert (config.data.train, config.data.eval) == (("a b.jsonl",), ("c.jsonl",))


def test_hyphens_and_underscores_are_the_same():
    assert train.parse_args([NAME, "--config.rollout.num-samples=4"]).config.rollout.num_samples == 4


def test_escapes_in_texts_from_the_shell_are_read():
    template, stops = r"Q:\t{question}\nPut it in \boxed{}:", [r"--config.rollout.stop-strings=\n\n", r"\\n"]
    files = [r"--config.data.train=C:\new\train.jsonl", "--config.data.eval=test.jsonl"]
    for option in ([f"--config.prompt.template={template}"], ["--config.prompt.template", template]):
        config = train.parse_args([NAME, *option, *stops, *files]).config
        assert config.prompt.template == "Q:\t{question}\nPut it in \\boxed{}:"
        assert config.rollout.stop_strings == ("\n\n", r"\n")
        assert config.data.train == (r"C:\new\train.jsonl",)


def test_escapes_in_a_configuration_file_are_not_interpreted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ntl_jax.config import *\n"
        "def get_config():\n"
        "    rollout = RolloutSection(stop_strings=(r'\\n', 'A:,B:'))\n"
        "    return RunConfig(prompt=PromptSection(template=r'{question} \\n'), rollout=rollout)\n"
    )
    config = train.parse_args([f"--config={file}", "--config.seed=1"]).config
    assert config.prompt.template == r"{question} \n" and config.rollout.stop_strings == (r"\n", "A:,B:")


def test_a_resumed_run_may_repeat_its_texts(started_run):
    workdir, config = started_run
    again = [f"--workdir={workdir}", "--resume", "--config.prompt.template=auto"]
    assert train.parse_args(again).config == config


def test_several_stop_strings_in_one_are_noted(capsys):
    def stop_strings(*words):
        return train.parse_args([NAME, "--config.rollout.stop_strings", *words]).config.rollout.stop_strings

    assert stop_strings("A:", "B:") == ("A:", "B:")
    assert capsys.readouterr().err == ""
    assert stop_strings(r"\n\n,B b:") == ("\n\n,B b:",)
    expected = r"note: '\n\n,B b:' is one stop string; for several, write --config.rollout.stop_strings '\n\n' 'B b:'"
    assert capsys.readouterr().err == expected + "\n"


def test_a_configuration_can_be_a_path(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ntl_jax.config import RunConfig\ndef get_config():\n    return RunConfig(name='mine', seed=5)\n"
    )
    assert train.parse_args([f"--config={file}"]).config == RunConfig(name="mine", seed=5)


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        ([], "--config=NAME is missing: .*gsm8k_ntl"),
        (["--config=gsm8k_ntI"], "did you mean --config=gsm8k_ntl"),
        (["--config=no/such.py"], r"there is no no/such\.py"),
        (["--confg=gsm8k_ntl"], "there is no option --confg: did you mean --config?"),
        ([NAME, "--config.ntl.methd=mse"], r"did you mean --config\.ntl\.method\?"),
        ([NAME, "--seed=3"], r"did you mean --config\.seed\?"),
        ([NAME, "--config.algorithm.clip_low=0.1"], r"clipped\.clip_low or .*gspo\.clip_low"),
        ([NAME, "--config.algorithm.dual_clip=3"], r"did you mean --config\.algorithm\.clipped\.dual_clip\?"),
        ([NAME, "--config.algorithm.sapo_tau_positive=1"], r"did you mean --config\.algorithm\.sapo\.tau_positive\?"),
        ([NAME, "--config.learning_rate", "1"], r"algorithm\.optimizer\.learning_rate or .*warm_start\.optimizer"),
        ([NAME, "--config.seed=-1", "--config.ntl.temperature=0"], r"2 problems(.|\n)*seed=-1(.|\n)*temperature=0\.0"),
        ([NAME, *["--config.rollout.stop_strings=A:"] * 2], "stop_strings is given twice: .*stop_strings A B"),
        ([NAME, "--config.data.tiers=1", "--config.data.tiers", "2"], "data.tiers is given twice"),
        ([NAME, "--resume"], "--resume needs --workdir"),
        ([NAME, "--resume", "--workdir=no/such"], "holds no run"),
        ([NAME, "--allow-changed-data"], "--allow-changed-data only applies to a resumed run: add --resume"),
        ([NAME, "--allow_changed_schedule"], "--allow-changed-schedule only applies to a resumed run"),
    ],
)
def test_a_mistake_is_answered_with_what_would_be_right(argv, answer):
    with pytest.raises(ValueError, match=answer):
        train.parse_args(argv)


@pytest.mark.parametrize(
    ("option", "answer"),
    [
        ("--config.ntl.method=wasser", "must be one of mse, wasserstein, raft; did you mean wasserstein?"),
        ("--config.ntl.enabled=fals", "must be true or false; did you mean false?"),
        ("--config.ntl.weight=much", "must be a number"),
        ("--config.trainer.target_accuracy=much", "must be a number or None"),
        ("--config.data.tiers=one", "must be any number of values, each a whole number"),
    ],
)
def test_a_wrong_value_is_answered_with_the_allowed_ones(option, answer, capsys):
    with pytest.raises(ValueError) as error:
        train.parse_args([NAME, option])
    assert str(error.value) == f"{option}: {answer}"
    assert capsys.readouterr().err == ""


def test_the_commands_of_the_readme_suit_their_data_and_their_weights():
    """GSM8K's solutions take up to 151 tokens in ten rows alone; pretrained weights need low rates."""
    text = (ROOT / "README.md").read_text().replace("\\\n", " ")
    commands = [line.partition("#")[0] for line in text.splitlines() if "launch/train.py --config=" in line]
    parsed = [train.parse_args(shlex.split(line)[2:]).config for line in commands if "--help" not in line]
    assert len(parsed) >= 2
    for config in parsed:
        assert not config.data.train or (config.model.path and config.rollout.max_tokens >= 300)
        for stage in (config.warm_start, config.algorithm) if config.warm_start.steps else (config.algorithm,):
            assert config.model.path is None or stage.optimizer.learning_rate <= 1e-5


@pytest.mark.parametrize("content", ["x = 1", "get_config = 3", "def get_config():\n    return {}"])
def test_a_file_without_a_configuration_is_refused(tmp_path, content):
    file = tmp_path / "mine.py"
    file.write_text(content)
    with pytest.raises(ValueError, match="must define get_config"):
        load_config(str(file))


def test_help_documents_every_field_with_the_chosen_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_info:
        train.parse_args([NAME, "--help"])
    assert exit_info.value.code == 0
    shown = capsys.readouterr().out
    for name, value in flatten(load_config("gsm8k_ntl")).items():
        _, _, after = shown.partition(f"--config.{name} ")
        entry = " ".join(after.partition("│ --")[0].replace("│", " ").split())
        assert "(default: " in entry and len(entry.split("(default: ")[0].split()) > 2, name
        if isinstance(value, int) and not isinstance(value, bool):
            assert f"(default: {value})" in entry


def test_a_folder_that_holds_a_run_needs_resume(started_run):
    folder, _ = started_run
    with pytest.raises(ValueError, match="already holds a run: add --resume"):
        train.parse_args([NAME, f"--workdir={folder}"])


def test_resume_needs_only_the_folder_and_takes_the_runs_own_settings(started_run):
    folder, config = started_run
    args = train.parse_args([f"--workdir={folder}", "--resume"])
    assert (args.config, args.workdir, args.resume) == (config, folder, True)
    assert not (args.allow_changed_schedule or args.allow_changed_data)


def test_resume_may_raise_the_number_of_steps(started_run):
    folder, config = started_run
    resumed = train.parse_args([f"--workdir={folder}", "--resume", "--config.trainer.steps=20"]).config
    assert resumed == dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, steps=20))


def test_resume_may_keep_compiled_programs_elsewhere(started_run):
    option = "--config.trainer.compilation_cache=off"
    assert (
        train.parse_args([f"--workdir={started_run[0]}", "--resume", option]).config.trainer.compilation_cache == "off"
    )


def test_resume_may_take_less_memory(started_run):
    options = ["--config.trainer.max_tokens_per_micro_batch=512", "--config.model.remat=layer"]
    resumed = train.parse_args([f"--workdir={started_run[0]}", "--resume", *options]).config
    assert (resumed.trainer.max_tokens_per_micro_batch, resumed.model.remat) == (512, "layer")


def test_the_iterations_to_trace_are_read_as_numbers_and_checked(started_run):
    resumed = [f"--workdir={started_run[0]}", "--resume"]
    assert train.parse_args([*resumed, "--profile=2:3"]).profile == (2, 3)
    assert train.parse_args(resumed).profile is None
    with pytest.raises(ValueError, match="choose iterations up to"):
        train.parse_args([*resumed, "--profile=2:3000"])


def test_the_flags_that_are_no_settings_reach_the_run(started_run, monkeypatch):
    given = {}
    monkeypatch.setattr("ntl_jax.train.run", lambda config, workdir, **options: given.update(options))
    assert train.main([f"--workdir={started_run[0]}", "--resume", "--allow-changed-data", "--profile=7:9"]) == 0
    flags = {"resume": True, "allow_changed_schedule": False, "allow_changed_data": True}
    assert given == flags | {"profile": (7, 9)}


@pytest.mark.parametrize("options", [["--config.trainer.steps=9"], ["--config.seed=7"], [NAME]])
def test_resume_refuses_settings_that_contradict_the_run(started_run, options):
    folder, _ = started_run
    with pytest.raises(ValueError, match=r"a resumed run keeps its settings(.|\n)*the run has .* given "):
        train.parse_args([f"--workdir={folder}", "--resume", *options])


def test_all_problems_of_a_configuration_file_are_listed_before_its_values_are_used_as_defaults(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ntl_jax.config import NTLSection, RunConfig\n"
        "def get_config():\n    return RunConfig(seed='3', model=3, ntl=NTLSection(method='wasser', temperature=0.0))\n"
    )
    with pytest.raises(ValueError, match="4 problems in the configuration") as error:
        train.parse_args([f"--config={file}"])
    lines = str(error.value).splitlines()
    assert str(file) in lines[0]
    assert [line.split("=")[0].strip() for line in lines[1:]] == ["seed", "model", "ntl.method", "ntl.temperature"]


def test_an_objective_and_its_own_setting_are_one_command():
    options = ["--config.algorithm.objective=gspo", "--config.algorithm.gspo.clip_low=2e-4"]
    algorithm = train.parse_args([NAME, *options]).config.algorithm
    assert (algorithm.objective, algorithm.gspo.clip_low, algorithm.gspo.clip_high) == ("gspo", 2e-4, 4e-4)
    with pytest.raises(ValueError) as error:
        train.parse_args([NAME, options[1]])
    assert str(error.value).splitlines()[1:] == [
        "  algorithm.gspo.clip_low=0.0002: has no effect with algorithm.objective='clipped': leave it 0.0003, or set "
        "algorithm.objective='gspo'"
    ]


SWITCHES = ["ntl.enabled=false", "warm_start.steps=0", "trainer.steps=0", "model.path=no/such", "rollout.engine=vllm"]


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("name", ["gsm8k_ntl", "gsm8k_ntl_all"])
def test_what_the_named_configuration_sets_is_not_refused_for_an_override_that_switches_it_off(name, switch):
    assert train.parse_args([f"--config={name}", f"--config.{switch}"]).config.name == name


def test_a_file_whose_own_settings_have_no_effect_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from ntl_jax.config import AlgorithmSection, RunConfig\n"
        "def get_config():\n    return RunConfig(algorithm=AlgorithmSection(max_refills=5))\n"
    )
    with pytest.raises(ValueError, match=r"mine\.py:2: 1 problem(.|\n)*set algorithm\.dynamic_sampling=True"):
        train.parse_args([f"--config={file}"])


def test_a_resumed_run_keeps_settings_that_an_override_left_without_effect(tmp_path):
    config = train.parse_args([NAME, "--config.ntl.enabled=false", "--config.warm_start.steps=0"]).config
    (tmp_path / "config.json").write_text(config_to_json(config))
    assert train.parse_args([f"--workdir={tmp_path}", "--resume"]).config == config


@pytest.mark.parametrize("content", ["{", "{}", '{"name": "x"}', "[]"])
def test_a_run_folder_with_an_unreadable_configuration_is_an_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        train.parse_args([f"--workdir={tmp_path}", "--resume"])


def test_a_stored_configuration_with_a_wrong_value_is_an_error(started_run):
    folder, config = started_run
    (folder / "config.json").write_text(json.dumps(json.loads(config_to_json(config)) | {"seed": "3"}))
    with pytest.raises(ValueError, match=r"config\.json cannot be read(.|\n)*seed='3': must be int"):
        train.parse_args([f"--workdir={folder}", "--resume"])


def test_the_resolved_configuration_is_the_one_that_was_measured():
    golden = json.loads((pathlib.Path(__file__).parent / "gsm8k_ntl.json").read_text())
    assert json.loads(json.dumps(dataclasses.asdict(load_config("gsm8k_ntl")))) == golden
