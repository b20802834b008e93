# SPDX-License-Identifier: Apache-2.0
"""Models, tokenizers and their files."""

import json
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from ntl_jax.config import RunConfig, config_to_json
from ntl_jax.data.tokenizer import BUILT_IN
from tests import gguf_files
from tests.gguf_files import write_gguf
from tests.launch.bad_inputs.case import BadInput

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
SHAPES = {
    "model.embed_tokens.weight": (512, 8),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.self_attn.v_proj.weight": (4, 8),
    "model.layers.0.self_attn.o_proj.weight": (8, 8),
    "model.layers.0.post_attention_layernorm.weight": (8,),
    "model.layers.0.mlp.gate_proj.weight": (16, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 16),
    "model.norm.weight": (8,),
}
LLAMA_3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
MODEL, EVAL = ("--config.model.path={folder}/model",), ("{folder}/model",)
LLAMA = pathlib.Path(__file__).parents[2] / "models" / "golden" / "llama2-untied"
INDEX = "model.safetensors.index.json"


def write_model(folder: pathlib.Path, config: Mapping[str, Any] = CONFIG, shapes: Mapping[str, Any] = SHAPES) -> None:
    """Writes a model of the built-in tokenizer."""
    shutil.copytree(BUILT_IN, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")


def having(**changes: Any) -> Callable[[pathlib.Path], None]:
    """A model with other settings in its config.json; None takes one away."""
    config = {name: value for name, value in (CONFIG | changes).items() if value is not None}
    return lambda folder: write_model(folder / "model", config)


def holding(**files: str | bytes | None) -> Callable[[pathlib.Path], None]:
    """A model with other files, of these contents; None takes one away. Two underscores stand for a dot."""

    def write(folder: pathlib.Path) -> None:
        write_model(folder / "model")
        for name, content in files.items():
            path = folder / "model" / name.replace("__", ".")
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def with_tensors(**changes: tuple[int, ...] | None) -> Callable[[pathlib.Path], None]:
    """A model with tensors of other shapes; two underscores stand for a dot."""
    shapes = SHAPES | {name.replace("__", "."): shape for name, shape in changes.items()}
    return lambda folder: write_model(folder / "model", CONFIG, {n: s for n, s in shapes.items() if s is not None})


def cut(folder: pathlib.Path) -> None:
    """A model whose weights end too early."""
    write_model(folder / "model")
    path = folder / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def tokenizer_setting(**changes: Any) -> str:
    """A tokenizer_config.json."""
    stored = json.loads((BUILT_IN / "tokenizer_config.json").read_text()) | changes
    return json.dumps({name: value for name, value in stored.items() if value is not None})


def without_digits() -> str:
    """A tokenizer.json whose vocabulary has no digit."""
    stored = json.loads((BUILT_IN / "tokenizer.json").read_text())
    stored["model"]["vocab"] = {piece: i for piece, i in stored["model"]["vocab"].items() if not piece.isdigit()}
    return json.dumps(stored)


def of_settings(name: str, says: str, **changes: Any) -> BadInput:
    """A model whose config.json has other settings."""
    return BadInput(name, MODEL, ("{folder}/model/config.json", says), prepare=having(**changes))


def of_end(name: str, value: str, says: str) -> BadInput:
    """A model whose generation_config.json is this text."""
    says_all = ("{folder}/model/generation_config.json", says)
    return BadInput(name, MODEL, says_all, prepare=holding(generation_config__json=value))


def of_folder(name: str, says: str, files: Mapping[str, str | bytes]) -> BadInput:
    """A folder that is no model."""
    given = {f"model/{file}": content for file, content in files.items()}
    return BadInput(name, MODEL, ("model.path='{folder}/model'", says), given)


def of_file(file: str, says: str, content: str | bytes = "x") -> BadInput:
    """A file given as the model."""
    path = "model.path='{folder}/" + file
    return BadInput(
        f"the file {file} as the model", ("--config.model.path={folder}/" + file,), (path, says), {file: content}
    )


def of_gguf(name: str, says: str, fields: Mapping[str, Any]) -> BadInput:
    """A GGUF file with other fields."""

    def write(folder: pathlib.Path) -> None:
        write_gguf(folder / "a.gguf", LLAMA, fields)

    return BadInput(
        name, ("--config.model.path={folder}/a.gguf",), ("model.path='{folder}/a.gguf", says), prepare=write
    )


CASES = [
    # What is given as the model is something else.
    of_folder("a run folder as the model", "python launch/export.py", {"config.json": config_to_json(RunConfig())}),
    of_folder("a LoRA adapter as the model", "merge_and_unload", {"adapter_config.json": "{}"}),
    of_folder("an adapter beside a config.json", "adapter", {"adapter_config.json": "{}", "config.json": "{}"}),
    of_folder("a folder with a GGUF file", "give that file, {folder}/model/qwen.gguf", {"qwen.gguf": b"GGUF\3\0"}),
    of_folder("a tokenizer alone as the model", "a folder with both", {"tokenizer.json": "{}"}),
    of_folder("weights without config.json", "no config.json", {"model.safetensors": "x"}),
    of_folder("pickled weights without config.json", "PyTorch weights (pickle): load", {"pytorch_model.bin": "x"}),
    of_folder("an empty kind of folder", "holds no config.json", {"readme.md": "x"}),
    of_folder("a model one folder further down", "{folder}/model/qwen does", {"qwen/config.json": "{}"}),
    of_folder("a folder of the hub's cache", "snapshots/1 does", {"snapshots/1/config.json": "{}"}),
    of_folder("a pipeline of diffusers", "diffusers", {"model_index.json": "{}"}),
    of_folder("a model in Meta's format", "for transformers", {"params.json": "{}", "consolidated.00.pth": "x"}),
    of_file("model.gguf", "truncated or damaged", b"GGUF\3\0\0\0"),
    of_file("weights", "truncated or damaged", b"GGUF\3\0\0\0"),
    of_file("text.gguf", "is not a GGUF file, it starts with"),
    of_file("pointer.gguf", "git lfs pull", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
    of_file("empty.gguf", "is not a GGUF file, it is empty", ""),
    of_gguf("a GGUF file of another architecture", "architecture 'phi3', which is not supported; supported: llama",
            {"general.architecture": "phi3"}),
    of_gguf("a LoRA adapter in GGUF", "llama-export-lora", {"general.type": "adapter"}),
    of_gguf("a vocabulary in GGUF", "a vocabulary without weights", {"general.type": "vocab"}),
    of_gguf("a mixture of experts in GGUF", "llama.expert_count=8", {"llama.expert_count": 8}),
    of_gguf("a part of a model in GGUF", "llama-gguf-split --merge", {"split.count": 2, "split.no": 0}),
    of_gguf("a model of another scaling in GGUF", "rope.scaling.type='yarn'",
            {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}),
    of_gguf("a tokenizer in GGUF of a kind that is not known", "supported: gpt2, llama",
            {"tokenizer.ggml.model": "t5"}),
    of_gguf("a GGUF file that does not say how texts are cut", "newer llama.cpp", {"tokenizer.ggml.pre": None}),
    of_gguf("a GGUF file without merges", "single bytes", {"tokenizer.ggml.merges": None}),
    of_gguf("a GGUF file with too few kinds of tokens", "2 elements for 64 tokens",
            {"tokenizer.ggml.token_type": [1, 1]}),
    of_gguf("a GGUF file with several windows", "attention.sliding_window=[16, 64]",
            {"llama.attention.sliding_window": [16, 64]}),
    of_gguf("a GGUF file without a tokenizer", "no tokenizer", {"tokenizer.ggml.tokens": None}),
    of_gguf("a GGUF file without a size", "num_hidden_layers", {"llama.block_count": None}),
    BadInput("a truncated GGUF file", ("--config.model.path={folder}/a.gguf",), ("a.gguf' is truncated or damaged",),
             prepare=lambda folder: gguf_files.cut(write_gguf(folder / "a.gguf", LLAMA), 100) and None),
    BadInput("one of the files of a model in GGUF", ("--config.model.path={folder}/a-00001-of-00003.gguf",),
             ("is part 1 of 3",), {"a-00001-of-00003.gguf": b"GGUF\3\0\0\0"}),
    BadInput("eval: a GGUF file that does not fit", ("{folder}/a.gguf",), ("output_norm.weight is missing",),
             prepare=lambda folder: write_gguf(folder / "a.gguf", LLAMA, tensors={"output_norm.weight": None}) and None,
             command="eval"),
    BadInput("get_model: a name that is not known", ("gpt-2", "{folder}/model"),
             ("there is no model 'gpt-2'; there is smollm2-135m",), command="get_model"),
    BadInput("get_model: a folder of something else", ("smollm2-135m", "{folder}"),
             ("DIR={folder} already exists",), {"mine.txt": "x"}, command="get_model"),
    BadInput("a published model before it was made", ("--config=smollm2_arithmetic",),
             ("models/smollm2-135m", "python launch/get_model.py smollm2-135m models/smollm2-135m")),
    BadInput("sample: a published model before it was made", ("{folder}/smollm2-135m", "2+2?"),
             ("python launch/get_model.py smollm2-135m {folder}/smollm2-135m",), command="sample"),
    BadInput("get_model: no folder", ("smollm2-135m",), ("DIR",), command="get_model"),
    BadInput("get_model: a file as the folder", ("smollm2-135m", "{folder}/mine.txt"),
             ("DIR={folder}/mine.txt already exists",), {"mine.txt": "x"}, command="get_model"),
    of_file("model.safetensors", "give the folder that it is in, {folder}"),
    of_file("config.json", "give the folder that it is in, {folder}", "{}"),
    of_file("pytorch_model.bin", "save_pretrained"),
    of_file("model.pt", "save_pretrained"),
    of_file("model.zip", "unpack it"),
    of_file("problems.jsonl", "config.json, safetensors and tokenizer", '{"question": "1"}'),
    BadInput("a checkpoint of a run", ("--config.model.path={folder}/checkpoints/ppo/40",), ("launch/export.py",),
             {"checkpoints/ppo/40/_METADATA": "{}"}),
    BadInput("a path that does not exist", ("--config.model.path={folder}/modle",),
             ("model.path='{folder}/modle'", "does not exist", "{folder}/model?"), {"model/config.json": "{}"}),
    BadInput("a path below the home folder that does not exist", ("--config.model.path=~/no/such/model",),
             ("model.path='~/no/such/model'", "does not exist", "config.json")),
    BadInput("a relative path that does not exist", ("--config.model.path=./qwen",),
             ("model.path='./qwen'", "not exist")),
    BadInput("a name that the hub does not have", ("--config.model.path=nobody/none",), ("model.path=", "hf download")),
    BadInput("an empty path", ("--config.model.path=",),
             ("--config.model.path is empty", "leave it out")),
    BadInput("a blank path", ("--config.model.path= ",), ("--config.model.path is empty", "leave it out")),
    BadInput("a path with terminal escapes", ("--config.model.path={folder}/\x1b[31mred",), (r"\x1b[31mred",)),
    BadInput("an address", ("--config.model.path=https://hf.co/a/b",), ("model.path='https://hf.co/a/b'", "not exist")),
    # config.json
    BadInput("config.json as a list", MODEL, ("config.json", "holds a list"), prepare=holding(config__json="[]")),
    BadInput("config.json as null", MODEL, ("config.json", "holds null"), prepare=holding(config__json="null")),
    BadInput("a cut config.json", MODEL, ("model.path", "config.json is not a JSON"),
             prepare=holding(config__json='{"a')),
    BadInput("an empty config.json", MODEL, ("config.json is not a JSON",), prepare=holding(config__json="")),
    BadInput("config.json in UTF-16", MODEL, ("config.json",), prepare=holding(config__json=b"\xff\xfe{\0")),
    BadInput("config.json of brackets", MODEL, ("config.json is not",), prepare=holding(config__json="[" * 100_000)),
    of_settings("a size as a text", "hidden_size must be a positive integer, got '8'", hidden_size="8"),
    of_settings("a size as a fraction", "hidden_size must be a positive integer, got 8.0", hidden_size=8.0),
    of_settings("a size of true", "num_hidden_layers must be a positive integer", num_hidden_layers=True),
    of_settings("a size of zero", "num_attention_heads must be", num_attention_heads=0),
    of_settings("a negative size", "vocab_size must be a positive", vocab_size=-512),
    of_settings("a size beyond any index", "hidden_size must be", hidden_size=10**20),
    of_settings("a million layers", "num_hidden_layers must be a positive integer up to 1000", num_hidden_layers=10**6),
    of_settings("a size that is missing", "intermediate_size", intermediate_size=None),
    of_settings("heads that do not fit", "multiple of num_key_value_heads=3", num_key_value_heads=3),
    of_settings("an odd head", "head_dim", head_dim=3),
    of_settings("a head as a text", "head_dim must be a positive integer, got '4'", head_dim="4"),
    of_settings("fewer features than heads", "hidden_size=8 / num_attention_heads=16", head_dim=None,
                num_attention_heads=16, num_key_value_heads=16),
    of_settings("an epsilon as a text", "rms_norm_eps must be a number", rms_norm_eps="1e-6"),
    of_settings("an epsilon of NaN", "rms_norm_eps must be a number", rms_norm_eps=float("nan")),
    of_settings("a base as a text", "rope_theta must be a finite number above 0, got '1e6'", rope_theta="1e6"),
    of_settings("a base of zero", "rope_theta must be a finite number above 0", rope_theta=0),
    of_settings("rope_scaling as a text", "rope_scaling must be an object", rope_scaling="llama3"),
    of_settings("rope_parameters as a list", "rope_parameters must be an object", rope_parameters=[1]),
    of_settings("a scaling with a text", "rope type 'llama3' needs", rope_scaling=LLAMA_3 | {"factor": "8"}),
    of_settings("a tied head as a text", "tie_word_embeddings must be true or false", tie_word_embeddings="true"),
    of_settings("layer_types as a text", "layer_types must be a list", layer_types="full_attention"),
    of_settings("architectures as a text", "architectures='LlamaForCausalLM' must be a list",
                architectures="LlamaForCausalLM"),
    of_settings("architectures of numbers", "architectures=[1] must be a list", architectures=[1]),
    of_settings("another architecture", "'GPT2LMHeadModel' is not supported; supported: Qwen2",
                architectures=["GPT2LMHeadModel"]),
    of_settings("no architecture", "supported: Qwen2ForCausalLM", architectures=None, model_type=None),
    of_settings("a quantized model", "quantization_config", quantization_config={"bits": 4}),
    of_settings("an end token of -1", "eos_token_id=-1 must be a token id", eos_token_id=-1),
    # generation_config.json
    of_end("a generation end of -1", '{"eos_token_id": -1}', "eos_token_id=-1 must be a token id"),
    of_end("a generation end of 1.5", '{"eos_token_id": 1.5}', "eos_token_id=1.5 must be a token id"),
    of_end("a generation end of a million", '{"eos_token_id": 1000000}', "below the model's vocab_size=512"),
    of_end("a list with an end beyond the vocabulary", '{"eos_token_id": [1, 512]}', "vocab_size=512"),
    of_end("a generation end as a text", '{"eos_token_id": "<|endoftext|>"}', "must be a token id"),
    of_end("a generation end of null in a list", '{"eos_token_id": [null]}', "must be a token id"),
    of_end("generation_config.json as a list", "[]", "is not a JSON object"),
    of_end("a cut generation_config.json", "{", "is not a JSON object"),
    # Weights, whose headers are read before anything else.
    BadInput("truncated weights", MODEL, ("model.path", "model.safetensors is truncated"), prepare=cut),
    BadInput("empty weights", MODEL, ("model.safetensors is",), prepare=holding(model__safetensors=b"")),
    BadInput("weights that are a pointer of git-lfs", MODEL, ("model.safetensors is", "git lfs pull"),
             prepare=holding(model__safetensors="version https://git-lfs.github.com/spec/v1\noid sha256:1\n")),
    BadInput("weights with a header of a gigabyte", MODEL, ("model.safetensors is",),
             prepare=holding(model__safetensors=b"\0\0\0\x40\0\0\0\0{}")),
    BadInput("no weights", MODEL, ("{folder}/model", "holds neither"), prepare=holding(model__safetensors=None)),
    BadInput("pickled weights", MODEL, ("pytorch_model.bin", "save_pretrained"),
             prepare=holding(model__safetensors=None, pytorch_model__bin=b"x")),
    BadInput("a missing tensor", MODEL, ("model.norm.weight: missing",),
             prepare=with_tensors(model__norm__weight=None)),
    BadInput("a tensor of another shape", MODEL, ("model.norm.weight: shape (9,)",),
             prepare=with_tensors(model__norm__weight=(9,))),
    BadInput("a tensor of no decoder", MODEL, ("vision.weight: unexpected",),
             prepare=with_tensors(vision__weight=(1,))),
    BadInput("an index as a list", MODEL, (INDEX, "holds a list"),
             prepare=holding(model__safetensors=None, **{INDEX: "[]"})),
    BadInput("an index without its map", MODEL, (INDEX, "weight_map"),
             prepare=holding(model__safetensors=None, **{INDEX: "{}"})),
    BadInput("an index that leads out of the folder", MODEL, (INDEX, "'../a.safetensors'", "no file of this folder"),
             prepare=holding(model__safetensors=None, **{INDEX: '{"weight_map": {"a": "../a.safetensors"}}'})),
    BadInput("a missing shard", MODEL, ("lacks model-2.safetensors", "all shards"),
             prepare=holding(model__safetensors=None, **{INDEX: '{"weight_map": {"a": "model-2.safetensors"}}'})),
    # Tokenizers
    BadInput("a model without a tokenizer", MODEL, ("model.path", "no tokenizer"),
             prepare=holding(tokenizer__json=None)),
    BadInput("a cut tokenizer of a model", MODEL, ("model.path", "no tokenizer"), prepare=holding(tokenizer__json="{")),
    BadInput("a tokenizer of a model that is an empty object", MODEL, ("model.path",),
             prepare=holding(tokenizer__json="{}")),
    BadInput("a tokenizer of a model that is a list", MODEL, ("model.path",), prepare=holding(tokenizer__json="[]")),
    BadInput("settings of a tokenizer as a list", MODEL, ("model.path", "tokenizer_config.json"),
             prepare=holding(tokenizer_config__json="[]")),
    BadInput("a tokenizer without an end", MODEL, ("model.path", '"eos_token"'),
             prepare=holding(tokenizer_config__json=tokenizer_setting(eos_token=None))),
    BadInput("a tokenizer that needs code of its own", MODEL, ("model.path", "code of its own, which is not run"),
             prepare=holding(tokenizer_config__json=tokenizer_setting(
                 tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}),
                 evil__py="import pathlib\npathlib.Path('executed').touch()\nclass Evil: pass\n")),
    BadInput("a tokenizer with more ids than the model", MODEL, ("ids up to 491", "embeds 64", "fit together"),
             prepare=having(vocab_size=64)),
    BadInput("another tokenizer with more ids than the model", (*MODEL, f"--config.data.tokenizer={BUILT_IN}"),
             ("embeds 64", "leave out data.tokenizer"), prepare=having(vocab_size=64)),
    BadInput("a tokenizer that does not exist", ("--config.data.tokenizer={folder}/none",),
             ("data.tokenizer='{folder}/none'", "does not exist", "tokenizer.json")),
    BadInput("a tokenizer that is a file", ("--config.data.tokenizer={folder}/tokenizer.json",),
             ("data.tokenizer='{folder}/tokenizer.json'", "is a file", "give a folder"), {"tokenizer.json": "{}"}),
    BadInput("a damaged tokenizer", ("--config.data.tokenizer={folder}",), ("data.tokenizer=", "Model missing"),
             {"tokenizer.json": '{"version": "1.0", "added_tokens": []}',
              "tokenizer_config.json": '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "a"}'}),
    BadInput("a run folder as the tokenizer", ("--config.data.tokenizer={folder}",),
             ("data.tokenizer=", "no tokenizer"),
             {"config.json": config_to_json(RunConfig())}),
    BadInput("a model without digits", MODEL, ("model.path=", "is a number"),
             prepare=holding(tokenizer__json=without_digits())),
    BadInput("an empty tokenizer", ("--config.data.tokenizer=",), ("--config.data.tokenizer is empty",)),
    # Other commands name what they were given.
    BadInput("an empty model to evaluate", ("",), ("RUN_OR_MODEL is empty",), command="eval"),
    BadInput("an adapter to evaluate", EVAL, ("RUN_OR_MODEL='{folder}/model'", "merge_and_unload"),
             {"model/adapter_config.json": "{}"}, command="eval"),
    BadInput("a model to evaluate that is nothing", ("{folder}/nothing",), ("RUN_OR_MODEL=", "does not exist"),
             command="eval"),
    BadInput("a model to export", ("{folder}/model", "{folder}/out"), ("Hugging Face model, not of a run",),
             prepare=having(), command="export"),
    BadInput("an empty folder to export to", ("{folder}/model", ""), ("DIR", "is empty: give a value, or leave it out"),
             command="export"),
]  # fmt: skip
