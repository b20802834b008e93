# SPDX-License-Identifier: Apache-2.0
"""The settings of a run, in sections, with their meaning, unit and default.

The text below a field is what ``--help`` says of it.
"""

import dataclasses
from typing import Literal

from ntl_jax.config.algorithm import AlgorithmSection, OptimizerSection
from ntl_jax.config.validation import find_problems
from ntl_jax.config.vllm import VllmSection


@dataclasses.dataclass(frozen=True)
class ModelSection:
    """The policy: loaded from a checkpoint, or a new Qwen2-architecture decoder of the sizes below."""

    path: str | None = None
    """Folder with a Hugging Face checkpoint (config.json, safetensors, tokenizer), or a name on the hub; the sizes are
    then the checkpoint's. None: from scratch."""
    num_layers: int = 4
    """Decoder layers."""
    width: int = 128
    """Width of the hidden states."""
    num_heads: int = 4
    """Query heads."""
    num_kv_heads: int = 2
    """Key/value heads; must divide num_heads."""
    head_dim: int = 32
    """Size of one head."""
    feed_forward: int = 384
    """Width of the gated feed-forward layer."""
    rope_theta: float = 10_000.0
    """Base of the rotary position frequencies."""
    tie_embeddings: bool = True
    """One matrix serves as embedding and vocabulary head."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the parameters that the optimizer updates."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of activations and matrix products; norms, softmax and logits are float32."""
    attention: Literal["auto", "xla", "cudnn", "splash"] = "auto"
    """Kernel: XLA's, cuDNN's flash attention (NVIDIA, bfloat16), splash (TPU), or what serves platform and shapes."""
    remat: Literal["none", "layer", "dots"] = "none"
    """What the backward pass computes again: nothing, whole layers, or all but the matrix products."""
    mesh: tuple[int, int, int] = (-1, 1, 1)
    """Devices along the axes data, fsdp, tensor; one entry may be -1: all that are left."""


@dataclasses.dataclass(frozen=True)
class DataSection:
    """Problems to train and evaluate on. Without paths, the built-in generator writes them."""

    train: str | None = None
    """GSM8K jsonl file with `question` and `answer`; None: built-in generator."""
    eval: str | None = None
    """Held-out jsonl file; None: the generator's held-out split (an error if `train` is a file)."""
    on_bad_row: Literal["error", "skip"] = "error"
    """A malformed row stops the run, or is skipped and counted. Text with a special token is malformed."""
    on_long_row: Literal["error", "skip"] = "skip"
    """A prompt or solution past the two limits below stops the run, or is skipped and counted."""
    max_prompt_tokens: int = 384
    """Longest prompt that is used, in tokens."""
    max_solution_tokens: int = 512
    """Longest reference solution the warm start learns from, in tokens."""
    template: str = "{question}\n"
    r"""The prompt; {question} is replaced by the problem's text. Special tokens in it are encoded as such; the
    tokenizer's begin-of-sequence token is prepended unless the template has one. On the command line \n, \t, \r and \\
    are escapes; every other backslash is kept, also in LaTeX commands such as \text."""
    tokenizer: str | None = None
    """Folder or hub name of a tokenizer; None: that of model.path, or the built-in one with single-digit tokens."""
    tiers: tuple[int, ...] = (1, 2)
    """Generator: reasoning steps of the problems, of 1 to 4."""
    max_number: int = 40
    """Generator: largest number in a question of tiers 1 and 2; the upper tiers scale it up."""
    num_train: int = 20_000
    """Generator: training problems."""


@dataclasses.dataclass(frozen=True)
class WarmStartSection:
    """Supervised stage: cross entropy + ntl_weight * Number Token Loss on the reference solutions."""

    steps: int = 300
    """Updates; 0 leaves the stage out."""
    batch_size: int = 64
    """Solutions per update."""
    ntl_method: Literal["mse", "wasserstein"] = "wasserstein"
    """Number Token Loss of this stage; the paper found Wasserstein the better."""
    ntl_weight: float = 0.3
    """Weight of the Number Token Loss (the paper's best); 0 leaves it out of the program."""
    optimizer: OptimizerSection = OptimizerSection(learning_rate=2e-3, schedule="cosine")
    """Its optimizer."""


@dataclasses.dataclass(frozen=True)
class RolloutSection:
    """How responses are sampled."""

    engine: Literal["jax", "vllm"] = "jax"
    """What samples: JAX on the training devices, or one vLLM engine in this process (docs/rollout.md)."""
    prompts_per_step: int = 32
    """Problems per iteration."""
    num_samples: int = 8
    """Samples per problem (G)."""
    max_tokens: int = 80
    """Longest response, in tokens."""
    temperature: float = 1.0
    """Softmax temperature of the sampling distribution; the update uses the same."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability; 1: all. This and the next two need
    algorithm.old_log_probs=recompute: what is left is a distribution that the trainer does not score."""
    top_k: int = 0
    """Only so many of the likeliest tokens; 0: all."""
    min_p: float = 0.0
    """Only tokens with at least this fraction of the likeliest one's probability; 0: all."""
    stop_strings: tuple[str, ...] = ()
    """A response ends with the token that completes one of them, or that is one of them (special tokens, such as
    <|im_end|>), in addition to the end tokens of tokenizer and checkpoint. Separate several by spaces, as in
    --config.rollout.stop_strings A: B:; escapes are those of data.template."""
    slots: int | None = None
    """jax: samples that are decoded together; None: all of an iteration's. Where lengths differ much, a quarter of them
    is faster: finished samples make room for waiting ones."""
    vllm: VllmSection = VllmSection()
    """Settings of the vLLM engine."""


@dataclasses.dataclass(frozen=True)
class NTLSection:
    """Number Token Loss in reinforcement learning: a record for the reward, and a term of the actor's loss."""

    enabled: bool = True
    """Off: plain PPO with the same command; rewards get no NTL record and the loss no NTL term."""
    method: Literal["mse", "wasserstein"] = "mse"
    """Squared error of the expected digit, or Wasserstein-1 distance to the true one."""
    weight: float = 0.1
    """Weight of the differentiable term in the actor's loss; 0 leaves it out of the program."""
    extract_during_generation: bool = True
    """The record is built from the digits' log-probs that the engine captures while sampling."""
    extract_during_log_prob: bool = True
    """Where the engine gives none, from a forward pass of the trainer's own: always so with tokens of several digits.
    Both off: the record holds how sure the policy was of its digits, and nothing of how right."""
    pass_to_reward_function: bool = True
    """Off: the reward function gets no NTL record; the loss keeps its term."""
    reward_mode: Literal["final_answer", "all_tokens", "hybrid"] = "final_answer"
    """Which digits have a true value: those of the final answer, those of the results of all equations, or both."""
    temperature: float = 1.0
    """tau in the reward's exp(-ntl_loss / tau)."""
    adaptive_temperature: bool = False
    """tau follows temperature_schedule over the PPO iterations."""
    temperature_schedule: str | None = None
    """`constant` (ntl.temperature), `linear:1.0->0.3@500` (from, to, iterations), `cosine:...` or `exponential:...`."""
    log_metrics: bool = True
    """Write the metrics of the group ntl/."""
    debug_mode: bool = False
    """Log what goes into and comes out of the reward of trainer.samples_per_step samples, digit by digit: logger `ntl`,
    ntl_debug.log in the run folder."""
    save_digit_info: bool = False
    """Write the record of every iteration to digit_info/STEP.npz in the run folder."""
    cache_digit_mappings: bool = True
    """Read tokens' numbers and texts from the tokenizer once. Off: at every step, for one that changes meanwhile."""
    fallback_on_error: bool = True
    """A sample whose record cannot be built is scored by exact match, counted and logged; off: the run stops."""
    require_digits: bool = False
    """A response without a single digit counts as one whose record cannot be built."""


@dataclasses.dataclass(frozen=True)
class RewardSection:
    """The reward function."""

    function: str | None = None
    """`path.py:name` or `package.module:name` with verl's compute_score call; None: `ntl_jax.rewards:ntl_reward`
    with NTL, `ntl_jax.rewards:exact_match` without."""
    use_ntl_bonus: bool = True
    """For functions that take it, as `ntl_jax.rewards:compute_score` does: add a bonus for digits to exact match."""
    ntl_bonus_type: Literal["all", "final_answer"] = "all"
    """The bonus looks at all digits with a true value, or at those of the final answer."""
    ntl_bonus_weight: float = 0.1
    """Weight of the bonus, which lies in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class TrainerSection:
    """Length of the run, evaluation and checkpoints."""

    steps: int = 80
    """PPO iterations; 0 stops after the warm start."""
    eval_every: int = 40
    """PPO iterations between evaluations; before the first and after the last there is always one."""
    eval_problems: int | None = 512
    """Held-out problems per evaluation (all, if the file holds fewer); None: all of data.eval."""
    eval_samples: int = 0
    """Samples per held-out problem beside the greedy response, for mean@k, pass@k and maj@k; 0: greedy only."""
    eval_temperature: float = 1.0
    """Of those samples."""
    eval_top_p: float = 1.0
    """Those samples are drawn from the likeliest tokens that together have this probability."""
    target_accuracy: float | None = None
    """PPO ends with the first evaluation whose greedy accuracy reaches it; None: after all steps."""
    save_every: int = 40
    """Steps between checkpoints of either stage; a stage's last step and its best evaluation are always saved."""
    keep_last: int = 2
    """Newest checkpoints of a stage that are kept; the one with the best held-out accuracy is kept beside them."""
    max_tokens_per_micro_batch: int = 16_384
    """Padded tokens that go through the model at once; more are split, with the same gradients."""
    pack_sequences: bool = False
    """Several short responses share a row in PPO's updates, with the same gradients: less padding to compute, where
    lengths differ much."""
    samples_per_step: int = 4
    """Samples written to samples.jsonl per iteration."""


@dataclasses.dataclass(frozen=True)
class TrackingSection:
    """Where metrics go beside metrics.jsonl, which is always written. Steps count on through both stages there."""

    backends: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Any of them; they come with the extra `tracking`. TensorBoard's files lie in the run folder."""
    project: str = "ntl_jax"
    """W&B's project, MLflow's experiment."""
    run_name: str | None = None
    """Name of the run there; None: that of the run folder."""
    wandb_mode: Literal["online", "offline"] = "online"
    """offline: everything stays in the run folder, until `wandb sync` sends it."""
    mlflow_uri: str | None = None
    """Tracking server or `sqlite:///FILE`; None: what MLFLOW_TRACKING_URI says, or MLflow's default."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str = "run"
    """Names the run folder."""
    seed: int = 0
    """Everything random derives from it."""
    use_ntl_trainer: bool | None = None
    """None follows ntl.enabled; anything that contradicts it is an error."""
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    warm_start: WarmStartSection = WarmStartSection()
    rollout: RolloutSection = RolloutSection()
    algorithm: AlgorithmSection = AlgorithmSection()
    ntl: NTLSection = NTLSection()
    reward: RewardSection = RewardSection()
    trainer: TrainerSection = TrainerSection()
    tracking: TrackingSection = TrackingSection()

    def validate(self) -> None:
        """Checks types, ranges and combinations.

        Raises:
            ValueError: with one line for every problem: what was given, what is allowed.

        Example:
            >>> RunConfig(seed=-1, ntl=NTLSection(temperature=0.0)).validate()
            Traceback (most recent call last):
            ...
            ValueError: 2 problems in the configuration:
              seed=-1: must lie in [0, 2**31)
              ntl.temperature=0.0: must be above 0
        """
        if problems := find_problems(self):
            plural = "s" if len(problems) > 1 else ""
            raise ValueError(f"{len(problems)} problem{plural} in the configuration:\n  " + "\n  ".join(problems))
