# SPDX-License-Identifier: Apache-2.0
"""Settings that are wrong by themselves, together, or for the machine."""

from tests.launch.bad_inputs.case import BadInput

ONE = {
    "model.num_layers=0": "at least 1",
    "model.width=-5": "at least 1",
    "model.head_dim=7": "be even and at least 2",
    "model.rope_theta=0": "above 0",
    "model.param_dtype=float16": "float32, bfloat16",
    "model.remat=full": "none, layer, dots",
    "model.scan_layers=yes": "auto, on, off",
    "data.on_bad_row=drop": "error, skip",
    "data.max_prompt_tokens=0": "at least 1",
    "data.max_number=3": "at least 5",
    "data.num_train=0": "[1, 1,000,000]",
    "data.num_train=1000000000": "[1, 1,000,000]",
    "data.num_train=1e4": "a whole number",
    "prompt.template=Solve it.": "{question}",
    "warm_start.steps=-1": "at least 0",
    "warm_start.batch_size=0": "at least 1",
    "warm_start.ntl_weight=-0.3": "at least 0",
    "warm_start.optimizer.learning_rate=0": "(0, 1]",
    "warm_start.optimizer.b2=1": "[0, 1)",
    "rollout.engine=sglang": "jax, vllm, pool",
    "rollout.engine=vllm": "needs the package vllm",
    "rollout.num_samples=0": "at least 1",
    "rollout.max_tokens=0": "at least 1",
    "rollout.temperature=0": "above 0",
    "rollout.temperature=nan": "above 0",
    "rollout.top_p=1.5": "(0, 1]",
    "rollout.slots=0": "None or at least 1",
    "algorithm.advantage=grpo": "group",
    "algorithm.objective=ppo": "clipped",
    "algorithm.aggregation=token_mean": "token-mean",
    "algorithm.epochs=0": "at least 1",
    "algorithm.optimizer.learning_rate=nan": "(0, 1]",
    "algorithm.optimizer.learning_rate=inf": "(0, 1]",
    "algorithm.optimizer.learning_rate=1e-4x": "a number",
    "algorithm.optimizer.name=adam": "adamw",
    "algorithm.optimizer.max_grad_norm=0": "above 0",
    "algorithm.kl.weight=-1": "at least 0",
    "ntl.method=mae": "mse, wasserstein, raft",
    "ntl.temperature=0": "above 0",
    "ntl.weight=heavy": "a number",
    "ntl.enabled=maybe": "true or false",
    "ntl.reward_mode=answer": "final_answer",
    "divergence.threshold=0": "(0, 1]",
    "divergence.threshold=80": "(0, 1]",
    "divergence.top_k=0": "at least 1",
    "divergence.every=0": "at least 1",
    "divergence.context=-1": "at least 0",
    "divergence.max_megabytes=0": "above 0",
    "divergence.path=logs/": "the path of a file",
    "divergence.path={step}.jsonl": "{iteration:06d} and {date}",
    "divergence.path=metrics.jsonl": "not one of the run's own",
    "divergence.on_alarm=ignore": "warn, stop",
    "trainer.steps=-1": "at least 0",
    "trainer.steps=many": "a whole number",
    "trainer.eval_every=0": "at least 1",
    "trainer.eval_problems=2000000": "None or lie in [1, 1,000,000]",
    "trainer.target_accuracy=80": "(0, 1]",
    "trainer.row_layout=dense": "auto, padded, packed, shared",
    "trainer.checkpoint_folder=s3://mine/run": "gs://BUCKET/PATH, since Orbax writes to no other store",
    "trainer.checkpoint_folder=gs://mine": "gs://BUCKET/PATH",
    "trainer.checkpoint_folder=here": "begins with /",
    "trainer.distributed=yes": "auto, off, on",
    "trainer.num_processes=0": "at least 1",
    "trainer.process_id=-1": "at least 0",
    "trainer.heartbeat_timeout_s=1": "at least 5",
    "tracking.backends=neptune": "tensorboard, wandb, mlflow",
    "seed=-1": "[0, 2**31)",
    "name=a/b": "without / and",
}
"""A single setting, and what is allowed."""

TOGETHER = {
    "heads that do not divide": (("model.num_heads=3",), ("multiple of model.num_kv_heads=2",)),
    "a group that nobody names": (
        ("trainer.distributed=on",),
        ("trainer.distributed='on': nothing says", "srun, mpirun", "trainer.coordinator=HOST:PORT"),
    ),
    "half a group": (
        ("trainer.coordinator=node1:9000", "trainer.process_id=0"),
        ("needs trainer.num_processes (or JAX_NUM_PROCESSES)",),
    ),
    "a coordinator without a port": (
        ("trainer.coordinator=node1", "trainer.num_processes=2", "trainer.process_id=0"),
        ("trainer.coordinator='node1': must be HOST:PORT",),
    ),
    "a process beyond the group": (
        ("trainer.coordinator=node1:9000", "trainer.num_processes=2", "trainer.process_id=2"),
        ("trainer.process_id=2: must lie in [0, 2)",),
    ),
    "a group that is off": (
        ("trainer.distributed=off", "trainer.num_processes=2"),
        ("trainer.num_processes=2: has no effect with trainer.distributed='off'",),
    ),
    "no steps at all": (("trainer.steps=0", "warm_start.steps=0"), ("set one of them to at least 1",)),
    "no held-out file": (("data.train=train.jsonl",), ("data.eval=()", "must be named too", "launch/data.py prepare")),
    "a group of one": (("rollout.num_samples=1", "algorithm.minibatches=1"), ("at least 2", "advantage='gae'")),
    "a setting of the generator with files": (
        ("data.train=a.jsonl", "data.eval=b.jsonl", "data.max_number=20"),
        ("data.max_number=20", "data.train=()"),
    ),
    "a size of a loaded model": (("model.path=no/such", "model.width=64"), ("model.width=64", "model.path=None")),
    "truncated sampling": (("rollout.top_p=0.9",), ("leave it 1", "algorithm.old_log_probs='recompute'")),
    "minibatches that do not divide": (("algorithm.minibatches=7",), ("prompts_per_step=32", "num_samples=8")),
    "a critic's setting without one": (("algorithm.lam=0.95",), ("algorithm.advantage='gae'",)),
    "another objective's setting": (("algorithm.gspo.clip_low=0.1",), ("algorithm.objective='gspo'",)),
    "KL settings without KL": (("algorithm.kl.estimator=k1",), ("algorithm.kl.weight above 0",)),
    "an adaptive tau without a schedule": (
        ("ntl.adaptive_temperature=true",),
        ("needs ntl.temperature_schedule", "linear:1.0->0.3@500"),
    ),
    "a schedule of no known form": (
        ("ntl.adaptive_temperature=true", "ntl.temperature_schedule=linear:1-0.3"),
        ("ntl.temperature_schedule='linear:1-0.3'", "@500"),
    ),
    "NTL off and its trainer on": (("ntl.enabled=false", "use_ntl_trainer=true"), ("leave it None",)),
    "staleness without a pool": (("rollout.max_staleness=1",), ("rollout.engine='pool'",)),
    "staleness beyond the run": (
        ("rollout.engine=pool", "rollout.max_staleness=1000000000"),
        ("rollout.max_staleness=1000000000", "trainer.steps=150"),
    ),
    "more workers than prompts": (
        ("rollout.engine=pool", "rollout.pool.workers=100000"),
        ("rollout.pool.workers=100000", "rollout.prompts_per_step=32"),
    ),
    "GPUs that are not there": (
        ("rollout.engine=pool", "rollout.pool.gpus_per_worker=4"),
        ("need 8 GPUs", "lower rollout.pool.workers or gpus_per_worker"),
    ),
    "more prompts than problems": (
        ("rollout.prompts_per_step=128", "data.num_train=100"),
        ("rollout.prompts_per_step=128", "data.num_train=100", "lower it, or raise data.num_train"),
    ),
}
"""Settings that contradict each other or have no effect, and what the answer names."""

FOR_THE_MACHINE = {
    "a width beyond memory": (
        ("model.width=1000000000",),
        ("model.width=1000000000", "GiB are there", "lower these sizes"),
    ),
    "layers beyond memory": (("model.num_layers=100000000",), ("model.num_layers=100000000", "GiB are there")),
    "a feed-forward layer beyond memory": (
        ("model.feed_forward=2000000000",),
        ("model.feed_forward=2000000000", "GiB"),
    ),
    "a batch beyond memory": (
        ("warm_start.batch_size=8000000000",),
        ("warm_start.batch_size=8000000000", "GiB", "lower it"),
    ),
    "a cache beyond memory": (
        ("rollout.max_tokens=1000000000",),
        ("the cache does not fit", "GiB available", "rollout.max_tokens=1000000000 or data.max_prompt_tokens=384"),
    ),
    "samples beyond memory": (
        ("rollout.num_samples=100000000", "algorithm.minibatches=1"),
        ("the cache does not fit", "rollout.num_samples=100000000"),
    ),
    "samples of an evaluation beyond memory": (
        ("trainer.eval_samples=100000000",),
        ("the cache does not fit", "trainer.eval_samples=100000000"),
    ),
    "slots beyond memory": (
        ("rollout.slots=1000000000",),
        ("the cache does not fit", "lower rollout.slots=1000000000"),
    ),
    "a mesh of more devices": (("model.mesh", "64", "1", "1"), ("'data': 64", "at most 8")),
    "a device that is not there": (("trainer.devices", "99"), ("trainer.devices=(99,)", "from 0 to 7")),
    "rows that do not divide over devices": (
        ("warm_start.batch_size=65",),
        ("warm_start.batch_size = 65", "8 devices", "model.mesh"),
    ),
    "a row that holds one sample": (
        ("trainer.row_layout=shared", "algorithm.minibatches=256", "model.mesh", "1", "1", "1"),
        ("trainer.row_layout='shared'", "set it to 'auto'"),
    ),
    "a kernel of another platform": (
        ("model.attention=splash",),
        ("model.attention='splash' is a kernel for tpu", "set it to 'auto' or 'xla'"),
    ),
    "more problems than there are": (
        ("data.num_train=100000", "data.max_number=5"),
        ("data.num_train=100000", "data.max_number=5", "lower it"),
    ),
    "prompts that are all too long": (
        ("data.max_prompt_tokens=2",),
        ("longer than data.max_prompt_tokens=2", "raise data.max_prompt_tokens"),
    ),
    "solutions that are all too long": (
        ("data.max_solution_tokens=2",),
        ("longer than data.max_solution_tokens=2", "raise data.max_solution_tokens"),
    ),
    "one prompt that is too long": (
        ("data.max_prompt_tokens=18", "data.on_long_row=error"),
        ("longer than data.max_prompt_tokens=18", "data.on_long_row=skip"),
    ),
    "training problems that are not there": (
        ("data.train=no/such.jsonl", "data.eval=no/such.jsonl", "model.path=no/such/model"),
        ("data.train='no/such.jsonl' does not exist", "give a file of problems"),
    ),
    "a folder as held-out problems": (("data.eval=.",), ("data.eval='.' is a folder", "save_to_disk")),
    "a tokenizer that is not there": (("data.tokenizer=no/such/tokenizer",), ("no/such/tokenizer",)),
}
"""Settings that are allowed, and do not fit the machine or the data."""


FEW = "data.num_train=300"
"""Problems enough for all of these settings, and made in no time."""


def _options(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(setting if setting.isdigit() else f"--config.{setting}" for setting in settings)


CASES = [
    *(
        BadInput(setting[:60], (f"--config.{setting}",), (setting.partition("=")[0], allowed))
        for setting, allowed in ONE.items()
    ),
    *(BadInput(name, _options(given), says) for name, (given, says) in TOGETHER.items()),
    *(
        BadInput(name, _options(given if "train=" in given[0] else (*given, FEW)), says)
        for name, (given, says) in FOR_THE_MACHINE.items()
    ),
]
