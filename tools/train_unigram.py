# SPDX-License-Identifier: Apache-2.0
r"""Trains T5's kind of tokenizer on text files: SentencePiece's unigram model, written as Hugging Face's tokenizer.json.

    zstd -dc --long=27 books.txt.zst | python tools/train_unigram.py --pieces 8000 --megabytes 20 --output FOLDER
    python tools/train_unigram.py --pieces 8000 --output FOLDER books.txt textbooks.txt.zst

The folder gets tokenizer.json and tokenizer_config.json, which transformers' T5TokenizerFast and Quiver read, and
spiece.model, the same in SentencePiece's own format. Ids: <pad> 0, </s> 1, <unk> 2, the pieces, then the sentinels,
<extra_id_0> the highest. Lines are sentences: empty ones and what exceeds 16 KiB are left out. Text may be compressed
by zstd, standard input too.

Needs sentencepiece, tokenizers and, for compressed text, zstandard.
"""
import argparse
import io
import json
import pathlib
import sys

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
SPECIALS = ["<pad>", "</s>", "<unk>"]
LONGEST_LINE_BYTES = 1 << 14


def open_text(path):
    """A binary stream of the text of a file, or of standard input for `-`."""
    raw = io.BufferedReader(sys.stdin.buffer.raw if path == "-" else open(path, "rb", buffering=0))
    if raw.peek(4)[:4] != ZSTD_MAGIC:
        return raw
    import zstandard  # only where text is compressed

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(raw, read_across_frames=True)
    return io.BufferedReader(reader, 1 << 20)


def lines(paths, limit_bytes):
    """The lines with text, up to `limit_bytes` of them in all."""
    seen = 0
    for path in paths:
        for line in open_text(path):
            seen += len(line)
            if seen > limit_bytes:
                return
            text = line.decode("utf-8", errors="replace").strip()
            if text and len(line) <= LONGEST_LINE_BYTES:
                yield text


def train(sentences, pieces, threads, normalization="nmt_nfkc", **options):
    """The bytes of a SentencePiece model with T5's ids, trained as T5's was."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=model, model_type="unigram", vocab_size=pieces,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name=normalization, num_threads=threads,
        max_sentence_length=LONGEST_LINE_BYTES, minloglevel=1, **options)
    return model.getvalue()


def to_tokenizer(model, sentinels):
    """The `tokenizers` object with the components of T5's own tokenizer.json."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    names = [f"<extra_id_{i}>" for i in reversed(range(sentinels))]
    vocabulary = [(piece.piece, piece.score) for piece in proto.pieces] + [(name, 0.0) for name in names]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=proto.trainer_spec.unk_id, byte_fallback=False))
    if proto.normalizer_spec.precompiled_charsmap:
        tokenizer.normalizer = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    metaspace = dict(replacement="\u2581", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(),
                                                       pre_tokenizers.Metaspace(**metaspace)])
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    end = "</s>"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", end], pair=["$A", end, "$B", end], special_tokens=[(end, tokenizer.token_to_id(end))])
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIALS + names])
    return tokenizer


def config(sentinels):
    return {"tokenizer_class": "T5Tokenizer", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
            "extra_ids": sentinels, "additional_special_tokens": [f"<extra_id_{i}>" for i in range(sentinels)],
            "clean_up_tokenization_spaces": False}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", default=["-"], help="text files, - for standard input")
    parser.add_argument("--output", required=True, type=pathlib.Path, help="folder to write")
    parser.add_argument("--pieces", type=int, default=8000, help="vocabulary without the sentinels")
    parser.add_argument("--sentinels", type=int, default=100, help="how many <extra_id_N>")
    parser.add_argument("--megabytes", type=float, default=float("inf"), help="how much of the text to read")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--coverage", type=float, default=0.9995, help="share of the characters that get a piece")
    arguments = parser.parse_args()
    model = train(lines(arguments.files, arguments.megabytes * 1e6), arguments.pieces, arguments.threads,
                  character_coverage=arguments.coverage)
    tokenizer = to_tokenizer(model, arguments.sentinels)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "spiece.model").write_bytes(model)
    tokenizer.save(str(arguments.output / "tokenizer.json"))
    text = json.dumps(config(arguments.sentinels), indent=2) + "\n"
    (arguments.output / "tokenizer_config.json").write_text(text, encoding="utf-8")
    print(f"{tokenizer.get_vocab_size()} ids in {arguments.output}")


if __name__ == "__main__":
    main()
