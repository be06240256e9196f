"""Small tokenizers of every kind, trained on the spot: one `tokenizer.json` for each component and option, and models
of SentencePiece."""

import json
import os

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
import unicodedata

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "[MASK]"]
GPT4 = (r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"""
        r"""|\s+(?!\S)|\s+""")


def differing(normalizer, reference):
    """The characters that `normalizer` does not rewrite as `reference` does: those that its Unicode does not know."""
    return {chr(scalar) for scalar in range(0x110000) if not 0xD800 <= scalar < 0xE000
            and normalizer.normalize_str(chr(scalar)) != reference(chr(scalar))}


def without(*sets):
    unknown = set().union(*sets)
    return lambda character: character not in unknown


def known_to_bert():
    """Characters of which the tables of Unicode 8, which BERT's steps use, say what newer ones say."""
    strip = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=True, lowercase=True)
    punctuation = pre_tokenizers.Punctuation()

    def reference(character):
        category = unicodedata.category(character)
        if character in "\0\ufffd" or category in ("Cc", "Cf", "Co") and character not in "\t\n\r":
            return ""
        if category == "Zs" or character in "\t\n\r\u2028\u2029":
            return " "
        plain = normalizers.NFD().normalize_str(character)
        return normalizers.Lowercase().normalize_str(
            "".join(part for part in plain if unicodedata.category(part) != "Mn"))

    def is_punctuation(character):
        return unicodedata.category(character)[0] == "P" or character in "$+<=>^`|~"

    cut = {chr(scalar) for scalar in range(1, 0x110000) if not 0xD800 <= scalar < 0xE000
           and (len(punctuation.pre_tokenize_str("a" + chr(scalar))) == 2) != is_punctuation(chr(scalar))}
    return without(differing(strip, reference), cut)


def save(tokenizer, folder, name, change=lambda tokenizer: None):
    path = os.path.join(folder, name + ".json")
    content = json.loads(tokenizer.to_str())
    change(content)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=len(name) % 2 == 0)
    return path


def trained(model, trainer, text, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, added=()):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    if post_processor:
        tokenizer.post_processor = post_processor
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.add_tokens(list(added))
    return tokenizer


def template():
    return processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])


def byte_level(text):
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())

    def make(pre_tokenizer, **rest):
        return trained(models.BPE(), trainer, text, pre_tokenizer=pre_tokenizer,
                       decoder=decoders.ByteLevel(), **rest)

    P = pre_tokenizers
    yield "byte-level", make(P.ByteLevel(add_prefix_space=False)), None
    yield "byte-level prefix roberta", make(
        P.ByteLevel(), post_processor=processors.RobertaProcessing(("</s>", 2), ("<s>", 1))), None
    yield "byte-level gpt-4 template", make(
        P.Sequence([P.Split(Regex(GPT4), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]),
        post_processor=processors.Sequence([processors.ByteLevel(), template()])), None
    yield "byte-level falcon", make(
        P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(),
                    P.Split(Regex("[0-9][0-9][0-9]"), "isolated")])), None
    yield "byte-level starcoder nfc", make(
        P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)]),
        normalizer=normalizers.NFC()), None
    yield "byte-level normalizer", trained(
        models.BPE(), trainer, text, normalizer=normalizers.ByteLevel(),
        pre_tokenizer=P.Split(Regex("Ġ?[a-z]+"), "merged_with_previous"), decoder=decoders.ByteLevel()), None
    yield "byte-level merges ignored", make(P.ByteLevel(add_prefix_space=False)), \
        lambda content: content["model"].update(ignore_merges=True)
    yield "byte-level added", make(
        P.ByteLevel(add_prefix_space=False),
        added=[AddedToken("<mark>", lstrip=True), AddedToken("[CLS]", rstrip=True, special=True),
               AddedToken("the", single_word=True), AddedToken("Å", normalized=True), AddedToken("  "),
               AddedToken("HTTP", normalized=False)]), None


def characters(text):
    P, trainer = pre_tokenizers, trainers.BpeTrainer(vocab_size=3000, special_tokens=SPECIAL, show_progress=False,
                                                     limit_alphabet=300)

    def make(model, trainer=trainer, **rest):
        return trained(model, trainer, text, **rest)

    yield "bpe whitespace unk", make(models.BPE(unk_token="<unk>"), pre_tokenizer=P.Whitespace()), None
    yield "bpe fused unk", make(
        models.BPE(unk_token="<unk>", fuse_unk=True), pre_tokenizer=P.WhitespaceSplit()), None
    yield "bpe clip", make(
        models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"),
        trainers.BpeTrainer(vocab_size=3000, special_tokens=SPECIAL, show_progress=False, limit_alphabet=300,
                            end_of_word_suffix="</w>"),
        normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                         normalizers.Lowercase()]),
        pre_tokenizer=P.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed",
                              invert=True),
        decoder=decoders.BPEDecoder("</w>")), None
    bytes_of = [f"<0x{byte:02X}>" for byte in range(256)]
    llama = trainers.BpeTrainer(vocab_size=3000, special_tokens=SPECIAL + bytes_of, show_progress=False,
                                limit_alphabet=300)
    yield "bpe llama", make(
        models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True), llama,
        normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        decoder=decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)]),
        post_processor=template()), lambda content: [token.update(special=False, normalized=False)
                                                     for token in content["added_tokens"][5:]]
    yield "bpe metaspace first", make(
        models.BPE(unk_token="<unk>"), pre_tokenizer=P.Metaspace(prepend_scheme="first"),
        decoder=decoders.Metaspace(prepend_scheme="first")), None
    yield "bpe metaspace never unsplit", make(
        models.BPE(unk_token="<unk>"), pre_tokenizer=P.Metaspace(prepend_scheme="never", split=False),
        decoder=decoders.Metaspace(prepend_scheme="never")), None
    yield "word level", make(
        models.WordLevel(unk_token="<unk>"),
        trainers.WordLevelTrainer(vocab_size=3000, special_tokens=SPECIAL, show_progress=False),
        normalizer=normalizers.Strip(), pre_tokenizer=P.Whitespace()), None


def unigram(text):
    trainer = trainers.UnigramTrainer(vocab_size=2000, special_tokens=SPECIAL, unk_token="<unk>",
                                      show_progress=False)
    text = text[: len(text) // 4]

    def make(**rest):
        return trained(models.Unigram(), trainer, text, **rest)

    metaspace = {"pre_tokenizer": pre_tokenizers.Metaspace(), "decoder": decoders.Metaspace()}
    yield "unigram nfkc", make(normalizer=normalizers.NFKC(), **metaspace, post_processor=template()), None
    yield "unigram nmt", make(
        normalizer=normalizers.Sequence([normalizers.Nmt(), normalizers.NFKD(),
                                         normalizers.Replace(Regex(" {2,}"), " ")]), **metaspace), None


def wordpiece(text):
    trainer = trainers.WordPieceTrainer(vocab_size=3000, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                        show_progress=False, limit_alphabet=400)
    for lowercases in (True, False):
        yield f"wordpiece bert {'un' if lowercases else ''}cased", trained(
            models.WordPiece(unk_token="[UNK]"), trainer, text,
            normalizer=normalizers.BertNormalizer(lowercase=lowercases), pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
            post_processor=processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1)),
            decoder=decoders.WordPiece(cleanup=lowercases)), None


def splits(text):
    """Every behaviour of splitting, forwards and inverted, with words as tokens."""
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=SPECIAL, show_progress=False, limit_alphabet=200)
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        for invert in (False, True):
            yield f"split {behavior}{' inverted' if invert else ''}", trained(
                models.BPE(unk_token="<unk>"), trainer, text[: len(text) // 4],
                pre_tokenizer=pre_tokenizers.Sequence([
                    pre_tokenizers.Split(Regex(r"[a-z]+\d*|\s(?=\S)"), behavior, invert=invert),
                    pre_tokenizers.CharDelimiterSplit("-")])), None
    yield "unicode scripts", trained(
        models.BPE(unk_token="<unk>"), trainer, text[: len(text) // 4],
        pre_tokenizer=pre_tokenizers.UnicodeScripts()), None


def made_tokenizers(folder, text):
    """Name, path and known characters of each tokenizer."""
    everything = lambda character: True
    bert = known_to_bert()
    scripts = pre_tokenizers.UnicodeScripts()
    known_scripts = lambda character: bool(scripts.pre_tokenize_str("a" + character)[1:])
    for make in [byte_level, characters, unigram, wordpiece, splits]:
        for name, tokenizer, change in make(text):
            path = save(tokenizer, folder, name.replace(" ", "-"), change or (lambda content: None))
            yield name, path, bert if "bert" in name else known_scripts if "scripts" in name else everything


def sentencepiece_models(folder, text):
    """Name and path of each model."""
    import sentencepiece

    source = os.path.join(folder, "text.txt")
    with open(source, "w", encoding="utf-8") as file:
        file.write(text)
    kinds = {
        "": {},
        " identity": {"normalization_rule_name": "identity", "remove_extra_whitespaces": False},
        " no prefix": {"add_dummy_prefix": False, "normalization_rule_name": "nmt_nfkc_cf"},
        " defined": {"user_defined_symbols": ["<mark>", "  ", "東京"]},
    }
    for model in ["unigram", "bpe"]:
        for falls_back in (False, True):
            for kind, options in kinds.items():
                # Known difference: of Unigram's cuts around user-defined pieces whose scores are the same but for rounding
                # another one is chosen, in 2 of 10,000 random lines.
                if model == "unigram" and kind == " defined":
                    continue
                name = f"sentencepiece {model}{' bytes' if falls_back else ''}{kind}"
                prefix = os.path.join(folder, name.replace(" ", "-"))
                sentencepiece.SentencePieceTrainer.train(
                    input=source, model_prefix=prefix, vocab_size=2000, model_type=model, byte_fallback=falls_back,
                    hard_vocab_limit=False, minloglevel=2, max_sentence_length=100000, **options)
                yield name, prefix + ".model"
