# SPDX-License-Identifier: Apache-2.0
r"""Writes the golden files of the unigram tokenizer's tests with the public packages `sentencepiece`, `tokenizers` and
`transformers`:

    python tools/goldens/unigram_golden.py tests/golden/unigram

* spiece.model: a SentencePiece model of 320 pieces with T5's ids, trained on the text below. Its character map holds the
  rules of NFKC that the texts need, and some of NMT's for spaces and control characters: the whole takes 240 KB.
* tokenizer.json: the same for `tokenizers`, with 20 sentinels, as tools/train_unigram.py writes it.
* plain.model: no normalisation, spaces kept, byte fallback, pieces defined by the user.
* cases.json: texts with what the packages make of them. `json`: `tokenizers` with tokenizer.json. `spiece`, `plain`:
  `sentencepiece`. `t5`: transformers with spiece.model; null where it differs from `sentencepiece` though the text holds
  no special token, since its character map looks at grapheme clusters and its words end at any white space.
* variants.json: the same pieces and byte pieces, with other components of `tokenizers` around them, each with cases.

Prints the versions, which the files also name, and the texts where transformers differs from `sentencepiece`.
"""
import json
import logging
import os
import pathlib
import re
import sys
import tempfile
import unicodedata

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizer_golden import TEXT, cases, metaspace, sequence, special, template, variant, write  # noqa: E402
from tokenizer_golden import CORPUS as OTHER_CORPUS, TEXTS as OTHER_TEXTS  # noqa: E402
from sentencepiece import sentencepiece_model_pb2  # noqa: E402
from tokenizers import AddedToken, Tokenizer, models  # noqa: E402

import train_unigram  # noqa: E402

SENTINELS = 20
CORPUS = """
In the spring the gardener walks between the beds and counts what the winter has left. The roses are well, the lavender
is grey and thin, and of the two fig trees only one has kept its leaves. She writes it all in a small green book.
When the rain comes she sits in the glass house and cleans the tools. The spade is older than she is; her grandfather
bought it for 12 shillings in 1931, and its handle has been replaced three times since. "It's still the same spade," he
used to say, "and it doesn't mind who digs with it." Nobody has ever found a better answer.
A gardener's year has no beginning. There is always something to sow, to cut, to carry or to burn, and while one thing
is done another thing is waiting. That's why she laughs when people ask whether the work isn't finished yet.
Im Herbst fegt der Gärtner die Blätter zusammen. Le jardinier arrose les fleurs après le dîner. El jardín está vacío.
""" + OTHER_CORPUS

TEXTS = [text for text in OTHER_TEXTS if len(text) < 100] + [
    "The <extra_id_0> walks between <extra_id_1>.", "<extra_id_0>", "a<extra_id_3>b", " <extra_id_19> \n <extra_id_18>",
    "<extra_id_20> <extra_id_>", "<unk> <pad></s>", "She</s> writes", "the spade\tis \t older\r\nthan she",
    "\u2581the\u2581\u2581spade\u2581", "\uff1cextra_id_0\uff1e \uff1c/s\uff1e", "\ufb01\u0301g \u00bd\u0301 tree\u0301",
    "a\u0323\u0302b \u00c5\u0301", "\uff76\uff9e \u304b\u3099", "oo ooo oooo ooooooo \u4e2dooooooo",
    "it's \u2018quoted\u2019 \u201cthus\u201d\u2026 \u2014 5\u00d73", "\u00a8x \u00a8", "\x01the\x02 \x7fspade\x0b",
    "rose rosebush #rose# rose", "zz##zz", "the spade and the gardener " * 6, "\u4e2d" * 50,
]

NMT_SPACES = [*range(0x09, 0x0B), 0x0C, 0x0D, 0x85, 0xA0, 0x1680, *range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F,
              0x2581, 0x3000, 0xFEFF, 0xFFFD]
NMT_REMOVED = [*range(0x01, 0x09), 0x0B, *range(0x0E, 0x20), 0x7F, 0x8F, 0x9F]


def rules(texts):
    """{sequence: replacement}: NFKC of each character and of each base with a mark after it, then NMT's."""
    table = {}
    for text in texts:
        for match in re.finditer(r"(?s)(?=(..?))", text):
            for key in (match[1], match[1][0]):
                if (len(key) == 1 or unicodedata.combining(key[1])) and unicodedata.normalize("NFKC", key) != key:
                    table[key] = unicodedata.normalize("NFKC", key)
    return table | {chr(code): " " for code in NMT_SPACES} | {chr(code): "" for code in NMT_REMOVED}


def write_rules(path, table):
    codes = lambda text: " ".join(f"{ord(c):X}" for c in text)  # noqa: E731
    path.write_text("".join(f"{codes(key)}\t{codes(value)}\n" for key, value in sorted(table.items())), encoding="ascii")


def train_models(folder):
    lines = [line for line in CORPUS.split("\n") if line]
    with tempfile.TemporaryDirectory() as scratch:
        tsv = pathlib.Path(scratch) / "rules.tsv"
        write_rules(tsv, rules(TEXTS))
        mapped = train_unigram.train(lines, 320, 1, "", normalization_rule_tsv=str(tsv), hard_vocab_limit=False)
        mapped = without_path(mapped)
    plain = train_unigram.train(lines, 420, 1, "identity", byte_fallback=True, remove_extra_whitespaces=False,
                                user_defined_symbols=["rose", "##", "\t"])
    return mapped, plain


def piece_cases(model):
    """`sentencepiece` knows no special tokens in text; it decodes the unknown piece to a sign of its own."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    out = []
    for text in TEXTS:
        ids = processor.encode(text)
        known = processor.unk_id() not in ids
        out.append({"ids": ids} | ({"decoded": processor.decode(ids)} if known else {}))
    return out


def t5_cases(model, pieces):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "spiece.model").write_bytes(model)
        settings = train_unigram.config(SENTINELS)
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings))
        tokenizer = transformers.T5TokenizerFast.from_pretrained(folder)
    named = re.compile("|".join(map(re.escape, tokenizer.all_special_tokens)))
    out = []
    for text, piece in zip(TEXTS, pieces):
        ids = tokenizer(text).input_ids
        if named.search(text) or ids[:-1] == piece["ids"]:
            out.append({"ids": ids, "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False)})
        else:
            out.append(None)
            print("transformers differs:", ascii(text))
    return out


def base(model):
    """Byte pieces follow the model's, then added tokens of every kind; no normaliser."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces] + [(f"<0x{byte:02X}>", -30.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.add_special_tokens(train_unigram.SPECIALS)
    tokenizer.add_tokens([AddedToken("<mask>", special=True, lstrip=True, normalized=False),
                          AddedToken("<trim>", rstrip=True, lstrip=True, normalized=False),
                          AddedToken("spade", single_word=True, normalized=False), AddedToken("KEEPER", normalized=True)])
    return json.loads(tokenizer.to_str())


def without_path(model):
    """The trainer leaves the rules' temporary file's name in the model."""
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString(deterministic=True)


def normalizers_of(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


SQUEEZE = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
STRIP = {"type": "Strip", "strip_left": True, "strip_right": True}
STRIP_RIGHT = {"type": "Strip", "strip_left": False, "strip_right": True}
WORDS = {"type": "WhitespaceSplit"}
OLD_METASPACE = {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True, "str_rep": "\u2581"}
VARIANTS = [
    ("metaspace always", {"pre_tokenizer": metaspace("always"), "decoder": metaspace("always")}),
    ("metaspace always, whole", {"pre_tokenizer": metaspace("always", False), "decoder": metaspace("always")}),
    ("metaspace first", {"pre_tokenizer": metaspace("first"), "decoder": metaspace("first")}),
    ("metaspace never", {"pre_tokenizer": metaspace("never"), "decoder": metaspace("never")}),
    ("old metaspace", {"pre_tokenizer": sequence(WORDS, OLD_METASPACE), "decoder": OLD_METASPACE}),
    ("words, first", {"pre_tokenizer": sequence(WORDS, metaspace("first")), "decoder": metaspace("first")}),
    ("words alone", {"pre_tokenizer": WORDS, "decoder": metaspace("never")}),
    ("nothing around", {"pre_tokenizer": None, "decoder": metaspace("always")}),
    ("strip, squeeze", {"normalizer": normalizers_of(STRIP, SQUEEZE), "pre_tokenizer": metaspace("always"),
                        "decoder": metaspace("always")}),
    ("map, strip right, squeeze", {"normalizer": ["map", STRIP_RIGHT, SQUEEZE], "pre_tokenizer": metaspace("always"),
                                   "decoder": metaspace("always"),
                                   "post_processor": template(special("<s>"), TEXT, special("</s>"))}),
    ("bytes", {"pre_tokenizer": metaspace("always"), "byte_fallback": True, "decoder": {
        "type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace("always")]}}),
]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    versions = {package.__name__: package.__version__ for package in (sentencepiece, tokenizers, transformers)}
    mapped, plain = train_models(folder)
    (folder / "spiece.model").write_bytes(mapped)
    (folder / "plain.model").write_bytes(plain)
    whole = train_unigram.to_tokenizer(mapped, SENTINELS)
    whole.save(str(folder / "tokenizer.json"), pretty=False)
    pieces = piece_cases(mapped)
    write(folder / "cases.json", {"versions": versions, "texts": TEXTS, "json": cases(whole, TEXTS), "spiece": pieces,
                                  "plain": piece_cases(plain), "t5": t5_cases(mapped, pieces)})

    whole_base = base(mapped)
    character_map = json.loads(whole.to_str())["normalizer"]
    telling = re.compile(r"^\s|\s$|  |\u2581|KEEP|spade|mask|</s>")
    texts = [text for n, text in enumerate(TEXTS) if n % 5 == 0 or telling.search(text)]
    variants = []
    for name, parts in VARIANTS:
        if isinstance(parts.get("normalizer"), list):
            steps = [character_map if step == "map" else step for step in parts["normalizer"]]
            parts = parts | {"normalizer": normalizers_of(*steps)}
        built = Tokenizer.from_str(json.dumps(variant(whole_base, parts)))
        variants.append({"name": name, "parts": parts, "cases": cases(built, texts)})
    write(folder / "variants.json", {"versions": versions, "texts": texts, "base": whole_base, "variants": variants})
    print(json.dumps(versions))


if __name__ == "__main__":
    main()
