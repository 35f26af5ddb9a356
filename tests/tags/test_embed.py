import json
import os
import subprocess
import sys
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagevol_hf.errors import DataError, MissingExtraError
from tagevol_hf.tags.embed import NgramEmbedder, SentenceEmbedder, open_embedder
from tagevol_hf.tags.embed_unknown import unknown_texts

DATA = Path(os.environ.get("TAGEVOL_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
MODEL = DATA.parent / "models" / "potion-base-4m-int8"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=6))
def test_builtin_vectors_have_unit_length_for_any_text(texts):
    vectors = NgramEmbedder().encode(texts)
    assert vectors.shape == (len(texts), 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_builtin_vectors_are_deterministic_and_do_not_depend_on_the_other_texts():
    one, both = NgramEmbedder().encode(["unit test"]), NgramEmbedder().encode(["poem", "unit test"])
    assert np.array_equal(one[0], both[1])


def test_similar_spelling_is_near_and_blank_text_has_a_place():
    near, other, far, blank, empty = NgramEmbedder().encode(["translation", "translations", "网络安全", " ", ""])
    assert near @ other > 0.8
    assert near @ far < 0.3
    assert blank[0] == empty[0] == 1


def test_identity_names_what_decides_the_vectors():
    assert NgramEmbedder().identity == "builtin-ngrams-2-4-512"
    assert NgramEmbedder(64).identity != NgramEmbedder().identity
    assert open_embedder("builtin") == NgramEmbedder()


def folder_model(path, weights=b"1"):
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_identity_of_a_folder_is_its_content_and_not_its_place(tmp_path):
    here, there = folder_model(tmp_path / "a" / "m"), folder_model(tmp_path / "b" / "m")
    other = folder_model(tmp_path / "c" / "m", b"2")
    assert SentenceEmbedder(here).identity == open_embedder(str(there)).identity
    assert SentenceEmbedder(here).identity.startswith("m@")
    assert SentenceEmbedder(here).identity != SentenceEmbedder(other).identity
    assert SentenceEmbedder("org/name").identity == "org/name"


def test_a_sentence_model_is_loaded_once_on_use_and_scaled_to_unit_length(monkeypatch):
    loaded = []

    class SentenceTransformer:
        def __init__(self, name):
            loaded.append(name)

        def encode(self, texts, **_):
            return np.array([[3.0, 4.0] if text else [0.0, 0.0] for text in texts])

    monkeypatch.setitem(
        sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=SentenceTransformer)
    )
    embedder = SentenceEmbedder("org/name")
    assert loaded == []
    np.testing.assert_allclose(embedder.encode(["a", ""]), [[0.6, 0.8], [1, 0]], atol=1e-6)
    embedder.encode(["b"])
    assert loaded == ["org/name"]


def test_a_missing_library_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tagevol_hf\[embed\]'"):
        SentenceEmbedder("org/name").encode(["a"])


def test_a_model_that_cannot_be_loaded_is_named(monkeypatch):
    def load(name):
        raise OSError(f"{name}:\n no such model")

    monkeypatch.setitem(sys.modules, "sentence_transformers", types.SimpleNamespace(SentenceTransformer=load))
    with pytest.raises(DataError, match=r"embedder 'org/nothing': cannot be loaded \(org/nothing: no such model\)"):
        SentenceEmbedder("org/nothing").encode(["a"])


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.is_dir(), reason=f"{MODEL} is not there")
def test_a_real_static_model_knows_synonyms(tmp_path):
    pytest.importorskip("sentence_transformers")
    numpy_files = pytest.importorskip("safetensors.numpy")
    for file in MODEL.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = numpy_files.load_file(MODEL / "model.safetensors")  # int8, which sentence-transformers cannot read
    floats = {name: values.astype(np.float32) for name, values in weights.items()}
    numpy_files.save_file(floats, tmp_path / "model.safetensors")
    embedder = SentenceEmbedder(tmp_path)
    car, automobile, poem = embedder.encode(["car", "automobile", "poem"])
    assert car @ automobile > car @ poem
    assert alike(embedder, UNKNOWN) < 0.5
    assert embedder.encode([]).shape == (0, 128)
    assert np.linalg.norm(car) == pytest.approx(1, abs=1e-5)


# --- Phrase-BERT where it can be had ----------------------------------------------------------------------------


def opened(tmp_path, spec="auto", **environment):
    """Identity of the embedder that a fresh process opens, and what it said."""
    code = f"from tagevol_hf.tags.embed import open_embedder; print(open_embedder({spec!r}).identity)"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    home = {"HF_HOME": str(tmp_path / "hub"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **home, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


def test_auto_without_a_hub_is_the_builtin_one_and_says_why(tmp_path):
    identity, said = opened(tmp_path, HF_HUB_OFFLINE="1")
    assert identity == NgramEmbedder().identity
    reason = "Phrase-BERT is not in the local cache, and HF_HUB_OFFLINE is set"
    assert said == f"embedder: the built-in character n-grams ({reason})"


@pytest.mark.slow
def test_auto_asks_the_hub_and_takes_what_is_there(tmp_path):
    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"id": "whaleloops/phrase-bert", "siblings": []}).encode()
            status = 200 if self.path.startswith("/api/models/whaleloops/phrase-bert") and there else 404
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if status == 200 else b"{}")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        there = True
        assert opened(tmp_path, HF_ENDPOINT=url) == ("whaleloops/phrase-bert", "embedder: Phrase-BERT")
        there = False
        identity, said = opened(tmp_path, HF_ENDPOINT=url)
        assert identity == NgramEmbedder().identity
        assert "the Hub does not give it: " in said
    finally:
        server.shutdown()
        server.server_close()


def cached(tmp_path, *files):
    """The local cache with these files of Phrase-BERT."""
    repo = tmp_path / "hub" / "hub" / "models--whaleloops--phrase-bert"
    snapshot = repo / "snapshots" / ("0" * 40)
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for file in files:
        (snapshot / file).write_text("{}")


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_auto_takes_phrase_bert_from_the_local_cache(tmp_path, weights):
    cached(tmp_path, "config.json", weights)
    assert opened(tmp_path, HF_HUB_OFFLINE="1") == ("whaleloops/phrase-bert", "embedder: Phrase-BERT")


@pytest.mark.slow
def test_auto_does_not_count_on_a_download_that_broke_off(tmp_path):
    cached(tmp_path, "config.json")
    identity, said = opened(tmp_path, HF_HUB_OFFLINE="1")
    assert identity == NgramEmbedder().identity
    assert "not in the local cache" in said


def test_phrase_bert_by_its_name():
    assert open_embedder("phrase-bert").identity == "whaleloops/phrase-bert"


@pytest.mark.skipif(not MODEL.is_dir(), reason=f"{MODEL} is not there")
def test_a_static_model_with_whole_number_weights():
    embedder = open_embedder(str(MODEL))
    near, other, far = embedder.encode(["cooking recipe", "recipe for a dish", "linear algebra"])
    assert near @ other > near @ far + 0.3
    assert np.linalg.norm(near) == pytest.approx(1, abs=1e-5)
    assert embedder.encode([]).shape == (0, 128)
    assert embedder.identity.startswith("potion-base-4m-int8@")


# A tokenizer that lacks these scripts makes the same of them all.
UNKNOWN = ["翻译", "俳句", "机器学习", "요약", "ภาษาไทย", "😀", "\u0301"]


def alike(embedder, texts):
    """Greatest cosine similarity of two of the texts."""
    vectors = embedder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    return (vectors @ vectors.T - 2 * np.eye(len(texts))).max()


@pytest.mark.skipif(not MODEL.is_dir(), reason=f"{MODEL} is not there")
def test_what_the_vocabulary_lacks_is_told_apart_by_its_spelling():
    embedder = open_embedder(str(MODEL))
    assert alike(embedder, UNKNOWN) < 0.5
    one, longer, far = embedder.encode(["机器学习算法", "机器学习算法 ", "文章写作"])
    assert one @ longer > 0.99
    assert one @ far < 0.5
    # one sign in a long text does not decide its vector
    text = "write a short story about a dog that learns how to swim in the cold river"
    plain, signed = embedder.encode([text, f"{text} 😀"])
    assert plain @ signed > 0.99


def words_of_a_bert():
    """A tokenizer of transformers that knows two words."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    model = tokenizers.models.WordLevel({"[UNK]": 0, "poem": 1, "story": 2}, unk_token="[UNK]")
    bare = tokenizers.Tokenizer(model)
    bare.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return bare, transformers.PreTrainedTokenizerFast(tokenizer_object=bare, unk_token="[UNK]")


@pytest.mark.slow
def test_unknown_texts_by_the_tokenizers_of_both_libraries():
    texts = ["poem", "poem 诗", "诗", "", " ".join(["story"] * 30) + " 诗"]
    for tokenizer in words_of_a_bert():
        assert unknown_texts(texts, tokenizer).tolist() == [False, True, True, True, False]
        assert unknown_texts([], tokenizer).tolist() == []
    assert unknown_texts(texts, None).tolist() == [False] * 5


def test_a_broken_static_model_is_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "model2vec"}')
    with pytest.raises(DataError, match=r"cannot be loaded .* expected auto, builtin, phrase-bert"):
        open_embedder(str(tmp_path)).encode(["x"])
