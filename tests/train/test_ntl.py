# SPDX-License-Identifier: Apache-2.0
"""Number Token Loss in the trainer: where its record comes from, what reaches the reward, what is left without it."""

import dataclasses
import logging
import pathlib
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ntl_jax.config import NTLSection, RewardSection
from ntl_jax.experience.digit_pass import PolicyPass
from ntl_jax.experience.ntl_record import CONFIDENCE
from ntl_jax.experience.scorer import Scorer
from ntl_jax.losses.numbers import LOSSES
from ntl_jax.losses.numbers.widths import of_same_width, to_digit_scale
from ntl_jax.numerals import NumberTable
from ntl_jax.records import Sampling, Version, Weights
from ntl_jax.rewards import extract_answer
from ntl_jax.rows.padding import RowShape
from ntl_jax.train import (
    EXAMPLE_CONFIGS,
    ExtractionError,
    create,
    create_all_tokens_ntl_trainer,
    create_final_answer_ntl_trainer,
    create_ntl_trainer,
    create_ppo_trainer,
    create_standard_trainer,
)
from ntl_jax.train.factory import assemble, ppo_trainer
from ntl_jax.train.journal.digits import log_samples, save_digit_info

GPT2 = pathlib.Path(__file__).parents[3] / "shared" / "data" / "tokenizers" / "gpt2"
SOURCES = ("extract_during_generation", "extract_during_log_prob")


def with_settings(parts, reward: RewardSection | None = None, **settings):
    """The same parts with other settings of the ntl section."""
    config = parts.config
    config = dataclasses.replace(config, ntl=NTLSection(**settings), reward=reward or config.reward)
    config.validate(base=config)
    shape = RowShape(row=64 + config.rollout.max_tokens, response=config.rollout.max_tokens)
    policy_pass = PolicyPass(parts.table, config.ntl.method, shape, parts.mesh, max_tokens=512)
    scorer = Scorer(config, parts.task, parts.tokenizer, parts.table, policy_pass)
    return dataclasses.replace(parts, config=config, scorer=scorer)


@pytest.fixture(scope="module")
def decoder(tiny_parts):
    return ppo_trainer(tiny_parts, jax.tree.map(lambda x: x.copy(), tiny_parts.params)).decoder()


@pytest.fixture(scope="module", params=[1.0, 0.7])
def sampled(request, tiny_parts, decoder):
    """Prompts, responses with captured digits, and the temperature they were sampled with."""
    temperature = request.param
    sampling = Sampling(4, 24, temperature=temperature, stop_token_ids=tiny_parts.stop_token_ids)
    prompts = tiny_parts.train_prompts[:4]
    tiny_parts.engine.publish(Weights(Version(0), nnx.state(decoder, nnx.Param)))
    trajectories = tiny_parts.engine.generate(prompts, sampling, seed=1)
    tiny_parts.engine.retract()
    return prompts, trajectories, temperature


def without_capture(trajectories, rows=None):
    """The same responses from an engine that captured no digits, in these rows or in all."""
    return [
        dataclasses.replace(t, digit_log_probs=None) if rows is None or i in rows else t
        for i, t in enumerate(trajectories)
    ]


def test_the_trainers_own_pass_gives_what_the_engine_captured(tiny_parts, sampled, decoder):
    prompts, trajectories, temperature = sampled
    captured = with_settings(tiny_parts).scorer(prompts, trajectories).ntl_info
    parts = with_settings(tiny_parts, extract_during_generation=False)
    recomputed = parts.scorer(prompts, without_capture(trajectories), decoder, temperature=temperature).ntl_info
    assert captured.method == recomputed.method == "mse"
    assert captured.total_digits.sum() > 0
    np.testing.assert_allclose(recomputed.digit_log_probs, captured.digit_log_probs, atol=1e-4)
    np.testing.assert_allclose(recomputed.ntl_loss, captured.ntl_loss, rtol=1e-4, atol=1e-4)


def test_an_engine_that_captures_nothing_is_made_up_for_by_the_pass(tiny_parts, sampled, decoder):
    prompts, trajectories, temperature = sampled
    scored = with_settings(tiny_parts).scorer(prompts, without_capture(trajectories), decoder, temperature=temperature)
    assert scored.ntl_info.digit_log_probs is not None and not scored.fallbacks


def test_without_any_extraction_the_confidence_is_left(tiny_parts, sampled):
    prompts, trajectories, _ = sampled
    scorer = with_settings(tiny_parts, **dict.fromkeys(SOURCES, False)).scorer
    scored = scorer(prompts, without_capture(trajectories))
    assert scored.ntl_info.method == CONFIDENCE
    for row, (trajectory, positions) in enumerate(zip(trajectories, scored.ntl_info.digit_positions, strict=True)):
        has_answer = extract_answer(scored.texts[row]) is not None
        expected = -trajectory.rollout_log_probs[positions].mean() if has_answer else np.inf
        assert scored.ntl_info.ntl_loss[row] == pytest.approx(expected, rel=1e-5)
    assert scored.valid.all()


def test_a_sample_without_a_record_is_scored_by_exact_match_counted_and_logged(tiny_parts, sampled, caplog):
    prompts, trajectories, _ = sampled
    parts = with_settings(tiny_parts, extract_during_log_prob=False)
    with caplog.at_level(logging.WARNING, "ntl"):
        scored = parts.scorer(prompts, without_capture(trajectories, rows={0, 5}))
    assert scored.fallbacks.keys() == {0, 5}
    assert "2 of 16 samples are scored by exact match: the engine captured no log-probs" in caplog.text
    assert [scored.outcomes[i].score for i in (0, 5)] == [float(scored.correct[i]) for i in (0, 5)]
    assert scored.ntl_info.total_digits[[0, 5]].tolist() == [0, 0]
    whole = parts.scorer(prompts, trajectories)
    assert [o.score for i, o in enumerate(scored.outcomes) if i not in (0, 5)] == [
        o.score for i, o in enumerate(whole.outcomes) if i not in (0, 5)
    ]


def test_log_probs_that_are_nan_are_no_record(tiny_parts, sampled):
    prompts, trajectories, _ = sampled
    row = next(
        i for i, t in enumerate(with_settings(tiny_parts).scorer(prompts, trajectories).ntl_info.total_digits) if t
    )
    broken = list(trajectories)
    broken[row] = dataclasses.replace(broken[row], digit_log_probs=np.full_like(broken[row].digit_log_probs, np.nan))
    scored = with_settings(tiny_parts).scorer(prompts, broken)
    assert scored.fallbacks == {row: "the log-probs at its digits are NaN"}
    assert np.isfinite(scored.scores).all() and scored.valid.all()


def test_with_fallbacks_off_a_sample_without_a_record_stops_the_run(tiny_parts, sampled):
    prompts, trajectories, _ = sampled
    parts = with_settings(tiny_parts, extract_during_log_prob=False, fallback_on_error=False)
    with pytest.raises(ExtractionError, match=r"1 of 16 samples .* captured no log-probs .*fallback_on_error=true"):
        parts.scorer(prompts, without_capture(trajectories, rows={3}))


def test_required_digits_make_a_response_without_any_a_failure(tiny_parts, sampled):
    prompts, trajectories, _ = sampled
    digitless = [
        i for i, x in enumerate(with_settings(tiny_parts).scorer(prompts, trajectories).ntl_info.has_digits) if not x
    ]
    assert digitless
    scored = with_settings(tiny_parts, require_digits=True).scorer(prompts, trajectories)
    assert scored.fallbacks == dict.fromkeys(digitless, "the response holds no digit")
    with pytest.raises(ExtractionError, match="holds no digit"):
        with_settings(tiny_parts, require_digits=True, fallback_on_error=False).scorer(prompts, trajectories)


@pytest.fixture
def echo(tmp_path):
    """A reward function that returns what it was called with as metrics."""
    path = tmp_path / "echo.py"
    path.write_text(
        textwrap.dedent(
            """
            def score(data_source, solution_str, ground_truth, extra_info, **kwargs):
                numbers = {k: v for k, v in kwargs.items() if isinstance(v, (int, float))}
                return {"score": 1.0, "extras": len(kwargs), **numbers}
            """
        )
    )
    return f"{path}:score"


def test_the_reward_function_gets_record_temperature_and_bonus_settings(tiny_parts, sampled, echo):
    prompts, trajectories, _ = sampled
    reward = RewardSection(function=echo, use_ntl_bonus=False, ntl_bonus_weight=0.25)
    scored = with_settings(tiny_parts, reward, temperature=2.0).scorer(prompts, trajectories)
    settings = {"tau": 2.0, "use_ntl_bonus": 0.0, "ntl_bonus_weight": 0.25}
    assert scored.outcomes[0].metrics == {"extras": 7, "correct": float(scored.correct[0]), **settings}


def test_without_passing_it_on_no_record_reaches_the_reward_function(tiny_parts, sampled, echo):
    prompts, trajectories, _ = sampled
    parts = with_settings(tiny_parts, RewardSection(function=echo), pass_to_reward_function=False)
    scored = parts.scorer(prompts, trajectories)
    assert scored.outcomes[0].metrics == {"extras": 2, "correct": float(scored.correct[0])}
    assert scored.ntl_info is not None
    assert with_settings(tiny_parts, pass_to_reward_function=False).scorer.reward.spec.endswith(":exact_match")
    with pytest.raises(ValueError, match="ntl_info"):
        with_settings(tiny_parts, RewardSection(function="ntl_jax.rewards:ntl_reward"), pass_to_reward_function=False)


def test_an_adaptive_temperature_follows_its_schedule(tiny_parts, sampled):
    prompts, trajectories, _ = sampled
    settings = {"adaptive_temperature": True, "temperature_schedule": "linear:2.0->1.0@10"}
    scorer = with_settings(tiny_parts, **settings).scorer
    taus = [scorer(prompts, trajectories, iteration=i).tau for i in (0, 5, 99)]
    assert taus == [2.0, 1.5, 1.0]
    constant = with_settings(tiny_parts, temperature=3.0, adaptive_temperature=True, temperature_schedule="constant")
    assert constant.scorer(prompts, trajectories, iteration=7).tau == 3.0


def test_reading_the_tokenizer_at_every_step_changes_nothing_and_follows_it(tiny_parts, sampled, monkeypatch):
    prompts, trajectories, _ = sampled
    cached, fresh = (with_settings(tiny_parts, cache_digit_mappings=x).scorer for x in (True, False))
    assert cached(prompts, trajectories).scores.tolist() == fresh(prompts, trajectories).scores.tolist()
    vocab = {"x": 0, **{str(d): d + 1 for d in range(10)}}
    monkeypatch.setattr(tiny_parts.tokenizer, "get_vocab", lambda: vocab)
    now_digits = sum(np.isin(t.response_ids, range(1, 11)).sum() for t in trajectories)
    assert cached(prompts, trajectories).ntl_info.total_digits.sum() != now_digits
    assert fresh(prompts, trajectories).ntl_info.total_digits.sum() == now_digits


def test_the_record_is_saved_for_numpy_and_logged_digit_by_digit(tiny_parts, sampled, tmp_path, caplog):
    prompts, trajectories, _ = sampled
    scored = with_settings(tiny_parts, reward_mode="hybrid").scorer(prompts, trajectories)
    info = scored.ntl_info
    save_digit_info(scored, tmp_path / "digit_info" / "1.npz")
    file = np.load(tmp_path / "digit_info" / "1.npz")
    assert len(file["digit"]) == info.total_digits.sum()
    row = int(np.argmax(info.total_digits))
    mine = file["sample"] == row
    assert file["position"][mine].tolist() == info.digit_positions[row].tolist()
    assert file["truth"][mine].tolist() == info.digit_ground_truth[row, info.digit_positions[row]].tolist()
    np.testing.assert_allclose(file["sample_ntl_loss"], info.ntl_loss)
    with caplog.at_level(logging.INFO, "ntl"):
        log_samples(scored, [row])
    assert caplog.text.count("position ") == info.total_digits[row]
    assert f"true answer {scored.prompts[row].ground_truth!r}" in caplog.text
    assert "reward " + str(scored.outcomes[row].score) in caplog.text


def test_metrics_of_the_group_can_be_left_out(tiny_parts):
    parts = with_settings(tiny_parts, log_metrics=False)
    metrics, scored = ppo_trainer(parts, assemble(parts.config).params).step()
    assert not [name for name in metrics if name.startswith("ntl/")]
    assert "actor/ntl_loss" in metrics and scored.ntl_info is not None


@pytest.mark.slow
def test_the_standard_trainers_numbers_equal_those_of_ntl_with_every_weight_at_zero(tiny):
    reward = RewardSection(function="ntl_jax.rewards:compute_score", ntl_bonus_weight=0.0)
    config = dataclasses.replace(tiny, reward=reward, algorithm=dataclasses.replace(tiny.algorithm, epochs=2))
    standard, ntl = create_standard_trainer(config), create_ntl_trainer(config, weight=0.0)
    for _ in range(3):
        (plain, plain_scored), (with_ntl, scored) = standard.step(), ntl.step()
        assert [t.response_ids.tolist() for t in plain_scored.trajectories] == [
            t.response_ids.tolist() for t in scored.trajectories
        ]
        timeless = {name: value for name, value in plain.items() if not name.startswith(("timing_s", "perf"))}
        assert timeless == {name: with_ntl[name] for name in timeless}
    states = standard.state.policy.params, ntl.state.policy.params
    jax.tree.map(np.testing.assert_array_equal, *map(jax.device_get, states))


MADE = {
    "standard": (create_standard_trainer, {}, NTLSection(enabled=False)),
    "standard by the same call": (
        create_standard_trainer,
        {"weight": 0.5, "processor": None},
        NTLSection(enabled=False, weight=0.5),
    ),
    "ntl": (create_ntl_trainer, {"method": "wasserstein", "weight": 0.5}, NTLSection(method="wasserstein", weight=0.5)),
    "final": (create_final_answer_ntl_trainer, {"temperature": 0.5}, NTLSection(temperature=0.5)),
    "all": (create_all_tokens_ntl_trainer, {}, NTLSection(reward_mode="all_tokens")),
    "configured": (create_ppo_trainer, {}, NTLSection()),
    "with settings": (create_ppo_trainer, {"method": "wasserstein"}, NTLSection(method="wasserstein")),
    "against": (create_ppo_trainer, {"use_ntl": False}, NTLSection(enabled=False)),
    **{name: (create_ntl_trainer, settings, NTLSection(**settings)) for name, settings in EXAMPLE_CONFIGS.items()},
}


@pytest.mark.parametrize("name", MADE)
def test_each_creator_makes_a_trainer_with_its_settings(tiny, tiny_parts, monkeypatch, name):
    make, settings, expected = MADE[name]
    monkeypatch.setattr(create, "assemble", lambda config, tokenizer: dataclasses.replace(tiny_parts, config=config))
    monkeypatch.setattr(create, "ppo_trainer", lambda parts, params: parts)
    config = make(tiny, **settings).config
    config.validate(base=config)
    assert config.ntl == expected
    assert dataclasses.replace(config, ntl=tiny.ntl) == tiny


def test_the_five_examples_have_their_names():
    assert set(EXAMPLE_CONFIGS) == {
        "final_answer_mode", "all_tokens_mode", "aggressive_ntl", "forgiving_ntl", "debug_mode",
    }  # fmt: skip
    assert EXAMPLE_CONFIGS["aggressive_ntl"]["temperature"] == 0.5
    assert EXAMPLE_CONFIGS["forgiving_ntl"]["temperature"] == 2.0


def test_a_setting_that_does_not_exist_is_answered_with_the_nearest(tiny):
    with pytest.raises(ValueError, match="no setting 'temprature': did you mean 'temperature'"):
        create_ntl_trainer(tiny, temprature=1.0)


@pytest.mark.parametrize("make", {make: None for make, *_ in MADE.values()})
def test_a_processor_is_refused(tiny, make):
    with pytest.raises(ValueError, match="processor='images': policies read text only"):
        make(tiny, None, "images")


def test_a_token_of_two_digits_competes_with_its_like_on_a_digits_scale():
    table = NumberTable.from_vocab({"x": 0, "7": 1, "10": 2, "43": 3, "345": 4}, kind="numbers")
    log_probs = jnp.log(jnp.array([[0.4, 0.1, 0.3, 0.2]]))
    restricted, widths = of_same_width(log_probs, jnp.array([2]), table)
    expected = (10 * 0.1 + 43 * 0.3) / 0.4
    probs = jax.nn.softmax(restricted, axis=-1)
    assert float(jnp.sum(probs * table.values[None, :])) == pytest.approx(expected, rel=1e-5)
    gradient = jax.grad(
        lambda x: jnp.sum(
            LOSSES["wasserstein"](of_same_width(x, jnp.array([2]), table)[0], jnp.array([10.0]), table.values)
        )
    )(log_probs)
    assert np.isfinite(gradient).all() and gradient[0, 0] == gradient[0, 3] == 0 and gradient[0, 2] > 0
    assert to_digit_scale(jnp.array([99.0]), widths, "wasserstein").tolist() == [9.0]
    assert to_digit_scale(jnp.array([99.0**2]), widths, "mse").tolist() == pytest.approx([81.0])


@pytest.fixture(scope="module")
def gpt2_parts(tiny):
    if not GPT2.exists():
        pytest.skip("the tokenizer is read from ../shared/data, which is not there")
    data = dataclasses.replace(tiny.data, tokenizer=str(GPT2), max_number=40)
    return assemble(dataclasses.replace(tiny, data=data, ntl=NTLSection(reward_mode="hybrid", method="wasserstein")))


@pytest.mark.slow
def test_tokens_of_several_digits_train_in_the_same_way(gpt2_parts):
    assert gpt2_parts.table.kind == "numbers"
    trainer = ppo_trainer(gpt2_parts, jax.tree.map(lambda x: x.copy(), gpt2_parts.params))
    metrics, scored = trainer.step()
    assert all(t.digit_log_probs is None for t in scored.trajectories)
    assert scored.ntl_info is not None
    assert scored.ntl_info.digit_log_probs is None and not scored.fallbacks
    assert metrics["ntl/loss"] <= 9.0
    assert metrics["non_finite"] == 0


@pytest.mark.slow
def test_readings_of_long_tokens_equal_those_of_the_dense_softmax(gpt2_parts):
    """A response written by hand: the answer is 123, tokenised as one token, where 130 was due."""
    tokenizer, prompt = gpt2_parts.tokenizer, gpt2_parts.train_prompts[0]
    ids = np.array(tokenizer("#### 123")["input_ids"])
    position = len(ids) - 1
    sampling = Sampling(num_samples=1, max_tokens=8, stop_token_ids=gpt2_parts.stop_token_ids)
    decoder = ppo_trainer(gpt2_parts, jax.tree.map(lambda x: x.copy(), gpt2_parts.params)).decoder()
    gpt2_parts.engine.publish(Weights(Version(0), nnx.state(decoder, nnx.Param)))
    (trajectory,) = gpt2_parts.engine.generate([prompt], sampling, seed=0)
    gpt2_parts.engine.retract()
    trajectory = dataclasses.replace(
        trajectory, response_ids=ids, rollout_log_probs=np.full(len(ids), -1.0, np.float32), digit_log_probs=None
    )
    scored = gpt2_parts.scorer([dataclasses.replace(prompt, ground_truth="130")], [trajectory], decoder)
    info = scored.ntl_info
    row = jnp.asarray(np.concatenate([prompt.ids, ids]))[None, :]
    logits = np.asarray(decoder(row)[0, len(prompt.ids) + position - 1] @ decoder.head(), np.float64)
    vocab = {i: text.lstrip("Ġ") for text, i in tokenizer.get_vocab().items()}
    same = {i: int(text) for i, text in vocab.items() if len(text) == 3 and text.isascii() and text.isdigit()}
    weights = {i: np.exp(logits[i]) for i in same}
    total = sum(weights.values())
    expected = sum(w * abs(same[i] - 130) for i, w in weights.items()) / total * 9 / 999
    assert info.digit_ground_truth[0].tolist() == [-1] * position + [130]
    assert info.digit_losses[0, position] == pytest.approx(expected, rel=1e-4)
    of_truth = sum(w for i, w in weights.items() if same[i] == 130) / total
    assert info.truth_probability[0, position] == pytest.approx(of_truth, rel=1e-4)


@pytest.mark.slow
def test_capture_alone_is_refused_for_tokens_of_several_digits(gpt2_parts):
    with pytest.raises(ValueError, match=r"several digits as one token(.|\n)*extract_during_log_prob=true"):
        with_settings(gpt2_parts, extract_during_log_prob=False)
