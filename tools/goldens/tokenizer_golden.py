# SPDX-License-Identifier: Apache-2.0
r"""Writes the golden files of the tokenizer tests with the public `tokenizers` package:

    python tools/goldens/tokenizer_golden.py tests/golden

* tokenizer.json: a byte-level BPE tokenizer of 600 pieces, trained on the text below, with added tokens of every kind.
* tokenizer_cases.json: texts with the ids and the decoded text that the package gives them.
* tokenizer_variants.json: two small models, and tokenizers that put other components around them, each with cases.

No added token lies within Latin-1 but outside ASCII: the package reads such a token as bytes when it decodes, so that
"\u00e9" becomes U+FFFD. Quiver gives the token's text back, which its own test checks.

Needs tokenizers; prints its version, which the files also name.
"""
import copy
import json
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

CORPUS = """
The lighthouse keeper counts the ships that pass at night. She writes their names in a book, one line for each ship,
and when the fog comes she writes the time at which the horn began to sound. There's nothing else to do; it's quiet.
In winter the sea is grey and the harbour is empty. In summer, 14 boats come and go before 9:30, and 250 people walk
along the pier. They've bought ice cream, they'll take pictures, and they don't stay: "We're going home," they say.
def count(ships):
    total = 0
    for ship in ships:
        if ship.name != "":
            total += 1
    return total
Der Leuchtturmwärter zählt die Schiffe, die nachts vorüberfahren; später schläft er. Le gardien du phare écrit où
les bateaux sont passés. El farero anota cada año los barcos. Смотритель маяка считает корабли, которые проходят ночью.
灯台守は夜に通る船を数える。灯台守は本に名前を書く。 등대지기는 밤에 지나가는 배를 센다. حارس المنارة يعد السفن.
"""

TEXTS = [
    "", " ", "\n", "The keeper counts the ships.", "there's they'll DON'T we'Re it's 'tis", "a  b   c    d",
    "tabs\tand\t\ttabs\n\n\nlines\r\n\r\nmore \n  indented\n", "x" * 300, "ab" * 700, " " * 257 + "end", "trailing   ",
    "1234567890 12 345 6,789.01", "\u0661\u0662\u0663 \u0967\u0968 \u00bd\u2167\u2460 \uff11\uff12 \U0001d7d8\U0001d7d9",
    "caf\u00e9 cafe\u0301 \u1e69 s\u0323\u0307 s\u0307\u0323", "o\u0302\u0323\u0308 \u0344 \u0958 \u2126 \ufb01 \u212b",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\u05e9\u05b8\u05dc\u05d5\u05b9\u05dd \u0645\u0631\u062d\u0628\u0627 \u202eabc\u202c",
    "\u4e2d\u6587\u5b57\u7b26 \u3042\u30a2\u3002 \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "nul\x00in\x00side", "\x01\x1f\x7f\x80\x9f", "\u00a0\u2003x\u3000y\u2028z\u2029\u200b\ufeff\u180e\x85",
    "\ue000\uf8ff\U000f0000\U0010fffd \ufffe\uffff\ufffd", "\u0130I\u0131i \u01c5 \u00df\u1e9e \u03a3\u03c3\u03c2",
    "<|start|>user\nHi<|end|>", "<|start|><|start|> <|end|>x", "<|star|> <|start |> |start|>", "a <mask> b  <mask>  c<mask>d",
    "word words sword word, (word) word", "KEEPER keeper  <trim>  now", "\u0439\u043e\u0434 \u0438\u0306\u043e\u0434 \u0419\u041e\u0414 r\u00e9sum\u00e9 re\u0301sume\u0301",
    "!!! ... ??? -- == != <= >= && || // /* */ `code` $x #y @z", "\U0001f600" * 40, "\u0301\u0302 \u0301", "a\u0301" * 60,
    "mixed\u4e2d9\u0661z_\u203f-e\u0301's 's '\u017f", "\u2581under\u2581 \u2581\u2581 line", "<0x41><0x0A> <0xE4>", "\ud7a3\u11a8\u1100",
]


def added_tokens():
    return [AddedToken("<|start|>", special=True, normalized=False), AddedToken("<|end|>", special=True, normalized=False),
            AddedToken("<mask>", special=True, lstrip=True, normalized=False),
            AddedToken("<trim>", rstrip=True, lstrip=True, normalized=False),
            AddedToken("word", single_word=True, normalized=False), AddedToken("KEEPER", normalized=True),
            AddedToken("\u0439\u043e\u0434", normalized=True)]


def trained_on_bytes(size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([CORPUS], trainer)
    return tokenizer


def trained_on_pieces(size):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)],
                                  show_progress=False)
    tokenizer.train_from_iterator([CORPUS], trainer)
    return tokenizer


def cases(tokenizer, texts):
    """One object per text. What equals the plain result is left out: `decoded` the text, the others `ids`/`decoded`."""
    out = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        case = {"ids": ids}
        special = tokenizer.encode(text).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        plain = tokenizer.decode(ids, skip_special_tokens=True)
        case |= {"with_special": special} if special != ids else {}
        case |= {"decoded": decoded} if decoded != text else {}
        case |= {"decoded_plain": plain} if plain != decoded else {}
        out.append(case)
    return out


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES_ONLY = dict(BYTE_LEVEL, use_regex=False)
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA2_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def split(pattern, behavior, invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def metaspace(scheme, splits=True):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}


def special(name):
    return {"SpecialToken": {"id": name, "type_id": 0}}


def template(*single):
    tokens = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}}
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": list(single), "pair": pair, "special_tokens": tokens}


TEXT = {"Sequence": {"id": "A", "type_id": 0}}
VARIANTS = [
    ("digits, then bytes", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, BYTE_LEVEL)}),
    ("runs of digits", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, BYTE_LEVEL)}),
    ("prefix space", "bytes", {"pre_tokenizer": dict(BYTE_LEVEL, add_prefix_space=True)}),
    ("llama 3", "bytes", {"pre_tokenizer": sequence(split(LLAMA3, "Isolated"), BYTES_ONLY), "ignore_merges": True,
                          "post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, template(special("<s>"), TEXT)]}}),
    ("gpt-4o", "bytes", {"pre_tokenizer": sequence(split(O200K, "Isolated"), BYTES_ONLY)}),
    ("removed, inverted", "bytes", {"pre_tokenizer": sequence(split(LLAMA3, "Removed", True), BYTES_ONLY)}),
    ("removed", "bytes", {"pre_tokenizer": sequence(split(r"\s+", "Removed"), BYTES_ONLY)}),
    ("merged with previous", "bytes", {"pre_tokenizer": sequence(split(r"[aeiou]", "MergedWithPrevious"), BYTES_ONLY)}),
    ("merged with next", "bytes", {"pre_tokenizer": sequence(split(" ", "MergedWithNext", kind="String"), BYTES_ONLY)}),
    ("contiguous", "bytes", {"pre_tokenizer": sequence(split(r"\w", "Contiguous"), BYTES_ONLY)}),
    ("line ends", "bytes", {"pre_tokenizer": sequence(split(r"^\S+|\S$", "Isolated"), BYTES_ONLY)}),
    ("no regex", "bytes", {"pre_tokenizer": BYTES_ONLY}),
    ("nfc", "bytes", {"normalizer": {"type": "NFC"}}), ("nfd", "bytes", {"normalizer": {"type": "NFD"}}),
    ("nfkc, lower case", "bytes", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}}),
    ("nfkd", "bytes", {"normalizer": {"type": "NFKD"}}),
    ("replace", "bytes", {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}}),
    ("llama 2", "pieces", {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None, "decoder": LLAMA2_DECODER, "post_processor": template(special("<s>"), TEXT, special("</s>"))}),
    ("metaspace always", "pieces", {"pre_tokenizer": metaspace("always"), "decoder": metaspace("always")}),
    ("metaspace first", "pieces", {"pre_tokenizer": metaspace("first", False), "decoder": metaspace("first")}),
    ("metaspace never", "pieces", {"pre_tokenizer": metaspace("never"), "decoder": metaspace("never")}),
    ("unknown pieces", "pieces", {"pre_tokenizer": metaspace("always"), "decoder": metaspace("always"), "byte_fallback": False}),
    ("unknown pieces, each", "pieces", {"pre_tokenizer": metaspace("always"), "decoder": metaspace("always"),
                                        "byte_fallback": False, "fuse_unk": False}),
]


def variant(base, parts):
    """The base tokenizer's JSON with other components; options of the model are among `parts`, too."""
    whole = copy.deepcopy(base)
    for name, value in parts.items():
        (whole["model"] if name in {"ignore_merges", "byte_fallback", "fuse_unk"} else whole)[name] = value
    return whole


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    folder = pathlib.Path(sys.argv[1])
    version = {"tokenizers": tokenizers.__version__}
    tokenizer = trained_on_bytes(600)
    tokenizer.add_tokens(added_tokens())
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write(folder / "tokenizer_cases.json", {"versions": version, "texts": TEXTS, "cases": cases(tokenizer, TEXTS)})

    bases = {"bytes": trained_on_bytes(400), "pieces": trained_on_pieces(480)}
    for base in bases.values():
        base.add_tokens(added_tokens())
    models_json = {name: json.loads(base.to_str()) for name, base in bases.items()}
    variants = []
    texts = [text for text in TEXTS if len(text) < 200]
    for name, base, parts in VARIANTS:
        built = Tokenizer.from_str(json.dumps(variant(models_json[base], parts)))
        variants.append({"name": name, "base": base, "parts": parts, "cases": cases(built, texts)})
    write(folder / "tokenizer_variants.json", {"versions": version, "texts": texts, "bases": models_json, "variants": variants})
    print(json.dumps(version))


if __name__ == "__main__":
    main()
