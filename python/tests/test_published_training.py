"""Training of published models by the tool, beside the same steps of PyTorch."""

import json

import pytest
import torch

from published_families import FAMILIES
from test_published_models import BOUND, error, logits, pytestmark, run  # noqa: F401

tokenizers = pytest.importorskip("tokenizers")

# Losses after some steps of AdamW, which divides gradients by their size and so magnifies the rounding of small ones.
LOSS_BOUND = 1e-3
STEPS = 5
RATE = 1e-3
SETTINGS = {
    "steps": STEPS,
    "batch_size": 1,
    "learning_rate": RATE,
    "minimum_learning_rate": RATE,
    "warmup_steps": 0,
    "log_interval": 1,
    "validation_interval": 1,
    "checkpoint_interval": 2,
    "weight_decay": 0.1,
}
TEXT = "Attention is a weighted mean, 你好; its weights sum to one.\n"
HELD_OUT = "Weights: one."


def save_tokenizer(folder):
    """A byte-level tokenizer of the tests' text, and its number of tokens."""
    import transformers

    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator([TEXT] * 10, vocab_size=310, special_tokens=["<|end|>"])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, eos_token="<|end|>"
    ).save_pretrained(folder)
    return trained


@pytest.fixture(params=["llama", "qwen3_next"])
def folder(request, tmp_path):
    """A folder with a published model, its tokenizer, texts, and the configuration of a run."""
    folder = tmp_path / "model"
    tokenizer = save_tokenizer(folder)
    family = FAMILIES[request.param]
    options = {**family.options, "vocab_size": tokenizer.get_vocab_size(), "eos_token_id": 0}
    type(family)(family.configuration, options).build().save_pretrained(folder)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "train.txt").write_text(TEXT)
    (tmp_path / "text" / "held_out.txt").write_text(HELD_OUT)
    pairs = len(tokenizer.encode(TEXT).ids) - 1
    configuration = {
        "model": {"folder": "model"},
        # The held-out part is the shorter text: the longer one does not fit into it.
        "data": {"paths": ["text"], "validation_fraction": 0.24},
        # A window is the whole text, so that a step reads each pair of tokens once.
        "training": {**SETTINGS, "length": pairs, "output_directory": str(tmp_path / "run")},
        "sample": {"tokens": 0},
    }
    (tmp_path / "run.json5").write_text(json.dumps(configuration))
    return folder


def metrics(run_folder, key):
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [line[key] for line in map(json.loads, lines) if key in line]


def transformers_model(folder):
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )


def loss_of(model, tokens, cut=0):
    """The mean loss over all pairs, of the tokens from `cut` on and of those before as two sequences."""
    total = 0.0
    for piece in (tokens[cut:], tokens[: cut + 1]):
        if len(piece) > 1:
            scores = model(piece[None, :-1]).logits[0]
            total += torch.nn.functional.cross_entropy(scores, piece[1:], reduction="sum")
    return total / (len(tokens) - 1)


def cut_of(model, tokens, loss):
    """Where the window of a step begins, which the seed decides: at the place that gives the step's loss."""
    with torch.no_grad():
        losses = [loss_of(model, tokens, cut).item() for cut in range(len(tokens) - 1)]
    return min(range(len(losses)), key=lambda cut: abs(losses[cut] - loss))


def test_steps_agree_with_pytorch(folder):
    import transformers

    run("train", folder.with_name("run.json5"))
    losses, held_out = (
        metrics(folder.with_name("run"), key) for key in ("loss", "validation_loss")
    )
    assert len(losses) == len(held_out) == STEPS
    assert losses[-1] < losses[0]

    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    tokens, other = (torch.tensor(tokenizer(text).input_ids) for text in (TEXT, HELD_OUT))
    model = transformers_model(folder).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=RATE,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    for ours, ours_held_out in zip(losses, held_out):
        loss = loss_of(model, tokens, cut_of(model, tokens, ours))
        assert abs(loss.item() - ours) < LOSS_BOUND * ours
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        with torch.no_grad():
            theirs = loss_of(model, other).item()
        assert abs(theirs - ours_held_out) < LOSS_BOUND * ours_held_out


@torch.no_grad()
def test_trained_folder_is_that_of_transformers(folder):
    import transformers

    run("train", folder.with_name("run.json5"))
    trained = folder.with_name("run") / f"checkpoint-{STEPS}"
    model, before = transformers_model(trained).eval(), transformers_model(folder).eval()
    tokens = torch.randint(model.config.vocab_size, (2, 19))
    theirs = model(tokens).logits
    assert error(logits(trained, tokens), theirs) < BOUND
    assert error(before(tokens).logits, theirs) > 100 * BOUND
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(trained)
    assert tokenizer.decode(tokenizer(TEXT).input_ids) == TEXT
    # The run itself is a folder that goes on, and so does a run from it.
    prompt = run("generate", folder.with_name("run"), "--prompt", "Its", "--tokens", 3)
    assert prompt.startswith("Its")
    again = run(
        "train", folder.with_name("run.json5"), "model.folder=run", "training.steps=1",
        f"training.output_directory={folder.with_name('again')}",
    )
    assert again.startswith("validation ")


def test_resumed_run_is_the_same(folder):
    configuration = folder.with_name("run.json5")
    whole, parts = folder.with_name("run"), folder.with_name("parts")
    run("train", configuration)
    for steps in (2, STEPS):
        run(
            "train", configuration, f"training.steps={steps}",
            f"training.output_directory={parts}",
        )
    last = f"checkpoint-{STEPS}"
    names = sorted(path.name for path in (whole / last).iterdir())
    assert names == sorted(path.name for path in (parts / last).iterdir())
    assert "tokenizer.json" in names
    for name in names:
        assert (whole / last / name).read_bytes() == (parts / last / name).read_bytes(), name
