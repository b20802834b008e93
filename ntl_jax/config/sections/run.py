# SPDX-License-Identifier: Apache-2.0
"""The settings of a run, in sections, with their meaning, unit and default.

The text below a field is its ``--help`` text.
"""

import dataclasses
import re
from typing import Literal

from ntl_jax.config.sections.algorithm import AlgorithmSection, OptimizerSection
from ntl_jax.config.sections.answer import AnswerSection
from ntl_jax.config.sections.data import PROBLEMS, DataSection
from ntl_jax.config.sections.divergence import DivergenceSection
from ntl_jax.config.sections.engines import PoolSection, VllmSection
from ntl_jax.config.sections.ntl import NTLSection, RewardSection
from ntl_jax.config.sections.prompt import PromptSection
from ntl_jax.config.setting import FRACTION, SHARE, Range, above, at_least, includes, or_none, positive, setting, when
from ntl_jax.config.validation import find_problems

_FROM_SCRATCH = when("model.path", None)
_POOL = when("rollout.engine", "pool")
_SEVERAL = when("trainer.distributed", "auto", "on")
_JAX_ENGINE = [
    when("rollout.engine", "jax", "pool", hint="; with 'vllm' set rollout.vllm.max_num_seqs"),
    when("rollout.engine", "jax") | when("rollout.pool.engine", "jax"),
]
_VLLM_ENGINE = [
    when("rollout.engine", "vllm", "pool"),
    when("rollout.engine", "vllm") | when("rollout.pool.engine", "vllm"),
]
_EVEN: Range[int] = Range("be even and at least 2, for rotary positions", lambda x: x >= 2 and x % 2 == 0)
_MESH: Range[tuple[int, int, int]] = Range(
    "be positive sizes, at most one of them -1",
    lambda mesh: all(size == -1 or size >= 1 for size in mesh) and mesh.count(-1) <= 1,
)
_FOLDER: Range[str] = Range(
    "be the name of a folder of 1 to 100 printable characters, without / and \\, and not . or ..",
    lambda x: 1 <= len(x) <= 100 and x.isprintable() and not set(x) & set("/\\") and x not in (".", ".."),
)
_CHECKPOINTS: Range[str] = Range(
    "be the whole path of a folder, which begins with /, or gs://BUCKET/PATH, since Orbax writes to no other store",
    lambda x: x.isprintable() and (x[0:1] == "/" or bool(re.fullmatch(r"gs://[^/]+/+[^/].*", x))),
)
_PROMPTS: Range[int | str] = Range("be a number of prompts from 0, or all", lambda x: x == "all" or int(x) >= 0)


def _are_indices(devices: tuple[int, ...]) -> bool:
    return len(set(devices)) == len(devices) and all(device >= 0 for device in devices)


@dataclasses.dataclass(frozen=True)
class ModelSection:
    """The policy: loaded from a checkpoint, or a new Qwen2-architecture decoder of the sizes below."""

    path: str | None = None
    """Folder with a Hugging Face checkpoint (config.json, safetensors, tokenizer), a GGUF file, or a name on the hub;
    the sizes are then the checkpoint's. None: from scratch."""
    num_layers: int = setting(4, at_least(1), needs=[_FROM_SCRATCH])
    """Decoder layers."""
    width: int = setting(128, at_least(1), needs=[_FROM_SCRATCH])
    """Width of the hidden states."""
    num_heads: int = setting(4, at_least(1), needs=[_FROM_SCRATCH])
    """Query heads."""
    num_kv_heads: int = setting(2, at_least(1), needs=[_FROM_SCRATCH])
    """Key/value heads; must divide num_heads."""
    head_dim: int = setting(32, _EVEN, needs=[_FROM_SCRATCH])
    """Size of one head."""
    feed_forward: int = setting(384, at_least(1), needs=[_FROM_SCRATCH])
    """Width of the gated feed-forward layer."""
    rope_theta: float = setting(10_000.0, above(0), needs=[_FROM_SCRATCH])
    """Base of the rotary position frequencies."""
    tie_embeddings: bool = setting(True, needs=[_FROM_SCRATCH])
    """One matrix serves as embedding and vocabulary head."""
    param_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of the parameters that the optimizer updates."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype of activations and matrix products; norms, softmax and logits are float32."""
    attention: Literal["auto", "xla", "cudnn", "splash"] = "auto"
    """Kernel: XLA's, cuDNN's flash attention (NVIDIA, bfloat16), splash (TPU), or chosen by platform and shapes."""
    remat: Literal["none", "layer", "dots"] = "none"
    """What the backward pass recomputes: nothing, whole layers, or all but the matrix products."""
    scan_layers: Literal["auto", "on", "off"] = "auto"
    """Store the layers' parameters stacked and compile one layer for all, so that programs compile in seconds at any
    depth; auto: from 12 layers. Checkpoints of either kind restore into the other."""
    mesh: tuple[int, int, int] = setting((-1, 1, 1), _MESH)
    """Devices along the axes data, fsdp, tensor; one entry may be -1: all remaining devices."""


@dataclasses.dataclass(frozen=True)
class WarmStartSection:
    """Supervised stage: cross entropy + ntl_weight * Number Token Loss on the reference solutions."""

    steps: int = setting(300, at_least(0))
    """Number of updates; 0 skips the stage."""
    batch_size: int = setting(64, at_least(1))
    """Solutions per update."""
    ntl_method: Literal["mse", "wasserstein", "raft", "dist2", "gaussian", "smmd", "del", "ntil"] = setting(
        "wasserstein", needs=[positive(".ntl_weight")]
    )
    """Number Token Loss of this stage, or another number-aware loss (docs/losses.md): RAFT, DIST2, Gaussian label
    smoothing, SMMD, and, for tokenizers that write digit by digit, DEL and the token level of NTIL."""
    ntl_weight: float = setting(0.3, at_least(0))
    """Weight of the Number Token Loss (the paper's best); 0 leaves it out of the program."""
    optimizer: OptimizerSection = OptimizerSection(learning_rate=2e-3, schedule="cosine")
    """Optimizer of the warm start."""


@dataclasses.dataclass(frozen=True)
class RolloutSection:
    """Sampling of responses."""

    engine: Literal["jax", "vllm", "pool"] = "jax"
    """Rollout engine: JAX on the training devices, one vLLM engine in this process, or a pool of either in processes of
    their own (docs/rollout.md)."""
    prompts_per_step: int = setting(32, at_least(1))
    """Problems per iteration."""
    num_samples: int = setting(8, at_least(1))
    """Samples per problem (G)."""
    max_tokens: int = setting(80, at_least(1))
    """Longest response, in tokens."""
    temperature: float = setting(1.0, above(0))
    """Softmax temperature of sampling; updates use the same temperature."""
    top_p: float = setting(1.0, SHARE)
    """Sample only from the most likely tokens that together have this probability; 1: all. top_p, top_k and min_p need
    algorithm.old_log_probs=recompute, since the trainer does not score a truncated distribution."""
    top_k: int = setting(0, at_least(0))
    """Sample only from this many of the most likely tokens; 0: all."""
    min_p: float = setting(0.0, FRACTION)
    """Sample only from tokens with at least this fraction of the top token's probability; 0: all."""
    stop_strings: tuple[str, ...] = setting((), Range("be texts, none of them empty", all))
    """A response ends with the token that completes one of these strings or is one of them (special tokens, such as
    <|im_end|>), in addition to the end tokens of tokenizer and checkpoint. Separate several strings by spaces, as in
    --config.rollout.stop_strings A: B:; escapes are as in the section prompt."""
    slots: int | None = setting(None, or_none(at_least(1)), needs=_JAX_ENGINE)
    """JAX: samples in flight, in each engine; None: all samples of an iteration, in a pool an equal
    share of them. On GPU and TPU, a quarter of them is faster if lengths
    vary much: finished samples make room for waiting ones."""
    vllm: VllmSection = setting(VllmSection(), needs=_VLLM_ENGINE)
    """Settings of vLLM engines."""
    pool: PoolSection = setting(PoolSection(), needs=[_POOL])
    """Settings of the pool."""
    max_staleness: int = setting(0, at_least(0), needs=[_POOL])
    """Iterations S that samples may be older than the policy that learns from them: iteration k is sampled by the
    policy before iteration k - S, while updates go on. 0: sampling and updates alternate."""


@dataclasses.dataclass(frozen=True)
class TrainerSection:
    """Length of the run, evaluation and checkpoints."""

    steps: int = setting(80, at_least(0))
    """Number of PPO iterations; 0 stops after the warm start."""
    eval_every: int = setting(40, at_least(1))
    """PPO iterations between evaluations; there is always one before the first and after the last iteration."""
    eval_problems: int | None = setting(512, or_none(PROBLEMS))
    """Held-out problems per evaluation, the first of each source (all, if there are fewer); None: all of data.eval."""
    eval_samples: int = setting(0, at_least(0))
    """Samples per held-out problem in addition to the greedy response, for mean@k, pass@k, maj@k; 0: greedy only."""
    eval_temperature: float = setting(1.0, above(0), needs=[positive(".eval_samples")])
    """Temperature of these samples."""
    eval_top_p: float = setting(1.0, SHARE, needs=[positive(".eval_samples")])
    """top_p of these samples."""
    target_accuracy: float | None = setting(None, or_none(SHARE))
    """PPO ends at the first evaluation whose greedy accuracy reaches this; None: after all steps."""
    save_every: int = setting(40, at_least(1))
    """Steps between checkpoints in both stages; a stage's last step and its best evaluation are always saved."""
    keep_last: int = setting(2, at_least(1))
    """Number of newest checkpoints to keep per stage; the one with the best held-out accuracy is kept too."""
    checkpoint_folder: str | None = setting(None, or_none(_CHECKPOINTS))
    """Folder of the checkpoints, which no other run may use: its whole path, or gs://BUCKET/PATH; None: a folder in the
    run folder."""
    max_tokens_per_micro_batch: int = setting(16_384, at_least(1))
    """Most padded tokens per forward pass; larger batches are split, with the same gradients."""
    row_layout: Literal["auto", "padded", "packed", "shared"] = "auto"
    """Rows of PPO's updates, with the same gradients. padded: a prompt and a response per row. packed: several such
    pairs per row, for less padding if lengths vary much. shared: a prompt once, with several of its samples. auto:
    shared, or padded where attention has a kernel for whole rows (GPU, TPU)."""
    devices: tuple[int, ...] = setting((), Range("be different numbers of devices, each at least 0", _are_indices))
    """Numbers of this machine's accelerators that train; empty: all of them. With a pool on the same machine the others
    sample."""
    logged_prompts: int | Literal["all"] = setting(2, _PROMPTS)
    """Prompts whose samples are written to samples.jsonl.gz in each iteration, for the report; all: every prompt."""
    compilation_cache: str = setting("auto", Range("be auto, off or a folder", bool))
    """Where compiled programs are kept, so that later runs start faster: auto (in the user's cache folder, or where
    JAX_COMPILATION_CACHE_DIR says), off, or a folder. Results do not depend on it."""
    distributed: Literal["auto", "off", "on"] = "auto"
    """Train together with other processes, on all their devices: auto: if SLURM, Open MPI, a TPU slice or the three
    settings below say that there are others; on: refuse to train alone (docs/multi_process.md)."""
    coordinator: str | None = setting(None, needs=[_SEVERAL])
    """HOST:PORT of the first of several processes; None: the launcher or the variable JAX_COORDINATOR_ADDRESS says
    it."""
    num_processes: int | None = setting(None, or_none(at_least(1)), needs=[_SEVERAL])
    """Number of processes; None: the launcher or JAX_NUM_PROCESSES says it."""
    process_id: int | None = setting(None, or_none(at_least(0)), needs=[_SEVERAL])
    """Number of this process, from 0; None: the launcher, JAX_PROCESS_ID or JOB_COMPLETION_INDEX says it."""
    heartbeat_timeout_s: int = setting(30, at_least(5), needs=[_SEVERAL])
    """Seconds without a sign of life after which a process counts as dead, and all others end."""


@dataclasses.dataclass(frozen=True)
class TrackingSection:
    """Destinations of metrics in addition to metrics.jsonl, which is always written. There, steps count through both
    stages."""

    backends: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()
    """Any of these; the extra `tracking` installs them. TensorBoard's files are in the run folder."""
    project: str = setting("ntl_jax", Range("not be empty", bool), needs=[includes(".backends", "wandb", "mlflow")])
    """Project of W&B, or experiment of MLflow."""
    run_name: str | None = setting(None, needs=[includes(".backends", "wandb", "mlflow")])
    """Name of the run in W&B or MLflow; None: the name of the run folder."""
    wandb_mode: Literal["online", "offline"] = setting("online", needs=[includes(".backends", "wandb")])
    """offline: everything stays in the run folder, until `wandb sync` sends it."""
    mlflow_uri: str | None = setting(None, needs=[includes(".backends", "mlflow")])
    """Tracking server or `sqlite:///FILE`; None: MLFLOW_TRACKING_URI, or MLflow's default."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    name: str = setting("run", _FOLDER)
    """Name of the run folder."""
    seed: int = setting(0, Range("lie in [0, 2**31)", lambda x: 0 <= x < 2**31))
    """Seed of everything random."""
    use_ntl_trainer: bool | None = None
    """None follows ntl.enabled; a value that contradicts ntl.enabled is an error."""
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    prompt: PromptSection = PromptSection()
    answer: AnswerSection = AnswerSection()
    warm_start: WarmStartSection = setting(WarmStartSection(), needs=[positive("warm_start.steps")])
    rollout: RolloutSection = RolloutSection()
    algorithm: AlgorithmSection = AlgorithmSection()
    ntl: NTLSection = NTLSection()
    reward: RewardSection = RewardSection()
    divergence: DivergenceSection = DivergenceSection()
    trainer: TrainerSection = TrainerSection()
    tracking: TrackingSection = TrackingSection()

    def validate(self, base: "RunConfig | None" = None) -> None:
        """Checks types, ranges and combinations, and that every changed setting has an effect.

        Args:
            base: the configuration before settings were changed. A setting with its value in ``base`` or its default
                counts as unchanged, so one override may switch off what other settings of ``base`` depend on. None:
                compare only with the defaults.

        Raises:
            ValueError: with one line per problem: what was given, what is allowed.

        Example:
            >>> RunConfig(seed=-1, algorithm=AlgorithmSection(max_refills=5)).validate()
            Traceback (most recent call last):
            ...
            ValueError: 2 problems in the configuration:
              seed=-1: must lie in [0, 2**31)
              algorithm.max_refills=5: has no effect with algorithm.dynamic_sampling=False: leave it 3, or set algorithm.dynamic_sampling=True
        """  # noqa: E501
        if problems := find_problems(self, base):
            plural = "s" if len(problems) > 1 else ""
            raise ValueError(f"{len(problems)} problem{plural} in the configuration:\n  " + "\n  ".join(problems))
