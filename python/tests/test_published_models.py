"""The tool's models of published families, beside those of transformers with the same weights."""

import json
import os
import subprocess

import pytest
import torch

from published_families import FAMILIES

safetensors = pytest.importorskip("safetensors.torch")
TOOL = os.environ.get("ATTENTION_TOOL")
pytestmark = pytest.mark.skipif(
    TOOL is None, reason="ATTENTION_TOOL does not name the command line tool"
)

# Root mean square of the difference, relative to that of the logits: sums of float32 in other orders.
BOUND = 1e-4


def run(*arguments):
    result = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def logits(folder, tokens, padding_mask=None):
    """The tool's logits."""
    inputs = {"tokens": tokens}
    if padding_mask is not None:
        inputs["padding_mask"] = padding_mask
    source, target = folder / "inputs.safetensors", folder / "logits.safetensors"
    safetensors.save_file(inputs, source)
    run("logits", folder, source, "-o", target)
    return safetensors.load_file(target)["logits"]


def error(ours, theirs):
    return ((ours - theirs).norm() / theirs.norm()).item()


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request, tmp_path_factory):
    family = FAMILIES[request.param]
    if family.configuration.startswith("fla:"):
        # Its kernels run on the CPU in Triton's interpreter, TRITON_INTERPRET=1.
        pytest.importorskip("fla.models", reason="flash-linear-attention is not installed")
    model = family.build()
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    return model, folder


@torch.no_grad()
def test_logits_of_whole_sequences(saved):
    model, folder = saved
    tokens = torch.randint(model.config.vocab_size, (2, 33))
    theirs = model(tokens).logits
    assert theirs.std() > 0.1
    assert error(logits(folder, tokens), theirs) < BOUND


@torch.no_grad()
def test_logits_of_a_left_padded_batch(saved):
    model, folder = saved
    if model.config.model_type == "recurrent_gemma":
        pytest.skip("the recurrence of transformers reads padding")
    tokens = torch.randint(model.config.vocab_size, (3, 21))
    mask = torch.ones(3, 21, dtype=torch.bool)
    mask[1, :7] = False
    mask[2, :20] = False
    theirs = model(tokens, attention_mask=mask.long()).logits
    ours = logits(folder, tokens, mask)
    assert error(ours[mask], theirs[mask]) < BOUND


@torch.no_grad()
def test_greedy_tokens(saved):
    model, folder = saved
    prompt = torch.randint(model.config.vocab_size, (1, 9))
    # In Triton's interpreter the caches of flash-linear-attention give other tokens than its whole sequences, and
    # whole sequences take seconds.
    count, uses_cache = (8, False) if type(model).__module__.startswith("fla.") else (64, True)
    theirs = model.generate(
        prompt, max_new_tokens=count, do_sample=False, eos_token_id=None, pad_token_id=0,
        use_cache=uses_cache,
    )[0, 9:]
    numbers = ",".join(str(token) for token in prompt[0].tolist())
    printed = run(
        "generate", folder, "--prompt-tokens", numbers, "--tokens", count, "--temperature", 0)
    assert [int(number) for number in printed.split()] == theirs.tolist()


@torch.no_grad()
def test_written_folder_is_read_by_transformers(saved):
    import transformers

    model, folder = saved
    written = folder.with_name(folder.name + "_written")
    run("import", folder, "--output", written)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        written, dtype=torch.float32, attn_implementation="eager"
    )
    ours, theirs = again.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight), name


@torch.no_grad()
def test_kimi_linear_by_its_own_names(tmp_path):
    """The files that Kimi Linear was published with name the kinds of layers, and dense layers' parts, otherwise than
    transformers writes them."""
    model = FAMILIES["kimi_linear"].build()
    model.save_pretrained(tmp_path)
    configuration = json.loads((tmp_path / "config.json").read_text())
    full = [1 + n for n, kind in enumerate(configuration.pop("layer_types")) if kind == "full_attention"]
    configuration["linear_attn_config"] = {
        "full_attn_layers": full,
        "kda_layers": [n for n in range(1, 1 + configuration["num_hidden_layers"]) if n not in full],
        "num_heads": configuration.pop("linear_num_heads"),
        "head_dim": configuration.pop("linear_head_dim"),
        "short_conv_kernel_size": configuration.pop("linear_conv_kernel_dim"),
    }
    del configuration["mlp_layer_types"]
    configuration |= {
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "mla_use_nope": True,
        "use_grouped_topk": True, "moe_router_activation_func": "sigmoid", "rope_theta": 10000.0,
    }
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    dense = "model.layers.0.block_sparse_moe."
    safetensors.save_file(
        {name.replace(dense, "model.layers.0.mlp."): tensor for name, tensor in weights.items()},
        tmp_path / "model.safetensors",
    )
    tokens = torch.randint(model.config.vocab_size, (2, 33))
    assert error(logits(tmp_path, tokens), model(tokens).logits) < BOUND


@torch.no_grad()
def test_layers_that_predict_later_tokens_are_left_out(tmp_path):
    model = FAMILIES["deepseek_v3"].build()
    model.save_pretrained(tmp_path)
    weights = safetensors.load_file(tmp_path / "model.safetensors")
    tokens = torch.randint(model.config.vocab_size, (1, 9))
    safetensors.save_file(
        {**weights, "model.layers.3.eh_proj.weight": torch.zeros(64, 128)},
        tmp_path / "model.safetensors",
    )
    assert error(logits(tmp_path, tokens), model(tokens).logits) < BOUND


CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@torch.no_grad()
def test_answer_by_the_chat_template(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    import transformers

    tokenizer = tokenizers.ByteLevelBPETokenizer()
    marks = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer.train_from_iterator(["Attention is a mean.\n"] * 10, vocab_size=320, special_tokens=marks)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, chat_template=CHAT_TEMPLATE
    )
    fast.save_pretrained(tmp_path)
    family = FAMILIES["qwen2"]
    # The model names no token that ends a text: the template's own must end the answer.
    options = {**family.options, "vocab_size": tokenizer.get_vocab_size(), "eos_token_id": None}
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Is it?"}]
    tokens = fast.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    ).input_ids
    endings = 0
    for seed in range(4):
        model = type(family)(family.configuration, options).build(seed)
        # Likely enough to come early in some answers.
        model.lm_head.weight[0] *= 3
        model.save_pretrained(tmp_path)
        theirs = model.generate(
            tokens, max_new_tokens=24, do_sample=False, eos_token_id=0, pad_token_id=0
        )[0, tokens.shape[1] :]
        endings += bool((theirs == 0).any())
        printed = run(
            "generate", tmp_path, "--chat", "--system", "Be brief.", "--prompt", "Is it?",
            "--tokens", 24, "--temperature", 0,
        )
        assert printed == tokenizer.decode(theirs.tolist(), skip_special_tokens=True) + "\n"
    assert endings > 0


@torch.no_grad()
def test_text_of_a_folder_with_a_tokenizer(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    import transformers

    tokenizer = tokenizers.ByteLevelBPETokenizer()
    text = "Attention is a weighted mean of values; its weights sum to one. Ünïcödé, 你好, 🙂!\n"
    tokenizer.train_from_iterator([text] * 10, vocab_size=320, special_tokens=["<|end|>"])
    family = FAMILIES["qwen2"]
    options = {**family.options, "vocab_size": tokenizer.get_vocab_size(), "eos_token_id": 0}
    model = type(family)(family.configuration, options).build()
    model.save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    prompt = "Attention is, 你好"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    tokens = fast(prompt, return_tensors="pt").input_ids
    theirs = model.generate(
        tokens, max_new_tokens=64, do_sample=False, eos_token_id=0, pad_token_id=0
    )
    expected = tokenizer.decode(theirs[0].tolist(), skip_special_tokens=True)
    printed = run("generate", tmp_path, "--prompt", prompt, "--tokens", 64, "--temperature", 0)
    assert printed == expected + "\n"
